"""Figure 1a: networks on disjoint images draw the same pictures, then part while the loss falls."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from experiments.store import trained_checkpoints
from figures import pictures, style
from figures.style import Results

CAPTION = (
    "Top, along training: 1 − cosine of samples that networks of disjoint splits draw from the "
    "same noise, after each image is standardised, over disjoint pairs of splits (dotted: "
    "between seeds "
    "of one split); the denoising loss, with the linear denoiser of the training covariance "
    "dashed; the own–other gap, whose expectation is zero as long as samples do not depend on the "
    "split, and the share of memorised samples. "
    f"{style.BANDS}; {style.MINIMA}. Shaded: from the minimum of the dissimilarity to "
    f"that of the test loss, {style.SHADED}. Below: samples of two networks on disjoint splits "
    "A and B from the "
    "same noise, each with its nearest training image, where the samples agree most, where the "
    "test loss is lowest, and at the end."
)

STAGES = ("evaluation", "comparison")
SIZES = ("images",)
SHOWN = 4


def draw(results: Results) -> Figure:
    """Draw the figure from the stages "evaluation" and "comparison", with "onsets"."""
    figure = Figure(figsize=(style.COLUMN_WIDTH, 4.3), layout="constrained")
    axes = figure.subplots(2, 3, height_ratios=(1.2, 1))
    draw_row(list(axes[0]), results)
    for axis, (name, checkpoint) in zip(axes[1], moments(results), strict=True):
        style.draw_panel(
            axis, results, STAGES, lambda axis, found, at=checkpoint: _pairs(axis, found, at)
        )
        axis.set_title(name)
    return figure


def draw_row(axes: list[Axes], results: Results) -> None:
    """The three panels along training."""
    for axis, panel in zip(axes, (_draw_dissimilarity, draw_loss, _draw_gap), strict=True):
        style.draw_panel(axis, results, STAGES, panel)


def moments(results: Results) -> list[tuple[str, int]]:
    """Names and numbers of the sampled checkpoints whose pictures are shown."""
    if any(stage not in results for stage in STAGES):
        return [("", 0)] * 3
    comparison, onsets = results["comparison"], results["onsets"]
    names = {"tau_pair": "most alike", "tau_test": "test loss lowest"}
    found = []
    trained, epochs = trained_checkpoints(comparison)
    for name, what in names.items():
        when = (
            style.log_interval(style.onset(results, name)[0])[0] if name in onsets else epochs[-1]
        )
        nearest = np.abs(np.log(epochs) - np.log(when)).argmin()
        found.append((f"{what} (epoch {epochs[nearest]})", int(np.flatnonzero(trained)[nearest])))
    return [*found, (f"the end (epoch {epochs[-1]})", len(trained) - 1)]


def _pairs(axis: Axes, results: Results, checkpoint: int) -> None:
    pictures.draw_pairs(axis, results["comparison"], checkpoint, SHOWN)


def _draw_dissimilarity(axis: Axes, results: Results) -> None:
    comparison = results["comparison"]
    trained, epochs = trained_checkpoints(comparison)
    curves = style.by_pair(results, comparison["dissimilarity"].values[trained])
    style.curve_with_band(axis, epochs, curves, color=style.BLUE, label="disjoint splits")
    if "same_data" in comparison:
        control = style.by_set(results, comparison["same_data"].values[trained])
        line = {"color": style.GREY, "ls": ":", "label": "same split"}
        style.curve_with_band(axis, epochs, control, **line)
    style.mark_minimum(axis, epochs, curves.mean(1), *style.onset(results, "tau_pair"), style.BLUE)
    axis.set(title="paired samples", ylabel="1 − cosine", ylim=(0, None))
    axis.legend(loc="best")
    finish(axis, results)


def draw_loss(axis: Axes, results: Results) -> None:
    """The panel of the losses."""
    evaluation = results["evaluation"]
    trained, epochs = trained_checkpoints(evaluation)
    losses = style.by_set(results, evaluation["loss"].values[trained])
    for index, (name, color) in enumerate(style.SET_COLORS.items()):
        style.curve_with_band(axis, epochs, losses[:, :, index], color=color, label=name)
    color, minima = style.SET_COLORS["test"], style.onset(results, "tau_test")
    style.mark_minimum(axis, epochs, losses[:, :, 1].mean(1), *minima, color)
    linear = evaluation["gaussian_loss"].values[:, 1].mean()
    axis.axhline(linear, color=style.GREY, ls="--", lw=0.8, label="linear, test")
    style.log_height(axis)
    axis.set(title="denoising loss", ylabel="squared error per pixel")
    axis.legend(loc="best")
    finish(axis, results)


def _draw_gap(axis: Axes, results: Results) -> None:
    comparison = results["comparison"]
    trained, epochs = trained_checkpoints(comparison)
    axis.axhline(0, color=style.GREY, lw=0.8)
    if "gap" in comparison:
        curves = style.both_directions(results, comparison["gap"].values[trained])
        style.curve_with_band(axis, epochs, curves, color=style.GREEN)
    axis.set(title="own–other gap, memorised")
    axis.set_ylabel("gap (pixel units)", color=style.GREEN)
    other = axis.twinx()
    memorised = style.by_set(results, comparison["memorised"].values[trained])
    style.curve_with_band(other, epochs, memorised, color=style.PURPLE)
    other.set_ylabel("memorised samples", color=style.PURPLE)
    other.set_ylim(0, max(1.05 * memorised.max(), 0.1))
    other.spines["right"].set_visible(True)
    finish(axis, results)


def finish(axis: Axes, results: Results) -> None:
    """Training time below, and the biased phase shaded."""
    style.training_axis(axis)
    style.shade_biased_phase(axis, results, begin="tau_pair")
