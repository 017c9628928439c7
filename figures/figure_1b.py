"""Figure 1b: which levels are learned when, and when networks of disjoint splits part ways."""

from collections.abc import Mapping

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from experiments.store import Measurements, trained_checkpoints
from figures import style

CAPTION = (
    "Divergences along training, on noised training (left) and test (middle) sequences: coloured, "
    "KL from the denoiser of filter level k, from the coarsest (light) to the exact one (dark); "
    "dashed, between networks of disjoint splits. Right, on test sequences: between networks of "
    "disjoint splits (dashed), of the same split (dotted), and what disjoint splits add to it "
    "(solid). Lines are means, bands two standard errors over networks or pairs; dots are minima "
    "(geometric mean, bar over the range), drawn where all of them lie within the range."
)

SPLIT_CURVES = (
    ("sample_split", "--", "disjoint splits"),
    ("same_data", ":", "same split"),
    ("split_excess", "-", "difference"),
)


def draw(results: Mapping[str, Measurements]) -> Figure:
    """Draw the figure from the stages "evaluation" and "onsets"."""
    evaluation, onsets = results["evaluation"], results["onsets"]
    figure, (train, test, splits) = style.new_figure(3, 2.5)
    for index, axis in enumerate((train, test)):
        _draw_levels(axis, evaluation, index)
        _draw_splits(axis, evaluation, index, SPLIT_CURVES[:1])
        style.log_height(axis)
    _mark_levels(test, evaluation, onsets)
    _draw_splits(splits, evaluation, 1, SPLIT_CURVES)
    _mark_splits(splits, evaluation, onsets)
    test.sharey(train)
    splits.axhline(0, color=style.GREY, lw=0.8)
    titles = ("training sequences", "test sequences", "test, between networks")
    for axis, title in zip((train, test, splits), titles, strict=True):
        axis.set(xscale="log", xlabel="training time (epochs)", title=title)
    train.set_ylabel("KL divergence (nats per sequence)")
    train.legend(loc="upper right", handlelength=1.4)
    splits.legend(loc="upper left", handlelength=1.6)
    return figure


def _draw_levels(axis: Axes, evaluation: Measurements, index: int) -> None:
    trained, x = trained_checkpoints(evaluation)
    oracle = evaluation["model_oracle"].values[trained, :, index]
    num_levels = oracle.shape[-1]
    for level in reversed(range(num_levels)):
        color = style.level_color(level, num_levels)
        style.curve_with_band(axis, x, oracle[..., level], color=color, label=f"$k={level}$")


def _draw_splits(axis: Axes, evaluation: Measurements, index: int, curves) -> None:
    trained, x = trained_checkpoints(evaluation)
    for name, line, label in curves:
        if name in evaluation:
            values = evaluation[name].values[trained, :, index]
            style.curve_with_band(axis, x, values, color=style.VERMILION, ls=line, label=label)


def _mark_levels(axis: Axes, evaluation: Measurements, onsets: Measurements) -> None:
    trained, x = trained_checkpoints(evaluation)
    oracle = evaluation["model_oracle"].values[trained, :, 1].mean(1)
    for level in range(oracle.shape[-1]):
        taus = onsets["tau_level"].values[:, level]
        color = style.level_color(level, oracle.shape[-1])
        style.mark_minimum(axis, x, oracle[:, level], taus, color)


def _mark_splits(axis: Axes, evaluation: Measurements, onsets: Measurements) -> None:
    trained, x = trained_checkpoints(evaluation)
    for tau, curve in (("tau_split", "sample_split"), ("tau_excess", "split_excess")):
        if tau in onsets and onsets[f"{tau}_located"].values.all():
            mean = evaluation[curve].values[trained, :, 1].mean(1)
            style.mark_minimum(axis, x, mean, onsets[tau].values, style.VERMILION)
