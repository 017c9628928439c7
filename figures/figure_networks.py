"""The tree U-Net and the transformer on the same training sets: is the bias the network's own?"""

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from experiments.claim import Claim
from figures import style
from figures.claims import Run
from figures.claims_on_samples import TEST, against_refitted, samples_along_training
from figures.figure import FigureSpec
from figures.style import Results

CAPTION = (
    "Networks of other shapes on the same training sets. Distance: test loss above that of the "
    "exact denoiser. Networks: divergence between those of different training sets. Gap: how much "
    "nearer samples lie to their own training set. Last, the gap against the distance: which "
    "network is less biased where both are as good; time runs to the left and up, a dot is the "
    "lowest distance. "
    f"{style.BANDS}."
)

STAGES = ("evaluation", "comparison", "refitted")

COLORS = (style.BLUE, style.VERMILION, style.GREEN)


def draw(results: Mapping[str, Results]) -> Figure:
    """Draw the figure from the stages of each run, by its label."""
    figure, axes = style.new_figure(2, 4.4, num_rows=2)
    for (label, own), color in zip(results.items(), COLORS, strict=False):
        # Elsewhere a run of tree U-Nets is named by its number of sequences alone.
        name = f"tree U-Net, {label}" if label.startswith("n = ") else label
        line = {"color": color, "label": name}
        _draw_run(axes, own, line)
    titles = (
        "distance to the exact denoiser",
        "between networks",
        "own–other gap",
        "gap at equal distance",
    )
    units = (
        "nats per position\n↓ better",
        "nats per sequence\n↓ more alike",
        "symbols\n0 is unbiased",
        "gap (symbols)\n0 is unbiased",
    )
    for axis, title, unit in zip(axes, titles, units, strict=True):
        axis.set(title=title, ylabel=unit)
    for axis in axes[:3]:
        style.training_axis(axis)
    style.log_height(axes[0])
    axes[3].set(xlabel="distance to the exact denoiser\n(nats per position), ← better")
    style.legend_below(figure, axes[:1])
    return figure


def _draw_run(axes: Sequence[Axes], results: Results, line: Mapping) -> None:
    distance, between, gap, both = axes
    means = []
    for axis, stage, name in (
        (distance, "evaluation", "distillation"),
        (between, "evaluation", "split_divergence"),
        (gap, "comparison", "gap_of_sets"),
    ):
        if name in results.get(stage, {}):
            epochs, curves = style.along_training(results, stage, name)
            curves = curves[..., TEST] if name == "distillation" else curves
            style.curve_with_band(axis, epochs, curves, **line)
            if axis is not between:
                means.append((epochs, curves.mean(1)))
    if len(means) == 2:
        far, gaps = means
        _draw_both(both, far, gaps, line)


def _draw_both(axis: Axes, far: tuple, gaps: tuple, line: Mapping) -> None:
    """The gap against the distance at the checkpoints that have both."""
    common = [epoch for epoch in gaps[0] if epoch in far[0]]
    x = np.array([far[1][np.flatnonzero(far[0] == epoch)[0]] for epoch in common])
    y = np.array([gaps[1][np.flatnonzero(gaps[0] == epoch)[0]] for epoch in common])
    axis.plot(x, y, **line)
    if len(x):
        axis.plot(x.min(), y[x.argmin()], "o", ms=4, color=line["color"])


def of_other_networks(run: Run) -> list[Claim]:
    """The claims on samples of figure 4a, on a network of another shape: none is a primary one."""
    if run.size == "small":  # in figure 4a
        return []
    claims = [*samples_along_training(run), *against_refitted(run)]
    return [dataclasses.replace(claim, primary=False) for claim in claims]


FIGURE = FigureSpec(
    title="Networks of other shapes",
    content="distance to the exact denoiser, divergence between networks and own–other gap of the "
    "tree U-Net and of transformers on the same training sets",
    caption=CAPTION,
    sizes=("small", "transformer", "transformer_dropout"),
    stages=STAGES,
    draw=draw,
    claims=((STAGES, of_other_networks),),
)
