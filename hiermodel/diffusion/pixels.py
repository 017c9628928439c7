"""Denoisers of images that are known exactly: the two ends between which a network moves.

One knows the training images by heart, the other nothing of them but mean and covariance. Both are
MeanDenoisers of images laid out as pixels (``hiermodel.diffusion.corruption.pixels``).
"""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from hiermodel.checks import require
from hiermodel.diffusion.inputs import check_noisy
from hiermodel.diffusion.process import Noisy, Steps
from hiermodel.diffusion.schedule import Schedule

ROWS = 32
"""Noisy images compared with all training images at a time."""


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, eq=False)
class EmpiricalPixelDenoiser:
    """The posterior mean under the empirical distribution of training images: the memoriser."""

    schedule: Schedule
    images: Float[Array, "num_images pixels channels"]

    @property
    def event_shape(self) -> tuple[int, int]:
        """Pixels and channels of one image."""
        return self.images.shape[1], self.images.shape[2]

    def __call__(self, x_t: Noisy, t: Steps) -> Float[Array, "..."]:
        """E[x_0 | x_t] = Σ_i w_i x_i, w ∝ exp(−|x_t − sqrt(abar_t) x_i|² / (2 (1 − abar_t)))."""
        x_t = check_noisy(self, self.schedule.num_steps, x_t, t)
        batch = x_t.shape[:-2]
        steps = jnp.broadcast_to(jnp.asarray(t), batch).reshape(-1)
        images = self.images.reshape(len(self.images), -1).astype(x_t.dtype)
        signal = jnp.sqrt(self.schedule.alpha_bar[steps]).astype(x_t.dtype)
        variance = self.schedule.noise_variance[steps].astype(x_t.dtype)

        def one(row: tuple[Array, Array, Array]) -> Array:
            noisy, scale, spread = row
            # Distances from differences: expanding the square would lose digits at small t.
            distance = jnp.square(noisy - scale * images).sum(-1)
            weights = jax.nn.softmax(-distance / (2 * spread))
            return jnp.matmul(weights, images, precision=jax.lax.Precision.HIGHEST)

        rows = (x_t.reshape(len(steps), -1), signal, variance)
        return jax.lax.map(one, rows, batch_size=ROWS).reshape(x_t.shape)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, eq=False)
class GaussianPixelDenoiser:
    """The posterior mean under a normal law with the mean and covariance of images: Wiener's.

    Attributes:
        schedule: the noise.
        mean: mean image.
        directions: orthonormal directions with variance, as rows; pixels and channels in one.
        variances: along each of them.
    """

    schedule: Schedule
    mean: Float[Array, "pixels channels"]
    directions: Float[Array, "rank size"]
    variances: Float[Array, " rank"]

    @property
    def event_shape(self) -> tuple[int, int]:
        """Pixels and channels of one image."""
        return self.mean.shape[0], self.mean.shape[1]

    def __call__(self, x_t: Noisy, t: Steps) -> Float[Array, "..."]:
        """E[x_0 | x_t] = m + s C (s² C + v)⁻¹ (x_t − s m), s = sqrt(abar_t), v = 1 − abar_t."""
        x_t = check_noisy(self, self.schedule.num_steps, x_t, t)
        steps, dtype = jnp.asarray(t), x_t.dtype
        alpha_bar = self.schedule.alpha_bar[steps].astype(dtype)[..., None]
        variance = self.schedule.noise_variance[steps].astype(dtype)[..., None]
        signal, variances = jnp.sqrt(alpha_bar), self.variances.astype(dtype)
        gain = signal * variances / (alpha_bar * variances + variance)
        mean, directions = self.mean.astype(dtype), self.directions.astype(dtype)
        centred = (x_t - signal[..., None] * mean).reshape(*x_t.shape[:-2], -1)
        highest = jax.lax.Precision.HIGHEST
        coefficients = jnp.matmul(centred, directions.T, precision=highest)
        moved = jnp.matmul(gain * coefficients, directions, precision=highest)
        return mean + moved.reshape(x_t.shape)


def empirical_pixel_denoiser(
    schedule: Schedule, images: Float[Array | np.ndarray, "..."]
) -> EmpiricalPixelDenoiser:
    """The denoiser of someone who knows only the training images, by heart.

    Args:
        schedule: the noise.
        images: (n, pixels, channels), n at least 1.

    Raises:
        ValueError: for another shape, or pixels that are not floating and finite.

    Example:
        >>> images = np.zeros((3, 4, 1))
        >>> hm.diffusion.empirical_pixel_denoiser(schedule, images)(np.zeros((4, 1)), 5).shape
        (4, 1)
    """
    return EmpiricalPixelDenoiser(schedule, jnp.asarray(_check_images(images, 1)))


def gaussian_pixel_denoiser(
    schedule: Schedule, images: Float[Array | np.ndarray, "..."]
) -> GaussianPixelDenoiser:
    """The best denoiser that is linear in x_t, for the empirical covariance of training images.

    The covariance is Σ_i (x_i − m)(x_i − m)ᵀ / n, decomposed in float64.

    Args:
        schedule: the noise.
        images: (n, pixels, channels), n at least 2.

    Raises:
        ValueError: for another shape, or pixels that are not floating and finite.

    Example:
        >>> images = np.random.default_rng(0).normal(size=(8, 4, 1))
        >>> hm.diffusion.gaussian_pixel_denoiser(schedule, images)(np.zeros((4, 1)), 5).shape
        (4, 1)
    """
    images = _check_images(images, 2)
    wide = np.asarray(images, np.float64)
    centred = (wide - wide.mean(0)).reshape(len(wide), -1)
    _, singular, directions = np.linalg.svd(centred, full_matrices=False)
    arrays = (wide.mean(0), directions, singular**2 / len(wide))
    return GaussianPixelDenoiser(schedule, *(jnp.asarray(a, images.dtype) for a in arrays))


def _check_images(images: Array | np.ndarray, minimum: int) -> Array | np.ndarray:
    shape, values = np.shape(images), np.asarray(images)
    fits = len(shape) == 3 and shape[0] >= minimum
    require(fits, "images", shape, f"of shape (n, pixels, channels), n at least {minimum}")
    require(np.issubdtype(values.dtype, np.floating), "images", values.dtype, "floating")
    require(bool(np.isfinite(values).all()), "images", "pixels that are not finite", "finite")
    return images
