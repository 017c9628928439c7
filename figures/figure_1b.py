"""Figure 1b: which levels are learned when, and when networks of disjoint splits part ways."""

from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure

from experiments.store import Measurements
from figures import style

CAPTION = (
    "Divergences of the networks along training, on noised training (left) and test (right) "
    "sequences. Coloured: KL from the denoiser of filter level k, from the coarsest (light) to the "
    "exact one (dark). Red: between networks of disjoint splits (dashed), of the same split "
    "(dotted), and what disjoint splits add to it (solid). "
    "Lines are means, bands two standard errors over networks or pairs; dots are the minima on "
    "test sequences (geometric mean, bar over the range)."
)


def draw(results: Mapping[str, Measurements]) -> Figure:
    """Draw the figure from the stages "evaluation" and "onsets"."""
    evaluation, onsets = results["evaluation"], results["onsets"]
    figure, axes = style.new_figure(2, 2.9)
    for index, (axis, name) in enumerate(zip(axes, ("training", "test"), strict=True)):
        _draw_set(axis, evaluation, index)
        axis.set(xscale="log", yscale="log", xlabel="training time (epochs)")
        axis.set_title(f"{name} sequences")
    _mark_minima(axes[1], evaluation, onsets)
    axes[0].set_ylabel("KL divergence (nats per sequence)")
    axes[1].sharey(axes[0])
    axes[0].legend(loc="best", ncols=2, handlelength=1.6, columnspacing=1.0)
    return figure


def _draw_set(axis, evaluation: Measurements, index: int) -> None:
    epochs = evaluation["epoch"].values
    trained = epochs > 0
    x = epochs[trained]
    oracle = evaluation["model_oracle"].values[trained, :, index]
    num_levels = oracle.shape[-1]
    for level in reversed(range(num_levels)):
        color = style.level_color(level, num_levels)
        style.curve_with_band(axis, x, oracle[..., level], color=color, label=f"$k={level}$")
    for name, line, label in (
        ("sample_split", "--", "disjoint splits"),
        ("same_data", ":", "same split"),
        ("split_excess", "-", "difference"),
    ):
        if name in evaluation:
            curves = evaluation[name].values[trained, :, index]
            style.curve_with_band(axis, x, curves, color=style.VERMILION, ls=line, label=label)


def _mark_minima(axis, evaluation: Measurements, onsets: Measurements) -> None:
    epochs = evaluation["epoch"].values
    trained = epochs > 0
    oracle = evaluation["model_oracle"].values[trained, :, 1].mean(1)
    num_levels = oracle.shape[-1]
    for level in range(num_levels):
        taus = onsets["tau_level"].values[:, level]
        color = style.level_color(level, num_levels)
        style.mark_minimum(axis, taus, oracle[:, level].min(), color)
    for tau, curve in (("tau_split", "sample_split"), ("tau_excess", "split_excess")):
        if tau in onsets and onsets[f"{tau}_located"].values.all():
            taus = onsets[tau].values
            mean = evaluation[curve].values[trained, :, 1].mean(1)
            height = np.interp(np.log(taus).mean(), np.log(epochs[trained]), mean)
            style.mark_minimum(axis, taus, float(height), style.VERMILION)
