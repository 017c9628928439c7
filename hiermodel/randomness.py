"""One key per sample, so that a sample never depends on how many others are drawn beside it.

Keys of other implementations than Threefry become keys of it: only those keep that promise.
"""

from collections.abc import Sequence
from math import prod

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Float, Int, Key

from hiermodel.checks import require
from hiermodel.random_bits import (
    RowKey,
    random_normal,
    row_key,
    symmetric_uniform,
    threefry_key,
)


def sample_keys(key: Key[Array, ""], num_samples: int) -> Key[Array, " num_samples"]:
    """Return one key per sample; asking for more samples leaves the first keys as they were."""
    key = threefry_key(key)
    return jax.vmap(jax.random.fold_in, in_axes=(None, 0))(key, jnp.arange(num_samples))


def normal_per_sample(
    key: Key[Array, ""] | RowKey,
    batch_shape: Sequence[int],
    event_shape: Sequence[int],
    dtype: jnp.dtype,
) -> Float[Array, "..."]:
    """Standard normals of shape ``batch_shape + event_shape``, each sample from its own key.

    Samples are numbered along the flattened batch, so a longer leading axis keeps the first ones;
    or as a RowKey says, which draws in bulk (``random_bits.random_normal``).
    """
    if isinstance(key, RowKey):
        _check_rows(key, batch_shape)
        return random_normal(key, tuple(event_shape), dtype)
    draws = _normals(sample_keys(key, prod(batch_shape)), event_shape, dtype)
    return draws.reshape(*batch_shape, *event_shape)


def uniform_per_sample(
    key: Key[Array, ""] | RowKey, batch_shape: Sequence[int], size: int
) -> Float[Array, "... size"]:
    """``size`` float32 numbers per sample, uniform on the odd multiples of 2^−24 from 0 to 1.

    Samples are numbered as in ``normal_per_sample``; all are drawn in bulk.
    """
    if isinstance(key, RowKey):
        _check_rows(key, batch_shape)
        rows = key
    else:
        rows = row_key(key, prod(batch_shape))
    return (symmetric_uniform(rows, size).reshape(*batch_shape, size) + 1) / 2


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


def _check_rows(key: RowKey, batch_shape: Sequence[int]) -> None:
    fits = tuple(batch_shape) == key.rows.shape
    require(fits, "key", f"a RowKey of {key.rows.shape} rows", f"of {tuple(batch_shape)} rows")


def _normals(
    keys: Key[Array, " num_samples"], event_shape: Sequence[int], dtype: jnp.dtype
) -> Float[Array, "num_samples ..."]:
    return jax.vmap(lambda one: jax.random.normal(one, tuple(event_shape), dtype))(keys)
