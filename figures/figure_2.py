"""Figure 2: how alike networks of disjoint splits see the same noisy image, along training."""

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from experiments.store import trained_checkpoints
from figures import figure_1a, style
from figures.style import Results

CAPTION = (
    "Cosine of the noises that two networks trained on disjoint splits predict in the same noisy "
    "image, on training images of one of them (left) and test images (middle), at "
    "several t/T; and the denoising loss (right). "
    f"{style.BANDS}; {style.MINIMA}; of the cosine they are maxima, after its transient. Shaded: "
    f"from the minimum of the dissimilarity of paired samples to that of the loss, {style.SHADED}."
)

STAGES = ("evaluation",)
SIZES = ("images",)


def draw(results: Results) -> Figure:
    """Draw the figure from the stage "evaluation", with "onsets"."""
    figure, (train, test, loss) = style.new_figure(3, 2.5)
    style.draw_panel(train, results, STAGES, lambda axis, found: _draw_cosine(axis, found, 0))
    style.draw_panel(test, results, STAGES, lambda axis, found: _draw_cosine(axis, found, 1))
    style.draw_panel(loss, results, STAGES, figure_1a.draw_loss)
    if "evaluation" in results:
        test.sharey(train)
        style.legend_below(figure, train)
    return figure


def _draw_cosine(axis: Axes, results: Results, index: int) -> None:
    evaluation = results["evaluation"]
    trained, epochs = trained_checkpoints(evaluation)
    times = evaluation["noise_level"].values
    cosine = style.by_pair(results, evaluation["noise_cosine"].values[trained, :, index])
    for place, time in enumerate(times):
        color = style.level_color(place, len(times))
        curves = cosine[..., place]
        style.curve_with_band(axis, epochs, curves, color=color, label=f"t/T = {time:g}")
        if index == 1:
            minima = style.onset(results, "tau_cosine", place)
            style.mark_minimum(axis, epochs, curves.mean(1), *minima, color)
    # The first checkpoints, whose networks know next to nothing, would squeeze the rest.
    later = cosine[len(cosine) // 5 :].mean(1)
    axis.set_ylim(max(0.0, float(later.min()) - 0.02), 1)
    name = tuple(style.SET_COLORS)[index]
    axis.set(title=f"predicted noise, {name} images", ylabel="cosine")
    figure_1a.finish(axis, results)
