"""F7c: which filtered oracle a network is near to, by step and by layer (science.md#f7)."""

import dataclasses
import functools
from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import Array, Float, Int, Key

import hiermodel as hm
from experiments.store import Measurement, Measurements
from experiments.theory.activations import activations
from experiments.theory.f3 import PROCESS, SIZES, divergence
from experiments.theory.f7b import NETWORKS, RULES
from experiments.theory.probes import read_symbols
from experiments.theory.study import Parts, realisations
from experiments.theory.training import Regime, follow
from hiermodel.grammar.rules import Grammar
from hiermodel.measures.loss import stratified_steps
from hiermodel.networks import LearnedDenoiser
from hiermodel.networks.learned import shown

SYMBOLS = SIZES["vocab_size"]


@dataclasses.dataclass(frozen=True)
class F7cStudy:
    """How many grammars, sequences and tests.

    Attributes:
        num_realisations: grammars, with a network of each kind.
        num_sequences: in each training set.
        num_probed: fresh noised sequences on which probes are fitted.
        num_tests: others, on which networks, probes and oracles are compared; both evenly over t.
        regime: of training; the width is that of a node or token.
        seed: of grammars, data, noise and networks.
    """

    num_realisations: int = 6
    num_sequences: int = 2916
    num_probed: int = 2048
    num_tests: int = 1024
    regime: Regime = dataclasses.field(default_factory=lambda: Regime(num_steps=6000))
    seed: int = 0


class Noised(NamedTuple):
    """Noised draws of a grammar.

    Attributes:
        leaves: (number, leaves) what they were.
        x_t: (number, leaves) what is seen.
        t: (number,) steps.
    """

    leaves: Int[Array, "*grammars number leaves"]
    x_t: Int[Array, "*grammars number leaves"]
    t: Int[Array, "*grammars number"]


def parts(study: F7cStudy) -> Parts:
    """A part per architecture."""
    return {name: functools.partial(_compare, study, name) for name in NETWORKS}


def _compare(study: F7cStudy, name: str) -> Measurements:
    """The same grammars, data and noise for every architecture."""
    found = list(realisations(study.seed, study.num_realisations, rules_per_symbol=RULES, **SIZES))
    keys = [jax.random.split(key, 4) for key, _ in found]
    sets = [
        np.asarray(hm.sample_leaves(own[0], grammar, study.num_sequences))
        for own, (_, grammar) in zip(keys, found, strict=True)
    ]
    probed, tests = (
        [noised(own[place], grammar, number) for own, (_, grammar) in zip(keys, found, strict=True)]
        for place, number in ((1, study.num_probed), (2, study.num_tests))
    )
    oracles = [oracles_of(grammar, test) for (_, grammar), test in zip(found, tests, strict=True)]
    look = functools.partial(_look, probed, tests, oracles)
    network = NETWORKS[name](study.regime.width)
    measured = follow(keys[-1][3], study.regime, network, PROCESS, sets, look)
    return _stored(study, name, *measured)


def noised(key: Key[Array, ""], grammar: Grammar, number: int) -> Noised:
    """Draws of a grammar, noised evenly over t."""
    data_key, noise_key, step_key = jax.random.split(key, 3)
    t = stratified_steps(step_key, PROCESS.num_steps, number)
    leaves = hm.sample_leaves(data_key, grammar, number)
    x_t = PROCESS.corrupt(noise_key, PROCESS.encode(leaves, grammar.vocab_size), t)
    return Noised(leaves, x_t, t)


def oracles_of(
    grammar: Grammar, tests: Noised
) -> Float[np.ndarray, "filter_levels number leaves vocab"]:
    """Log-probabilities of x_0 by the oracle of every filter level."""
    levels = range(grammar.depth + 1)
    oracles = [hm.exact_denoiser(grammar, PROCESS, filter_level=level) for level in levels]
    return np.stack([np.asarray(oracle(tests.x_t, tests.t)) for oracle in oracles])


def _look(
    probed: list[Noised], tests: list[Noised], oracles: list[np.ndarray], members: LearnedDenoiser
) -> tuple[np.ndarray, np.ndarray]:
    """KL from every oracle (members, filter levels), and distances of layers to all of them."""
    divergences, distances = [], []
    for index, (fitted, test, oracle) in enumerate(zip(probed, tests, oracles, strict=True)):
        network = jax.tree.map(lambda own, index=index: own[index], members)
        output = np.asarray(network(test.x_t, test.t))
        divergences.append([divergence(own, output) for own in oracle])
        distances.append(distances_by_layer(network, fitted, test, oracle))
    return np.array(divergences), np.stack(distances)


def distances_by_layer(
    network: LearnedDenoiser,
    probed: Noised,
    tests: Noised,
    oracles: Float[np.ndarray, "filter_levels number leaves vocab"],
) -> Float[np.ndarray, "layers filter_levels"]:
    """How far what a layer says of the leaves is from what each oracle says of them.

    Linear probes read a leaf's own symbol off the layer. Squared distance of their output from the
    oracle's probabilities, mean over masked leaves.
    """
    fitted = np.asarray(_activations(network.network, network.params, probed.x_t, probed.t))
    tried = np.asarray(_activations(network.network, network.params, tests.x_t, tests.t))
    masked, wanted = np.asarray(tests.x_t == SYMBOLS), np.asarray(probed.leaves)[None]
    probs = np.exp(oracles)
    return np.stack(
        [
            np.square(read_symbols((layer, wanted), own, SYMBOLS) - probs)
            .sum(-1)
            .mean((1, 2), where=masked)
            for layer, own in zip(fitted, tried, strict=True)
        ]
    )


@functools.partial(jax.jit, static_argnames="network")
def _activations(network: Any, params: Any, x_t: Array, t: Array) -> Array:
    return activations(network, params, shown(PROCESS.network_input(x_t), SYMBOLS), t)


def _stored(
    study: F7cStudy, name: str, divergences: np.ndarray, distances: np.ndarray
) -> Measurements:
    dims = ("realisation", "checkpoint")
    return {
        f"{name}_step": Measurement(study.regime.checkpoints, ("checkpoint",), "steps", "of Adam"),
        f"{name}_divergence": Measurement(
            divergences.swapaxes(0, 1),
            (*dims, "filter_level"),
            "nats per sequence",
            "KL(oracle of the filter level ‖ network) on masked test sequences, mean over t",
        ),
        f"{name}_distance": Measurement(
            distances.swapaxes(0, 1),
            (*dims, "layer", "filter_level"),
            "squared probability",
            "from a layer's linear readout of masked leaves to the oracle of the filter level",
        ),
    }
