"""When each filter level is learned, against what a study varies."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from experiments.study.outcome import Outcome
from experiments.study.table import interval_of
from figures import style
from figures.figure import StudyPicture
from figures.study_phases import Axis

CAPTION = (
    "Training time at which the divergence from the denoiser of each filter level k is lowest: "
    "k = 0 (dark) is the whole tree, the largest k (light) single symbols. Geometric means with "
    "95 % Student intervals over training sets, if there are four; hollow where some "
    "minima lie on the border of the measured range."
)


def draw(found: Outcome) -> Figure | None:
    """A panel for every value of the second path, a line per level along the first."""
    rows, against = found.table, found.against
    names = [name for name in rows.columns if name.startswith("tau_level_located_")]
    if not names:
        return None
    across = Axis.of(rows, against[0])
    panels = Axis.of(rows, against[1]) if len(against) > 1 else None
    values = panels.values if panels else [None]
    figure, axes = style.new_figure(len(values), 2.8)
    for axis, value in zip(axes, values, strict=True):
        own = rows if panels is None else rows[rows[panels.path] == value]
        for level in range(len(names)):
            _draw_level(axis, own, across, level, len(names))
        if panels:
            axis.set_title(f"{style.plain(panels.path)} {value}")
        style.log_height(axis)
        across.finish(axis)
    axes[0].set_ylabel("time of the minimum (epochs)")
    style.legend_below(figure, axes)
    return figure


def _draw_level(axis: Axes, rows: pd.DataFrame, across: Axis, level: int, num_levels: int) -> None:
    color = style.level_color(level, num_levels)
    x: list[float] = []
    y: list[float] = []
    flags: list[np.ndarray] = []
    for place, value in zip(across.places(), across.values, strict=True):
        own = rows[rows[across.path] == value]
        own = own[np.isfinite(own[f"tau_level_{level}"])]
        interval = interval_of(own, f"tau_level_{level}", logarithmic=True) if len(own) else None
        if interval is not None:
            ends = [float(interval.low), float(interval.high)]  # NaN, not drawn, with too few
            axis.plot([place, place], ends, color=color, lw=1.0)
            x.append(float(place))
            y.append(float(interval.estimate))
            flags.append(own[f"tau_level_located_{level}"].to_numpy(bool))
    if x:
        axis.plot(x, y, color=color, label=f"k = {level}")
    for place, height, located in zip(x, y, flags, strict=True):
        style.dot_on_bar(axis, place, height, located, color)


PICTURE = StudyPicture(
    title="Levels",
    content="when each filter level is learned, against what varies",
    caption=CAPTION,
    draw=draw,
    tables=("runs.csv",),
)
