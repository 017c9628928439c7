"""Figure 4a: samples move towards the training set while the test loss still falls."""

from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure

from experiments.store import Measurements, trained_checkpoints
from figures import style

CAPTION = (
    "Left: KL between the distances of generated and of fresh sequences to their nearest training "
    "sequence; the grey band is what fresh data itself gives (95 % of repeats). Middle: the "
    "own–other gap, whose expectation is zero as long as samples do not depend on the split. "
    "Right: denoising loss less that of the exact denoiser. Lines are means, bands two standard "
    "errors over networks; dots are minima (geometric mean, bar over the range). The biased phase, "
    "between the minima of nearest-neighbour divergence and test loss, is shaded."
)


def draw(results: Mapping[str, Measurements]) -> Figure:
    """Draw the figure from all three stages."""
    onsets = results["onsets"]
    figure, axes = style.new_figure(3, 2.5)
    _draw_neighbours(axes[0], results["comparison"], onsets)
    _draw_gap(axes[1], results["comparison"])
    _draw_losses(axes[2], results["evaluation"], onsets)
    begin, end = (
        float(np.exp(np.log(onsets[name].values).mean())) for name in ("tau_neighbour", "tau_test")
    )
    for axis in axes:
        style.shade_biased_phase(axis, begin, end)
        axis.set(xscale="log", xlabel="training time (epochs)")
    return figure


def _draw_neighbours(axis, comparison: Measurements, onsets: Measurements) -> None:
    trained, epochs = trained_checkpoints(comparison)
    curves = comparison["neighbour_divergence"].values[trained]
    style.curve_with_band(axis, epochs, curves, color=style.BLUE)
    low, high = np.quantile(comparison["neighbour_floor"].values, [0.025, 0.975])
    axis.axhspan(low, high, color=style.GREY, alpha=0.35, lw=0)
    taus = onsets["tau_neighbour"].values
    style.mark_minimum(axis, epochs, curves.mean(1), taus, style.BLUE)
    axis.set(yscale="log", title="nearest-neighbour divergence", ylabel="nats")


def _draw_gap(axis, comparison: Measurements) -> None:
    trained, epochs = trained_checkpoints(comparison)
    axis.axhline(0, color=style.GREY, lw=0.8)
    if "gap" in comparison:
        curves = comparison["gap"].values[trained]
        style.curve_with_band(axis, epochs, curves, color=style.GREEN)
    axis.set(title="own–other gap", ylabel="symbols")


def _draw_losses(axis, evaluation: Measurements, onsets: Measurements) -> None:
    trained, epochs = trained_checkpoints(evaluation)
    excess = evaluation["loss"].values[trained] - evaluation["loss_floor"].values
    for index, (name, color) in enumerate((("train", style.SKY), ("test", style.VERMILION))):
        style.curve_with_band(axis, epochs, excess[:, :, index], color=color, label=name)
    taus = onsets["tau_test"].values
    style.mark_minimum(axis, epochs, excess[:, :, 1].mean(1), taus, style.VERMILION)
    axis.axhline(0, color=style.GREY, lw=0.8)
    top = np.quantile(excess[:, :, 1].mean(1), 0.9)
    axis.set(title="loss above its floor", ylabel="nats per position")
    axis.set_ylim(min(excess.mean(1).min() * 1.1, -0.02), top * 1.3)
    axis.legend(loc="best")
