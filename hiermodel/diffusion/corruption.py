"""The forward process: how a clean sequence is corrupted."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key

from hiermodel.checks import check_key, check_steps, check_symbols, require
from hiermodel.diffusion.denoisers import Steps
from hiermodel.diffusion.schedule import Schedule
from hiermodel.randomness import normal_per_sample


def add_noise(
    key: Key[Array, ""],
    schedule: Schedule,
    x_0: Float[Array | np.ndarray, "... leaves vocab"],
    t: Steps,
) -> Float[Array, "... leaves vocab"]:
    """x_t = sqrt(abar_t) x_0 + sqrt(1 − abar_t) eps, with eps of its own for every sample.

    Args:
        key: one typed key.
        schedule: the noise.
        x_0: (..., num_leaves, vocab_size) one-hot (or any real) clean data; its dtype is kept.
        t: steps in 1…num_steps, broadcasting with the leading axes; several steps of one sequence
            get noise of their own.

    Raises:
        ValueError: for an x_0 that is not floating or has fewer than two axes, or a step out of
            range.
    """
    check_key(key)
    check_steps(t, schedule.num_steps)
    x_0 = jnp.asarray(x_0)
    require(x_0.ndim >= 2, "x_0", x_0.shape, "of shape (..., num_leaves, vocab_size)")
    require(jnp.issubdtype(x_0.dtype, jnp.floating), "x_0", x_0.dtype, "one-hot and floating")
    batch = jnp.broadcast_shapes(x_0.shape[:-2], jnp.shape(t))
    noise = normal_per_sample(key, batch, x_0.shape[-2:], x_0.dtype)
    return mix(schedule, x_0, noise, t)


def mix(
    schedule: Schedule, x_0: Float[Array, "..."], noise: Float[Array, "..."], t: Steps
) -> Float[Array, "..."]:
    """Signal and given noise in the proportions of step t."""
    steps = jnp.asarray(t)
    signal = jnp.sqrt(schedule.alpha_bar[steps]).astype(x_0.dtype)[..., None, None]
    spread = jnp.sqrt(schedule.noise_variance[steps]).astype(x_0.dtype)[..., None, None]
    return signal * x_0 + spread * noise


def one_hot(symbols: Array | np.ndarray, vocab_size: int, dtype: jnp.dtype | None = None) -> Array:
    """Clean data x_0 from symbols: (..., num_leaves) to (..., num_leaves, vocab_size).

    Raises:
        ValueError: for a symbol outside 0…vocab_size − 1.
    """
    check_symbols("symbols", symbols, vocab_size)
    return jax.nn.one_hot(jnp.asarray(symbols), vocab_size, dtype=dtype or jnp.result_type(float))
