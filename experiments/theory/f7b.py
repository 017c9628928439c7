"""F7b: which ancestors can be read off a network's layers, and where it attends (science.md#f7)."""

import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int, Key

import hiermodel as hm
from experiments.store import Measurement, Measurements
from experiments.theory.activations import activations, attention_by_height
from experiments.theory.f3 import PROCESS, SIZES
from experiments.theory.probes import probe_accuracies
from experiments.theory.study import Parts, realisations
from experiments.theory.training import Regime, follow
from hiermodel.grammar.rules import Grammar
from hiermodel.measures.loss import stratified_steps
from hiermodel.networks import LearnedDenoiser, Network, TransformerConfig, TreeUNetConfig
from hiermodel.networks.learned import shown

RULES = 2
"""m: with these networks learn all levels in so few steps."""

DEPTH, BRANCHING, SYMBOLS = SIZES["depth"], SIZES["branching"], SIZES["vocab_size"]
LEAVES = BRANCHING**DEPTH

NETWORKS: Mapping[str, Callable[[int], Network]] = {
    "transformer": lambda width: TransformerConfig(
        LEAVES, SYMBOLS, width, num_layers=4, dropout=0.0, pre_norm=True, start="independent_blocks"
    ),
    "tree": lambda width: TreeUNetConfig(DEPTH, BRANCHING, SYMBOLS, width=width),
}
"""By name, from a width."""

ATTENTIVE = ("transformer",)
"""Those whose leaves attend to each other."""


@dataclasses.dataclass(frozen=True)
class F7bStudy:
    """How many grammars, sequences, probes and tests.

    Attributes:
        num_realisations: grammars, with a network of each kind.
        num_sequences: in each training set.
        num_probed: fresh noised sequences on which probes are fitted.
        num_tests: others, on which they are tried; both evenly over t.
        regime: of training; the width is that of a node or token.
        seed: of grammars, data, noise and networks.
    """

    num_realisations: int = 6
    num_sequences: int = 2916
    num_probed: int = 2048
    num_tests: int = 1024
    regime: Regime = dataclasses.field(default_factory=lambda: Regime(num_steps=6000))
    seed: int = 0


def parts(study: F7bStudy) -> Parts:
    """A part per architecture."""
    return {name: functools.partial(_layers, study, name) for name in NETWORKS}


def _layers(study: F7bStudy, name: str) -> Measurements:
    """The same grammars, data and noise for every architecture."""
    keys, grammars, sets = training_sets(study)
    probed, tests = (
        [
            noised_trees(own[place], grammar, number)
            for own, grammar in zip(keys, grammars, strict=True)
        ]
        for place, number in ((1, study.num_probed), (2, study.num_tests))
    )
    exact = [
        exact_accuracies(grammar, *test) for grammar, test in zip(grammars, tests, strict=True)
    ]
    stacked = jax.tree.map(lambda *each: jnp.stack(each), *zip(probed, tests, strict=True))
    network, look = NETWORKS[name](study.regime.width), functools.partial(_look, name in ATTENTIVE)
    measured = follow(
        keys[-1][3], study.regime, network, PROCESS, sets, functools.partial(look, *stacked)
    )
    return _stored(study, name, np.array(exact), *map(np.asarray, measured))


def training_sets(
    study: F7bStudy,
) -> tuple[list[Key[Array, " keys"]], list[Grammar], list[Int[np.ndarray, "sequences leaves"]]]:
    """Keys for what is drawn of each realisation, its grammar and its training set."""
    found = list(realisations(study.seed, study.num_realisations, rules_per_symbol=RULES, **SIZES))
    keys = [jax.random.split(key, 4) for key, _ in found]
    grammars = [grammar for _, grammar in found]
    sets = [
        np.asarray(hm.sample_leaves(own[0], grammar, study.num_sequences))
        for own, grammar in zip(keys, grammars, strict=True)
    ]
    return keys, grammars, sets


def noised(
    key: Key[Array, ""], grammar: Grammar, number: int
) -> tuple[list[Int[Array, "number nodes"]], Array, Array]:
    """Trees by level, their noisy leaves x_t (number, leaves), and steps t (number,), evenly."""
    data_key, noise_key, step_key = jax.random.split(key, 3)
    t = stratified_steps(step_key, PROCESS.num_steps, number)
    tree = [level for level in hm.sample_tree(data_key, grammar, number) if level is not None]
    x_t = PROCESS.corrupt(noise_key, PROCESS.encode(tree[-1], grammar.vocab_size), t)
    return tree, x_t, t


def noised_trees(key: Key[Array, ""], grammar: Grammar, number: int) -> tuple[Array, Array, Array]:
    """Noisy leaves, their steps and, of every leaf, the ancestors.

    Returns:
        x_t (number, leaves), t (number,), and symbols (heights, number, leaves) of the ancestors
        1 … L levels up.
    """
    (*above, _), x_t, t = noised(key, grammar, number)
    return x_t, t, jnp.stack([over_leaves(level) for level in reversed(above)])


def over_leaves(nodes: Int[Array, "rows nodes"]) -> Int[Array, "rows leaves"]:
    """What belongs to a node, for each of its leaves."""
    return jnp.repeat(nodes, LEAVES // nodes.shape[1], axis=1)


def exact_accuracies(
    grammar: Grammar, x_t: Array, t: Array, ancestors: Int[Array, "heights rows leaves"]
) -> np.ndarray:
    """How often the most likely symbol of the exact posterior is the ancestor's, by height."""
    beliefs = hm.run_bp(grammar, PROCESS.evidence(x_t, t))
    likely = [
        over_leaves(level.argmax(-1))
        for level in beliefs.log_marginals[-2::-1]
        if level is not None
    ]
    return np.asarray((jnp.stack(likely) == ancestors).mean((1, 2)))


def _look(
    attends: bool, probed: Any, tests: Any, members: LearnedDenoiser
) -> tuple[np.ndarray, ...]:
    """Accuracies of probes (members, layers, heights), and attention where there is some."""

    def one(index: int) -> tuple[np.ndarray, ...]:
        params, (train_x, train_t, wanted), (x, t, asked) = jax.tree.map(
            lambda own: own[index], (members.params, probed, tests)
        )
        fitted = np.asarray(layers_of(members.network, params, train_x, train_t))
        tried = np.asarray(layers_of(members.network, params, x, t))
        wanted, asked = np.asarray(wanted), np.asarray(asked)
        found = np.stack(
            [
                probe_accuracies((layer, wanted), (own, asked), SYMBOLS)
                for layer, own in zip(fitted, tried, strict=True)
            ]
        )
        if not attends:
            return (found,)
        return found, np.asarray(_attention(members.network, params, x, t))

    number = jax.tree.leaves(members.params)[0].shape[0]
    return tuple(map(np.stack, zip(*map(one, range(number)), strict=True)))


@functools.partial(jax.jit, static_argnames="network")
def layers_of(network: Any, params: Any, x_t: Array, t: Array) -> Array:
    """Features of every layer on noisy leaves, (layers, inputs, leaves, width)."""
    return activations(network, params, shown(PROCESS.network_input(x_t), SYMBOLS), t)


@functools.partial(jax.jit, static_argnames="network")
def _attention(network: Any, params: Any, x_t: Array, t: Array) -> Array:
    seen = shown(PROCESS.network_input(x_t), SYMBOLS)
    return attention_by_height(network, params, seen, t, BRANCHING)


def _stored(
    study: F7bStudy,
    name: str,
    exact: np.ndarray,
    found: np.ndarray,
    attention: np.ndarray | None = None,
) -> Measurements:
    dims = ("realisation", "checkpoint", "layer")
    stored = {
        f"{name}_step": Measurement(study.regime.checkpoints, ("checkpoint",), "steps", "of Adam"),
        f"{name}_exact": Measurement(
            exact, ("realisation", "height"), "fraction", "right by the exact posterior"
        ),
        f"{name}_probes": Measurement(
            found.swapaxes(0, 1), (*dims, "height"), "fraction", "right by linear probes of a layer"
        ),
    }
    if attention is not None:
        stored[f"{name}_attention"] = Measurement(
            attention.swapaxes(0, 1),
            (*dims, "distance"),
            "fraction",
            "of attention on leaves whose common ancestor is so many levels up",
        )
    return stored
