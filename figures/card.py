"""The evaluation card of a run, one HTML page and the same as JSON: ``python -m experiments card``.

The page knows nothing of what was trained: it draws the fields of ``experiments.cards.card.Card``.
"""

import dataclasses
import io
import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import tyro
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter

from experiments import command, runtime
from experiments.cards import audit
from experiments.cards.card import QUESTIONS
from experiments.store import write_json
from experiments.worlds.registry import read_run
from figures import style
from figures.pages import data_uri, render

COLUMNS = 3
COLORS = (style.BLUE, style.VERMILION, style.GREEN, style.PURPLE)


@dataclasses.dataclass(frozen=True)
class Arguments:
    """Write a one-page card, card.html and card.json, about a run.

    Attributes:
        run: a run folder, or the first letters of one's name under the root.
        root: where run folders are.
        out: where to write the card; the run folder if left out.
        images: pictures of a run on images of the user's own, as they were given for training.
        compute: compute attacks and advice if they are missing.
    """

    run: Annotated[str, tyro.conf.Positional]
    root: Path = Path("runs")
    out: Path | None = None
    images: Path | None = None
    compute: bool = True


def main(arguments: Arguments) -> Path:
    """Make the card; returns the page."""
    run = audit.find_run(arguments.run, arguments.root)
    config = read_run(run.config_file)
    if arguments.images is not None:
        config = audit.with_files(config, arguments.images, arguments.root)
    card = audit.audit(run, config, compute=arguments.compute)
    return write(card.to_json(), arguments.out or run.path)


def write_card(arguments: Arguments) -> None:
    """Make the card, and say where it is."""
    command.check_folder("out", arguments.out)
    runtime.prepare(arguments.root)
    print(main(arguments))


def write(card: Mapping[str, Any], folder: Path) -> Path:
    """Write ``card.html`` and ``card.json`` into a folder.

    Args:
        card: what ``Card.to_json`` gives.
        folder: made if need be.

    Returns:
        The page.
    """
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / "card.json", card)
    marks = ", ".join(f"{name} = {time:.3g}" for name, time in card["moments"].items())
    caption = f"{style.BANDS}.{f' Dotted: {marks}.' if marks else ''}"
    shown = {"questions": QUESTIONS, "picture": _picture(card), "caption": caption}
    path = folder / "card.html"
    path.write_text(render("card.html", folder, **shown, **card))
    return path


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


def _picture(card: Mapping[str, Any]) -> str | None:
    """The curves as an address that holds them; None if there are none."""
    if not card["curves"]:
        return None
    buffer = io.BytesIO()
    draw(card).savefig(buffer, format="png", dpi=160)
    return data_uri(buffer.getvalue(), "card.png")


def _panel(axis: Axes, curves: Sequence[Mapping[str, Any]], moments: Mapping[str, float]) -> None:
    for curve, color in zip(curves, itertools.cycle(COLORS), strict=False):
        time, values = (np.asarray(curve[name]) for name in ("time", "values"))
        style.curve_with_band(axis, time, values, color=color, label=curve["name"])
    for time in moments.values():
        axis.axvline(time, color=style.GREY, lw=0.8, ls=":")
    axis.set_ylabel(f"{curves[0]['units']}\n{curves[0]['good']}")
    axis.legend(loc="upper center", bbox_to_anchor=(0.5, -0.28), handlelength=1.4)
