"""The frontier of all mitigations, from ``mitigations.json``, and its tables in Markdown."""

import json
import math
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

from figures import style
from figures.markdown import fill

GALLERY = Path(__file__).with_name("gallery")
BEGIN, END = "<!-- mitigations:begin -->", "<!-- mitigations:end -->"

CAPTION = (
    "Each line follows one mitigation along its training, mostly from right to left (mean over "
    "networks or averages of two); dots are test-loss minima, the square the baseline stopped at "
    "τ_bias. Lower and further left is better. Left: how many more samples are copies of "
    "training sequences than of "
    "as many test sequences; 0 is chance. Right: AUC of the attack "
    "that subtracts the exact denoiser's loss; 0.5 is chance. Heights are cut to those of "
    "networks as good as the worst dot; white dots belong to dashed lines."
)

COLORS = (
    style.BLACK,
    style.SKY,
    style.BLUE,
    style.GREEN,
    style.ORANGE,
    style.PURPLE,
    style.VERMILION,
    style.GREY,
)


def draw(results: Mapping[str, Any]) -> Figure:
    """Draw the figure from the contents of ``mitigations.json``."""
    figure, (left, right) = style.new_figure(2, 4.0)
    for index, (name, curve) in enumerate(results["curves"].items()):
        color, dash = COLORS[index % len(COLORS)], "-" if index < len(COLORS) else "--"
        for axis, measure in ((left, "copies"), (right, "auc")):
            _line(axis, curve, measure, name, color, dash)
    for row in results["rows"]:
        marker = "s" if row["name"].startswith("early stop") else "o"
        names = list(results["curves"])
        known = row["name"] in names
        index = names.index(row["name"]) if known else 0
        color = COLORS[index % len(COLORS)]
        colors = (color, "white") if index < len(COLORS) else ("white", color)
        for axis, measure in ((left, "copies"), (right, "auc")):
            x, y = (row[each]["estimate"] for each in ("divergence", measure))
            axis.plot([x], [y], marker, ms=5, mfc=colors[0], mec=colors[1], mew=0.8, zorder=5)
    left.set(title="copies", ylabel="excess fraction of samples")
    right.set(title="membership inference", ylabel="AUC, calibrated attack")
    for axis, measure, chance in ((left, "copies", 0), (right, "auc", 0.5)):
        axis.axhline(chance, color=style.GREY, lw=0.8)
        _cut(axis, results, measure)
    for axis in (left, right):
        axis.set(xscale="log", xlabel="KL(exact ‖ model) (nats per sequence)")
        axis.xaxis.set_major_locator(LogLocator(subs=(1, 1.5, 2, 3, 5, 7)))
        axis.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
        axis.xaxis.set_minor_formatter(NullFormatter())
    handles, labels = left.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3, fontsize=6.5)
    return figure


def _cut(axis: Axes, results: Mapping[str, Any], measure: str) -> None:
    """Leave out what is worse than every dot: untrained networks draw one sequence again and again.

    Whether it is a training sequence is chance, and hides everything else.
    """
    found = [row["divergence"]["estimate"] for row in results["rows"]]
    worst = 1.1 * max(found)
    heights = [row[measure]["estimate"] for row in results["rows"]]
    for curve in results["curves"].values():
        x, y = (np.mean(curve[each], 1) for each in ("divergence", measure))
        heights += y[x <= worst].tolist()
    margin = 0.05 * (max(heights) - min(heights))
    axis.set_ylim(min(heights) - margin, max(heights) + margin)
    axis.set_xlim(min(found) / 1.1, worst)


def _line(axis: Axes, curve: Mapping[str, Any], measure: str, name: str, color, dash) -> None:
    x, y = (np.mean(curve[each], 1) for each in ("divergence", measure))
    axis.plot(x, y, dash, color=color, lw=1.1, label=name)


def write(folder: Path) -> list[Path]:
    """Draw the figure of a folder's ``mitigations.json`` beside it, and write the tables."""
    results = json.loads((folder / "mitigations.json").read_text())
    paths = style.save(draw(results), folder, "mitigations")
    page = folder / "mitigations.md"
    page.write_text(text(results) + "\n")
    return [*paths, page]


def publish(folder: Path, gallery: Path = GALLERY) -> None:
    """Copy figure and numbers into the gallery, and the tables into its README."""
    for end in ("json", "pdf", "png"):
        shutil.copy(folder / f"mitigations.{end}", gallery / f"mitigations.{end}")
    readme = gallery / "README.md"
    results = json.loads((folder / "mitigations.json").read_text())
    readme.write_text(fill(readme.read_text(), text(results), BEGIN, END))


def text(results: Mapping[str, Any]) -> str:
    """What helps, the frontier as a table, and the advisor's score, in Markdown."""
    minutes = results["seconds"] / 60
    parts = [
        "![Frontier of mitigations](mitigations.png)",
        f"*{CAPTION}*",
        " ".join(results["sentences"]),
        _frontier(results["rows"]),
        "Each at its own test-loss minimum, curves smoothed in log time; in brackets 95 % Student "
        "intervals over training sets, or pairs of them. The columns “beyond” subtract the "
        "baseline stopped where its test "
        f"loss was as low. Equal network passes for all but averages. {minutes:.0f} minutes of "
        f"{results['provenance']['cores']} cores.",
        *_privacy(results["privacy"]),
        "**The stopping advisor's score**, over the pairs of networks of all these runs:",
        _advice(results["advice"]),
        f"Control, two networks of the same data against two sets that neither saw: "
        f"{results['controls']['alarmed']} false alarms of {results['controls']['of']}.",
    ]
    return "\n\n".join(parts)


def _frontier(rows: Sequence[Mapping[str, Any]]) -> str:
    head = (
        "| mitigation | test loss | KL(exact ‖ model) | excess copies | AUC | copies beyond | "
        "AUC beyond | at equal test loss |"
    )
    lines = [head, "|---|---|---|---|---|---|---|---|"]
    for row in rows:
        cells = [row["name"]]
        cells += [
            f"{row[name]['estimate']:.3g}" for name in ("loss", "divergence", "copies", "auc")
        ]
        cells += [_interval(row[f"{name}_beyond"]) for name in ("copies", "auc")]
        lines.append(f"| {' | '.join(cells)} | {row['verdict']} |")
    return "\n".join(lines)


def _privacy(privacy: Mapping[str, Any]) -> list[str]:
    """What was guaranteed, at the end of training."""
    if not privacy:
        return []
    said = []
    for name, spent in privacy.items():
        epsilon = max(value for value in spent["epsilon"].values())
        said.append(f"{name}: ε = {epsilon:.3g} at δ = {spent['delta']:.2g}")
    return [
        f"Guaranteed at the end of training: {'; '.join(said)}. An ε above about 10 promises "
        "little in practice."
    ]


def _advice(table: Sequence[Mapping[str, Any]]) -> str:
    head = (
        "| signal | alarms | ln(alarm / τ) | ln(since / τ) | its spread | stopped at the alarm: "
        "test loss given up, copies avoided | gone back to before “since”: the same |"
    )
    lines = [head, "|---|---|---|---|---|---|---|"]
    for row in table:
        numbers = [row[name] for name in ("alarm", "since", "since_spread")]
        cells = [row["signal"], f"{row['alarmed']} of {row['pairs']}", *map(_number, numbers)]
        cells += [
            ", ".join(
                _number(row[f"{what}_{rule}"]) for what in ("loss_given_up", "reproduction_avoided")
            )
            for rule in ("stopping", "going_back")
        ]
        lines.append(f"| {' | '.join(cells)} |")
    note = (
        "τ is τ_bias, the minimum of the nearest-neighbour divergence of all samples, and τ_test "
        "for the test loss. Test loss (nats per position) and excess copies (fraction of samples) "
        "are counted from the test-loss minimum; without an alarm training goes on to its end."
    )
    return "\n".join([*lines, "", note])


def _interval(numbers: Mapping[str, float]) -> str:
    if numbers["low"] is None:
        return f"{numbers['estimate']:.2g}"
    return f"{numbers['estimate']:.2g} [{numbers['low']:.2g}, {numbers['high']:.2g}]"


def _number(value: float | None) -> str:
    return "" if value is None or math.isnan(value) else f"{value:.2g}"
