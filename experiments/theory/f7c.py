"""F7c: which filtered oracle a network is near to, by step and by layer (science.md#f7)."""

import dataclasses
import functools

import jax
import numpy as np
from jaxtyping import Array, Float

from experiments.store import Measurement, Measurements
from experiments.theory.f3 import PROCESS, divergence, oracles_of
from experiments.theory.f7b import (
    NETWORKS,
    SYMBOLS,
    F7bStudy,
    layers_of,
    noised,
    training_sets,
)
from experiments.theory.probes import read_symbols
from experiments.theory.study import Parts
from experiments.theory.training import follow
from hiermodel.networks import LearnedDenoiser

Noised = tuple[list[Array], Array, Array]
"""Trees by level, their noisy leaves, and steps."""


@dataclasses.dataclass(frozen=True)
class F7cStudy(F7bStudy):
    """Sizes as of F7b: networks, probes and oracles are compared on the tests."""


def parts(study: F7cStudy) -> Parts:
    """A part per architecture."""
    return {name: functools.partial(_compare, study, name) for name in NETWORKS}


def _compare(study: F7cStudy, name: str) -> Measurements:
    """The same grammars, data and noise for every architecture."""
    keys, grammars, sets = training_sets(study)
    probed, tests = (
        [noised(own[place], grammar, number) for own, grammar in zip(keys, grammars, strict=True)]
        for place, number in ((1, study.num_probed), (2, study.num_tests))
    )
    oracles = [
        np.stack(oracles_of(grammar, x_t, t))
        for grammar, (_, x_t, t) in zip(grammars, tests, strict=True)
    ]
    look = functools.partial(_look, probed, tests, oracles)
    network = NETWORKS[name](study.regime.width)
    measured = follow(keys[-1][3], study.regime, network, PROCESS, sets, look)
    return _stored(study, name, *measured)


def _look(
    probed: list[Noised], tests: list[Noised], oracles: list[np.ndarray], members: LearnedDenoiser
) -> tuple[np.ndarray, np.ndarray]:
    """KL from every oracle (members, filter levels), and distances of layers to all of them."""
    divergences, distances = [], []
    for index, (fitted, test, oracle) in enumerate(zip(probed, tests, oracles, strict=True)):
        network = jax.tree.map(lambda own, index=index: own[index], members)
        _, x_t, t = test
        output = np.asarray(network(x_t, t))
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
    (*_, leaves), fitted_x, fitted_t = probed
    _, x_t, t = tests
    fitted = np.asarray(layers_of(network.network, network.params, fitted_x, fitted_t))
    tried = np.asarray(layers_of(network.network, network.params, x_t, t))
    masked, wanted = np.asarray(x_t == SYMBOLS), np.asarray(leaves)[None]
    probs = np.exp(oracles)
    return np.stack(
        [
            np.square(read_symbols((layer, wanted), own, SYMBOLS) - probs)
            .sum(-1)
            .mean((1, 2), where=masked)
            for layer, own in zip(fitted, tried, strict=True)
        ]
    )


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
