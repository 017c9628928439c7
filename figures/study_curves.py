"""Small multiples of a study: every run's curves along training."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from experiments.store import trained_checkpoints
from experiments.study.outcome import Outcome
from figures import style
from figures.figure import StudyPicture
from figures.style import Results

CAPTION = (
    "Every run along training: nearest-neighbour divergence (blue) and test loss above that of the "
    "exact denoiser (red); where no samples were drawn, the divergence from the denoiser of every "
    "filter level instead, k = 0 darkest; of images, the dissimilarity of paired samples (blue) "
    "and the test loss (red). "
    f"{style.BANDS}; {style.MINIMA}. Shaded: the biased phase, {style.SHADED}."
)

COLUMNS = 3


def draw(found: Outcome) -> Figure | None:
    """A panel for every run that is evaluated."""
    runs = {_short(made.name): made.results for made in found.runs if "evaluation" in made.results}
    if not runs:
        return None
    num_rows = -(-len(runs) // COLUMNS)
    figure, axes = style.new_figure(COLUMNS, 0.4 + 1.7 * num_rows, num_rows)
    for axis, (name, results) in zip(axes, runs.items(), strict=False):
        samples = "neighbour_divergence" in results.get("comparison", {})
        levels = "model_oracle" in results.get("evaluation", {})
        draw_run = _draw_samples if samples else _draw_levels if levels else _draw_images
        style.draw_panel(axis, results, ("evaluation",), draw_run)
        axis.set_title(name, size=7)
    for axis in axes[len(runs) :]:
        axis.set_visible(False)
    style.legend_below(figure, axes[: len(runs)])
    return figure


def _short(name: str) -> str:
    """Settings without the folders that they lie in, a line for every two of them."""
    parts = [style.plain(part) for part in name.split(", ")]
    return "\n".join(", ".join(parts[i : i + 2]) for i in range(0, len(parts), 2))


def _draw_samples(axis: Axes, results: Results) -> None:
    evaluation, comparison = results["evaluation"], results["comparison"]
    trained, epochs = trained_checkpoints(comparison)
    neighbour = style.by_set(results, comparison["neighbour_divergence"].values[trained])
    _curve(axis, epochs, neighbour, style.BLUE, "nearest-neighbour divergence (nats)")
    minima = style.onset(results, "tau_neighbour")
    style.mark_minimum(axis, epochs, neighbour.mean(1), *minima, style.BLUE)
    trained, epochs = trained_checkpoints(evaluation)
    loss = (evaluation["loss"].values[trained] - evaluation["loss_floor"].values)[..., 1]
    loss = style.by_set(results, loss)
    _curve(axis, epochs, loss, style.VERMILION, "test loss above its floor (nats per position)")
    minima = style.onset(results, "tau_test")
    style.mark_minimum(axis, epochs, loss.mean(1), *minima, style.VERMILION)
    _finish(axis)
    style.shade_biased_phase(axis, results)


def _draw_levels(axis: Axes, results: Results) -> None:
    evaluation = results["evaluation"]
    trained, epochs = trained_checkpoints(evaluation)
    curves = style.by_set(results, evaluation["model_oracle"].values[trained][:, :, 1])
    num_levels = curves.shape[-1]
    for level in range(num_levels):
        color = style.level_color(level, num_levels)
        _curve(axis, epochs, curves[..., level], color, f"k = {level}")
        minima = style.onset(results, "tau_level", level)
        style.mark_minimum(axis, epochs, curves[..., level].mean(1), *minima, color)
    _finish(axis)


def _draw_images(axis: Axes, results: Results) -> None:
    for stage, name, tau, color, label in (
        ("comparison", "dissimilarity", "tau_pair", style.BLUE, "dissimilarity of paired samples"),
        ("evaluation", "loss", "tau_test", style.VERMILION, "test loss (squared error per pixel)"),
    ):
        if name not in results.get(stage, {}):
            continue
        trained, epochs = trained_checkpoints(results[stage])
        curves = results[stage][name].values[trained]
        if name == "loss":
            curves = style.by_set(results, curves[..., 1])
        else:
            curves = style.by_pair(results, curves)
        _curve(axis, epochs, curves, color, label)
        style.mark_minimum(axis, epochs, curves.mean(1), *style.onset(results, tau), color)
    _finish(axis)


def _curve(axis: Axes, epochs: np.ndarray, curves: np.ndarray, color, label: str) -> None:
    style.curve_with_band(axis, epochs, curves, color=color, label=label)


def _finish(axis: Axes) -> None:
    style.log_height(axis)
    axis.tick_params(labelsize=7)
    style.training_axis(axis)


PICTURE = StudyPicture(
    title="Along training",
    content="every run's curves along training",
    caption=CAPTION,
    draw=draw,
    tables=("networks.csv",),
)
