"""The evaluation card: one HTML page, and the same as JSON, about one run.

It knows nothing of what was trained: it draws the fields of ``experiments.cards.card.Card``.
"""

import base64
import html
import io
import itertools
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter

from experiments.cards.card import QUESTIONS
from experiments.store import write_json
from figures import style

COLUMNS = 3
COLORS = (style.BLUE, style.VERMILION, style.GREEN, style.PURPLE)


def write(card: Mapping[str, Any], folder: Path) -> Path:
    """Write ``card.html`` and ``card.json`` into a folder.

    Args:
        card: what ``Card.to_json`` gives.
        folder: made if need be.

    Returns:
        The page.
    """
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / "card.json", _plain(card))
    facts = "; ".join(f"{_text(name)}: {_text(value)}" for name, value in card["facts"].items())
    parts = [
        f"<h1>Evaluation card: {_text(card['title'])}</h1><p class='small'>{facts}</p>",
        _picture(card) if card["curves"] else "",
        *(_section(question, card["numbers"]) for question in QUESTIONS),
        _missing(card["missing"]),
    ]
    sheet = Path(__file__).with_name("report.css").read_text()
    path = folder / "card.html"
    path.write_text(
        "<!doctype html>\n<html lang='en'><head><meta charset='utf-8'>"
        "<meta name='viewport' content='width=device-width, initial-scale=1'>"
        f"<title>Evaluation card</title><style>{sheet}</style></head>"
        f"<body>\n{''.join(parts)}\n</body></html>\n"
    )
    return path


def _section(question: str, numbers: Sequence[Mapping[str, Any]]) -> str:
    own = [number for number in numbers if number["question"] == question]
    if not own:
        return f"<section><h2>{_text(question)}</h2><p class='small'>Not measured.</p></section>"
    rows = "".join(
        f"<tr><td>{_text(number['name'])}</td><td class='number'>{_interval(number)}</td>"
        f"<td class='number'>{_number(number['chance'])}</td>"
        f"<td class='small'>{_text(number['note'])}</td></tr>"
        for number in own
    )
    head = "<tr><th>measure</th><th>estimate [interval]</th><th>chance</th><th></th></tr>"
    return f"<section><h2>{_text(question)}</h2><table>{head}{rows}</table></section>"


def draw(card: Mapping[str, Any]) -> Figure:
    """A panel for every kind of curve, all over the same training times."""
    panels = {curve["panel"]: None for curve in card["curves"]}
    num_columns = min(len(panels), COLUMNS)
    num_rows = -(-len(panels) // num_columns)
    figure, axes = style.new_figure(num_columns, 0.2 + 2.3 * num_rows, num_rows)
    for axis in axes[len(panels) :]:
        axis.set_visible(False)
    times = np.concatenate([curve["time"] for curve in card["curves"]])
    for axis, panel in zip(axes, panels, strict=False):
        _panel(axis, [c for c in card["curves"] if c["panel"] == panel], card["moments"])
        axis.set(title=panel, xscale="log", xlabel=f"training time ({card['time_units']})")
        axis.set_xlim(times.min(), times.max())
        axis.xaxis.set_minor_formatter(NullFormatter())
    return figure


def _picture(card: Mapping[str, Any]) -> str:
    buffer = io.BytesIO()
    draw(card).savefig(buffer, format="png", dpi=160)
    data = base64.b64encode(buffer.getvalue()).decode()
    marks = ", ".join(f"{_text(name)} = {time:.3g}" for name, time in card["moments"].items())
    caption = f"Means over networks, with two standard errors. Dotted: {marks}." if marks else ""
    return (
        f"<figure><img alt='curves along training' src='data:image/png;base64,{data}'>"
        f"<figcaption>{caption}</figcaption></figure>"
    )


def _panel(axis: Axes, curves: Sequence[Mapping[str, Any]], moments: Mapping[str, float]) -> None:
    for curve, color in zip(curves, itertools.cycle(COLORS), strict=False):
        time, values = (np.asarray(curve[name]) for name in ("time", "values"))
        style.curve_with_band(axis, time, values, color=color, label=curve["name"])
    for time in moments.values():
        axis.axvline(time, color=style.GREY, lw=0.8, ls=":")
    axis.set_ylabel(curves[0]["units"])
    axis.legend(loc="best")


def _missing(missing: Sequence[str]) -> str:
    if not missing:
        return ""
    items = "".join(f"<li>{_text(each)}</li>" for each in missing)
    return f"<section><h2>What this card cannot say</h2><ul>{items}</ul></section>"


def _interval(number: Mapping[str, Any]) -> str:
    if number["low"] is None:
        return _number(number["estimate"])
    low, high = _number(number["low"]), _number(number["high"])
    return f"{_number(number['estimate'])} [{low}, {high}]"


def _number(value: float | None) -> str:
    if value is None:
        return ""
    return "none" if math.isinf(value) else f"{value:.3g}"


def _plain(value: Any) -> Any:
    """JSON knows no infinity: null stands for it."""
    if isinstance(value, Mapping):
        return {name: _plain(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _text(value: object) -> str:
    return html.escape(str(value))
