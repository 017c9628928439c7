"""Claims of figures 4b and 5, 9 and 10 right: what the biased phase does to loss and U-turns."""

from hiermodel.measures.onset import paired_log_ratio
from paper_repro.claims.claim import Claim, Run, nearest_checkpoint, per_network

TRAIN, TEST = 0, 1
"""Indices along the dimension "set"."""

BIAS, AT_TEST = 0, 1
"""Indices along the dimension "moment"."""

MARGIN = 0.02
"""U-turn ratios closer than this coincide: a fiftieth of the exact denoiser's overlap."""


def loss_decomposition(run: Run, figure: str) -> list[Claim]:
    """In the biased phase both terms of the loss fall on train (figure 4b)."""
    measured = run.results["decomposition"]
    begin = nearest_checkpoint(measured, run.onset("tau_neighbour"))
    end = nearest_checkpoint(measured, run.onset("tau_test"))
    note = run.located(τ_test="tau_test", τ_bias="tau_neighbour")
    if end <= begin:
        note = "; ".join(filter(None, ("there is no biased phase", note)))
    return [
        per_network(
            run,
            name=f"{term}-falls{suffix}",
            figure=figure,
            statement=f"in the biased phase the {term} term of the training loss falls {where}",
            statistic=f"{term} on train, nats per position: τ_bias − τ_test",
            values=(
                measured[term + suffix_of].values[begin] - measured[term + suffix_of].values[end]
            )[:, TRAIN],
            note=note,
        )
        for suffix, suffix_of, where in (
            ("", "", "at t/T = 0.3"),
            ("-all", "_all", "on average over t"),
        )
        for term in ("distillation", "excess")
    ]


def u_turns(run: Run, figure: str) -> list[Claim]:
    """Train and test starts coincide where bias sets in, and separate by the test-loss minimum.

    The statistic is the difference of their ratios, averaged over the turning points. "Coincide"
    is tested as an equivalence: the whole interval must lie within ± ``MARGIN``.
    """
    ratio = run.results["u_turns"]["ratio"].values.mean(-1)
    separation = ratio[..., TRAIN] - ratio[..., TEST]
    note = run.located(τ_test="tau_test", τ_bias="tau_neighbour")
    statistic = "U-turn ratio of train − of test starts, mean over t/T"
    return [
        per_network(
            run,
            name="u-turns-coincide",
            figure=figure,
            statement="where bias sets in, U-turns from train and test sequences return equally "
            f"often (within {MARGIN})",
            statistic=statistic,
            values=separation[BIAS],
            note=note,
            low=-MARGIN,
            high=MARGIN,
        ),
        per_network(
            run,
            name="u-turns-separate",
            figure=figure,
            statement="at the test-loss minimum, U-turns from train sequences return more often",
            statistic=statistic,
            values=separation[AT_TEST],
            note=note,
        ),
        per_network(
            run,
            name="u-turns-part",
            figure=figure,
            statement="train and test starts part between the two minima",
            statistic=f"{statistic}: τ_test − τ_bias",
            values=separation[AT_TEST] - separation[BIAS],
            note=note,
        ),
    ]


def growth(smaller: Run, larger: Run, figure: str) -> list[Claim]:
    """Both minima come later with more data, in optimiser steps.

    Networks of the same split and seed start from the same values, so they are compared in pairs.
    Steps rather than epochs, since it is steps that move a network: with more data an epoch has
    more of them, so later in epochs is later in steps as well, but not the other way round.
    """
    ours, theirs = _common_members(smaller, larger), _common_members(larger, smaller)
    common = Run(
        {},
        min(smaller.num_splits, larger.num_splits),
        min(smaller.num_seeds, larger.num_seeds),
    )
    claims = []
    for name, symbol, what in (
        ("tau_neighbour", "τ_bias", "bias sets in"),
        ("tau_test", "τ_test", "the test loss is lowest"),
    ):
        before = smaller.onset(name)[ours] * smaller.steps_per_epoch
        after = larger.onset(name)[theirs] * larger.steps_per_epoch
        claims.append(
            per_network(
                common,
                name=f"{symbol.removeprefix('τ_')}-grows-{smaller.size}-{larger.size}",
                figure=figure,
                statement=f"{what} later for n = {larger.split_size} than for {smaller.split_size}",
                statistic=f"ln of the ratio of {symbol} in optimiser steps",
                values=paired_log_ratio(after, before),
                note="; ".join(
                    f"n = {run.split_size} {note}"
                    for run in (smaller, larger)
                    if (note := run.located(**{symbol: name}))
                ),
            )
        )
    return claims


def _common_members(own: Run, other: Run) -> list[int]:
    """Members of ``own`` whose split and seed ``other`` has too."""
    return [
        split * own.num_seeds + seed
        for split in range(min(own.num_splits, other.num_splits))
        for seed in range(min(own.num_seeds, other.num_seeds))
    ]
