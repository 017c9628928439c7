"""Images with only their coarse structure left: the counterpart of filter levels.

Both filters are orthogonal projections (PCA about the mean image), so filtering twice changes
nothing more, and with everything kept the images come back.
"""

import numpy as np
from jaxtyping import Float

from hiermodel.checks import check_integer, require


def haar_filter(images: Float[np.ndarray, "n h w c"], level: int) -> Float[np.ndarray, "n h w c"]:
    """Images without their ``level`` finest scales of Haar wavelets.

    Without the wavelets of scales 2, 4, …, 2^level what is left of every block of 2^level × 2^level
    pixels is its mean.

    Args:
        images: (n, height, width, channels).
        level: how many scales to leave out; 0 for the images themselves.

    Raises:
        ValueError: for another shape, or a level whose blocks do not divide the images.

    Example:
        >>> hm.diffusion.haar_filter(np.zeros((3, 4, 4, 1)), 1).shape
        (3, 4, 4, 1)
    """
    images = _check(images)
    level = check_integer("level", level, 0)
    n, height, width, channels = images.shape
    size = 2**level
    divides = height % size == 0 and width % size == 0
    require(divides, "level", level, f"such that 2^level divides {height} and {width}")
    blocks = images.reshape(n, height // size, size, width // size, size, channels)
    means = blocks.mean((2, 4), keepdims=True, dtype=np.float64)
    return np.broadcast_to(means, blocks.shape).reshape(images.shape).astype(images.dtype)


def pca_filter(
    images: Float[np.ndarray, "n h w c"],
    num_components: int,
    fitted_on: Float[np.ndarray, "m h w c"] | None = None,
) -> Float[np.ndarray, "n h w c"]:
    """Images projected on mean and leading principal components.

    Args:
        images: (n, height, width, channels).
        num_components: how many components to keep, at least 1.
        fitted_on: images whose mean and components are taken; the images themselves if left out.

    Raises:
        ValueError: for other shapes, or more components than there are.

    Example:
        >>> hm.diffusion.pca_filter(np.random.default_rng(0).normal(size=(5, 2, 2, 1)), 2).shape
        (5, 2, 2, 1)
    """
    images = _check(images)
    reference = images if fitted_on is None else _check(fitted_on)
    require(reference.shape[1:] == images.shape[1:], "fitted_on", reference.shape, "of that size")
    flat = reference.reshape(len(reference), -1).astype(np.float64)
    mean = flat.mean(0)
    num_components = check_integer("num_components", num_components, 1, min(flat.shape))
    _, _, components = np.linalg.svd(flat - mean, full_matrices=False)
    kept = components[:num_components]
    centred = images.reshape(len(images), -1).astype(np.float64) - mean
    return (mean + centred @ kept.T @ kept).reshape(images.shape).astype(images.dtype)


def _check(images: np.ndarray) -> np.ndarray:
    require(images.ndim == 4, "images", images.shape, "of shape (n, height, width, channels)")
    floating = np.issubdtype(images.dtype, np.floating)
    require(bool(floating), "images", images.dtype, "floating")
    return images
