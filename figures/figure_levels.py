"""Coarse first, fine late and from the data: what happens when, level by level."""

from collections.abc import Iterator, Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from experiments.claim import Claim, Statistic
from experiments.store import trained_checkpoints
from figures import style
from figures.claims import Run, per_pair
from figures.figure import FigureSpec
from figures.style import Results
from hiermodel.measures.onset import smooth_log_time
from hiermodel.measures.units import band_of_units, mean_of_units

CAPTION = (
    "What is learned at which level of the tree, and from when it depends on the training set; "
    "light: small blocks of leaves (coarse knowledge), dark: the whole tree. (a) Circles: turn of "
    "the model–oracle divergence of each filter level k (95 % interval over training sets if there "
    "are four; hollow: on the border). Squares: first checkpoint at which blocks under nodes of "
    "that level are found significantly more often in the network's own training set than in "
    "another; no oracle is needed. (b) How much more often: block reproduction, own − other split, "
    "both directions; dots: significant. (c) Its p-value, from permutations of the splits, "
    "corrected for looking at all checkpoints. (d) Each level's share in the sum of (b) at the "
    "test-loss minimum. (e) Blocks of samples that the grammar cannot produce. (f) Error of the "
    "pair correlations of samples, in the colour of the level of the pair's last common ancestor; "
    f"dotted: the same number of fresh sequences. {style.BANDS}; shading {style.SHADED}."
)

STAGES = ("evaluation", "comparison", "levels")


def draw(results: Mapping[str, Results]) -> Figure:
    """Draw the figure from the stages of the run, with "onsets"."""
    figure = style.draw_runs(results, PANELS, 2.3)
    style.letter(figure.axes)
    style.legend_below(figure, figure.axes[1:2])
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
        centre, low, high = mean_of_units(np.log(taus), of_logs=True)
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
    axis.set(ylabel="level\n↓ coarser", yticks=range(num_levels), ylim=(num_levels - 0.3, -1.6))
    axis.set_xlim(epochs[0] / 1.3, epochs[-1] * 1.3)
    axis.legend(loc="upper left", handletextpad=0.1, borderpad=0)
    style.training_axis(axis)


def _draw_excess(axis: Axes, results: Results) -> None:
    measured = results["levels"]
    axis.axhline(0, color=style.GREY, lw=0.8)
    if "block_excess" in measured:
        trained, _ = trained_checkpoints(measured)
        significant = measured["onset_p"].values[trained] <= measured["significance"].values
        epochs, excess = style.along_training(results, "levels", "block_excess")
        for level, color in _levels(results):
            curves = excess[:, :, level]
            style.curve_with_band(axis, epochs, curves, color=color, label=f"level {level}")
            shown = significant[:, level]
            axis.plot(epochs[shown], curves.mean(1)[shown], "o", color=color, ms=3)
    axis.set_ylabel("fraction, own − other\n0 is unbiased")
    style.training_axis(axis)
    style.shade_biased_phase(axis, results)


def _draw_p_values(axis: Axes, results: Results) -> None:
    measured = results["levels"]
    if "onset_p" in measured:
        trained, epochs = trained_checkpoints(measured)
        for level, color in _levels(results):
            axis.plot(epochs, measured["onset_p"].values[trained, level], ".-", color=color, ms=4)
        axis.axhline(float(measured["significance"].values), color=style.GREY, lw=0.8, ls=":")
    axis.set(yscale="log", ylabel="corrected $p$\n↓ dependent")
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
    axis.set(xlabel="level", ylabel="share of the excess\nall: 1", xticks=range(num_levels))
    axis.invert_xaxis()  # coarse to fine, as in the legends


def _draw_invalid(axis: Axes, results: Results) -> None:
    epochs, valid = style.along_training(results, "comparison", "validity")
    invalid = 1 - valid
    num_levels = invalid.shape[-1]
    for level in reversed(range(num_levels - 1)):  # single leaves are always derivable
        color = style.level_color(level, num_levels)
        style.curve_with_band(axis, epochs, invalid[..., level], color=color)
    axis.set(ylabel="fraction of nodes\n↓ better", ylim=(0, 1))
    style.training_axis(axis)
    style.shade_biased_phase(axis, results)


def _draw_correlations(axis: Axes, results: Results) -> None:
    epochs, errors = style.along_training(results, "levels", "correlation_error")
    floor = results["levels"]["correlation_floor"].values.mean(0)
    depth = errors.shape[-1]
    for distance in range(1, depth + 1):
        # Leaves at distance d have their last common ancestor at level depth − d.
        color = style.level_color(depth - distance, depth + 1)
        curves = errors[..., distance - 1]
        style.curve_with_band(axis, epochs, curves, color=color)
        axis.axhline(floor[distance - 1], color=color, ls=":", lw=0.9)
    axis.set_ylabel("error (probability)\n↓ better")
    style.log_height(axis)
    style.training_axis(axis)
    style.shade_biased_phase(axis, results)


PANELS: tuple[style.Panel, ...] = (
    ("turns and onsets", ("evaluation", "levels"), _draw_onsets),
    ("repeated from own data", ("levels",), _draw_excess),
    ("test of dependence", ("levels",), _draw_p_values),
    ("shares at $\\tau_\\mathrm{test}$", ("levels",), _draw_shares),
    ("not derivable", ("comparison",), _draw_invalid),
    ("pair correlations", ("levels",), _draw_correlations),
)


def data_dependence(run: Run) -> list[Claim]:
    """When, and at which level, samples begin to depend on the training set ("levels").

    The measure is block reproduction: how much more often a sample's blocks of s^(L − l) leaves
    are found in their own training set than in one that the network never saw. It needs no oracle
    and is zero in expectation, at every level, as long as samples do not depend on the set, so any
    excess is dependence. Levels are those of the tree: 0 is the whole sequence, L one symbol. All
    levels are asked, whether or not the test of the stage found anything there.

    The share of large blocks in the excess is no claim: with enough sequences small blocks are
    found in both sets alike, whatever the networks do.
    """
    measured = run.results["levels"]
    if "block_excess" not in measured or not len(run.pairs):
        return []
    num_levels = measured["block_excess"].values.shape[-1]
    return [
        *(_depends_before_test(run, level) for level in range(num_levels)),
        *(_smaller_first(run, level, level - 1) for level in range(1, num_levels)),
    ]


def _depends_before_test(run: Run, level: int) -> Claim:
    """The excess of each pair at its last checkpoint before the test loss is lowest."""
    measured, test = run.results["levels"], run.times_of_pairs("tau_test")
    trained, epochs = trained_checkpoints(measured)
    curves = measured["block_excess"].values[trained, :, level]
    # A minimum beyond the range still has all checkpoints but the last before it.
    before = np.searchsorted(epochs, np.exp(test.values), side="left") - 1
    known = (before >= 0) & np.isfinite(test.lower)
    excess = curves[np.maximum(before, 0), np.arange(curves.shape[1])]
    return per_pair(
        run,
        Statistic.known(excess, known),
        name=f"dependence-{level}",
        statement=f"blocks of level {level} depend on the training set before the test loss is "
        "lowest",
        about="blocks found in their own split − the other, at the last checkpoint before τ_test",
        minima={"τ_test": test},
    )


def _smaller_first(run: Run, smaller: int, larger: int) -> Claim:
    """Whether dependence arises from small blocks to large ones, as structure is learned.

    The claim compares when each pair's excess comes to half its last value for good: unlike the
    first significant checkpoint, such a time does not depend on how many samples there are. A
    level without a significant last excess has no such time.
    """
    measured = run.results["levels"]
    trained, epochs = trained_checkpoints(measured)
    curves = np.moveaxis(measured["block_excess"].values[trained], 0, -1)  # pair, level, time
    significant = measured["onset_p"].values[-1] <= measured["significance"].values
    first, then = (
        half_times(epochs, smooth_log_time(epochs, curves[:, level]), bool(significant[level]))
        for level in (smaller, larger)
    )
    return per_pair(
        run,
        then - first,
        minima={f"half-way time of level {k}": t for k, t in ((smaller, first), (larger, then))},
        name=f"dependence-order-{smaller}-{larger}",
        statement=f"blocks of level {smaller} come to depend on the training set before those of "
        f"level {larger}, which are larger",
        about=f"ln(τ_{larger} / τ_{smaller}), half-way times of the block-reproduction excess",
        resolution=run.spacing("levels"),
    )


def half_times(times: np.ndarray, curves: np.ndarray, begun: bool = True) -> Statistic:
    """Ln of the time at which each curve comes to half its last value for good.

    The search runs from the end backwards, so that noise in untrained networks, which may cross
    the half at any time, is not taken for a rise.

    Args:
        times: (num_times,) positive and increasing.
        curves: (num_curves, num_times); the time of one that is above the half throughout is only
            bounded from above, that of one whose last value is not positive has no bounds.
        begun: whether the last values are more than noise; without it, none has bounds.
    """
    half = curves[:, -1:] / 2
    below = curves < half
    last = curves.shape[1] - 1 - below[:, ::-1].argmax(1)  # last time below the half
    throughout = ~below.any(1)
    rows, last = np.arange(len(curves)), np.where(throughout, 0, np.minimum(last, len(times) - 2))
    low, high = curves[rows, last], curves[rows, last + 1]
    rise = np.where(high > low, high - low, 1)
    part = np.where(throughout, 0, np.clip((half[:, 0] - low) / rise, 0, 1))
    logs = np.log(times)
    values = logs[last] + part * (logs[last + 1] - logs[last])
    rises = begun & (curves[:, -1] > 0)
    return Statistic.bounded(values, ~rises | throughout, ~rises)


FIGURE = FigureSpec(
    title="Levels: coarse first, fine late",
    content="when each level is learned, when samples of that level begin to depend on the "
    "training set, and validity and pair correlations beside",
    caption=CAPTION,
    sizes=("middle",),
    stages=STAGES,
    draw=draw,
    claims=((STAGES, data_dependence),),
)
