"""Claims of figures 4b and 5, 9 and 10 right: what the biased phase does to loss and U-turns."""

import numpy as np

from experiments.claim import Claim, Statistic
from paper_repro.claims.claim import Run, at_times, border_note, located, per_network

TRAIN, TEST = 0, 1
"""Indices along the dimension "set"."""

BIAS, AT_TEST = 0, 1
"""Indices along the dimension "moment"."""

MARGIN = 0.02
"""U-turn ratios closer than this coincide: a fiftieth of the exact denoiser's overlap."""


def loss_decomposition(run: Run, figure: str) -> list[Claim]:
    """What the falling training loss is made of in the biased phase (figure 4b).

    That the training loss falls is no finding. Its parts could stay: the distillation term on train
    falls only while a network still learns what all data share, and the excess on train falls below
    that on test only if the network remembers its own data. Each network is looked at between its
    own two minima; one without a biased phase between them says nothing, so its value is unknown.
    """
    measured = run.results["decomposition"]
    bias, test = run.times("tau_neighbour"), run.times("tau_test")
    known = located(bias, test) & (test.values > bias.values)
    note = border_note(τ_test=test, τ_bias=bias)
    if (none := int((located(bias, test) & (test.values <= bias.values)).sum())) > 0:
        note = "; ".join(filter(None, (f"no biased phase in {none} of {known.size}", note)))
    parts = (
        ("distillation", "the distillation term of the training loss still falls", ""),
        ("excess", "the excess term falls more on train than on test", ", train − test"),
    )
    claims = []
    for ending, suffix, where in (("", "", "at t/T = 0.3"), ("_all", "-all", "on average over t")):
        for term, statement, what in parts:
            fall = at_times(measured, f"{term}{ending}", bias) - at_times(
                measured, f"{term}{ending}", test
            )
            less = fall[:, TEST] if term == "excess" else 0.0
            claims.append(
                per_network(
                    run,
                    Statistic.known(fall[:, TRAIN] - less, known),
                    name=f"{term}-falls{suffix}",
                    figure=figure,
                    statement=f"in the biased phase {statement} {where}",
                    about=f"{term}{what or ' on train'}, nats per position: τ_bias − τ_test",
                    note=note,
                )
            )
    return claims


def u_turns(run: Run, figure: str) -> list[Claim]:
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
            Statistic.known(separation[BIAS], located(bias)),
            name="u-turns-coincide",
            figure=figure,
            statement="where bias sets in, U-turns from train and test sequences return equally "
            f"often (within {MARGIN})",
            about=about,
            note=border_note(τ_bias=bias),
            low=-MARGIN,
            high=MARGIN,
        ),
        per_network(
            run,
            Statistic.known(separation[AT_TEST], located(test)),
            name="u-turns-separate",
            figure=figure,
            statement="at the test-loss minimum, U-turns from train sequences return more often",
            about=about,
            note=border_note(τ_test=test),
        ),
        per_network(
            run,
            Statistic.known(separation[AT_TEST] - separation[BIAS], located(bias, test)),
            name="u-turns-part",
            figure=figure,
            statement="train and test starts part between the two minima",
            about=f"{about}: τ_test − τ_bias",
            note=border_note(τ_test=test, τ_bias=bias),
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
    for name, symbol, what, stages in (
        ("tau_neighbour", "τ_bias", "bias sets in", ("comparison",)),
        ("tau_test", "τ_test", "the test loss is lowest", ("evaluation",)),
    ):
        before = _in_steps(smaller, name, ours)
        after = _in_steps(larger, name, theirs)
        notes = [
            f"n = {run.split_size} {note}"
            for run, times in ((smaller, before), (larger, after))
            if (note := border_note(**{symbol: times}))
        ]
        claims.append(
            per_network(
                common,
                after - before,
                name=f"{symbol.removeprefix('τ_')}-grows-{smaller.size}-{larger.size}",
                figure=figure,
                statement=f"{what} later for n = {larger.split_size} than for {smaller.split_size}",
                about=f"ln of the ratio of {symbol} in optimiser steps",
                note="; ".join(notes),
                resolution=max(run.spacing(*stages) for run in (smaller, larger)),
            )
        )
    return claims


def _in_steps(run: Run, name: str, members: list[int]) -> Statistic:
    """Ln of the times of these members, in optimiser steps."""
    own, shift = run.times(name), np.log(run.steps_per_epoch)
    return Statistic(*(part[members] + shift for part in (own.values, own.lower, own.upper)))


def _common_members(own: Run, other: Run) -> list[int]:
    """Members of ``own`` whose split and seed ``other`` has too."""
    return [
        split * own.num_seeds + seed
        for split in range(min(own.num_splits, other.num_splits))
        for seed in range(min(own.num_seeds, other.num_seeds))
    ]
