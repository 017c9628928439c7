"""Rates of public implementations in PyTorch, on two cores of the kind that ours were timed on."""

from typing import NamedTuple

FIRST = "two cores at 190 GFLOP/s; version of PyTorch not recorded"
AGAIN = "two cores at 200 GFLOP/s; PyTorch 2.14, November 2026"


class Reference(NamedTuple):
    """A rate of somebody else's code.

    Attributes:
        rate: units per second.
        taken: on which machine and with which versions.
    """

    rate: float
    taken: str


# The paper's public code.
GENERATION = Reference(1650, FIRST)
DENOISER = {0: Reference(20_600, FIRST), 2: Reference(24_900, FIRST)}
LOG_PROBABILITIES = Reference(18_500, FIRST)
EXACT_SAMPLING = Reference(32.7, FIRST)
PAIRS_OF_NEIGHBOURS = Reference(2400 * 12_000, FIRST)
TRAINING_64 = Reference(26, AGAIN)
TRAINING_512 = Reference(1.25, AGAIN)
SAMPLING_64 = Reference(31.4, FIRST)

# The public code of the random hierarchy model, by vocabulary and depth; batch 64.
IN_BATCHES = "two cores, batch 64; November 2026"
LEAVES = {(32, 9): Reference(35_000, IN_BATCHES), (256, 6): Reference(300, IN_BATCHES)}
