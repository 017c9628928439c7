"""Figure 5: from where do noised sequences come back more than the data explain."""

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from figures import style
from figures.style import Results

CAPTION = (
    "Sequences are noised up to t and denoised. Overlap with the start after a network's "
    "U-turn over that after the exact denoiser's, from training and from test sequences, for each "
    "network where its nearest-neighbour divergence is lowest (left) and where its test loss is "
    "(middle). Right: training − test. "
    f"{style.BANDS}."
)

STAGES = ("u_turns",)
SIZES = ("middle",)

MOMENTS = {r"$\tau_\mathrm{bias}$": "-", r"$\tau_\mathrm{test}$": "--"}
"""The two minima, in the order of the dimension "moment"."""


def draw(results: Results) -> Figure:
    """Draw the figure from the stage "u_turns"."""
    figure, (bias, test, difference) = style.new_figure(3, 2.4)
    draw_ratios(bias, test, results)
    style.draw_panel(difference, results, STAGES, _draw_difference)
    difference.set_title("training − test")
    return figure


def draw_ratios(bias: Axes, test: Axes, results: Results) -> None:
    """The panels of the ratios at both minima."""
    for moment, (axis, name) in enumerate(zip((bias, test), MOMENTS, strict=True)):
        draw = _ratios_at(moment)
        style.draw_panel(axis, results, STAGES, draw)
        axis.set_title(f"networks at {name}")
    if "u_turns" in results:
        test.sharey(bias)
        bias.set_ylabel("overlap, network / exact")
        bias.legend(loc="best")


def _ratios_at(moment: int):
    def draw(axis: Axes, results: Results) -> None:
        measured = results["u_turns"]
        x, ratio = measured["relative_time"].values, measured["ratio"].values[moment]
        axis.axhline(1, color=style.GREY, lw=0.8)
        for index, (name, color) in enumerate(style.SET_COLORS.items()):
            own = style.by_set(results, ratio[:, index].T)
            style.curve_with_band(axis, x, own, color=color, marker="o", ms=3, label=name)
        axis.set_xlabel("turning point $t/T$")

    return draw


def _draw_difference(axis: Axes, results: Results) -> None:
    measured = results["u_turns"]
    x, ratio = measured["relative_time"].values, measured["ratio"].values
    axis.axhline(0, color=style.GREY, lw=0.8)
    for moment, (name, line) in enumerate(MOMENTS.items()):
        gap = style.by_set(results, (ratio[moment, :, 0] - ratio[moment, :, 1]).T)
        color = (style.GREEN, style.PURPLE)[moment]
        style.curve_with_band(axis, x, gap, color=color, ls=line, marker="o", ms=3, label=name)
    axis.set_xlabel("turning point $t/T$")
    axis.legend(loc="best")
