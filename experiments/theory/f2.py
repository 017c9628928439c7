"""F2: which leaves change together when noised sequences are drawn anew (science.md#f2)."""

import dataclasses
import functools
from collections.abc import Callable

import numpy as np

from experiments.store import Measurement, Measurements
from experiments.theory.chain import chain_u_turns
from experiments.theory.study import Parts, realisation_keys, realisations
from experiments.theory.u_turns import UTurns, susceptibility, u_turns
from hiermodel import theory

SIZES = ((32, 8), (16, 4))
SHALLOW = (5, 7)
"""Depths at which (32, 8) is looked at too: the peak grows with the size of the tree."""

BLOCK_DEPTH = 3
"""Depth of the trees that stand one after the other in sequences without long range."""

OFFSETS = np.concatenate(
    [np.linspace(-0.12, -0.06, 5), np.linspace(-0.05, 0.05, 21), np.linspace(0.06, 0.12, 5)]
)
"""Noise less the predicted threshold."""


@dataclasses.dataclass(frozen=True)
class F2Study:
    """How many grammars, sequences, and, for chains, ends of U-turns of each.

    Attributes:
        depth: L.
        num_realisations: grammars per (v, m), chains, and grammars of blocks.
        num_sequences: per realisation.
        num_chains: sequences per chain.
        num_draws: ends of U-turns per sequence of a chain; for trees, all ends are averaged over.
        every: for all but the two sizes, every so many of the noises is looked at.
        seed: of grammars, data and noise.
    """

    depth: int = 9
    num_realisations: int = 8
    num_sequences: int = 48
    num_chains: int = 24
    num_draws: int = 16
    every: int = 3
    seed: int = 0

    def grammars(self, sizes: tuple[int, int], depth: int):
        """The realisations of a size, each with a key for its data."""
        named = {"vocab_size": sizes[0], "rules_per_symbol": sizes[1]}
        return realisations(self.seed, self.num_realisations, depth=depth, **named)


def parts(study: F2Study) -> Parts:
    """Trees of two sizes, shallower ones, masked leaves, and two controls."""
    found: dict[str, Callable[[], Measurements]] = {}
    for sizes in SIZES:
        name = f"v{sizes[0]}_m{sizes[1]}"
        found[name] = functools.partial(_trees, study, name, sizes, study.depth)
    for depth in SHALLOW:
        found[f"depth_{depth}"] = functools.partial(_trees, study, f"depth_{depth}", (32, 8), depth)
    found["masked"] = functools.partial(_masked, study)
    found["blocks"] = functools.partial(_blocks, study)
    found["chain"] = functools.partial(_chains, study)
    return found


def _noise(sizes: tuple[int, int], every: int = 1) -> np.ndarray:
    around = theory.noise_threshold(vocab_size=sizes[0], rules_per_symbol=sizes[1])
    assert around is not None
    return around + OFFSETS[::every]


def _trees(study: F2Study, name: str, sizes: tuple[int, int], depth: int) -> Measurements:
    noise = _noise(sizes)
    found = [
        u_turns(key, grammar, noise, "equal", study.num_sequences)
        for key, grammar in study.grammars(sizes, depth)
    ]
    beliefs = Measurement(
        np.stack([each.beliefs for each in found]),
        ("realisation", "noise", "depth"),
        "probability",
        "chance that a U-turn leaves the root of a tree as it is, by depth of the tree",
    )
    return {**_of_trees(name, noise, found), f"{name}_beliefs": beliefs}


def _masked(study: F2Study) -> Measurements:
    around = theory.recovery_threshold(corruption="erased", vocab_size=32, rules_per_symbol=8)
    assert around is not None
    noise = around + OFFSETS[:: study.every]
    found = [
        u_turns(key, grammar, noise, "erased", study.num_sequences)
        for key, grammar in study.grammars((32, 8), study.depth)
    ]
    return _of_trees("masked", noise, found)


def _blocks(study: F2Study) -> Measurements:
    """Short trees one after the other: the same rules near the leaves, nothing above.

    Leaves of different blocks are independent, so their covariance is zero without measuring.
    """
    noise, depth = _noise((32, 8), study.every), min(BLOCK_DEPTH, study.depth)
    copies = 2 ** (study.depth - depth)
    number = study.num_sequences * min(copies, 8)
    found = [
        u_turns(key, grammar, noise, "equal", number)
        for key, grammar in study.grammars((32, 8), depth)
    ]
    beyond = np.zeros((len(noise), study.depth - depth))
    found = [
        each._replace(covariance=np.concatenate([each.covariance, beyond], 1)) for each in found
    ]
    return _of_trees("blocks", noise, found)


def _chains(study: F2Study) -> Measurements:
    """A Markov chain with as many successors per symbol as rules, so of the same entropy."""
    noise = _noise((32, 8), study.every)
    covariances, whole, quarter = [], [], []
    for key in realisation_keys(study.seed, study.num_realisations):
        changed = chain_u_turns(
            key,
            noise,
            vocab_size=32,
            num_successors=8,
            length=2**study.depth,
            num_sequences=study.num_chains,
            num_draws=study.num_draws,
        )
        covariances.append(_covariance_along(changed, study.depth))
        whole.append(_spread_of_sum(changed))
        quarter.append(_spread_of_sum(changed[..., : 2 ** (study.depth - 2)]))
    quarters = Measurement(
        np.stack(quarter), ("realisation", "noise"), "leaves", "the same of the first quarter"
    )
    measured = _measured("chain", noise, np.stack(covariances), np.stack(whole))
    return {**measured, "chain_quarter_susceptibility": quarters}


def _covariance_along(changed: np.ndarray, depth: int) -> np.ndarray:
    """(noise, L + 1): the variance, and the covariance at distances 1, 2, 4, …, 2^(L − 1)."""
    off = changed - changed.mean(1, keepdims=True)
    length = changed.shape[-1]
    shifts = [0, *(2**power for power in range(depth))]
    products = [(off[..., : length - by] * off[..., by:]).mean((1, 2)) for by in shifts]
    return np.stack(products, -1)


def _spread_of_sum(changed: np.ndarray) -> np.ndarray:
    return changed.sum(-1).var(1) / changed.var(1).sum(-1)


def _of_trees(name: str, noise: np.ndarray, found: list[UTurns]) -> Measurements:
    covariances = np.stack([each.covariance for each in found])
    return _measured(name, noise, covariances, susceptibility(covariances))


def _measured(
    name: str, noise: np.ndarray, covariances: np.ndarray, susceptibilities: np.ndarray
) -> Measurements:
    return {
        f"{name}_noise": Measurement(noise, ("noise",), "probability", "strength of the noise"),
        f"{name}_covariance": Measurement(
            covariances,
            ("realisation", "noise", "height"),
            "covariance",
            "of change of two leaves whose common ancestor is h levels up, or, in a chain, of two "
            "at distance 2^(h − 1); h = 0: the variance",
        ),
        f"{name}_susceptibility": Measurement(
            susceptibilities,
            ("realisation", "noise"),
            "leaves",
            "variance of the number of changed leaves over the sum of their variances",
        ),
    }
