"""One key per sample, so that a sample never depends on how many others are drawn beside it.

Keys of other implementations than Threefry become keys of it: only those keep that promise.
"""

from collections.abc import Sequence
from math import prod

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Float, Int, Key

from hiermodel.random_bits import random_normal, row_key, threefry_key


def sample_keys(key: Key[Array, ""], num_samples: int) -> Key[Array, " num_samples"]:
    """Return one key per sample; asking for more samples leaves the first keys as they were."""
    key = threefry_key(key)
    return jax.vmap(jax.random.fold_in, in_axes=(None, 0))(key, jnp.arange(num_samples))


def normal_per_sample(
    key: Key[Array, ""], batch_shape: Sequence[int], event_shape: Sequence[int], dtype: jnp.dtype
) -> Float[Array, "..."]:
    """Standard normals of shape ``batch_shape + event_shape``, each sample from its own key.

    Samples are numbered along the flattened batch, so a longer leading axis keeps the first ones.
    """
    draws = _normals(sample_keys(key, prod(batch_shape)), event_shape, dtype)
    return draws.reshape(*batch_shape, *event_shape)


def normal_at_step(
    key: Key[Array, ""],
    t: ArrayLike,
    num_samples: int,
    event_shape: Sequence[int],
    dtype: jnp.dtype,
) -> Float[Array, "num_samples ..."]:
    """Standard normals of one sampling step; a sample's depend on the key, its number and t."""
    rows = row_key(jax.random.fold_in(threefry_key(key), t), num_samples)
    return random_normal(rows, tuple(event_shape), dtype)


def keys_at_step(keys: Key[Array, " num_samples"], t: ArrayLike) -> Key[Array, " num_samples"]:
    """A key per sample for one sampling step, or for one of several draws within a step."""
    return jax.vmap(jax.random.fold_in, in_axes=(0, None))(threefry_key(keys), t)


def categorical_per_sample(
    keys: Key[Array, " num_samples"], log_probs: Float[Array, "num_samples ... choices"]
) -> Int[Array, "num_samples ..."]:
    """Draw int32 indices along the last axis, each sample from its own key; never one of −inf."""
    draw = jax.vmap(lambda one, values: jax.random.categorical(one, values, axis=-1))
    return draw(threefry_key(keys), log_probs).astype(jnp.int32)


def _normals(
    keys: Key[Array, " num_samples"], event_shape: Sequence[int], dtype: jnp.dtype
) -> Float[Array, "num_samples ..."]:
    return jax.vmap(lambda one: jax.random.normal(one, tuple(event_shape), dtype))(keys)
