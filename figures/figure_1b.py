"""Figure 1b: which levels are learned when, and when networks of disjoint splits part ways."""

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from experiments.store import trained_checkpoints
from figures import style
from figures.style import Results

CAPTION = (
    "Divergences along training, on noised training (left) and test (middle) sequences: coloured, "
    "KL from the denoiser of filter level k, from the coarsest (light) to the exact one (dark); "
    "dashed, between networks of disjoint splits. Right, on test sequences: between networks of "
    "disjoint splits (dashed), of the same split (dotted), and what disjoint splits add to it "
    "(solid). "
    f"{style.BANDS}; {style.MINIMA}."
)

STAGES = ("evaluation",)
SIZES = ("middle",)

SPLIT_CURVES = (
    ("sample_split", "--", "disjoint splits"),
    ("same_data", ":", "same split"),
    ("split_excess", "-", "difference"),
)

TITLES = ("training sequences", "test sequences", "test, between networks")


def draw(results: Results) -> Figure:
    """Draw the figure from the stage "evaluation", with "onsets"."""
    figure, axes = style.new_figure(3, 2.6)
    draw_row(axes, results)
    style.legend_below(figure, axes[0])
    return figure


def draw_row(axes: Sequence[Axes], results: Results) -> None:
    """Draw the three panels of one training-set size."""
    train, test, splits = axes
    style.draw_panel(train, results, STAGES, lambda axis, found: _draw_set(axis, found, 0))
    style.draw_panel(test, results, STAGES, lambda axis, found: _draw_set(axis, found, 1))
    style.draw_panel(splits, results, STAGES, _draw_networks)
    for axis, title in zip(axes, TITLES, strict=True):
        axis.set_title(title)
    if "evaluation" in results:
        test.sharey(train)
        train.set_ylabel("KL divergence\n(nats per sequence)")


def _draw_set(axis: Axes, results: Results, index: int) -> None:
    draw_levels(axis, results, index)
    _draw_splits(axis, results, index, SPLIT_CURVES[:1])
    if index == 1:
        _mark_levels(axis, results)
    style.log_height(axis)
    style.training_axis(axis)


def _draw_networks(axis: Axes, results: Results) -> None:
    _draw_splits(axis, results, 1, SPLIT_CURVES)
    _mark_splits(axis, results)
    axis.axhline(0, color=style.GREY, lw=0.8)
    style.leave_room_above(axis, 0.35)
    axis.legend(loc="upper left", handlelength=1.6)
    style.training_axis(axis)


def draw_levels(axis: Axes, results: Results, index: int) -> None:
    """Model–oracle divergence of every filter level, on one of the sets."""
    evaluation = results["evaluation"]
    trained, x = trained_checkpoints(evaluation)
    oracle = style.by_set(results, evaluation["model_oracle"].values[trained, :, index])
    num_levels = oracle.shape[-1]
    for level in reversed(range(num_levels)):
        color = style.level_color(level, num_levels)
        style.curve_with_band(axis, x, oracle[..., level], color=color, label=f"$k={level}$")


def _draw_splits(axis: Axes, results: Results, index: int, curves) -> None:
    evaluation = results["evaluation"]
    trained, x = trained_checkpoints(evaluation)
    for name, line, label in curves:
        if name in evaluation:
            share = style.by_set if name == "same_data" else style.by_pair
            values = share(results, evaluation[name].values[trained, :, index])
            style.curve_with_band(axis, x, values, color=style.VERMILION, ls=line, label=label)


def _mark_levels(axis: Axes, results: Results) -> None:
    evaluation = results["evaluation"]
    trained, x = trained_checkpoints(evaluation)
    oracle = evaluation["model_oracle"].values[trained, :, 1].mean(1)
    for level in range(oracle.shape[-1]):
        color = style.level_color(level, oracle.shape[-1])
        minima = style.onset(results, "tau_level", level)
        style.mark_minimum(axis, x, oracle[:, level], *minima, color)


def _mark_splits(axis: Axes, results: Results) -> None:
    evaluation = results["evaluation"]
    trained, x = trained_checkpoints(evaluation)
    for tau, curve in (("tau_split", "sample_split"), ("tau_excess", "split_excess")):
        if tau in results["onsets"]:
            taus, located = style.onset(results, tau)
            mean = evaluation[curve].values[trained, :, 1].mean(1)
            if located.any():
                style.mark_minimum(axis, x, mean, taus, located, style.VERMILION)
