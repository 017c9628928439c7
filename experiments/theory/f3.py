"""F3: which filtered oracle a network of P sequences is nearest to (science.md#f3)."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key

import hiermodel as hm
from experiments.store import Measurement, Measurements
from experiments.theory.study import Parts, realisations
from experiments.theory.training import Regime, along_training, tree_u_net
from hiermodel.grammar.rules import Grammar
from hiermodel.measures.loss import stratified_steps

SIZES = {"vocab_size": 8, "depth": 3, "branching": 2}

RULES = (2, 3, 4)
"""m."""

PROCESS = hm.DiscreteProcess.masked(SIZES["vocab_size"], 32)


@dataclasses.dataclass(frozen=True)
class F3Study:
    """How many grammars, training sets and tests.

    Attributes:
        num_realisations: grammars per m.
        num_sequences: P.
        num_tests: test sequences per grammar, each noised once, evenly over t.
        regime: of training.
        seed: of grammars, data, noise and networks.
    """

    num_realisations: int = 8
    num_sequences: tuple[int, ...] = (4, 12, 36, 108, 324, 972, 2916)
    num_tests: int = 640
    regime: Regime = dataclasses.field(default_factory=Regime)
    seed: int = 0


def parts(study: F3Study) -> Parts:
    """A part per m."""
    return {f"m{rules}": functools.partial(_staircase, study, rules) for rules in RULES}


def _staircase(study: F3Study, rules: int) -> Measurements:
    found = list(realisations(study.seed, study.num_realisations, rules_per_symbol=rules, **SIZES))
    sets, inputs, oracles = [], [], []
    t = stratified_steps(jax.random.key(study.seed), PROCESS.num_steps, study.num_tests)
    for key, grammar in found:
        train_key, test_key, _ = jax.random.split(key, 3)
        rows = np.asarray(hm.sample_leaves(train_key, grammar, max(study.num_sequences)))
        sets += [rows[:number] for number in study.num_sequences]
        x_t, own = tests(test_key, grammar, study.num_tests, t)
        inputs += [x_t] * len(study.num_sequences)
        oracles += [own] * len(study.num_sequences)

    def divergences(log_probs: Float[Array, "members inputs leaves vocab"]) -> np.ndarray:
        return np.array(
            [
                [divergence(oracle, network) for oracle in own]
                for own, network in zip(oracles, np.asarray(log_probs), strict=True)
            ]
        )

    _, _, network_key = jax.random.split(found[-1][0], 3)
    network = tree_u_net(study.regime, SIZES["depth"], PROCESS)
    measured = along_training(
        network_key, study.regime, network, PROCESS, sets, jnp.stack(inputs), t, divergences
    )
    shape = (len(measured), study.num_realisations, len(study.num_sequences), -1)
    dims = ("realisation", "num_sequences", "checkpoint", "filter_level")
    return {
        f"m{rules}_sequences": Measurement(
            np.array(study.num_sequences), ("num_sequences",), "sequences", "P"
        ),
        f"m{rules}_divergence": Measurement(
            np.moveaxis(measured.reshape(shape), 0, 2),
            dims,
            "nats per sequence",
            "KL(oracle of the filter level ‖ network) on masked test sequences, mean over t",
        ),
    }


def tests(
    key: Key[Array, ""], grammar: Grammar, number: int, t: Int[Array, " inputs"]
) -> tuple[Array, list[np.ndarray]]:
    """Noised draws of a grammar, and what the oracle of every filter level says of them."""
    data_key, noise_key = jax.random.split(key)
    x_0 = PROCESS.encode(hm.sample_leaves(data_key, grammar, number), grammar.vocab_size)
    x_t = PROCESS.corrupt(noise_key, x_0, t)
    return x_t, oracles_of(grammar, x_t, t)


def oracles_of(grammar: Grammar, x_t: Array, t: Int[Array, " inputs"]) -> list[np.ndarray]:
    """Log-probabilities of x_0 by the oracle of every filter level."""
    return [
        np.asarray(hm.exact_denoiser(grammar, PROCESS, filter_level=level)(x_t, t))
        for level in range(grammar.depth + 1)
    ]


def divergence(
    oracle: Float[np.ndarray, "inputs leaves vocab"],
    network: Float[np.ndarray, "inputs leaves vocab"],
) -> float:
    """Mean KL(oracle ‖ network), in nats per sequence."""
    return float(np.mean(hm.measures.kl_divergence(oracle, network, clip=None)))
