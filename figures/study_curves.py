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
    most = max(_num_levels(results) for results in runs.values())
    for axis, (name, results) in zip(axes, runs.items(), strict=False):
        if "neighbour_divergence" in results.get("comparison", {}):
            _draw_samples(axis, results)
        elif "model_oracle" in results["evaluation"]:
            _draw_levels(axis, results, most)
        else:
            _draw_images(axis, results)
        style.log_height(axis)
        axis.tick_params(labelsize=7)
        style.training_axis(axis)
        style.shade_biased_phase(axis, results)
        axis.set_title(name, size=7)
    for axis in axes[len(runs) :]:
        axis.set_visible(False)
    figure.supylabel("↓ better", size=8.5)
    style.legend_below(figure, axes[: len(runs)])
    return figure


def _short(name: str) -> str:
    """Settings without the folders that they lie in, a line for every two of them."""
    parts = [style.plain(part) for part in name.split(", ")]
    return "\n".join(", ".join(parts[i : i + 2]) for i in range(0, len(parts), 2))


def _draw_samples(axis: Axes, results: Results) -> None:
    evaluation, label = results["evaluation"], "nearest-neighbour divergence (nats)"
    along = style.along_training(results, "comparison", "neighbour_divergence")
    _curve(axis, results, along, "tau_neighbour", style.BLUE, label)
    trained, epochs = trained_checkpoints(evaluation)
    loss = (evaluation["loss"].values[trained] - evaluation["loss_floor"].values)[..., 1]
    along, label = (epochs, style.by_set(results, loss)), "test loss above its floor"
    _curve(axis, results, along, "tau_test", style.VERMILION, f"{label} (nats per position)")


def _num_levels(results: Results) -> int:
    oracle = results["evaluation"].get("model_oracle")
    return 0 if oracle is None else oracle.values.shape[-1]


def _draw_levels(axis: Axes, results: Results, most: int) -> None:
    """With the colours of the run that has the most levels."""
    epochs, curves = style.along_training(results, "evaluation", "model_oracle")
    for level in range(curves.shape[-1]):
        along, color = (epochs, curves[:, :, 1, level]), style.level_color(level, most)
        _curve(axis, results, along, "tau_level", color, f"k = {level}", level)


def _draw_images(axis: Axes, results: Results) -> None:
    if "dissimilarity" in results.get("comparison", {}):
        along = style.along_training(results, "comparison", "dissimilarity")
        _curve(axis, results, along, "tau_pair", style.BLUE, "dissimilarity of paired samples")
    epochs, loss = style.along_training(results, "evaluation", "loss")
    label = "test loss (squared error per pixel)"
    _curve(axis, results, (epochs, loss[..., 1]), "tau_test", style.VERMILION, label)


def _curve(
    axis: Axes,
    results: Results,
    along: tuple[np.ndarray, np.ndarray],
    tau: str,
    color,
    label: str,
    place: int | None = None,
) -> None:
    style.curve_with_band(axis, *along, color=color, label=label)
    style.mark_minimum(axis, results, tau, *along, color, place)


PICTURE = StudyPicture(
    title="Along training",
    content="every run's curves along training",
    caption=CAPTION,
    draw=draw,
    tables=("networks.csv",),
)
