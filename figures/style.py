"""One look for all figures: sizes, colours that colour-blind readers can tell apart, bands."""

from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

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


def new_figure(num_columns: int, height: float) -> tuple[Figure, list[Axes]]:
    """A row of panels as wide as a text column."""
    figure = Figure(figsize=(COLUMN_WIDTH, height), layout="constrained")
    return figure, list(figure.subplots(1, num_columns, squeeze=False)[0])


def curve_with_band(axis: Axes, x: np.ndarray, curves: np.ndarray, **line) -> None:
    """Mean over members, with the band of one standard error of it times two.

    Args:
        axis: where to draw.
        x: (num_points,).
        curves: (num_points, num_members).
        line: properties of the line.
    """
    mean = curves.mean(1)
    error = curves.std(1, ddof=1) / np.sqrt(curves.shape[1]) if curves.shape[1] > 1 else 0 * mean
    (drawn,) = axis.plot(x, mean, **line)
    axis.fill_between(
        x, mean - 2 * error, mean + 2 * error, color=drawn.get_color(), alpha=0.2, lw=0
    )


def mark_minimum(axis: Axes, x: np.ndarray, curve: np.ndarray, taus: np.ndarray, color) -> None:
    """A dot on the curve at the geometric mean of the minima, with a bar over their range."""
    centre = np.exp(np.log(taus).mean())
    height = np.interp(np.log(centre), np.log(x), curve)
    axis.plot([taus.min(), taus.max()], [height, height], color=color, lw=1.0, zorder=4)
    axis.plot([centre], [height], "o", color=color, ms=4.5, mec="white", mew=0.7, zorder=5)


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


def save(figure: Figure, folder: Path, name: str) -> list[Path]:
    """Write the figure as PDF (vector) and PNG (bitmap)."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{name}.pdf", folder / f"{name}.png"]
    figure.savefig(paths[0], metadata={"CreationDate": None, "Creator": None})
    figure.savefig(paths[1], dpi=200)
    return paths
