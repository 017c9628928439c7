"""Networks: what is refused, time, dropout, random numbers, initial distributions."""

import dataclasses
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hiermodel.networks.layers import dropout, time_features
from hiermodel.networks.mlp import MLPConfig
from hiermodel.networks.network import apply, init_params
from hiermodel.networks.transformer import TransformerConfig
from hiermodel.random_bits import (
    RowKey,
    random_integers,
    random_normal,
    random_words,
    row_key,
)

KEY = jax.random.key(0)
TRANSFORMER = TransformerConfig(4, 3, width=8, num_layers=2, num_heads=2, dropout=0.2)


def noisy(*batch):
    return jax.random.normal(jax.random.key(1), (*batch, 4, 3), jnp.float32)


@pytest.mark.parametrize(
    ("kind", "field", "value"),
    [
        (TransformerConfig, "width", 0),
        (TransformerConfig, "width", 10),
        (TransformerConfig, "num_leaves", 0),
        (TransformerConfig, "vocab_size", 1),
        (TransformerConfig, "dropout", 1.0),
        (TransformerConfig, "time_features", 31),
        (TransformerConfig, "start", "zeros"),
        (MLPConfig, "width", 0),
        (MLPConfig, "num_blocks", 0),
        (MLPConfig, "dropout", -0.1),
        (MLPConfig, "time_features", 3),
    ],
)
def test_wrong_configs_are_refused(kind, field, value, unchecked_types):
    with pytest.raises(ValueError, match=field):
        kind(**({"num_leaves": 4, "vocab_size": 3} | {field: value}))


def test_time_features_agree_with_the_reference(reference):
    arrays = reference("schedule")
    t = jnp.asarray(arrays["emb/t"])
    single = time_features(t, 32, jnp.float32)
    np.testing.assert_allclose(single, arrays["emb/float64"], atol=2e-5)
    if jax.config.jax_enable_x64:
        double = time_features(t, 32, jnp.float64)
        np.testing.assert_allclose(double, arrays["emb/float64"], atol=1e-12)


# Dropout.


def test_dropout_has_the_papers_four_places():
    """On attention weights, after each sublayer, inside the feed-forward: masks put in by hand."""
    config = TransformerConfig(4, 3, width=8, num_layers=1, num_heads=2, dropout=0.5)
    params, key = init_params(KEY, config), row_key(jax.random.key(1), 1)
    x_t = noisy(1)
    p = {n.removeprefix("blocks.0."): np.asarray(v, np.float64) for n, v in params.items()}
    (block_key,) = key.split(1)
    keys = block_key.split(4)

    def mask(index, *shape):
        return np.asarray(dropout(jnp.ones(shape, jnp.float32), 0.5, keys[index]), np.float64)

    def linear(name, h):
        return h @ p[f"{name}.kernel"] + p[f"{name}.bias"]

    def norm(h):
        return (h - h.mean(-1, keepdims=True)) / np.sqrt(h.var(-1, keepdims=True) + 1e-5)

    features = np.asarray(time_features(jnp.int32(3), 32, jnp.float32))
    h = linear("input_projection", np.asarray(x_t[0])) + p["positional_embedding.embedding"]
    h = h + linear("time_embedding", features)
    query, keys_, values = (
        linear("attention.query_key_value", h).reshape(4, 3, 2, 4).transpose(1, 2, 0, 3)
    )
    scores = np.exp(query @ keys_.transpose(0, 2, 1) / 2)
    weights = scores / scores.sum(-1, keepdims=True) * mask(0, 2, 4, 4)
    mixed = (weights @ values).transpose(1, 0, 2).reshape(4, 8)
    h = norm(h + linear("attention.output", mixed) * mask(1, 4, 8))
    hidden = np.maximum(linear("feedforward_in", h), 0) * mask(2, 4, 16)
    h = norm(h + linear("feedforward_out", hidden) * mask(3, 4, 8))
    logits = jax.jit(apply, static_argnums=0)(config, params, x_t, jnp.int32(3), key)
    np.testing.assert_allclose(logits[0], linear("output_projection", h), atol=1e-4)


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.97])
def test_dropout_keeps_the_mean_and_has_the_rate(rate):
    size = 400_000
    key = row_key(KEY, 400)
    dropped = np.asarray(dropout(jnp.ones((size,), jnp.float32), rate, key), np.float64)
    # Five standard errors of the fraction dropped; of the mean, the same over 1 − rate.
    error = 5 * math.sqrt(rate * (1 - rate) / size)
    assert abs((dropped == 0).mean() - rate) < error + 2**-17
    assert abs(dropped.mean() - 1) < error / (1 - rate)
    np.testing.assert_allclose(dropped[dropped > 0], 1 / (1 - rate), rtol=1e-3)


def test_dropped_entries_are_independent_of_their_neighbours():
    ones, other_key = jnp.ones((1000, 400), jnp.float32), jax.random.key(1)
    mask = np.asarray(dropout(ones, 0.3, row_key(KEY, 1000))) > 0
    other = np.asarray(dropout(ones, 0.3, row_key(other_key, 1000))) > 0
    bound = 5 / math.sqrt(mask.size)
    shifts = ((1, 1), (1, 0), (200, 1), (500, 0))
    for shifted in (*(np.roll(mask, shift, axis) for shift, axis in shifts), other):
        assert abs(np.corrcoef(mask.ravel(), shifted.ravel())[0, 1]) < bound


def test_random_words_are_threefrys_own():
    """The written-out cipher is the one that ``jax.random`` uses."""
    from jax.extend.random import threefry_2x32

    counter = jnp.arange(50, dtype=jnp.uint32)
    words = random_words(RowKey(KEY, jnp.array([0, 7], jnp.uint32)), 100)
    for row, ours in zip((0, 7), words, strict=True):
        blocks = jnp.concatenate([jnp.full_like(counter, row), counter])
        np.testing.assert_array_equal(ours, threefry_2x32(jax.random.key_data(KEY), blocks))


def test_normals_are_normal():
    draws = np.asarray(random_normal(row_key(KEY, 500), (400,), jnp.float32), np.float64)
    for power, moment, spread in ((1, 0, 1), (2, 1, 2), (3, 0, 15), (4, 3, 96)):
        bound = 5 * math.sqrt(spread / draws.size)
        assert abs((draws**power).mean() - moment) < bound, power
    assert 4 < np.abs(draws).max() < 5.4


def test_integers_are_uniform():
    draws = np.asarray(random_integers(row_key(KEY, 50_000), 3, 7))
    counts = np.bincount(draws, minlength=8)
    assert not counts[:3].any()
    assert np.abs(counts[3:] - 10_000).max() < 5 * math.sqrt(8000)


# Initial distributions: those of PyTorch's modules.


def assert_uniform(values, bound):
    values = np.asarray(values, np.float64).ravel()
    assert np.abs(values).max() <= bound
    # A uniform's variance is bound²/3; its fourth moment gives the standard error.
    error = 5 * bound**2 * math.sqrt((1 / 5 - 1 / 9) / values.size)
    assert abs((values**2).mean() - bound**2 / 3) < error
    assert abs(values.mean()) < 5 * bound / math.sqrt(3 * values.size)


def test_initial_values_follow_pytorch():
    config = TransformerConfig(16, 6, width=48, num_layers=3, num_heads=4)
    params = init_params(KEY, config)
    for name, fan_in in {
        "input_projection": 6,
        "time_embedding": 32,
        "output_projection": 48,
        "blocks.1.feedforward_in": 48,
        "blocks.1.feedforward_out": 96,
    }.items():
        assert_uniform(params[f"{name}.kernel"], 1 / math.sqrt(fan_in))
        assert_uniform(params[f"{name}.bias"], 1 / math.sqrt(fan_in))
    # nn.MultiheadAttention: Xavier on the stacked (3 width, width) matrix; no initial bias.
    assert_uniform(params["blocks.1.attention.query_key_value.kernel"], math.sqrt(6 / (4 * 48)))
    assert_uniform(params["blocks.1.attention.output.kernel"], 1 / math.sqrt(48))
    for name in ("attention.query_key_value", "attention.output", "attention_norm"):
        assert not np.any(params[f"blocks.1.{name}.bias"])
    assert np.all(params["blocks.1.feedforward_norm.scale"] == 1)
    embedding = np.asarray(params["positional_embedding.embedding"])
    assert abs(embedding.std() - 1) < 5 / math.sqrt(2 * embedding.size)


@pytest.mark.parametrize("start", ["copied_blocks", "independent_blocks"])
def test_blocks_start_alike_only_if_copied(start):
    params = init_params(KEY, dataclasses.replace(TRANSFORMER, start=start))
    for name in ("attention.query_key_value.kernel", "feedforward_in.bias"):
        alike = np.array_equal(params[f"blocks.0.{name}"], params[f"blocks.1.{name}"])
        assert alike == (start == "copied_blocks")


def test_parameters_of_a_block_are_not_copies_of_each_other():
    params = init_params(KEY, TransformerConfig(4, 8, width=8, num_layers=1, feedforward_factor=1))
    values = [np.asarray(value)[0] for name, value in params.items() if name.endswith("n.kernel")]
    rows = np.stack([value / np.abs(value).max() for value in values if value.shape == (8,)])
    assert len(np.unique(rows.round(6), axis=0)) == len(rows) > 2


def test_number_of_parameters_of_the_papers_network():
    shapes = jax.eval_shape(lambda: init_params(KEY, TransformerConfig(16, 6)))
    # Per block: attention 4 d² + 4 d, feed-forward 4 d² + 3 d, two norms 4 d.
    block = 8 * 512**2 + 11 * 512
    ends = (6 + 1) * 512 + 16 * 512 + (32 + 1) * 512 + (512 + 1) * 6
    assert sum(math.prod(shape.shape) for shape in shapes.values()) == 8 * block + ends
