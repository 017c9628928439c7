"""Programs, read: those of training and evaluation, lowered for machines that are not here."""

import re
from collections import Counter

import jax
import jax.numpy as jnp

from experiments.stages import evaluation
from experiments.stages.noisy_inputs import NoisyInputs
from experiments.worlds.grammar import GrammarWorld
from experiments.worlds.images import ImageWorld
from hiermodel.networks.network import init_params
from hiermodel.networks.targets import SymbolLogits

PLATFORMS = ("cpu", "cuda", "tpu")


def exported(platform, function, *arguments):
    """The text of a function's program as users get it on a platform: without float64.

    For one platform at a time: for several, a program holds every product once for each.
    """
    with jax.enable_x64(False):
        program = jax.export.export(jax.jit(function), platforms=[platform])(*arguments)
    return program.mlir_module()


def operations(text):
    """How often each operation stands in a program, by name."""
    return Counter(re.findall(r"(?<!#)\bstablehlo\.(\w+)", text))


def precisions(text):
    """The precision of every product and convolution; each must name its own."""
    found = re.findall(r"stablehlo\.(?:dot_general|dot|convolution)\b.*", text)
    named = [set(re.findall(r"\b(?:DEFAULT|HIGHEST|HIGH)\b", product)) for product in found]
    assert all(len(names) == 1 for names in named), found
    return [name for names in named for name in names]


EVALUATIONS = {
    "members": lambda world, network, inputs, params, splits, pairs: (
        evaluation._evaluate_members.__wrapped__(world, network, inputs, params, splits)
    ),
    "pairs": lambda world, network, inputs, params, splits, pairs: (
        evaluation._evaluate_pairs.__wrapped__(world, network, inputs, params, splits, pairs)
    ),
    "all pairs": lambda world, network, inputs, params, splits, pairs: (
        evaluation._between_members.__wrapped__(world, network, inputs["test"], params)
    ),
}
"""The programs of a checkpoint's evaluation."""


def evaluation_program(network, num_members, kind="members"):
    """The evaluation of networks that all see one split, and descriptions of its arguments."""
    of_symbols = isinstance(network.target, SymbolLogits)
    world = GrammarWorld() if of_symbols else ImageWorld()

    def params():
        keys = jax.random.split(jax.random.key(0), num_members)
        return jax.vmap(lambda key: init_params(key, network))(keys)

    def evaluate(*arguments):
        return EVALUATIONS[kind](world, network, *arguments)

    given = {"train": _noisy_inputs(network.target, 1), "test": _noisy_inputs(network.target)}
    splits = jax.ShapeDtypeStruct((num_members,), jnp.int32)
    pairs = jax.ShapeDtypeStruct((num_members, 2), jnp.int32)
    return evaluate, given, jax.eval_shape(params), splits, pairs


def _noisy_inputs(target, *axes):
    """Descriptions of inputs, where symbols are the target with what oracles say of them."""
    rows, levels, noises, times = 6, 3, 2, 2
    of_symbols = isinstance(target, SymbolLogits)

    def floats(*shape):
        return jax.ShapeDtypeStruct((*axes, *shape, rows, *target.event_shape), jnp.float32)

    def integers(*shape):
        return jax.ShapeDtypeStruct((*axes, *shape), jnp.int32)

    return NoisyInputs(
        x_loss=floats(noises),
        t_loss=integers(noises, rows),
        target=integers(noises, rows, *target.shape) if of_symbols else floats(noises),
        x_t=floats(times),
        t=integers(times),
        oracles=floats(times, levels) if of_symbols else None,
        exact=floats(noises) if of_symbols else None,
    )
