"""Settings of the stages that turn the diagnosis into practice: attacks, advice, trade-off."""

import dataclasses
from typing import Any

from hiermodel.checks import check_integer, require


def check_counts(config: Any, *names: str) -> None:
    """Refuse settings that are not integers of at least 1."""
    for name in names:
        check_integer(name, getattr(config, name), 1)


def check_relative_times(*times: float) -> None:
    """Refuse anything but a few numbers t/T in (0, 1]."""
    require(bool(times), "relative_times", times, "at least one number")
    for time in times:
        require(bool(0 < time <= 1), "relative_time", time, "above 0 and at most 1")


@dataclasses.dataclass(frozen=True)
class AttacksConfig:
    """What attackers are given, at every checkpoint that is sampled (SPEC section 6).

    Attributes:
        num_sequences: members and others per attack (all of a set, if it is smaller).
        num_noises: noises per sequence at the fixed step, and as many at stratified ones.
        relative_time: t/T of the fixed step, and of the turning point of repeated U-turns.
        radii: Hamming distances up to which a sample counts as a near-copy.
        num_fresh: fresh sequences that samples are compared with.
        claim_size: samples in a group of duplicates that is claimed to be a training sequence.
        num_cycles: repeated U-turns from test sequences; 0 for none.
        num_resamples: of the bootstrap intervals.
        delta: δ of the audit of privacy, which takes the extra ``privacy``; None for no audit.
    """

    num_sequences: int = 3000
    num_noises: int = 16
    relative_time: float = 0.15
    radii: tuple[int, ...] = (0, 1, 2)
    num_fresh: int = 20_000
    claim_size: int = 3
    num_cycles: int = 5
    num_resamples: int = 500
    delta: float | None = None

    def __post_init__(self):
        check_counts(self, "num_sequences", "num_noises", "num_fresh")
        check_counts(self, "claim_size", "num_resamples")
        check_integer("num_cycles", self.num_cycles, 0)
        require(bool(self.radii), "radii", self.radii, "at least one distance")
        check_relative_times(self.relative_time)


@dataclasses.dataclass(frozen=True)
class AdviceConfig:
    """What the stopping advisor looks at, at every checkpoint that is sampled.

    Attributes:
        num_sequences: test sequences for the loss and for the divergence between networks.
        num_noises: noises per sequence, for each.
        relative_time: t/T of the divergence.
        num_batches: batches of samples, for the nearest-neighbour divergence.
        tolerated_gap: own–other gap in symbols that is no cause for alarm.
        false_alarm: rate allowed over all looks.
        num_permutations: rows of chance.
    """

    num_sequences: int = 3000
    num_noises: int = 4
    relative_time: float = 0.15
    num_batches: int = 20
    tolerated_gap: float = 0.0
    false_alarm: float = 0.05
    num_permutations: int = 2000

    def __post_init__(self):
        check_counts(self, "num_sequences", "num_noises", "num_batches", "num_permutations")
        check_relative_times(self.relative_time)


@dataclasses.dataclass(frozen=True)
class TradeoffConfig:
    """How learning is set against copying, at every checkpoint that is sampled.

    Attributes:
        num_sequences: test sequences.
        num_noises: noises per sequence for the divergence.
        num_loss_noises: noises per sequence for losses and attacks, at stratified steps.
        relative_time: t/T of the divergence.
        radii: Hamming distances up to which a sample counts as a near-copy.
        num_fresh: fresh sequences that samples are compared with.
        averages: measure averages of two networks too.
    """

    num_sequences: int = 3000
    num_noises: int = 2
    num_loss_noises: int = 16
    relative_time: float = 0.15
    radii: tuple[int, ...] = (0, 1)
    num_fresh: int = 20_000
    averages: bool = False

    def __post_init__(self):
        check_counts(self, "num_sequences", "num_noises", "num_loss_noises", "num_fresh")
        require(bool(self.radii), "radii", self.radii, "at least one distance")
        check_relative_times(self.relative_time)
