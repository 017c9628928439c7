"""Programs, read: those of training and evaluation, lowered for machines that are not here."""

import re
from collections import Counter

import jax
import jax.numpy as jnp

from experiments.stages.evaluation import _evaluate_members
from experiments.stages.noisy_inputs import NoisyInputs
from experiments.worlds.grammar import GrammarWorld
from hiermodel.networks.network import init_params

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


def evaluation(network, num_members):
    """The evaluation of networks that all see one split, and descriptions of its arguments."""
    rows, levels, noises, times = 6, 3, 2, 2

    def params():
        keys = jax.random.split(jax.random.key(0), num_members)
        return jax.vmap(lambda key: init_params(key, network))(keys)

    def inputs(*axes):
        def floats(*shape):
            event = network.target.event_shape
            return jax.ShapeDtypeStruct((*axes, *shape, rows, *event), jnp.float32)

        def integers(*shape):
            return jax.ShapeDtypeStruct((*axes, *shape), jnp.int32)

        return NoisyInputs(
            x_loss=floats(noises),
            t_loss=integers(noises, rows),
            target=integers(noises, rows, network.target.shape[0]),
            x_t=floats(times),
            t=integers(times),
            oracles=floats(times, levels),
            exact=floats(noises),
        )

    def evaluate(inputs, params, splits):
        return _evaluate_members.__wrapped__(GrammarWorld(), network, inputs, params, splits)

    given = {"train": inputs(1), "test": inputs()}
    splits = jax.ShapeDtypeStruct((num_members,), jnp.int32)
    return evaluate, given, jax.eval_shape(params), splits
