"""When each filter level is learned, against what a study varies."""

from matplotlib.figure import Figure

from experiments.study.outcome import Outcome
from figures import style
from figures.figure import StudyPicture
from figures.study_phases import Axis, draw_series

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
            line = {"color": style.level_color(level, len(names)), "label": f"k = {level}"}
            located = [f"tau_level_located_{level}"]
            draw_series(axis, own, across, f"tau_level_{level}", located, logarithmic=True, **line)
        if panels:
            axis.set_title(f"{style.plain(panels.path)} {value}")
        style.log_height(axis)
        across.finish(axis)
    axes[0].set_ylabel("time of the minimum (epochs)\n↓ learned earlier")
    style.legend_below(figure, axes)
    return figure


PICTURE = StudyPicture(
    title="Levels",
    content="when each filter level is learned, against what varies",
    caption=CAPTION,
    draw=draw,
    tables=("runs.csv",),
)
