"""From clean data to noisy ones: how data are laid out, and noise added to them.

A sequence is laid out as its leaves, one-hot, (..., num_leaves, vocab_size), or as its symbols; an
image as its pixels, (..., height · width, channels).
"""

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike
from jaxtyping import Array, Float, Key, Shaped

from hiermodel.checks import check_key, check_symbols, require
from hiermodel.diffusion.process import Process, Steps


def add_noise(
    key: Key[Array, ""], schedule: Process, x_0: Shaped[Array | np.ndarray, "..."], t: Steps
) -> Shaped[Array, "..."]:
    """Draw x_t ~ q(x_t | x_0), with noise of its own for every sample.

    Of a Schedule x_t = sqrt(abar_t) x_0 + sqrt(1 − abar_t) eps; of a DiscreteProcess every position
    is masked or redrawn with probability 1 − abar_t.

    Args:
        key: one typed key; more samples leave the first ones as they were.
        schedule: the noise, any Process.
        x_0: clean data in its layout: (..., num_leaves, vocab_size) one-hot (or any real) data,
            such as images laid out as their pixels (:func:`pixels`), whose dtype is kept; or
            (..., num_leaves) symbols for a DiscreteProcess.
        t: steps in 1…num_steps, broadcasting with the leading axes; several steps of one sequence
            get noise of their own.

    Raises:
        ValueError: for an x_0 of another layout or with a symbol out of range, or a step out of
            range.

    Example:
        >>> hm.add_noise(key, schedule, hm.one_hot(leaves, 2), 5).shape
        (8, 4, 2)
    """
    check_key(key)
    return schedule.corrupt(key, x_0, t)


def one_hot(symbols: Array | np.ndarray, vocab_size: int, dtype: DTypeLike | None = None) -> Array:
    """Clean data x_0 from symbols: (..., num_leaves) to (..., num_leaves, vocab_size).

    Raises:
        ValueError: for a symbol outside 0…vocab_size − 1.

    Example:
        >>> hm.one_hot(np.array([0, 1]), 2).tolist()
        [[1.0, 0.0], [0.0, 1.0]]
    """
    check_symbols("symbols", symbols, vocab_size)
    return jax.nn.one_hot(jnp.asarray(symbols), vocab_size, dtype=dtype or jnp.result_type(float))


def pixels(
    images: Array | np.ndarray, dtype: DTypeLike | None = None
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
