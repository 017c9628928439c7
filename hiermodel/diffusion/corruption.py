"""The forward process: how clean data are corrupted.

A sequence is laid out as its leaves, one-hot, (..., num_leaves, vocab_size); an image as its
pixels, (..., height · width, channels).
"""

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
        x_0: (..., num_leaves, vocab_size) one-hot (or any real) clean data, such as images laid
            out as their pixels (:func:`pixels`); its dtype is kept.
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


def remove_noise(
    schedule: Schedule, x_t: Float[Array, "..."], noise: Float[Array, "..."], t: Steps
) -> Float[Array, "..."]:
    """The clean data in x_t if this is its noise: (x_t − sqrt(1 − abar_t) noise) / sqrt(abar_t)."""
    steps = jnp.asarray(t)
    signal = jnp.sqrt(schedule.alpha_bar[steps]).astype(x_t.dtype)[..., None, None]
    spread = jnp.sqrt(schedule.noise_variance[steps]).astype(x_t.dtype)[..., None, None]
    return (x_t - spread * noise) / signal


def pixels(
    images: Array | np.ndarray, dtype: jnp.dtype | None = None
) -> Float[Array, "... pixels channels"]:
    """Clean data x_0 from images: (..., height, width, channels) to (..., pixels, channels).

    Args:
        images: floating, taken as they are; or uint8, of which 0…255 become −1…1.
        dtype: of the result; JAX's default if left out.

    Raises:
        ValueError: for another dtype, or fewer than three axes.
    """
    images = jnp.asarray(images)
    require(images.ndim >= 3, "images", images.shape, "of shape (..., height, width, channels)")
    is_byte = images.dtype == jnp.uint8
    fits = is_byte or jnp.issubdtype(images.dtype, jnp.floating)
    require(fits, "images", images.dtype, "floating, or uint8")
    *batch, height, width, channels = images.shape
    flat = images.astype(dtype or jnp.result_type(float)).reshape(*batch, height * width, channels)
    return flat / 127.5 - 1 if is_byte else flat
