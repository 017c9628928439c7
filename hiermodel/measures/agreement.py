"""How alike two networks trained on disjoint splits are: in what they draw, and in what they see.

Both are cosines per image, means over images being left to the caller (science.md#images, figures
1a and 2). They need no oracle.
"""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from hiermodel.checks import require


def noise_cosine(
    noise_a: Float[Array | np.ndarray, "..."], noise_b: Float[Array | np.ndarray, "..."]
) -> Float[Array, "..."]:
    """Cosine of the noises that two networks predict in the same image.

    Args:
        noise_a: (..., pixels, channels).
        noise_b: the same shape.

    Returns:
        (...) in −1…1; 0 where one of them predicts none at all.

    Raises:
        ValueError: for shapes that differ or have fewer than two axes.
    """
    a, b = _pair("noise_b", noise_a, noise_b)
    norms = jnp.sqrt(jnp.square(a).sum((-2, -1)) * jnp.square(b).sum((-2, -1)))
    return jnp.where(norms > 0, (a * b).sum((-2, -1)) / jnp.where(norms > 0, norms, 1), 0)


def dissimilarity(
    images_a: Float[Array | np.ndarray, "..."], images_b: Float[Array | np.ndarray, "..."]
) -> Float[Array, "..."]:
    """1 − cosine of paired images after each is standardised: 1 − their correlation over pixels.

    Args:
        images_a: (..., pixels, channels) drawn by one network.
        images_b: drawn by another from the same x_T and step noise.

    Returns:
        (...) in 0…2: 0 for images that agree up to brightness and contrast; 1 where one of them is
        all of one colour.

    Raises:
        ValueError: as :func:`noise_cosine`.
    """
    a, b = _pair("images_b", images_a, images_b)
    centred = [image - image.mean((-2, -1), keepdims=True) for image in (a, b)]
    return 1 - noise_cosine(*centred)


def _pair(
    argument: str, first: Float[Array | np.ndarray, "..."], second: Float[Array | np.ndarray, "..."]
) -> tuple[Array, Array]:
    shape = np.shape(first)
    fits = len(shape) >= 2 and np.shape(second) == shape
    require(
        fits, argument, np.shape(second), f"of the shape of the other, {shape}, 2 axes at least"
    )
    return jnp.asarray(first), jnp.asarray(second)
