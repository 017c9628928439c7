"""F2 with networks: which leaves change together when they draw anew (science.md#f2)."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key

import hiermodel as hm
from experiments.store import Measurement, Measurements
from experiments.theory.study import Parts, realisations
from experiments.theory.training import Regime, follow, tree_u_net
from experiments.theory.u_turns import block_squares, covariance_by_height, susceptibility
from hiermodel.grammar.rules import Grammar
from hiermodel.networks import LearnedDenoiser

SIZES = {"vocab_size": 8, "rules_per_symbol": 3, "depth": 4, "branching": 2}

PROCESS = hm.DiscreteProcess.masked(SIZES["vocab_size"], 32)

STEPS = (6, 10, 14, 17, 20, 23, 26, 29)
"""Turning points: t of 32 leaves are masked on average."""


@dataclasses.dataclass(frozen=True)
class F2bStudy:
    """How many grammars, training sequences, and U-turns.

    Attributes:
        num_realisations: grammars, a network each.
        num_sequences: that a network is trained on.
        num_starts: test sequences per grammar.
        num_draws: U-turns per test sequence and turning point.
        regime: of training.
        seed: of grammars, data, noise and networks.
    """

    num_realisations: int = 6
    num_sequences: int = 4096
    num_starts: int = 256
    num_draws: int = 2
    regime: Regime = dataclasses.field(
        default_factory=lambda: Regime(num_steps=6000, num_checkpoints=6, every=100)
    )
    seed: int = 0


def parts(study: F2bStudy) -> Parts:
    """All networks together, and the exact denoisers beside them."""
    return {"networks": functools.partial(_both, study)}


def _both(study: F2bStudy) -> Measurements:
    found = list(realisations(study.seed, study.num_realisations, **SIZES))
    keys = jnp.stack([jax.random.split(key, 4) for key, _ in found])
    grammars = [grammar for _, grammar in found]
    sets = [
        np.asarray(hm.sample_leaves(own[0], grammar, study.num_sequences))
        for own, grammar in zip(keys, grammars, strict=True)
    ]
    starts = jnp.stack(
        [
            hm.sample_leaves(own[1], grammar, study.num_starts)
            for own, grammar in zip(keys, grammars, strict=True)
        ]
    )
    exact = np.stack(
        [
            np.stack([_of_oracle(own[2], grammar, rows, t, study.num_draws) for t in STEPS])
            for own, grammar, rows in zip(keys, grammars, starts, strict=True)
        ]
    )

    def look(members: LearnedDenoiser) -> np.ndarray:
        return np.stack(
            [_of_networks(keys[:, 2], members, starts, t, study.num_draws) for t in STEPS], 1
        )

    network = tree_u_net(study.regime, SIZES["depth"], PROCESS)
    learned = follow(keys[-1][3], study.regime, network, PROCESS, sets, look)
    return _stored(study, exact, np.moveaxis(learned, 0, 1))


def _of_oracle(
    key: Key[Array, ""], grammar: Grammar, rows: Int[Array, "starts leaves"], t: int, draws: int
) -> np.ndarray:
    return _covariance(np.asarray(_by_oracle(key, grammar, rows, t, draws)))


def _of_networks(
    keys: Key[Array, " members"], members: LearnedDenoiser, starts: Array, t: int, draws: int
) -> np.ndarray:
    changed = np.asarray(_by_networks(keys, members, starts, t, draws))
    return np.stack([_covariance(own) for own in changed])


@functools.partial(jax.jit, static_argnames=("t", "draws"))
def _by_oracle(key: Array, grammar: Grammar, rows: Array, t: int, draws: int) -> Array:
    return _changed(key, hm.exact_denoiser(grammar, PROCESS), rows, t, draws)


@functools.partial(jax.jit, static_argnames=("t", "draws"))
def _by_networks(keys: Array, members: LearnedDenoiser, starts: Array, t: int, draws: int) -> Array:
    return jax.lax.map(
        lambda own: _changed(own[0], own[1], own[2], t, draws), (keys, members, starts)
    )


def _changed(
    key: Array, denoiser: hm.Denoiser, rows: Array, t: int, draws: int
) -> Float[Array, "starts draws leaves"]:
    """1 where a leaf is another one after a U-turn through step t."""
    repeated = jnp.repeat(rows[:, None], draws, 1)
    ends = hm.u_turn(jax.random.fold_in(key, t), denoiser, PROCESS, repeated, t)
    return (ends != repeated).astype(jnp.float32)


def _covariance(changed: Float[np.ndarray, "starts draws leaves"]) -> Float[np.ndarray, " heights"]:
    squares = np.asarray(block_squares(jnp.asarray(changed), SIZES["branching"])).mean(1)
    means = changed.mean(1)
    return covariance_by_height(
        squares[:, None].astype(np.float64), means[:, None], SIZES["branching"]
    )[0]


def _stored(
    study: F2bStudy,
    exact: Float[np.ndarray, "realisations noises heights"],
    learned: Float[np.ndarray, "realisations checkpoints noises heights"],
) -> Measurements:
    covariance = "mean covariance of change of two leaves by height of their common ancestor"
    spread = "variance of the number of changed leaves over the sum of their variances"
    return {
        "step": Measurement(study.regime.checkpoints, ("checkpoint",), "steps", "of Adam"),
        "masked": Measurement(
            np.array(STEPS) / PROCESS.num_steps, ("noise",), "fraction", "of leaves masked"
        ),
        "exact_covariance": Measurement(
            exact, ("realisation", "noise", "height"), "probability squared", covariance
        ),
        "network_covariance": Measurement(
            learned,
            ("realisation", "checkpoint", "noise", "height"),
            "probability squared",
            covariance,
        ),
        "exact_susceptibility": Measurement(
            susceptibility(exact), ("realisation", "noise"), "leaves", spread
        ),
        "network_susceptibility": Measurement(
            susceptibility(learned), ("realisation", "checkpoint", "noise"), "leaves", spread
        ),
    }
