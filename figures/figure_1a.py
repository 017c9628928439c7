"""Figure 1a: networks on disjoint images draw the same pictures, then part while the loss falls."""

import dataclasses
import functools
from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from experiments.claim import Claim, Statistic
from experiments.store import trained_checkpoints
from figures import pictures, style
from figures.claims import (
    Run,
    at_times,
    gap_at,
    of_other_units,
    per_network,
    per_pair,
)
from figures.figure import FigureSpec
from figures.style import Results
from hiermodel.measures.uncertainty import proportion_interval
from hiermodel.measures.units import by_training_set

CAPTION = (
    "Top, along training, a column for each data set: 1 − cosine of samples that networks of "
    "disjoint splits draw from the same noise, after each image is standardised, over disjoint "
    "pairs of splits (dotted: between seeds of one split); the denoising loss (dashed: of the "
    "linear denoiser of the training covariance); the own–other gap, whose expectation is zero as "
    "long as samples do not depend on the split; the share of memorised samples. "
    f"{style.BANDS}; {style.MINIMA}. Shaded: from the minimum of the dissimilarity to "
    f"that of the test loss, {style.SHADED}. Below: samples of two networks on disjoint splits "
    "A and B from the same noise, each with its nearest training image: where the samples agree "
    "most, where the test loss is lowest, and at the end; of several data sets, where the test "
    "loss is lowest."
)

STAGES = ("evaluation", "comparison")
SHOWN = 4

FEW = 0.05
"""Share of memorised samples that still counts as hardly any."""


def draw(results: Mapping[str, Results]) -> Figure:
    """Draw the figure from the stages of each data set, by its name."""
    heights = (1.8 * (2 if len(results) == 1 else len(PANELS)), 2.1)
    figure = Figure(figsize=(style.COLUMN_WIDTH, sum(heights) + 0.3), layout="constrained")
    top, bottom = figure.subfigures(2, 1, squeeze=False, height_ratios=heights)[:, 0]
    style.draw_runs(results, PANELS, 1.8, wrap=2, into=top)
    style.legend_below(figure, top.axes)
    shown = _mosaics(results)
    mosaics = bottom.subplots(1, len(shown), squeeze=False)[0]
    for axis, (title, own, checkpoint) in zip(mosaics, shown, strict=True):
        style.draw_panel(axis, own, STAGES, functools.partial(_pairs, checkpoint=checkpoint))
        axis.set_title(title)
    return figure


def _mosaics(results: Mapping[str, Results]) -> list[tuple[str, Results, int]]:
    """What the pictures show: three moments of one run, or each run where its loss is lowest."""
    if len(results) <= 1:
        own = style.only(results)
        return [(title, own, checkpoint) for title, checkpoint in moments(own)]
    return [(name, own, moments(own)[1][1]) for name, own in results.items()]


def moments(results: Results) -> list[tuple[str, int]]:
    """Names and numbers of the sampled checkpoints whose pictures are shown."""
    if any(stage not in results for stage in STAGES):
        return [("", 0)] * 3
    comparison, onsets = results["comparison"], results["onsets"]
    names = {"tau_pair": "most alike", "tau_test": "test loss lowest"}
    found = []
    trained, epochs = trained_checkpoints(comparison)
    for name, what in names.items():
        times = style.onset(results, name)[0] if name in onsets else epochs[-1:]
        nearest = np.abs(np.log(epochs) - np.log(times).mean()).argmin()
        found.append((f"{what} (epoch {epochs[nearest]})", int(np.flatnonzero(trained)[nearest])))
    return [*found, (f"the end (epoch {epochs[-1]})", len(trained) - 1)]


def _pairs(axis: Axes, results: Results, checkpoint: int) -> None:
    if "pictures" in results["comparison"]:  # not all data can be looked at
        pictures.draw_pairs(axis, results["comparison"], checkpoint, SHOWN)


def _draw_dissimilarity(axis: Axes, results: Results) -> None:
    epochs, curves = style.along_training(results, "comparison", "dissimilarity")
    style.curve_with_band(axis, epochs, curves, color=style.BLUE, label="disjoint splits")
    if "same_data" in results["comparison"]:
        _, control = style.along_training(results, "comparison", "same_data", style.by_set)
        line = {"color": style.GREY, "ls": ":", "label": "same split"}
        style.curve_with_band(axis, epochs, control, **line)
    style.mark_minimum(axis, results, "tau_pair", epochs, curves, style.BLUE)
    units = results["comparison"]["dissimilarity"].units
    axis.set(ylabel=f"{units}\n↓ more alike", ylim=(0, None))
    finish(axis, results)


def draw_loss(axis: Axes, results: Results) -> None:
    """The panel of the losses."""
    evaluation = results["evaluation"]
    epochs, losses = style.along_training(results, "evaluation", "loss")
    for index, (name, color) in enumerate(style.SET_COLORS.items()):
        style.curve_with_band(axis, epochs, losses[:, :, index], color=color, label=name)
    color = style.SET_COLORS["test"]
    style.mark_minimum(axis, results, "tau_test", epochs, losses[:, :, 1], color)
    for name, label in (("gaussian_loss", "linear, test"), ("loss_floor", "exact, test")):
        if name in evaluation:
            level = evaluation[name].values[:, 1].mean()
            axis.axhline(level, color=style.GREY, ls="--", lw=0.8, label=label)
    style.log_height(axis)
    axis.set_ylabel(f"{evaluation['loss'].units}\n↓ better")
    finish(axis, results)


def _draw_gap(axis: Axes, results: Results) -> None:
    style.draw_gap(axis, results)
    units = results["comparison"]["nearest_distance"].units
    axis.set_ylabel(f"{units}\n0 is unbiased")
    finish(axis, results)


def _draw_memorised(axis: Axes, results: Results) -> None:
    if "memorised" not in results["comparison"]:
        axis.set_visible(False)
        return
    epochs, memorised = style.along_training(results, "comparison", "memorised")
    style.curve_with_band(axis, epochs, memorised, color=style.PURPLE)
    axis.set_ylabel("fraction of samples\n↓ better")
    top = max(1.05 * memorised.max(), 2 * FEW)
    axis.set_ylim(-0.03 * top, top)
    finish(axis, results)


PANELS: tuple[style.Panel, ...] = (
    ("paired samples", STAGES, _draw_dissimilarity),
    ("denoising loss", STAGES, draw_loss),
    ("own–other gap", STAGES, _draw_gap),
    ("memorised", STAGES, _draw_memorised),
)
"""What is drawn of every data set, along training."""


def finish(axis: Axes, results: Results) -> None:
    """Training time below, and the biased phase shaded."""
    style.training_axis(axis)
    style.shade_biased_phase(axis, results, begin="tau_pair")


def samples_of_pairs(run: Run) -> list[Claim]:
    """What paired samples and nearest images can speak to (figures 1a and 7)."""
    claims = []
    if len(run.pairs):
        claims = [_alike_before_test(run), *_leaning_to_own_images(run)]
    return [*claims, _not_yet_memorised(run)]


def _alike_before_test(run: Run) -> Claim:
    test, pair = run.times_of_pairs("tau_test"), run.times_of_pairs("tau_pair")
    return per_pair(
        run,
        test - pair,
        minima={"τ_test": test, "τ_pair": pair},
        name="alike-before-test",
        statement="paired samples of networks on disjoint splits are most alike before the test "
        "loss is lowest",
        about="ln(τ_test / τ_pair), minima of test loss and of the samples' dissimilarity",
        resolution=run.spacing("evaluation", "comparison"),
    )


def _leaning_to_own_images(run: Run) -> list[Claim]:
    """Where samples are most alike is taken from the other pairs, since the gap uses the same."""
    num_pairs = run.num_splits // 2
    pairs = of_other_units(run.times_of_pairs("tau_pair"), num_pairs)
    of_pairs = (by_training_set(part, num_pairs) for part in dataclasses.astuple(pairs))
    pair = Statistic(*(np.resize(np.repeat(part, 2), run.num_splits) for part in of_pairs))
    test = run.times_of_sets("tau_test")
    at_test, at_pair = gap_at(run, test), gap_at(run, pair)
    about = "own–other gap in pixel units, both directions, all pairs of training sets"
    return [
        per_network(
            run,
            at_test,
            minima={"τ_test": test},
            name="image-gap-at-test",
            statement="at the test-loss minimum, samples already lean to their own training images",
            about=about,
        ),
        per_network(
            run,
            at_test - at_pair,
            minima={"τ_test": test, "τ_pair": pair},
            name="image-gap-grows",
            statement="they lean to them more there than where paired samples are most alike",
            about=f"{about}: τ_test − τ_pair of the other pairs",
        ),
    ]


def _not_yet_memorised(run: Run) -> Claim:
    """Bounds are Wilson's of each network's share: no memorised sample is no proof of none.

    With them a sign test over training sets decides, not an interval around zeros.
    """
    comparison, test = run.results["comparison"], run.times("tau_test")
    share = at_times(comparison, "memorised", test)
    bounds = proportion_interval(np.rint(share * run.num_samples), run.num_samples)
    low, high = (
        np.where(test.located, *ends) for ends in ((bounds.low, -np.inf), (bounds.high, np.inf))
    )
    return per_network(
        run,
        Statistic(share, low, high),
        minima={"τ_test": test},
        name="not-yet-memorised",
        statement=f"at the test-loss minimum, hardly any sample is memorised (below {FEW:.0%})",
        about="fraction of samples much nearer to one training image than to any other",
        low=-np.inf,
        high=FEW,
    )


FIGURE = FigureSpec(
    title="Figure 1a",
    content="on images: dissimilarity of paired samples of networks on disjoint splits, the test "
    "loss and the own–other gap along training, for images with all and with only coarse structure "
    "(Haar, PCA); pairs with their nearest training images",
    caption=CAPTION,
    sizes=("images", "images_haar", "images_pca"),
    stages=STAGES,
    draw=draw,
    claims=((STAGES, samples_of_pairs),),
    also=("7",),
)
