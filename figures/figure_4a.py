"""Figure 4a: samples move towards the training set while the test loss still falls."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from experiments.store import trained_checkpoints
from figures import style
from figures.style import Results

CAPTION = (
    "Left: KL between the distances of generated and of fresh sequences to their nearest training "
    "sequence; the grey band is what fresh data itself gives (95 % of repeats). Middle: the "
    "own–other gap, whose expectation is zero as long as samples do not depend on the split. "
    "Right: denoising loss less that of the exact denoiser. "
    f"{style.BANDS}; {style.MINIMA}. Shaded: the biased phase, between minima of "
    f"nearest-neighbour divergence and test loss, {style.SHADED}."
)

STAGES = ("evaluation", "comparison")
SIZES = ("middle",)


def draw(results: Results) -> Figure:
    """Draw the figure from the stages "evaluation" and "comparison", with "onsets"."""
    figure, (left, middle, right) = style.new_figure(3, 2.5)
    draw_neighbours(left, results)
    style.draw_panel(middle, results, ("comparison",), _draw_gap)
    draw_losses(right, results)
    return figure


def draw_neighbours(axis: Axes, results: Results) -> None:
    """The panel of the nearest-neighbour divergence."""
    style.draw_panel(axis, results, STAGES, _draw_neighbours)


def draw_losses(axis: Axes, results: Results) -> None:
    """The panel of the losses."""
    style.draw_panel(axis, results, ("evaluation",), _draw_losses)


def _draw_neighbours(axis: Axes, results: Results) -> None:
    comparison = results["comparison"]
    trained, epochs = trained_checkpoints(comparison)
    curves = style.by_set(results, comparison["neighbour_divergence"].values[trained])
    style.curve_with_band(axis, epochs, curves, color=style.BLUE)
    low, high = np.quantile(comparison["neighbour_floor"].values, [0.025, 0.975])
    axis.axhspan(low, high, color=style.GREY, alpha=0.35, lw=0)
    minima = style.onset(results, "tau_neighbour")
    style.mark_minimum(axis, epochs, curves.mean(1), *minima, style.BLUE)
    axis.set(yscale="log", title="nearest-neighbour divergence", ylabel="KL (nats)")
    style.training_axis(axis)
    style.shade_biased_phase(axis, results)


def _draw_gap(axis: Axes, results: Results) -> None:
    comparison = results["comparison"]
    trained, epochs = trained_checkpoints(comparison)
    axis.axhline(0, color=style.GREY, lw=0.8)
    if "gap" in comparison:
        curves = style.both_directions(results, comparison["gap"].values[trained])
        style.curve_with_band(axis, epochs, curves, color=style.GREEN)
    axis.set(title="own–other gap", ylabel="Hamming distance (symbols)")
    style.training_axis(axis)
    style.shade_biased_phase(axis, results)


def _draw_losses(axis: Axes, results: Results) -> None:
    evaluation = results["evaluation"]
    trained, epochs = trained_checkpoints(evaluation)
    excess = evaluation["loss"].values[trained] - evaluation["loss_floor"].values
    excess = style.by_set(results, excess)
    for index, (name, color) in enumerate(style.SET_COLORS.items()):
        style.curve_with_band(axis, epochs, excess[:, :, index], color=color, label=name)
    color, minima = style.SET_COLORS["test"], style.onset(results, "tau_test")
    style.mark_minimum(axis, epochs, excess[:, :, 1].mean(1), *minima, color)
    axis.axhline(0, color=style.GREY, lw=0.8)
    top = np.quantile(excess[:, :, 1].mean(1), 0.9)
    axis.set(title="loss above its floor", ylabel="nats per position")
    axis.set_ylim(min(excess.mean(1).min() * 1.1, -0.02), top * 1.3)
    axis.legend(loc="best")
    style.training_axis(axis)
    style.shade_biased_phase(axis, results)
