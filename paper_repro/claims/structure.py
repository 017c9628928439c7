"""Claims of 3b and "levels": where structure is told, and when it comes from the data."""

import numpy as np

from experiments.stages.along_time import WIDTH
from experiments.store import trained_checkpoints
from hiermodel.measures.onset import locate_minimum, smooth_log_time
from hiermodel.measures.uncertainty import Interval
from paper_repro.claims.claim import LEVEL, Claim, Run, border_note, per_network, per_pair

PEAK, PEAK_MARGIN = 0.15, 0.05
"""Expected t/T at which levels are told apart best, and how far off still counts as near."""


def peaks(run: Run, figure: str) -> list[Claim]:
    """Divergences from the exact denoiser peak near t/T = 0.15 (figure 3b).

    For filtered denoisers (the same for every n) the interval is of the test sequences, from their
    bootstrap; for networks it is over networks.
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
                )
            )
    claims.append(
        per_network(
            run,
            name="peak-model",
            figure=figure,
            statement="networks at their test-loss minimum differ most from the exact denoiser "
            f"within {PEAK_MARGIN} of t/T = {PEAK}",
            statistic="t/T at the maximum of KL(exact ‖ model)",
            values=of_networks.time,
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
    excess is dependence. Levels are those of the tree: 0 is the whole sequence, L one symbol.
    """
    measured = run.results["levels"]
    if "block_excess" not in measured or not len(run.pairs):
        return []
    onset, p_values = measured["onset_epoch"].values, measured["onset_p"].values
    begun = [level for level, epoch in enumerate(onset) if np.isfinite(epoch)]
    claims = [_begins_before_test(run, figure, level, onset, p_values) for level in begun]
    claims += [
        _smaller_first(run, figure, level, level - 1) for level in begun if level - 1 in begun
    ]
    if begun and "block_share" in measured:  # without dependence there is nothing to share out
        claims.append(_share_is_coarse(run, figure))
    return claims


def _begins_before_test(
    run: Run, figure: str, level: int, onset: np.ndarray, p_values: np.ndarray
) -> Claim:
    smallest = float(p_values[:, level].min())
    return per_network(
        run,
        name=f"dependence-{level}",
        figure=figure,
        statement=f"blocks of level {level} depend on the training set before the test loss is "
        "lowest",
        statistic=f"ln(τ_test / first checkpoint with p ≤ 0.05, epoch {onset[level]:g}); smallest "
        f"corrected p {smallest:.2g}",
        values=np.log(run.onset("tau_test") / np.maximum(onset[level], 1)),
        note=run.located(τ_test="tau_test"),
    )


def _smaller_first(run: Run, figure: str, smaller: int, larger: int) -> Claim:
    """Whether dependence arises from small blocks to large ones, as structure is learned.

    Compared are the times at which each pair's excess has come half way to its last value: unlike
    the first significant checkpoint, such a time does not depend on how many samples there are.
    """
    measured = run.results["levels"]
    trained, epochs = trained_checkpoints(measured)
    curves = np.moveaxis(measured["block_excess"].values[trained], 0, -1)
    times = half_times(epochs, smooth_log_time(epochs, curves))
    return per_pair(
        run,
        name=f"dependence-order-{smaller}-{larger}",
        figure=figure,
        statement=f"blocks of level {smaller} come to depend on the training set before those of "
        f"level {larger}, which are larger",
        statistic=f"ln(τ_{larger} / τ_{smaller}), half-way times of the block-reproduction excess",
        values=np.log(times[:, larger] / times[:, smaller]),
    )


def half_times(times: np.ndarray, curves: np.ndarray) -> np.ndarray:
    """When each curve first has half its last value, interpolated in log time.

    Args:
        times: (num_times,) positive and increasing.
        curves: (..., num_times); one that starts above half its last value gets the first time.
    """
    reached = curves >= curves[..., -1:] / 2
    last = np.where(reached.any(-1), reached.argmax(-1), len(times) - 1)
    first = np.maximum(last - 1, 0)
    low = np.take_along_axis(curves, first[..., None], -1)[..., 0]
    high = np.take_along_axis(curves, last[..., None], -1)[..., 0]
    rise = np.where(high > low, high - low, 1)
    part = np.clip((curves[..., -1] / 2 - low) / rise, 0, 1)
    logs = np.log(times)
    return np.exp(logs[first] + part * (logs[last] - logs[first]))


def _share_is_coarse(run: Run, figure: str) -> Claim:
    """Which levels carry the dependence: large blocks, or single symbols and their neighbours."""
    share = run.results["levels"]["block_share"].values
    half = share.shape[1] // 2
    return per_pair(
        run,
        name="dependence-of-large-blocks",
        figure=figure,
        statement=f"at the test-loss minimum, most of the dependence is of large blocks, those of "
        f"levels below {half}",
        statistic=f"share of levels below {half} − share of the others",
        values=share[:, :half].sum(1) - share[:, half:].sum(1),
    )
