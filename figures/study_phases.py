"""Phase diagrams of a study: when bias sets in, when the test loss is lowest, and copies there."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from experiments.study.outcome import Outcome
from experiments.study.table import interval_of
from figures import style
from figures.figure import StudyPicture

CAPTION = (
    "Minima of the nearest-neighbour divergence (τ_bias; of images, of the dissimilarity of "
    "paired samples), of the divergence between networks of different training sets (τ_turn) and "
    "of the test loss (τ_test), the ratio of last and first, above 1 where there is a biased "
    "phase, and how many more samples at τ_test are copies of their own training set than of "
    "another. Times and ratios are geometric means; bars are 95 % Student intervals over training "
    "sets, or over pairs of them for copies, if there are four. Hollow: some minima lie on the "
    "border of the measured range and only bound the time. What is located in fewer than half of "
    "the networks is left out."
)

PANELS = (
    ("tau_bias", "onset of bias τ_bias (epochs)", True),
    ("tau_turn", "turn between networks τ_turn (epochs)", True),
    ("tau_test", "test-loss minimum τ_test (epochs)", True),
    ("ratio", "biased phase τ_test / τ_bias\n1: there is none", True),
    ("excess_copies", "excess of copies at τ_test\n0: there is none", False),
)
"""Column, its label, and whether it is drawn along a logarithm."""

FEW_WORDS = 3
"""As many words as fit side by side."""

INCHES_PER_LETTER = 0.06
"""Of words that stand upright below an axis."""

MINIMA = {"ratio": ("tau_bias", "tau_test"), "excess_copies": ("tau_test",)}
"""Minima that a column rests on, if it is none itself."""

COLORS = (style.BLUE, style.VERMILION, style.GREEN, style.PURPLE, style.ORANGE, style.SKY)


@dataclasses.dataclass(frozen=True)
class Axis:
    """What results are drawn against.

    Attributes:
        path: of the setting, a column of the table.
        values: that it takes, in order.
    """

    path: str
    values: Sequence[Any]

    @classmethod
    def of(cls, rows: pd.DataFrame, path: str) -> "Axis":
        """The axis with all values in the table; words keep the order that they have there."""
        values = list(dict.fromkeys(rows[path].tolist()))
        return cls(path, values if isinstance(values[0], str) else sorted(values))

    @property
    def numeric(self) -> bool:
        """Whether its values lie on a scale."""
        return not isinstance(self.values[0], str | bool)

    @property
    def logarithmic(self) -> bool:
        """Whether it is drawn along a logarithm: values over more than a factor of four."""
        return self.numeric and min(self.values) > 0 and max(self.values) > 4 * min(self.values)

    @property
    def crowded(self) -> bool:
        """Whether its words do not fit side by side."""
        return not self.numeric and len(self.values) > FEW_WORDS

    def places(self, shift: float = 0.0) -> np.ndarray:
        """Where its values are drawn, words beside one another; shifted by a share of the axis."""
        places = np.array(self.values if self.numeric else range(len(self.values)), float)
        if self.logarithmic:
            return places * (places.max() / places.min()) ** shift
        return places + shift * (np.ptp(places) or 1.0)

    def finish(self, axis: Axes, *, lowest: bool = True) -> None:
        """Label the horizontal axis; of crowded ones, the lowest alone."""
        if self.logarithmic:
            axis.set_xscale("log")
        axis.set_xticks(self.places(), [f"{v:g}" if self.numeric else v for v in self.values])
        axis.set_xticks([], minor=True)
        low, high = axis.get_xlim()
        if not self.numeric:
            axis.set_xlim(low - 0.3, high + 0.3)
        if self.crowded and not lowest:
            axis.tick_params(axis="x", labelbottom=False)
            return
        axis.set_xlabel(style.plain(self.path))
        if self.crowded:
            axis.tick_params(axis="x", labelrotation=90, labelsize=6)


def draw(found: Outcome) -> Figure | None:
    """Draw all panels against one path, with a series for each value of a second one."""
    rows, against = found.table, found.against
    panels = [panel for panel in PANELS if panel[0] in rows and _often_located(rows, panel[0])]
    if "tau_test" not in rows or not panels:
        return None
    across = Axis.of(rows, against[0])
    columns = 1 if across.crowded else min(2, len(panels))  # names of many words stand once
    height = 4.6
    if across.crowded:
        height = 1.3 * len(panels) + INCHES_PER_LETTER * max(map(len, across.values))
    figure, axes = style.new_figure(columns, height, -(-len(panels) // columns))
    series = Axis.of(rows, against[1]) if len(against) > 1 else None
    for place, (axis, panel) in enumerate(zip(axes, panels, strict=False)):
        column, label, logarithmic = panel
        names = series.values if series else [None]
        for index, value in enumerate(names):
            own = rows if series is None else rows[rows[series.path] == value]
            line = {"color": COLORS[index % len(COLORS)]}
            line |= {} if value is None else {"label": value}
            shift = 0.015 * (index - (len(names) - 1) / 2)  # bars beside one another
            flags = _flags(column)
            draw_series(
                axis, own, across, column, flags, logarithmic=logarithmic, shift=shift, **line
            )
        axis.set_title(style.symbols(label))
        if column == "ratio":
            axis.axhline(1, color=style.GREY, lw=0.8, zorder=0)
        if logarithmic:
            style.log_height(axis)
        else:
            axis.axhline(0, color=style.GREY, lw=0.8, zorder=0)
        across.finish(axis, lowest=place + columns >= len(panels))
    for axis in axes[len(panels) :]:
        axis.set_visible(False)
    if series:
        style.legend_below(figure, axes[:1], style.plain(series.path))
    return figure


def _flags(column: str) -> list[str]:
    """Columns that say whether the minima in a column are located."""
    return [f"{name}_located" for name in MINIMA.get(column, (column,))]


def _often_located(rows: pd.DataFrame, column: str) -> bool:
    """Whether the minima in a column are located in half of the networks."""
    return bool(rows[_flags(column)].astype(bool).all(axis=1).mean() >= 0.5)


def draw_series(
    axis: Axes,
    rows: pd.DataFrame,
    across: Axis,
    column: str,
    flags: Sequence[str],
    *,
    logarithmic: bool,
    shift: float = 0.0,
    **line: Any,
) -> None:
    """A line through the means of a column, with their intervals; hollow where not located.

    Args:
        axis: where to draw.
        rows: a row per network.
        across: what it is drawn against.
        column: what is drawn.
        flags: columns that say whether the minima in it are located.
        logarithmic: geometric means.
        shift: to the side, as a share of the axis.
        line: its properties, a color among them.
    """
    dots = []
    for place, value in zip(across.places(shift), across.values, strict=True):
        own = rows[(rows[across.path] == value) & np.isfinite(rows[column])]
        interval = interval_of(own, column, logarithmic=logarithmic)
        if interval is None:
            continue
        ends = [float(interval.low), float(interval.high)]  # NaN, not drawn, with too few
        axis.plot([place, place], ends, color=line["color"], lw=1.0)
        located = own[list(flags)].to_numpy(bool)
        dots.append((float(place), float(interval.estimate), located))
    if not across.numeric:  # nothing lies between words
        line |= {"ls": "", "marker": "o", "ms": 4}
    if dots:
        axis.plot(*zip(*(dot[:2] for dot in dots), strict=True), **line)
    for x, y, located in dots:
        style.dot_on_bar(axis, x, y, located, line["color"])


PICTURE = StudyPicture(
    title="Phase diagram",
    content="onset of bias, test-loss minimum and copies against what varies",
    caption=CAPTION,
    draw=draw,
    tables=("runs.csv",),
)
