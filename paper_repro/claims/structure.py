"""Claims of 3b and "levels": where structure is told, and when it comes from the data."""

import numpy as np

from experiments.claim import LEVEL, Claim, Statistic
from experiments.stages.along_time import WIDTH
from experiments.store import trained_checkpoints
from hiermodel.measures.onset import locate_minimum, smooth_log_time
from hiermodel.measures.uncertainty import Interval
from paper_repro.claims.claim import Run, border_note, per_network, per_pair

PEAK, PEAK_MARGIN = 0.15, 0.05
"""Expected t/T at which levels are told apart best, and how far off still counts as near."""


def peaks(run: Run, figure: str) -> list[Claim]:
    """Divergences from the exact denoiser peak near t/T = 0.15 (figure 3b).

    For filtered denoisers (the same for every n) the interval is of the test sequences, from their
    bootstrap; for networks it is over training sets.
    """
    measured = run.results["along_time"]
    near = {"low": PEAK - PEAK_MARGIN, "high": PEAK + PEAK_MARGIN}
    of_networks = locate_minimum(
        measured["relative_time"].values, -measured["model"].values, width=WIDTH
    )
    claims = []
    if run.size == "middle":
        levels = measured["filter_level"].values
        for index in np.flatnonzero(levels <= 2):
            peak, low, high = (
                float(measured[f"peak_{end}"].values[index]) for end in ("time", "low", "high")
            )
            claims.append(
                Claim(
                    name=f"peak-{levels[index]}",
                    figure=figure,
                    statement=f"filter level k = {levels[index]} differs most from the exact "
                    f"denoiser within {PEAK_MARGIN} of t/T = {PEAK}",
                    statistic="t/T at the maximum of KL(exact ‖ filtered), over sequences",
                    interval=Interval(peak, low, high, LEVEL),
                    values=np.array([peak]),
                    low=near["low"],
                    high=near["high"],
                    over_sets=False,
                )
            )
    claims.append(
        per_network(
            run,
            Statistic.known(of_networks.time, of_networks.located),
            name="peak-model",
            figure=figure,
            statement="networks at their test-loss minimum differ most from the exact denoiser "
            f"within {PEAK_MARGIN} of t/T = {PEAK}",
            about="t/T at the maximum of KL(exact ‖ model)",
            note=border_note(peak=of_networks.located),
            **near,
        )
    )
    return claims


def data_dependence(run: Run, figure: str) -> list[Claim]:
    """When, and at which level, samples begin to depend on the training set ("levels").

    Measured is block reproduction: how much more often a sample's blocks of s^(L − l) leaves are
    found in their own training set than in one that the network never saw. It needs no oracle and
    is zero in expectation, at every level, as long as samples do not depend on the set, so any
    excess is dependence. Levels are those of the tree: 0 is the whole sequence, L one symbol. All
    levels are asked, whether or not the test of the stage found anything there.

    How much of the excess is of large blocks is no claim: small ones stand in both sets alike once
    there are enough sequences, whatever the networks do.
    """
    measured = run.results["levels"]
    if "block_excess" not in measured or not len(run.pairs):
        return []
    num_levels = measured["block_excess"].values.shape[-1]
    return [
        *(_depends_before_test(run, figure, level) for level in range(num_levels)),
        *(_smaller_first(run, figure, level, level - 1) for level in range(1, num_levels)),
    ]


def _depends_before_test(run: Run, figure: str, level: int) -> Claim:
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
        figure=figure,
        statement=f"blocks of level {level} depend on the training set before the test loss is "
        "lowest",
        about="blocks found in the own split − in the other, at the last checkpoint before τ_test",
        note=border_note(τ_test=test),
    )


def _smaller_first(run: Run, figure: str, smaller: int, larger: int) -> Claim:
    """Whether dependence arises from small blocks to large ones, as structure is learned.

    Compared are the times from which on each pair's excess is at least half its last value: unlike
    the first significant checkpoint, such a time does not depend on how many samples there are. A
    level whose last excess is not significant has no such time.
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
        name=f"dependence-order-{smaller}-{larger}",
        figure=figure,
        statement=f"blocks of level {smaller} come to depend on the training set before those of "
        f"level {larger}, which are larger",
        about=f"ln(τ_{larger} / τ_{smaller}), half-way times of the block-reproduction excess",
        note=border_note(
            **{f"half-way time of level {k}": t for k, t in ((smaller, first), (larger, then))}
        ),
        resolution=run.spacing("levels"),
    )


def half_times(times: np.ndarray, curves: np.ndarray, begun: bool = True) -> Statistic:
    """Ln of the time from which on each curve is at least half its last value.

    Looked for from the end backwards, so that noise in untrained networks, which may cross the
    half at any time, is not taken for a rise.

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
    return Statistic(
        values,
        np.where(rises & ~throughout, values, -np.inf),
        np.where(rises, values, np.inf),
    )
