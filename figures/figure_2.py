"""Figure 2: how alike networks of disjoint splits see the same noisy image, along training."""

import functools
from collections.abc import Mapping

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from experiments.claim import Claim
from experiments.onsets import TEST, TRAIN
from experiments.store import Measurement, Measurements
from figures import figure_1a, style
from figures.claims import Run, at_times, border_note, of_other_units, per_pair
from figures.figure import FigureSpec
from figures.style import Results

CAPTION = (
    "Cosine of the noises that two networks trained on disjoint splits predict in the same noisy "
    "image, on training images of one of them (left) and test images (middle), at "
    "several t/T; and the denoising loss (right). "
    f"{style.BANDS}; {style.MINIMA}; of the cosine they are maxima, after its transient. Shaded: "
    f"from the minimum of the dissimilarity of paired samples to that of the loss, {style.SHADED}."
)

STAGES = ("evaluation",)


def draw(results: Mapping[str, Results]) -> Figure:
    """Draw the figure from the stage "evaluation" of the run, with "onsets"."""
    figure = style.draw_runs(results, PANELS, 2.5, alike=(0, 1))
    train, _, loss = figure.axes
    style.legend_below(figure, (train, loss))
    return figure


def _draw_cosine(axis: Axes, results: Results, index: int) -> None:
    times = results["evaluation"]["noise_level"].values
    epochs, divergence = style.along_training(results, "evaluation", "sample_split")
    cosine = 1 - divergence[:, :, index]
    for place, time in enumerate(times):
        color = style.level_color(place, len(times))
        curves = cosine[..., place]
        style.curve_with_band(axis, epochs, curves, color=color, label=f"t/T = {time:g}")
        if index == TEST:
            style.mark_minimum(axis, results, "tau_split", epochs, curves, color, place)
    # The first checkpoints, whose networks know next to nothing, would squeeze the rest.
    later = cosine[len(cosine) // 5 :].mean(1)
    axis.set_ylim(max(0.0, float(later.min()) - 0.02), 1)
    axis.set_ylabel("cosine\n↑ more alike")
    figure_1a.finish(axis, results)


PANELS: tuple[style.Panel, ...] = (
    ("predicted noise, train images", STAGES, functools.partial(_draw_cosine, index=TRAIN)),
    ("predicted noise, test images", STAGES, functools.partial(_draw_cosine, index=TEST)),
    ("denoising loss", STAGES, figure_1a.draw_loss),
)


def seeing_the_same(run: Run) -> list[Claim]:
    """Predicted noises part while the test loss still falls (figure 2).

    A maximum lies above any other point of the same noisy curve. So where the cosine is largest is
    taken from the other pairs of training sets, and its fall from there is tested on each.
    """
    if "tau_split" not in run.results["onsets"]:
        return []
    evaluation, test = run.results["evaluation"], run.times_of_pairs("tau_test")
    claims = []
    for place, time in enumerate(evaluation["noise_level"].values):
        tau = run.times_of_pairs("tau_split", place)
        best = of_other_units(tau, run.num_splits // 2)
        note = border_note(**{"τ_test": test, f"maximum at t/T = {time:g}": tau})
        cosine = {**evaluation, "here": _at_place(evaluation, place)}
        claims += [
            per_pair(
                run,
                test - tau,
                name=f"cosine-before-test-{time:g}",
                statement="networks of disjoint splits predict most alike noise before the test "
                f"loss is lowest, at t/T = {time:g}",
                about="ln(τ_test / τ_cosine), the maximum of the cosine on test images",
                note=note,
                resolution=run.spacing("evaluation"),
            ),
            per_pair(
                run,
                at_times(cosine, "here", best) - at_times(cosine, "here", test),
                minima={"τ_test": test, "τ_cosine": best},
                name=f"cosine-falls-{time:g}",
                statement="the cosine of their noises falls from where it is largest for other "
                f"pairs to where the test loss is lowest, at t/T = {time:g}",
                about="cosine on test images: τ_cosine of the other pairs − τ_test",
                note=note,
            ),
        ]
    return claims


def _at_place(evaluation: Measurements, place: int):
    """The cosine on test images at one of the times of the noise, (checkpoint, pair)."""
    cosine = 1 - evaluation["sample_split"].values[:, :, 1, place]
    return Measurement(cosine, ("checkpoint", "pair"), "cosine", "of predicted noises")


FIGURE = FigureSpec(
    title="Figure 2",
    content="on images: cosine of the noises predicted by networks of disjoint splits, along "
    "training",
    caption=CAPTION,
    sizes=("images",),
    stages=STAGES,
    draw=draw,
    claims=((STAGES, seeing_the_same),),
)
