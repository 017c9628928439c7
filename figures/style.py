"""One look for all figures: sizes, colours that colour-blind readers can tell apart, bands."""

from collections.abc import Callable, Collection, Mapping
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

from experiments.store import Measurement, Measurements
from hiermodel.measures.uncertainty import student_interval

Results = Mapping[str, Measurements]
"""Measurements of one run, by stage."""

COLUMN_WIDTH = 6.8
"""Inches; a text column."""

# Okabe and Ito's colours, distinguishable with any kind of colour vision.
BLACK, ORANGE, SKY, GREEN, BLUE, VERMILION, PURPLE = (
    "#000000",
    "#E69F00",
    "#56B4E9",
    "#009E73",
    "#0072B2",
    "#D55E00",
    "#CC79A7",
)
GREY = "#7F7F7F"

SET_COLORS = {"train": SKY, "test": VERMILION}
"""Colours of the dimension "set", in its order."""

matplotlib.rcParams.update(
    {
        "font.size": 8.5,
        "axes.titlesize": 8.5,
        "axes.labelsize": 8.5,
        "legend.fontsize": 7.5,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.grid": False,
        "legend.frameon": False,
        "lines.linewidth": 1.4,
        "svg.hashsalt": "hiermodel",
        "pdf.fonttype": 42,
    }
)


def level_color(level: int, num_levels: int) -> tuple[float, ...]:
    """Filter levels from dark (k = 0, the whole tree) to light (k = depth, the coarsest)."""
    return matplotlib.colormaps["viridis"](0.05 + 0.85 * level / max(num_levels - 1, 1))


def new_figure(num_columns: int, height: float, num_rows: int = 1) -> tuple[Figure, list[Axes]]:
    """Panels, row by row, as wide together as a text column; the height is in inches."""
    figure = Figure(figsize=(COLUMN_WIDTH, height), layout="constrained")
    return figure, list(figure.subplots(num_rows, num_columns, squeeze=False).ravel())


def curve_with_band(axis: Axes, x: np.ndarray, curves: np.ndarray, **line) -> None:
    """Mean over members, with the band of one standard error of it times two.

    Args:
        axis: where to draw.
        x: (num_points,).
        curves: (num_points, num_members).
        line: properties of the line.
    """
    curve_with_error(axis, x, curves.mean(1), standard_error(curves), **line)


def curve_with_error(
    axis: Axes, x: np.ndarray, mean: np.ndarray, error: np.ndarray, **line
) -> None:
    """A curve with the band of two standard errors, all of shape (num_points,)."""
    (drawn,) = axis.plot(x, mean, **line)
    axis.fill_between(
        x, mean - 2 * error, mean + 2 * error, color=drawn.get_color(), alpha=0.2, lw=0
    )


def standard_error(curves: np.ndarray) -> np.ndarray:
    """Of the mean over members, (num_points, num_members) to (num_points,); 0 for one member."""
    num_members = curves.shape[1]
    return curves.std(1) / np.sqrt(max(num_members - 1, 1))


def log_interval(taus: np.ndarray) -> tuple[float, float, float]:
    """Geometric mean of times, and its 95 % Student interval (no width for a single one)."""
    logs = np.log(taus)
    if len(logs) == 1:
        logs = np.repeat(logs, 2)
    interval = student_interval(logs)
    low, middle, high = (float(np.exp(x)) for x in (interval.low, interval.estimate, interval.high))
    return middle, low, high


def mark_minimum(
    axis: Axes, x: np.ndarray, curve: np.ndarray, taus: np.ndarray, located: np.ndarray, color
) -> None:
    """A dot on the curve at the geometric mean of the minima, with a bar over its 95 % interval.

    Unless all minima lie within the range, the dot is hollow and has no bar: times on the border
    only bound the minima.
    """
    centre, low, high = log_interval(taus)
    height = np.interp(np.log(centre), np.log(x), curve)
    if np.all(located):
        low, high = max(low, x[0]), min(high, x[-1])
        axis.plot([low, high], [height, height], color=color, lw=1.0, zorder=4)
    dot_on_bar(axis, centre, height, located, color)


def dot_on_bar(axis: Axes, x: float, y: float, located: np.ndarray, color) -> None:
    """The dot of a located minimum, or the hollow one of minima on the border of the range."""
    colors = (color, "white") if np.all(located) else ("white", color)
    axis.plot([x], [y], "o", ms=4.5, mfc=colors[0], mec=colors[1], mew=0.8, zorder=5)


def log_height(axis: Axes) -> None:
    """A logarithmic vertical axis with plain numbers at 1, 2 and 5 of every decade."""
    axis.set_yscale("log")
    axis.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axis.yaxis.set_minor_formatter(NullFormatter())


def shade_biased_phase(axis: Axes, begin: float, end: float) -> None:
    """Shade where bias has set in and the test loss still falls."""
    if begin < end:
        axis.axvspan(begin, end, color=ORANGE, alpha=0.12, lw=0, zorder=0)


def shade_between_minima(axis: Axes, onsets: Mapping[str, Measurement]) -> None:
    """Shade the biased phase, between the geometric means of both minima, if both are known."""
    if {"tau_neighbour", "tau_test"} <= set(onsets):
        begin, end = (log_interval(onsets[n].values)[0] for n in ("tau_neighbour", "tau_test"))
        shade_biased_phase(axis, begin, end)


def training_axis(axis: Axes) -> None:
    """Training time along a logarithmic horizontal axis; to be called when all is drawn."""
    axis.set(xscale="log", xlabel="training time (epochs)")
    low, high = axis.get_xlim()
    if high / low < 50:  # so few decades that powers of ten alone would leave it bare
        axis.xaxis.set_major_locator(LogLocator(subs=(1, 3)))
        axis.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axis.xaxis.set_minor_formatter(NullFormatter())


def legend_below(figure: Figure, axis: Axes, title: str | None = None) -> None:
    """One legend for all panels, of the curves of one of them, below the figure."""
    handles, labels = axis.get_legend_handles_labels()
    if handles:
        columns = {"loc": "outside lower center", "ncols": len(handles), "columnspacing": 1.4}
        figure.legend(handles, labels, title=title, handlelength=1.8, **columns)


def leave_room_above(axis: Axes, share: float) -> None:
    """Raise the upper end of a linear vertical axis, for a legend."""
    low, high = axis.get_ylim()
    axis.set_ylim(low, high + share * (high - low))


def draw_panel(
    axis: Axes, results: Results, needs: Collection[str], draw: Callable[[Axes, Results], None]
) -> None:
    """Draw a panel from the stages it needs, or say in its place which are missing."""
    missing = [stage for stage in needs if stage not in results]
    if not missing:
        draw(axis, results)
        return
    axis.set(xticks=[], yticks=[])
    text = "not measured yet:\n" + "\n".join(missing)
    axis.text(0.5, 0.5, text, ha="center", va="center", color=GREY, transform=axis.transAxes)
    mark_partial(axis.get_figure(root=True))


def mark_partial(figure: Figure | None) -> None:
    """Say above the panels that the figure is not complete."""
    if figure is not None:
        figure.suptitle("partial: not all runs are finished", color=VERMILION, size=8.5)


def save(figure: Figure, folder: Path, name: str) -> list[Path]:
    """Write the figure as PDF (vector) and PNG (bitmap)."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{name}.pdf", folder / f"{name}.png"]
    figure.savefig(paths[0], metadata={"CreationDate": None, "Creator": None})
    figure.savefig(paths[1], dpi=200)
    return paths
