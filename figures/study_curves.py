"""Small multiples of a study: every run's curves along training."""

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from experiments.store import trained_checkpoints
from figures import style
from figures.style import Results

CAPTION = (
    "Every run along training: nearest-neighbour divergence (blue) and test loss above that of the "
    "exact denoiser (red); where no samples were drawn, the divergence from the denoiser of every "
    "filter level instead, k = 0 darkest; of images, the dissimilarity of paired samples (blue) "
    "and the test loss (red). Lines are means, bands two standard errors over "
    "networks; dots are minima, hollow where some lie on the border. Shaded: the biased phase."
)

COLUMNS = 3


def draw(runs: Mapping[str, Results]) -> Figure:
    """A panel per run, by its name."""
    num_rows = -(-len(runs) // COLUMNS)
    figure, axes = style.new_figure(COLUMNS, 0.4 + 1.7 * num_rows, num_rows)
    for axis, (name, results) in zip(axes, runs.items(), strict=False):
        draw_run = _draw_samples if "comparison" in results else _draw_levels
        draw_run = _draw_images if "noise_cosine" in results.get("evaluation", {}) else draw_run
        style.draw_panel(axis, results, ("evaluation",), draw_run)
        axis.set_title(name, size=7)
    for axis in axes[len(runs) :]:
        axis.set_visible(False)
    style.legend_below(figure, max(axes[: len(runs)], key=_num_labels))
    return figure


def _num_labels(axis: Axes) -> int:
    return len(axis.get_legend_handles_labels()[1])


def _draw_samples(axis: Axes, results: Results) -> None:
    evaluation, onsets = results["evaluation"], results["onsets"]
    comparison = results["comparison"]
    trained, epochs = trained_checkpoints(comparison)
    neighbour = comparison["neighbour_divergence"].values[trained]
    _curve(axis, epochs, neighbour, style.BLUE, "nearest-neighbour divergence (nats)")
    taus, located = (onsets[f"tau_neighbour{end}"].values for end in ("", "_located"))
    style.mark_minimum(axis, epochs, neighbour.mean(1), taus, located, style.BLUE)
    trained, epochs = trained_checkpoints(evaluation)
    loss = (evaluation["loss"].values[trained] - evaluation["loss_floor"].values)[..., 1]
    _curve(axis, epochs, loss, style.VERMILION, "test loss above its floor (nats per position)")
    taus, located = (onsets[f"tau_test{end}"].values for end in ("", "_located"))
    style.mark_minimum(axis, epochs, loss.mean(1), taus, located, style.VERMILION)
    _finish(axis)
    style.shade_between_minima(axis, onsets)


def _draw_levels(axis: Axes, results: Results) -> None:
    evaluation, onsets = results["evaluation"], results["onsets"]
    trained, epochs = trained_checkpoints(evaluation)
    curves = evaluation["model_oracle"].values[trained][:, :, 1]
    num_levels = curves.shape[-1]
    for level in range(num_levels):
        color = style.level_color(level, num_levels)
        _curve(axis, epochs, curves[..., level], color, f"k = {level}")
        taus, located = (onsets[f"tau_level{end}"].values[:, level] for end in ("", "_located"))
        style.mark_minimum(axis, epochs, curves[..., level].mean(1), taus, located, color)
    _finish(axis)


def _draw_images(axis: Axes, results: Results) -> None:
    onsets = results["onsets"]
    for stage, name, tau, color, label in (
        ("comparison", "dissimilarity", "tau_pair", style.BLUE, "dissimilarity of paired samples"),
        ("evaluation", "loss", "tau_test", style.VERMILION, "test loss (squared error per pixel)"),
    ):
        if name not in results.get(stage, {}):
            continue
        trained, epochs = trained_checkpoints(results[stage])
        curves = results[stage][name].values[trained]
        curves = curves[..., 1] if name == "loss" else curves
        _curve(axis, epochs, curves, color, label)
        taus, located = (onsets[f"{tau}{end}"].values for end in ("", "_located"))
        style.mark_minimum(axis, epochs, curves.mean(1), taus, located, color)
    _finish(axis)


def _curve(axis: Axes, epochs: np.ndarray, curves: np.ndarray, color, label: str) -> None:
    style.curve_with_band(axis, epochs, curves, color=color, label=label)


def _finish(axis: Axes) -> None:
    style.log_height(axis)
    axis.tick_params(labelsize=7)
    style.training_axis(axis)
