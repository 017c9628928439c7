"""Figure 11: what remains of random strings after U-turns of different denoisers."""

from collections.abc import Mapping

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from figures import style
from figures.figure import FigureSpec
from figures.style import Results

CAPTION = (
    "Overlap of uniform random strings, which the grammar does not produce, with what U-turns "
    "through step t end in: for the denoisers of filter level k, from the coarsest (light) to the "
    "exact one (dark), for the posterior under a training set, and for networks at their test-loss "
    "minimum. Bands of filtered denoisers are 1.96 standard errors over strings. "
    f"{style.BANDS}."
)

STAGES = ("random_u_turns",)


def draw(results: Mapping[str, Results]) -> Figure:
    """Draw the figure from the stage "random_u_turns" of the run."""
    return style.draw_runs(results, [("", STAGES, _draw)], 2.9)


def _draw(axis: Axes, results: Results) -> None:
    measured = results["random_u_turns"]
    x, filtered = measured["relative_time"].values, measured["filtered"].values
    for level in reversed(range(len(filtered))):
        color, error = style.level_color(level, len(filtered)), measured["filtered_error"].values
        label = f"$k={level}$" + (" (exact)" if level == 0 else "")
        style.curve_with_error(axis, x, filtered[level], error[level], color=color, label=label)
    for name, label, color, line in (
        ("empirical", "training set", style.ORANGE, ":"),
        ("model", "networks", style.VERMILION, "--"),
    ):
        curves = style.by_set(results, measured[name].values.T)
        style.curve_with_band(axis, x, curves, color=color, ls=line, label=label)
    axis.set(xlabel="turning point $t/T$", ylabel="overlap with the random string\n1: unchanged")
    axis.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), handlelength=2.2)


FIGURE = FigureSpec(
    title="Figure 11",
    content="U-turns from random strings, of networks and of empirical and filtered denoisers",
    caption=CAPTION,
    sizes=("middle",),
    stages=STAGES,
    draw=draw,
)
