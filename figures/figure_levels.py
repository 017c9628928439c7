"""Coarse first, fine late and from the data: what happens when, level by level."""

from collections.abc import Callable, Iterator

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from experiments.store import trained_checkpoints
from figures import style
from figures.style import Results
from hiermodel.measures.units import band_of_units

CAPTION = (
    "What is learned at which level of the tree, and from when it depends on the training set; "
    "light: small blocks of leaves (coarse knowledge), dark: the whole tree. (a) Circles: turn of "
    "the model–oracle divergence of each filter level k (95 % interval over training sets if there "
    "are four; hollow: on the border). Squares: first checkpoint at which blocks under nodes "
    "of that level are "
    "significantly more often repeated from the own training set than from another split's; it "
    "needs no oracle. (b) How much more often: block reproduction, own − other split, both "
    "directions; dots: significant. (c) Its p-value, from permutations of the "
    "splits, corrected for looking at all checkpoints. (d) Each level's share in the sum of (b) at "
    "the test-loss minimum: how many levels further a leaf's surroundings follow the own data. "
    "(e) Blocks of samples that the grammar cannot produce. (f) Error of the pair correlations of "
    "samples, in the colour of the level of the pair's last common ancestor; dotted: fresh data of "
    f"the same number. {style.BANDS}; shading {style.SHADED}."
)

STAGES = ("evaluation", "comparison", "levels")
SIZES = ("middle",)


def draw(results: Results) -> Figure:
    """Draw the figure from the stages "evaluation", "comparison" and "levels", with "onsets"."""
    figure, axes = style.new_figure(3, 4.6, num_rows=2)
    panels: list[tuple[str, tuple[str, ...], Callable[[Axes, Results], None]]] = [
        ("(a) turns and onsets", ("evaluation", "levels"), _draw_onsets),
        ("(b) repeated from own data", ("levels",), _draw_excess),
        ("(c) test of dependence", ("levels",), _draw_p_values),
        ("(d) shares at $\\tau_\\mathrm{test}$", ("levels",), _draw_shares),
        ("(e) not derivable", ("comparison",), _draw_invalid),
        ("(f) pair correlations", ("levels",), _draw_correlations),
    ]
    for axis, (title, needs, draw_one) in zip(axes, panels, strict=True):
        style.draw_panel(axis, results, needs, draw_one)
        axis.set_title(title, loc="left")
    style.legend_below(figure, axes[1])
    return figure


def _levels(results: Results) -> Iterator[tuple[int, tuple[float, ...]]]:
    """Levels from the coarsest knowledge, single leaves, to the whole tree, with their colours."""
    num_levels = results["levels"]["correlation_error"].values.shape[-1] + 1
    for level in reversed(range(num_levels)):
        yield level, style.level_color(level, num_levels)


def _draw_onsets(axis: Axes, results: Results) -> None:
    levels = results["levels"]
    _, epochs = trained_checkpoints(results["evaluation"])
    for level, color in _levels(results):
        taus, located = style.onset(results, "tau_level", level)
        centre, low, high = style.log_interval(taus)
        if located.all() and np.isfinite(low):
            low, high = max(low, epochs[0]), min(high, epochs[-1])
            axis.plot([low, high], [level - 0.1] * 2, color=color, lw=1.2)
        style.dot_on_bar(axis, centre, level - 0.1, located, color)
        begins = levels["onset_epoch"].values[level] if "onset_epoch" in levels else np.inf
        if np.isfinite(begins):
            # An onset in untrained networks would have no place on a logarithmic axis.
            axis.plot(max(begins, epochs[0] / 2), level + 0.15, "s", color=color, ms=5, mec="black")
    axis.plot([], [], "o", color=style.GREY, ms=4.5, label="turn from oracle $k$")
    axis.plot([], [], "s", color=style.GREY, ms=5, mec="black", label="data-dependence")
    num_levels = levels["correlation_error"].values.shape[-1] + 1
    axis.set(ylabel="level", yticks=range(num_levels), ylim=(num_levels - 0.3, -1.6))
    axis.set_xlim(epochs[0] / 1.3, epochs[-1] * 1.3)
    axis.legend(loc="upper left", handletextpad=0.1, borderpad=0)
    style.training_axis(axis)


def _draw_excess(axis: Axes, results: Results) -> None:
    measured = results["levels"]
    axis.axhline(0, color=style.GREY, lw=0.8)
    if "block_excess" in measured:
        trained, epochs = trained_checkpoints(measured)
        significant = measured["onset_p"].values[trained] <= measured["significance"].values
        for level, color in _levels(results):
            curves = style.by_pair(results, measured["block_excess"].values[trained, :, level])
            style.curve_with_band(axis, epochs, curves, color=color, label=f"level {level}")
            shown = significant[:, level]
            axis.plot(epochs[shown], curves.mean(1)[shown], "o", color=color, ms=3)
    axis.set_ylabel("fraction, own − other")
    style.training_axis(axis)
    style.shade_biased_phase(axis, results)


def _draw_p_values(axis: Axes, results: Results) -> None:
    measured = results["levels"]
    if "onset_p" in measured:
        trained, epochs = trained_checkpoints(measured)
        for level, color in _levels(results):
            axis.plot(epochs, measured["onset_p"].values[trained, level], ".-", color=color, ms=4)
        axis.axhline(float(measured["significance"].values), color=style.GREY, lw=0.8, ls=":")
    axis.set(yscale="log", ylabel="corrected $p$")
    style.training_axis(axis)


def _draw_shares(axis: Axes, results: Results) -> None:
    measured = results["levels"]
    axis.axhline(0, color=style.GREY, lw=0.8)
    if "block_share" in measured:
        shares = style.by_pair(results, measured["block_share"].values.T)  # (level, pair)
        band = band_of_units(shares.T)
        for level, color in _levels(results):
            mean = shares[level].mean()
            bar = None if band is None else np.asarray(band.high)[level] - mean
            axis.bar(level, mean, color=color, yerr=bar, capsize=2)
    num_levels = measured["correlation_error"].values.shape[-1] + 1
    axis.set(xlabel="level", ylabel="share", xticks=range(num_levels))
    axis.invert_xaxis()  # coarse to fine, as in the legends


def _draw_invalid(axis: Axes, results: Results) -> None:
    comparison = results["comparison"]
    trained, epochs = trained_checkpoints(comparison)
    invalid = 1 - style.by_set(results, comparison["validity"].values[trained])
    num_levels = invalid.shape[-1]
    for level in reversed(range(num_levels - 1)):  # single leaves are always derivable
        color = style.level_color(level, num_levels)
        style.curve_with_band(axis, epochs, invalid[..., level], color=color)
    axis.set(ylabel="fraction of nodes", ylim=(0, 1))
    style.training_axis(axis)
    style.shade_biased_phase(axis, results)


def _draw_correlations(axis: Axes, results: Results) -> None:
    measured = results["levels"]
    trained, epochs = trained_checkpoints(measured)
    errors = style.by_set(results, measured["correlation_error"].values[trained])
    floor = measured["correlation_floor"].values.mean(0)
    depth = errors.shape[-1]
    for distance in range(1, depth + 1):
        # Leaves at distance d have their last common ancestor at level depth − d.
        color = style.level_color(depth - distance, depth + 1)
        curves = errors[..., distance - 1]
        style.curve_with_band(axis, epochs, curves, color=color)
        axis.axhline(floor[distance - 1], color=color, ls=":", lw=0.9)
    axis.set_ylabel("error (probability)")
    style.log_height(axis)
    style.training_axis(axis)
    style.shade_biased_phase(axis, results)
