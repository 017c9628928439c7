"""The frontier of mitigations: each against the baseline, stopped where it had learned as much."""

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from experiments.frontier import (
    BASELINE,
    FEWER,
    LOWER,
    MORE,
    STRONGER,
    WEAKER,
    points,
    summarise,
)
from experiments.study.outcome import Outcome
from experiments.words import number_text
from figures import style
from figures.figure import StudyPicture
from hiermodel.measures.units import MIN_UNITS

CAPTION = (
    "Each mitigation at its own test-loss minimum; the line at 0 is the baseline, and the shaded "
    "side is better. Left: its lowest test loss less the baseline's. Middle and right: how many "
    "more samples are copies, and how much more an attacker gains (AUC of the attack that "
    "subtracts the exact denoiser's loss), than of the baseline where its test loss was as low. "
    "Dots are means, bars 95 % Student intervals over training sets or pairs of them, if there are "
    "four; green where the claim of an improvement is shown, red where the opposite is. An arrow "
    "has its number beside it: it lies outside the panel."
)

PANELS = (
    ("loss_less_minimum", "lowest test loss\n(nats per position)", LOWER, ""),
    ("copies_beyond", "excess copies\n(fraction of samples)", FEWER, MORE),
    ("auc_beyond", "attack\n(AUC)", WEAKER, STRONGER),
)
"""Number of a row, its label, and the words of a verdict that is better or worse."""


def draw(found: Outcome) -> Figure | None:
    """Draw the figure of a study that has a baseline and measured what it takes."""
    results = {made.name: made.results for made in found.runs}
    if BASELINE not in results or not all("tradeoff" in own for own in results.values()):
        return None
    base = next(made.config for made in found.runs if made.name == BASELINE)
    return draw_rows(summarise(points(results, base)))


def draw_rows(rows: Sequence[Mapping[str, Any]]) -> Figure:
    """Draw the figure from the rows of ``experiments.frontier.summarise``."""
    rows = [row for row in rows if row["name"] != BASELINE]
    figure, axes = style.new_figure(len(PANELS), 0.9 + 0.24 * len(rows))
    for axis, (name, label, better, worse) in zip(axes, PANELS, strict=True):
        reach = _reach([row[name] for row in rows])
        for place, row in enumerate(rows):
            said = row["verdict"].split(" and ")
            color = style.GREEN if better in said else style.BLACK
            color = style.VERMILION if worse in said else color
            _draw_row(axis, place, row[name], row["units"] >= MIN_UNITS, reach, color)
        axis.axvline(0, color=style.GREY, lw=0.8, zorder=0)
        axis.axvspan(-reach, 0, color=style.GREEN, alpha=0.07, lw=0, zorder=0)
        axis.set(title=f"{label}\n← better", xlim=(-reach, reach), ylim=(len(rows) - 0.5, -0.5))
        axis.set_xlabel("mitigation − baseline")
        axis.xaxis.set_major_locator(MaxNLocator(3, symmetric=True))
        axis.set_yticks(range(len(rows)), [""] * len(rows))
        axis.grid(axis="y", color=style.GREY, alpha=0.2, lw=0.5)
    axes[0].set_yticks(range(len(rows)), [style.symbols(row["name"]) for row in rows])
    return figure


def _reach(numbers: Sequence[Mapping[str, float | None]]) -> float:
    """How far a panel goes on both sides: as far as all but the widest row."""
    reaches = [max(abs(end) for end in own.values() if end is not None) for own in numbers]
    return 1.1 * (sorted(reaches)[-2:][0] or 1.0)


def _draw_row(
    axis: Axes,
    place: int,
    numbers: Mapping[str, float | None],
    bar: bool,
    reach: float,
    color: str,
) -> None:
    """A dot with its bar, or where it lies outside, an arrow with its number."""
    estimate, low, high = (numbers[end] for end in ("estimate", "low", "high"))
    assert estimate is not None
    if bar and low is not None and high is not None:
        axis.plot([max(low, -reach), min(high, reach)], [place, place], color=color, lw=1.2)
    if abs(estimate) < reach:
        axis.plot([estimate], [place], "o", color=color, ms=4.5, mec="white", mew=0.5)
        return
    side = 1 if estimate > 0 else -1
    axis.plot([0.96 * side * reach], [place], ">" if side > 0 else "<", color=color, ms=4.5)
    words = {"ha": "right" if side > 0 else "left", "va": "center", "size": 7, "color": color}
    axis.text(0.9 * side * reach, place - 0.4, number_text(estimate, 2), **words)


PICTURE = StudyPicture(
    title="Frontier",
    content="every mitigation against the baseline, at equal test loss",
    caption=CAPTION,
    draw=draw,
    tables=("runs.csv",),
)
