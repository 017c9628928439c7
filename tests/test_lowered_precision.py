"""Precision is chosen: every product in the programs lowered for CUDA and TPU names its own."""

import dataclasses
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import hiermodel as hm
from hiermodel.diffusion.pixels import empirical_pixel_denoiser, gaussian_pixel_denoiser
from hiermodel.grammar import statistics
from hiermodel.measures.neighbours import _nearest_euclidean
from hiermodel.networks.learned import learned_denoiser
from hiermodel.networks.mlp import MLPConfig
from hiermodel.networks.network import apply, init_params
from hiermodel.networks.transformer import TransformerConfig
from hiermodel.networks.unet import UNetConfig
from hiermodel.training.state import TrainingConfig
from hiermodel.training.step import Batch, loss_and_gradient

PLATFORMS = ("cuda", "tpu")
SCHEDULE = hm.Schedule.linear(20)
GRAMMAR = hm.Grammar.random(jax.random.key(0), vocab_size=3, depth=2, rules_per_symbol=2)
PRODUCT = re.compile(r"stablehlo\.(dot_general|dot|convolution)\b.*")
NETWORKS = {
    "transformer": TransformerConfig(4, 3, width=8, num_layers=1, num_heads=2),
    "mlp": MLPConfig(4, 3, width=8, num_blocks=1),
    "unet": UNetConfig(
        4, 4, base_width=6, multipliers=(1, 2), num_res_blocks=1, num_groups=2, dropout=0.1
    ),
}


@pytest.fixture(params=PLATFORMS)
def products(request):
    """Lists the products of a function's program, as the given platform would get it."""

    def lowered(function, *arguments):
        # Leaf by leaf: JAX rebuilds arguments with stand-ins that the type checks refuse.
        leaves, structure = jax.tree.flatten(arguments)
        whole = jax.jit(lambda *leaves: function(*jax.tree.unflatten(structure, leaves)))
        traced = whole.trace(*leaves)
        text = traced.lower(lowering_platforms=(request.param,)).as_text()
        return [match[0] for match in map(PRODUCT.search, text.splitlines()) if match]

    return lowered


def kind(product):
    """Dtypes of a product's operands and the precision it is taken in."""
    operands = product.split(" : (")[1].split(" -> ")[0]
    dtypes = "×".join(sorted(set(re.findall(r"x([a-z]+\d+)>", operands))))
    precisions = re.findall(r"\b(DEFAULT|HIGHEST|HIGH)\b", product)
    assert len(precisions) == 2, product
    return dtypes, *set(precisions)


def kinds(found):
    return {kind(product) for product in found}


def float32(tree):
    return jax.tree.map(lambda a: a.astype(jnp.float32), tree)


def gradient(network, **options):
    """A step's gradient, and its arguments."""
    training = TrainingConfig(num_epochs=2, batch_size=4, **options)
    params = float32(init_params(jax.random.key(0), network))
    is_unet = network.target.dtype == jnp.uint8
    x_0 = jnp.zeros((4, 4, 4, 1), jnp.uint8) if is_unet else jnp.zeros((4, 4), jnp.int32)
    batch = Batch(x_0, jnp.ones(4, jnp.float32), jnp.arange(4, dtype=jnp.uint32))

    def function(params, schedule, batch, key):
        return loss_and_gradient(params, network, training, schedule, batch, key)

    return function, params, float32(SCHEDULE), batch, jax.random.key(1)


@pytest.mark.parametrize("precision", ["highest", "high"])
@pytest.mark.parametrize("name", NETWORKS)
def test_training_takes_the_precision_of_its_config(products, name, precision):
    found = products(*gradient(NETWORKS[name], matmul_precision=precision))
    assert len(found) > 5
    assert kinds(found) == {("f32", precision.upper())}
    if name == "unet":
        convolutions = [one for one in found if "convolution" in one]
        # Two in each of 8 residual blocks, one each to halve, to double, first and last: 20
        # forward; backward as many by kernel, and all but the first by input.
        assert len(convolutions) == 3 * 20 - 1
        # The middle block attends: two batched products forward, two for each backward.
        assert sum("batching_dims = [0]" in one for one in found) == 6


@pytest.mark.parametrize("name", NETWORKS)
def test_half_precision_reaches_every_product_in_the_blocks(products, name):
    found = products(*gradient(NETWORKS[name], compute_dtype="bfloat16"))
    assert kinds(found) == {("bf16", "DEFAULT"), ("f32", "HIGHEST")}
    rounded = [one for one in found if kind(one)[0] == "bf16"]
    full = [one for one in found if kind(one)[0] == "f32"]
    if name == "unet":
        # Of the convolutions only the first and the last are outside the blocks.
        assert sum("convolution" in one for one in full) == 3 * 2 - 1
        assert sum("batching_dims = [0]" in one for one in rounded) == 6
    # Small maps at both ends alone; backward twice as many, less those to inputs.
    assert len(full) <= 3 * 4


def denoisers():
    mlp, unet = NETWORKS["mlp"], NETWORKS["unet"]
    images = np.random.default_rng(0).normal(size=(5, 16, 1)).astype(np.float32)
    sequences = hm.sample_leaves(jax.random.key(2), GRAMMAR, 5)
    return {
        "exact": hm.exact_denoiser(GRAMMAR, SCHEDULE),
        "filtered": hm.exact_denoiser(GRAMMAR, SCHEDULE, filter_level=1),
        "empirical": hm.empirical_denoiser(SCHEDULE, sequences, 3),
        "learned": learned_denoiser(mlp, float32(init_params(jax.random.key(0), mlp)), SCHEDULE),
        "learned pixels": learned_denoiser(
            unet, float32(init_params(jax.random.key(0), unet)), hm.Schedule.linear(50)
        ),
        "empirical pixels": empirical_pixel_denoiser(SCHEDULE, images),
        "gaussian pixels": gaussian_pixel_denoiser(SCHEDULE, images),
    }


@pytest.mark.parametrize("name", denoisers())
def test_denoisers_multiply_at_the_highest_precision(products, name):
    denoiser = denoisers()[name]
    shape = (4, 3) if isinstance(denoiser, hm.Denoiser) else (16, 1)
    x_t = jnp.ones((2, *shape), jnp.float32)
    found = products(lambda d, x, t: d(x, t), denoiser, x_t, jnp.array([1, 5]))
    assert {precision for _, precision in kinds(found)} <= {"HIGHEST"}
    assert found or name in ("exact", "filtered")  # these may do without products


def test_statistics_and_measures_multiply_at_the_highest_precision(products):
    images = jnp.ones((5, 16), jnp.float32)
    laws = products(lambda g: statistics.leaf_pairs(g).joint, GRAMMAR)
    nearest = products(_nearest_euclidean, images, images)
    assert laws
    assert nearest
    assert {precision for _, precision in kinds(laws + nearest)} == {"HIGHEST"}


def test_a_default_of_the_users_changes_nothing(products):
    config = dataclasses.replace(NETWORKS["mlp"], width=9)
    params = float32(init_params(jax.random.key(0), config))
    with jax.default_matmul_precision("bfloat16"):
        found = products(
            lambda p, x: apply(config, p, x, jnp.array(3)), params, jnp.ones((2, 4, 3), jnp.float32)
        )
    assert kinds(found) == {("f32", "HIGHEST")}
