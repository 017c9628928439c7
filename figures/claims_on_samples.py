"""Claims on what is drawn along training: neighbours, gaps, copies and U-turns (figure 4a)."""

import numpy as np

from experiments.claim import Claim, Statistic
from experiments.onsets import MIN_CHECKPOINTS, TEST, TRAIN
from experiments.store import trained_checkpoints
from figures.claims import (
    Run,
    at_times,
    border_note,
    gap_at,
    of_pairs_at,
    per_network,
    per_pair,
)
from hiermodel.measures.turns import rise_after_turn
from hiermodel.measures.units import by_training_set

BIAS, AT_TEST = 0, 1
"""Indices along the dimension "moment"."""

MOST_COPIES = 0.005
"""Share of copies up to which there are hardly any."""

MARGIN = 0.02
"""U-turn ratios closer than this coincide: a fiftieth of the exact denoiser's overlap."""


def samples_along_training(run: Run) -> list[Claim]:
    """What "comparison" can speak to as well (figure 4a)."""
    claims = [_neighbour_before_test(run)]
    if "tau_derivable" in run.results["onsets"]:
        claims += [_derivable_before_test(run), *_derivable_rise(run), _copies_are_rare(run)]
    if "gap" in run.results["comparison"] and len(run.pairs):
        claims += [*_leaning_to_own_data(run), _copies_of_own_data(run)]
    return claims


def _neighbour_before_test(run: Run) -> Claim:
    test, bias = run.times("tau_test"), run.times("tau_neighbour")
    return per_network(
        run,
        test - bias,
        minima={"τ_test": test, "τ_bias": bias},
        name="neighbour-before-test",
        statement="samples move towards the training set before the test loss is lowest",
        about="ln(τ_test / τ_bias), minima of test loss and nearest-neighbour divergence",
        resolution=run.spacing("evaluation", "comparison"),
    )


def _derivable_before_test(run: Run) -> Claim:
    """Samples that the grammar cannot yield lie far from all data, whatever was learned."""
    test, turn = run.times_of_sets("tau_test"), run.times_of_sets("tau_derivable")
    return per_network(
        run,
        test - turn,
        minima={"τ_test": test, "τ_turn": turn},
        name="derivable-before-test",
        statement="derivable samples move towards the training set before the test loss is lowest",
        about="ln(τ_test / τ_turn), τ_turn the minimum of the nearest-neighbour divergence of "
        "derivable samples",
        resolution=run.spacing("evaluation", "comparison"),
        primary=True,
    )


def _derivable_rise(run: Run) -> list[Claim]:
    """That the curve rises after its turn, which is found on the other half of the units."""
    comparison = run.results["comparison"]
    trained, epochs = trained_checkpoints(comparison)
    curves = comparison["neighbour_divergence_derivable"].values[trained]
    curves = by_training_set(curves, run.num_splits, axis=1).T
    known = np.isfinite(curves).all(0)
    if run.num_splits < 2 or known.sum() < MIN_CHECKPOINTS:
        return []
    return [
        per_network(
            run,
            rise_after_turn(epochs[known], curves[:, known]),
            name="derivable-rises",
            statement="the nearest-neighbour divergence of derivable samples rises after its turn",
            about="nats, last three checkpoints − turn of the other half of the training sets",
            primary=True,
        )
    ]


def _copies_are_rare(run: Run) -> Claim:
    test, comparison = run.times("tau_test"), run.results["comparison"]
    fresh = np.repeat(comparison["copies_fresh"].values.mean(-1), run.num_seeds)
    excess = at_times(comparison, "copies", test) - fresh
    return per_network(
        run,
        excess,
        minima={"τ_test": test},
        name="copies-are-rare",
        statement="at the test-loss minimum, fewer than one sample in 200 copies a training "
        "sequence, beyond what fresh sequences do",
        about="fraction of samples − of fresh sequences that are training sequences",
        low=-np.inf,
        high=MOST_COPIES,
        primary=True,
    )


def against_refitted(run: Run) -> list[Claim]:
    """More bias than n sequences force on the best learner that there is."""
    if run.num_splits < 2:
        return []
    test = run.times_of_sets("tau_test")
    gap = gap_at(run, test) - run.results["refitted"]["gap_of_sets"].values
    return [
        per_network(
            run,
            gap,
            minima={"τ_test": test},
            name="gap-beyond-refitted",
            statement="at the test-loss minimum, samples lean to their own training set more than "
            "those of the grammar refitted to it",
            about="own–other gap in symbols, networks − refitted grammars",
            primary=True,
        )
    ]


def _leaning_to_own_data(run: Run) -> list[Claim]:
    """Bias measured without any floor: samples lie nearer to their own training set."""
    test = run.times_of_sets("tau_test")
    about = "own–other gap in symbols, both directions, all pairs of training sets"
    claims = [
        per_network(
            run,
            gap_at(run, test),
            minima={"τ_test": test},
            name="gap-at-test",
            statement="at the test-loss minimum, samples already lean to their own training set",
            about=about,
        )
    ]
    if "tau_turn" in run.results["onsets"]:
        turn = run.times_of_sets("tau_turn")
        claims.append(
            per_network(
                run,
                gap_at(run, test) - gap_at(run, turn),
                minima={"τ_test": test, "τ_turn": turn},
                name="gap-grows",
                statement="they lean to it more at the test-loss minimum than where networks of "
                "different sets begin to part",
                about=f"{about}: τ_test − τ_turn",
                primary=True,
            )
        )
    return claims


def _copies_of_own_data(run: Run) -> Claim:
    test = run.times_of_pairs("tau_test")
    whole_sequences = run.results["comparison"]["block_reproduction"].values[:, :, 0]
    return per_pair(
        run,
        of_pairs_at(run, whole_sequences, test),
        minima={"τ_test": test},
        name="copies-own",
        statement="at the test-loss minimum, samples repeat sequences of their own training set "
        "more often",
        about="fraction of samples in their own split − in the other, mean over both directions",
    )


def u_turns(run: Run) -> list[Claim]:
    """Train and test starts coincide where bias sets in, and separate by the test-loss minimum.

    The statistic is the difference of their ratios, averaged over the turning points. "Coincide"
    is tested as an equivalence: the whole interval must lie within ± ``MARGIN``.
    """
    ratio = run.results["u_turns"]["ratio"].values.mean(-1)
    separation = ratio[..., TRAIN] - ratio[..., TEST]
    bias, test = run.times("tau_neighbour"), run.times("tau_test")
    about = "U-turn ratio of train − of test starts, mean over t/T"
    return [
        per_network(
            run,
            separation[BIAS],
            minima={"τ_bias": bias},
            name="u-turns-coincide",
            statement="where bias sets in, U-turns from train and test sequences return equally "
            f"often (within {MARGIN})",
            about=about,
            low=-MARGIN,
            high=MARGIN,
        ),
        per_network(
            run,
            separation[AT_TEST],
            minima={"τ_test": test},
            name="u-turns-separate",
            statement="at the test-loss minimum, U-turns from train sequences return more often",
            about=about,
        ),
        per_network(
            run,
            separation[AT_TEST] - separation[BIAS],
            minima={"τ_test": test, "τ_bias": bias},
            name="u-turns-part",
            statement="train and test starts part between the two minima",
            about=f"{about}: τ_test − τ_bias",
            primary=True,
        ),
    ]


def growth(smaller: Run, larger: Run) -> list[Claim]:
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
    for name, symbol, what, stages in (
        ("tau_neighbour", "τ_bias", "bias sets in", ("comparison",)),
        ("tau_test", "τ_test", "the test loss is lowest", ("evaluation",)),
    ):
        own, other = _in_steps(smaller, name, ours), _in_steps(larger, name, theirs)
        notes = [
            f"n = {run.split_size} {note}"
            for run, times in ((smaller, own), (larger, other))
            if (note := border_note(**{symbol: times}))
        ]
        claims.append(
            per_network(
                common,
                other - own,
                name=f"{symbol.removeprefix('τ_')}-grows-{smaller.size}-{larger.size}",
                statement=f"{what} later for n = {larger.split_size} than for {smaller.split_size}",
                about=f"ln of the ratio of {symbol} in optimiser steps",
                note="; ".join(notes),
                resolution=max(run.spacing(*stages) for run in (smaller, larger)),
            )
        )
    return claims


def _in_steps(run: Run, name: str, members: list[int]) -> Statistic:
    """Ln of the times of these members, in optimiser steps."""
    return run.times(name).map(lambda part: part[members] + np.log(run.steps_per_epoch))


def _common_members(own: Run, other: Run) -> list[int]:
    """Members of ``own`` whose split and seed ``other`` has too."""
    return [
        split * own.num_seeds + seed
        for split in range(min(own.num_splits, other.num_splits))
        for seed in range(min(own.num_seeds, other.num_seeds))
    ]
