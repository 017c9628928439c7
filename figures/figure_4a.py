"""Figure 4a: samples move towards the training set while the test loss still falls."""

import functools
from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from experiments.store import Measurements, trained_checkpoints
from figures import style
from figures.claims_on_phases import (
    distance_falls,
    no_bias_before_onset,
    onset_before_turn,
    onsets_of_pairs,
)
from figures.claims_on_samples import (
    AT_TEST,
    BIAS,
    against_refitted,
    growth,
    samples_along_training,
    u_turns,
)
from figures.figure import FigureSpec
from figures.style import Results

CAPTION = (
    "Neighbours: KL between the distances of generated sequences and of the law to their nearest "
    "training sequence; the grey band is what fresh data itself gives (95 % of repeats). Gap: its "
    "expectation is zero as long as samples do not depend on the split; dotted, the gap that the "
    "grammar refitted to each training set has: what any learner must show; lines: its onset, the "
    "turn of the divergence between networks, the lowest test loss (geometric means over training "
    "sets; dots: some are not located). Loss: less that of the "
    "exact denoiser; grey, of the weights as trained, where all else is of their running average. "
    "U-turns: sequences are noised up to t and denoised; overlap with the start over "
    "that after the exact denoiser's, from training and test sequences, for each network "
    "where its nearest-neighbour divergence is lowest, and where its test loss is. "
    f"{style.BANDS}; {style.MINIMA}. Shaded: the biased phase, between minima of "
    f"nearest-neighbour divergence and test loss, {style.SHADED}."
)

STAGES = ("evaluation", "comparison", "u_turns", "refitted", "levels")

MOMENTS = {r"$\tau_\mathrm{bias}$": BIAS, r"$\tau_\mathrm{test}$": AT_TEST}
"""The two minima, in the order of the dimension "moment"."""

BELOW_WORDS = 0.9
"""How far up a panel lines reach that would else strike through what is written at its top."""


def draw(results: Mapping[str, Results]) -> Figure:
    """Draw the figure from the stages of each run, by its label."""
    figure = style.draw_runs(results, PANELS, 2.1, alike=(3, 4))
    style.legend_below(figure, figure.axes)
    return figure


def _draw_neighbours(axis: Axes, results: Results) -> None:
    epochs, curves = style.along_training(results, "comparison", "neighbour_divergence")
    style.curve_with_band(axis, epochs, curves, color=style.BLUE, label="all samples")
    if "tau_derivable" in results["onsets"]:
        name = "neighbour_divergence_derivable"
        _, derivable = style.along_training(results, "comparison", name)
        style.curve_with_band(axis, epochs, derivable, color=style.PURPLE, label="derivable")
    floor = results["comparison"]["neighbour_floor"].values
    reach = np.quantile(floor, [0.025, 0.975])
    axis.axhspan(*reach, color=style.GREY, alpha=0.35, lw=0, label="fresh data, 95 %")
    style.mark_minimum(axis, results, "tau_neighbour", epochs, curves, style.BLUE)
    axis.set(yscale="log", ylabel="KL (nats)\n↓ nearer the law")
    style.training_axis(axis)
    style.shade_biased_phase(axis, results)


def _draw_gap(axis: Axes, results: Results) -> None:
    style.draw_gap(axis, results, label="networks")
    if "gap_of_sets" in results["refitted"]:  # a training set alone has no other
        height = float(results["refitted"]["gap_of_sets"].values.mean())
        axis.axhline(height, color=style.GREEN, ls=":", label="refitted grammar")
    if "gap_onset" in results["levels"]:
        onset = onsets_of_pairs(results["levels"])
        when = float(np.exp(onset.values.mean()))
        later = bool((onset.lower < onset.values).any())  # than it was, where it may be earlier
        label = "onset, at the latest" if later else "onset"
        axis.axvline(when, ymax=BELOW_WORDS, color=style.BROWN, ls="--", lw=0.9, label=label)
    for name, label, color in (
        ("tau_turn", "turn", style.PURPLE),
        ("tau_test", "lowest test loss", style.SET_COLORS["test"]),
    ):
        if name in results["onsets"]:
            times, where = style.onset(results, name)
            line = {"color": color, "ls": "-." if where.all() else ":", "lw": 0.9, "label": label}
            axis.axvline(np.exp(np.log(times).mean()), ymax=BELOW_WORDS, **line)
    axis.set_ylabel("symbols\n0 is unbiased")
    style.training_axis(axis)
    style.shade_biased_phase(axis, results)


def _draw_losses(axis: Axes, results: Results) -> None:
    evaluation = results["evaluation"]
    trained, epochs = trained_checkpoints(evaluation)
    excess = style.by_set(results, above_floor(evaluation)[trained])
    for index, (name, color) in enumerate(style.SET_COLORS.items()):
        style.curve_with_band(axis, epochs, excess[:, :, index], color=color, label=name)
    if "raw_distillation" in evaluation:
        _, raw = style.along_training(results, "evaluation", "raw_distillation")
        raw = raw[:, :, 1].mean(1)
        axis.plot(epochs, raw, color=style.GREY, lw=0.9, label="test, raw weights")
    color = style.SET_COLORS["test"]
    style.mark_minimum(axis, results, "tau_test", epochs, excess[:, :, 1], color)
    axis.axhline(0, color=style.GREY, lw=0.8)
    top = np.quantile(excess[:, :, 1].mean(1), 0.9)
    axis.set_ylabel("nats per position\n↓ better")
    axis.set_ylim(min(excess.mean(1).min() * 1.1, -0.05 * top), top * 1.3)
    style.training_axis(axis)
    style.shade_biased_phase(axis, results)


def above_floor(evaluation: Measurements) -> np.ndarray:
    """Loss above that of the exact denoiser; its expectation given the inputs, where measured."""
    if "distillation" in evaluation:
        return evaluation["distillation"].values
    return evaluation["loss"].values - evaluation["loss_floor"].values


def _draw_ratios(axis: Axes, results: Results, moment: int) -> None:
    measured = results["u_turns"]
    x, ratio = measured["relative_time"].values, measured["ratio"].values[moment]
    axis.axhline(1, color=style.GREY, lw=0.8)
    for index, (name, color) in enumerate(style.SET_COLORS.items()):
        own = style.by_set(results, ratio[:, index].T)
        style.curve_with_band(axis, x, own, color=color, marker="o", ms=3, label=name)
    axis.set_xlabel("turning point $t/T$")
    if moment == BIAS:
        axis.set_ylabel("overlap, network / exact\n1 is right")


PANELS: tuple[style.Panel, ...] = (
    ("nearest neighbours", ("evaluation", "comparison"), _draw_neighbours),
    ("own–other gap", ("comparison", "refitted", "levels"), _draw_gap),
    ("loss above its floor", ("evaluation",), _draw_losses),
    *(
        (f"U-turns at {name}", ("u_turns",), functools.partial(_draw_ratios, moment=moment))
        for name, moment in MOMENTS.items()
    ),
)


FIGURE = FigureSpec(
    title="Figure 4a",
    content="nearest-neighbour divergence, own–other gap and losses along training, and U-turns at "
    "both minima; a part for each size of the training sets",
    caption=CAPTION,
    sizes=("small", "middle", "large"),
    stages=STAGES,
    draw=draw,
    claims=(
        (("evaluation", "comparison"), samples_along_training),
        (("evaluation", "comparison", "u_turns"), u_turns),
        (("evaluation", "comparison", "refitted"), against_refitted),
        (("evaluation", "comparison", "levels"), onset_before_turn),
        (("comparison", "refitted", "levels"), no_bias_before_onset),
        (("evaluation",), distance_falls),
    ),
    between=growth,
    also=("5", "9", "10"),
)
