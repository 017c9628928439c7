"""One key per sample, so that a sample never depends on how many others are drawn beside it."""

from collections.abc import Sequence
from math import prod

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key


def sample_keys(key: Key[Array, ""], num_samples: int) -> Key[Array, " num_samples"]:
    """Return one key per sample; asking for more samples leaves the first keys as they were."""
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
    keys: Key[Array, " num_samples"],
    t: Int[Array, ""],
    event_shape: Sequence[int],
    dtype: jnp.dtype,
) -> Float[Array, "num_samples ..."]:
    """Standard normals of one sampling step, from each sample's key and the step."""
    step_keys = jax.vmap(jax.random.fold_in, in_axes=(0, None))(keys, t)
    return _normals(step_keys, event_shape, dtype)


def _normals(
    keys: Key[Array, " num_samples"], event_shape: Sequence[int], dtype: jnp.dtype
) -> Float[Array, "num_samples ..."]:
    return jax.vmap(lambda one: jax.random.normal(one, tuple(event_shape), dtype))(keys)
