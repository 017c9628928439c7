"""Figure 3b: at which noise each level matters, and what trained networks miss there."""

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from experiments.claim import LEVEL, Claim, Statistic
from experiments.stages.along_time import WIDTH
from figures import style
from figures.claims import Run, border_note, per_network
from figures.figure import FigureSpec
from figures.style import Results
from hiermodel.measures.onset import locate_minimum
from hiermodel.measures.uncertainty import Interval

CAPTION = (
    "Divergence from the exact denoiser along the noise, on noised test sequences. Left: of the "
    "filtered denoisers, which lack the correlations above level k, with the place of each maximum "
    "(bar: 95 % bootstrap interval over sequences; bands: 1.96 standard errors over sequences). "
    "Right: of networks at their test-loss minimum, by the size n of their training set; grey, "
    f"filter level 1 again. {style.BANDS}."
)

STAGES = ("along_time",)

KL = "KL from exact\n(nats per sequence), ↓ better"

SIZE_COLORS = (style.ORANGE, style.GREEN, style.BLUE, style.PURPLE, style.SKY)
SIZE_LINES = ("-", "--", "-.", ":", "-")

PEAK, PEAK_MARGIN = 0.15, 0.05
"""Expected t/T at which levels are told apart best, and how far off still counts as near."""


def draw(results: Mapping[str, Results]) -> Figure:
    """Draw the figure from the results of each size, by its label."""
    figure, (levels, networks) = style.new_figure(2, 2.6)
    # The left panel is about the data; it shows the size that the claims are tested on.
    chosen = _first(dict(list(results.items())[len(results) // 2 :]) or results)
    style.draw_panel(levels, chosen, STAGES, lambda axis, own: _draw_filtered(axis, own))
    measured = {label: own for label, own in results.items() if "along_time" in own}
    style.draw_panel(networks, chosen, STAGES, lambda axis, own: _draw_models(axis, measured))
    if len(measured) < len(results) or not results:
        style.mark_partial(figure)
    levels.set_title("filtered denoisers")
    networks.set_title("trained networks")
    return figure


def _first(results: Mapping[str, Results]) -> Results:
    """The first size that has the measurements; nothing if none has."""
    return next((own for own in results.values() if "along_time" in own), {})


def _draw_filtered(axis: Axes, results: Results) -> None:
    measured = results["along_time"]
    x, levels = measured["relative_time"].values, measured["filter_level"].values
    for index, level in enumerate(levels):
        curve, error = (measured[n].values[index] for n in ("filtered", "filtered_error"))
        peak, low, high = (
            measured[name].values[index] for name in ("peak_time", "peak_low", "peak_high")
        )
        color = style.level_color(int(level), len(levels) + 1)
        label = f"$k={level}$: {peak:.3f} [{low:.3f}, {high:.3f}]"
        style.curve_with_error(axis, x, curve, error, color=color, label=label)
        height = np.interp(peak, x, curve)
        axis.plot([low, high], [height, height], color=color, lw=1.0, zorder=4)
        style.dot_on_bar(axis, peak, height, np.array(True), color)
    axis.set(xlabel="noise $t/T$", ylabel=KL, ylim=(0, None))
    axis.legend(loc="upper right", title="maximum at $t/T$", title_fontsize=7.5)


def _draw_models(axis: Axes, results: Mapping[str, Results]) -> None:
    first = next(iter(results.values()))["along_time"]
    x = first["relative_time"].values
    axis.plot(x, first["filtered"].values[0], color=style.GREY, lw=1.0, label="filtered, $k=1$")
    for (label, own), color, line in zip(results.items(), SIZE_COLORS, SIZE_LINES, strict=False):
        measured = own["along_time"]
        curves = style.by_set(own, measured["model"].values.T)
        times = measured["relative_time"].values
        style.curve_with_band(axis, times, curves, color=color, ls=line, label=label)
    axis.set(xlabel="noise $t/T$", ylabel=KL, ylim=(0, None))
    axis.legend(loc="upper right")


def peaks(run: Run) -> list[Claim]:
    """Divergences from the exact denoiser peak near t/T = 0.15 (figure 3b).

    For filtered denoisers (the same for every n) the interval is of the test sequences, from their
    bootstrap; for networks it is over training sets.
    """
    measured = run.results["along_time"]
    near = {"low": PEAK - PEAK_MARGIN, "high": PEAK + PEAK_MARGIN}
    of_networks = locate_minimum(
        measured["relative_time"].values, -measured["model"].values, width=WIDTH
    )
    claims = []
    if not run.label:  # once, of the main run
        levels = measured["filter_level"].values
        for index in np.flatnonzero(levels <= 2):
            peak, low, high = (
                float(measured[f"peak_{end}"].values[index]) for end in ("time", "low", "high")
            )
            claims.append(
                Claim(
                    name=f"peak-{levels[index]}",
                    figure="",
                    statement=f"filter level k = {levels[index]} differs most from the exact "
                    f"denoiser within {PEAK_MARGIN} of t/T = {PEAK}",
                    statistic="t/T at the maximum of KL(exact ‖ filtered), over sequences",
                    interval=Interval(peak, low, high, LEVEL),
                    values=np.array([peak]),
                    low=near["low"],
                    high=near["high"],
                    over_sets=False,
                )
            )
    claims.append(
        per_network(
            run,
            Statistic.known(of_networks.time, of_networks.located),
            name="peak-model",
            statement="networks at their test-loss minimum differ most from the exact denoiser "
            f"within {PEAK_MARGIN} of t/T = {PEAK}",
            about="t/T at the maximum of KL(exact ‖ model)",
            note=border_note(peak=of_networks.located),
            **near,
        )
    )
    return claims


FIGURE = FigureSpec(
    title="Figure 3b",
    content="divergence of filtered denoisers, and of trained networks, from the exact denoiser "
    "along diffusion time",
    caption=CAPTION,
    sizes=("small", "middle", "large"),
    stages=STAGES,
    draw=draw,
    claims=((STAGES, peaks),),
)
