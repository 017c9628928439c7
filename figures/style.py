"""One look for all figures: sizes, colours that colour-blind readers can tell apart, bands."""

import itertools
import re
import string
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter, StrMethodFormatter

from experiments.onsets import by_pair, num_splits
from experiments.store import Measurements, trained_checkpoints
from hiermodel.measures.units import band_of_units, by_training_set, mean_of_units

Results = Mapping[str, Measurements]
"""Measurements of one run, by stage."""

Panel = tuple[str | None, tuple[str, ...], Callable[[Axes, Results], None]]
"""Title of a panel (None for the label of the run), stages that it reads, and how it is drawn."""

Share = Callable[[Results, np.ndarray], np.ndarray]
"""From curves of networks, or of pairs of them, to a mean for each unit."""

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
GREY, BROWN = "#7F7F7F", "#7A5200"

SHADE, FADING = 0.12, 16
"""Opacity of the shading, and in how many steps it fades."""

NORMAL = 1.96
"""Standard errors on either side of a mean over many sequences, for 95 %."""

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


def draw_runs(
    runs: Mapping[str, Results],
    panels: Sequence[Panel],
    height: float,
    *,
    wrap: int = 3,
    alike: tuple[int, int] | None = None,
    into: SubFigure | None = None,
) -> Figure:
    """Draw all panels of every run: a column for each run, or in rows if there is one.

    Args:
        runs: results by label.
        panels: what is drawn of each; the labels of several runs stand above their first ones.
        height: of a panel, in inches.
        wrap: panels in a row, if there is one run.
        alike: places of two panels that have one vertical axis.
        into: where to draw, if it is a part of a figure.
    """
    rows, columns = len(panels), len(runs)
    if columns == 1:
        columns = min(wrap, len(panels))
        rows = -(-len(panels) // columns)
    figure = into or Figure(figsize=(COLUMN_WIDTH, height * rows), layout="constrained")
    axes = list(figure.subplots(rows, columns, squeeze=False).ravel())
    for column, (label, results) in enumerate(runs.items()):
        own = axes[column :: len(runs)][: len(panels)]
        drawn = []
        for axis, (title, needs, draw) in zip(own, panels, strict=True):
            drawn.append(draw_panel(axis, results, needs, draw))
            named = title is None or (len(runs) > 1 and axis is own[0])
            axis.set_title("\n".join(filter(None, (label if named else None, title))))
        if alike is not None and all(drawn[place] for place in alike):
            own[alike[1]].sharey(own[alike[0]])
    for axis in axes[len(panels) * len(runs) :]:
        axis.set_visible(False)
    return axes[0].get_figure(root=True)


def plain(path: str) -> str:
    """A setting's path, or what is said of it, in words: without its folders and underscores."""
    name, equals, value = path.partition(" = ")
    name = re.sub(r"^[\w.]*\.", "", name).replace("_", " ")  # "weight decay 0.1" is no path
    return f"{name}{equals}{value}"


def symbols(words: str) -> str:
    """Words in which τ_bias and the like are set as symbols."""
    return re.sub(r"τ_(\w+)", r"$\\tau_\\mathrm{\1}$", words)


def only(results: Mapping[str, Results]) -> Results:
    """The results of a figure that shows one run; nothing if there are none."""
    return next(iter(results.values()), {})


BANDS = (
    "Lines are means over training sets or pairs of them, seeds averaged first, bands their 95 % "
    "Student intervals; with fewer than four, thin lines are the training sets or pairs instead"
)
"""For captions: what :func:`curve_with_band` draws."""

MINIMA = (
    "dots are minima (geometric mean, bar its 95 % interval over the same units if there are "
    "four), "
    "hollow and without bar where some lie on the border"
)
"""For captions: what :func:`mark_minimum` draws."""

SHADED = "only between minima that were all located, fading where the second was not"
"""For captions: where :func:`shade_biased_phase` does."""


def by_set(results: Results, curves: np.ndarray) -> np.ndarray:
    """Means over what belongs to each training set: (points, networks, …) to (points, sets, …)."""
    return by_training_set(curves, num_splits(results), axis=1)


def onset(results: Results, name: str, place: int | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Times of a minimum per unit, training set or pair, and which of them were located.

    Args:
        results: with "onsets" and "ensemble".
        name: of the onset.
        place: along its second axis, if it has one.
    """
    times, located = (results["onsets"][f"{name}{end}"] for end in ("", "_located"))
    parts = [
        part if place is None else part[:, place]
        for part in (np.log(times.values), located.values.astype(float))
    ]
    share = by_set if times.dims[0] == "member" else by_pair
    logs, found = (share(results, part[None])[0] for part in parts)
    return np.exp(logs), found == 1


def along_training(
    results: Results, stage: str, name: str, share: Share | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Epochs of the trained checkpoints, and what was measured there per training set or pair.

    Args:
        results: of a run.
        stage: that measured it.
        name: of the measurement.
        share: makes units of networks or pairs of them; as its dimension says, if left out.
    """
    trained, epochs = trained_checkpoints(results[stage])
    measured = results[stage][name]
    share = share or {"member": by_set, "pair": by_pair}.get(measured.dims[1])
    values = measured.values[trained]
    return epochs, values if share is None else share(results, values)


def curve_with_band(axis: Axes, x: np.ndarray, curves: np.ndarray, **line) -> None:
    """Mean over units with the band of its Student interval; the units themselves if too few.

    Args:
        axis: where to draw.
        x: (num_points,).
        curves: (num_points, num_units), a unit being a training set or a pair of them; points at
            which one of them is not known are left out.
        line: properties of the line.
    """
    known = np.isfinite(curves).all(1)
    x, curves = np.asarray(x)[known], curves[known]
    (drawn,) = axis.plot(x, curves.mean(1), **line)
    band = band_of_units(curves.T) if len(x) else None
    if band is not None:
        axis.fill_between(x, band.low, band.high, color=drawn.get_color(), alpha=0.2, lw=0)
    elif curves.shape[1] > 1:
        axis.plot(x, curves, color=drawn.get_color(), alpha=0.45, lw=0.5, zorder=1.5)


def curve_with_error(
    axis: Axes, x: np.ndarray, mean: np.ndarray, error: np.ndarray, **line
) -> None:
    """A curve over many sequences with the band of 1.96 standard errors, (num_points,) each."""
    (drawn,) = axis.plot(x, mean, **line)
    reach = NORMAL * error
    axis.fill_between(x, mean - reach, mean + reach, color=drawn.get_color(), alpha=0.2, lw=0)


def mark_minimum(
    axis: Axes,
    results: Results,
    tau: str,
    x: np.ndarray,
    curves: np.ndarray,
    color,
    place: int | None = None,
) -> None:
    """A dot on the mean curve at the geometric mean of its minima, with a bar over its interval.

    Unless all minima lie within the range, the dot is hollow and has no bar: times on the border
    only bound the minima. With too few units there is no bar either.

    Args:
        axis: where to draw.
        results: of a run.
        tau: the onset that the minima are.
        x: (num_points,).
        curves: (num_points, num_units).
        color: of the curve.
        place: along the onset's second axis, if it has one.
    """
    taus, located = onset(results, tau, place)
    centre, low, high = mean_of_units(np.log(taus), of_logs=True)
    height = np.interp(np.log(centre), np.log(x), curves.mean(1))
    if np.all(located) and np.isfinite(low):
        low, high = max(low, x[0]), min(high, x[-1])
        axis.plot([low, high], [height, height], color=color, lw=1.0, zorder=4)
    dot_on_bar(axis, centre, height, located, color)


def dot_on_bar(axis: Axes, x: float, y: float, located: np.ndarray, color) -> None:
    """The dot of a located minimum, or the hollow one of minima on the border of the range."""
    colors = (color, "white") if np.all(located) else ("white", color)
    axis.plot([x], [y], "o", ms=4.5, mfc=colors[0], mec=colors[1], mew=0.8, zorder=5)


def draw_gap(axis: Axes, results: Results, **line) -> None:
    """The own–other gap along training, if there are two training sets, and where it is none."""
    axis.axhline(0, color=GREY, lw=0.8)
    if "gap_of_sets" in results["comparison"]:
        epochs, curves = along_training(results, "comparison", "gap_of_sets")
        curve_with_band(axis, epochs, curves, color=GREEN, **line)


def log_height(axis: Axes) -> None:
    """A logarithmic vertical axis with plain numbers; to be called when all is drawn.

    They stand at 1, 2 and 5 of every decade, or where these are too few, evenly spaced.
    """
    axis.set_yscale("log")
    low, high = axis.get_ylim()
    axis.yaxis.set_major_locator(
        LogLocator(subs=(1, 2, 5)) if high > 6 * low else MaxNLocator(4, steps=[1, 2, 5, 10])
    )
    axis.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axis.yaxis.set_minor_formatter(NullFormatter())


def shade_biased_phase(
    axis: Axes, results: Results, begin: str = "tau_neighbour", end: str = "tau_test"
) -> None:
    """Shade where bias has set in and the test loss still falls, and write there what it is.

    Nothing is shaded unless all minima of ``begin`` were located. Where some of ``end`` were not,
    the shading fades from where bias sets in: how far it should reach is not known.

    Args:
        axis: where to draw.
        results: with "onsets", in which both may be missing.
        begin: onset of the bias.
        end: minimum of the test loss.
    """
    if not {begin, end} <= set(results.get("onsets", {})):
        return
    (first, first_located), (last, last_located) = (onset(results, n) for n in (begin, end))
    start, stop = (float(np.exp(np.log(times).mean())) for times in (first, last))
    if start >= stop or not first_located.all():
        return
    words = {"color": BROWN, "size": 6, "va": "top", "zorder": 6}
    place = {"transform": axis.get_xaxis_transform(), "clip_on": True}
    known = last_located.all()
    name = "biased phase " if known else "biased phase … "
    axis.text(stop, 0.99, name, ha="right", **words, **place)
    if known:
        axis.axvspan(start, stop, color=ORANGE, alpha=SHADE, lw=0, zorder=0)
        return
    edges = np.geomspace(start, stop, FADING + 1)
    for place, (left, right) in enumerate(itertools.pairwise(edges)):
        alpha = SHADE * (1 - (place + 0.5) / FADING)
        axis.axvspan(left, right, color=ORANGE, alpha=alpha, lw=0, zorder=0)


def letter(axes: Sequence[Axes]) -> None:
    """Panels (a), (b) and so on, before their titles; to be called when these are set."""
    for axis, name in zip(axes, string.ascii_lowercase, strict=False):
        axis.set_title(f"({name}) {axis.get_title()}", loc="left")
        axis.set_title("", loc="center")


def training_axis(axis: Axes) -> None:
    """Training time along a logarithmic horizontal axis; to be called when all is drawn."""
    axis.set(xscale="log", xlabel="training time (epochs)")
    low, high = axis.get_xlim()
    if high / low < 50:  # so few decades that powers of ten alone would leave it bare
        axis.xaxis.set_major_locator(LogLocator(subs=(1, 3)))
        axis.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axis.xaxis.set_minor_formatter(NullFormatter())


LETTER, HANDLE = 0.052, 0.45
"""What a letter takes in a legend, and a handle with the space around it, in inches."""


def legend_below(figure: Figure, panels: Iterable[Axes], title: str | None = None) -> None:
    """One legend for these panels, each label once, below the figure."""
    found = {}
    for axis in panels:
        for handle, label in zip(*axis.get_legend_handles_labels(), strict=True):
            found.setdefault(label, handle)
    if found:
        columns = {"ncols": _num_columns(list(found), figure.get_figwidth()), "columnspacing": 1.4}
        columns["loc"] = "outside lower center"
        figure.legend(found.values(), found, title=title, handlelength=1.8, **columns)


def _num_columns(labels: Sequence[str], width: float) -> int:
    """The most columns of a legend that fit; it is filled column by column."""
    for rows in range(1, len(labels)):
        columns = [labels[start : start + rows] for start in range(0, len(labels), rows)]
        longest = sum(max(map(len, column)) for column in columns)
        if LETTER * longest + HANDLE * len(columns) <= width:
            return len(columns)
    return 1


def draw_panel(
    axis: Axes, results: Results, needs: Collection[str], draw: Callable[[Axes, Results], None]
) -> bool:
    """Draw a panel from the stages it needs, or say in its place which are missing.

    Returns:
        Whether it is drawn.
    """
    missing = [stage for stage in needs if stage not in results]
    if not missing:
        draw(axis, results)
        return True
    axis.set(xticks=[], yticks=[])
    text = "not measured yet:\n" + "\n".join(missing)
    axis.text(0.5, 0.5, text, ha="center", va="center", color=GREY, transform=axis.transAxes)
    mark_partial(axis.get_figure(root=True))
    return False


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
