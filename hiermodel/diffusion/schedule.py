"""Gaussian noise: the signal left at each step, and one step back (science.md#diffusion)."""

import dataclasses
import functools
from math import prod

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike
from jaxtyping import Array, Float, Int, Key

from hiermodel.checks import InputError, check_integer, check_steps, require
from hiermodel.diffusion.corruption import one_hot
from hiermodel.diffusion.process import FAILED, Steps, Symbols
from hiermodel.random_bits import RowKey, random_normal, row_key
from hiermodel.randomness import normal_per_sample


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, eq=False)
class Schedule:
    """The Gaussian process, x_t = sqrt(alpha_bar_t) x_0 + sqrt(1 − alpha_bar_t) eps.

    Its methods are those of a :class:`~hiermodel.diffusion.process.Process` on real vectors,
    (..., num_leaves, vocab_size) one-hot or (..., pixels, channels) of images.

    Every array has ``num_steps + 1`` entries, so that a step t in 1…num_steps indexes it directly;
    entry 0 is the clean end. All are computed in float64 and rounded once: near t = 1, subtracting
    a rounded alpha_bar from 1 would lose four of float32's seven digits.

    Attributes:
        alpha_bar: share of signal variance left.
        noise_variance: 1 − alpha_bar.
        posterior_x0_weight: factor of x_0 in the mean of q(x_{t−1} | x_t, x_0).
        posterior_xt_weight: factor of x_t in that mean.
        posterior_variance: variance of q(x_{t−1} | x_t, x_0); 0 at t = 1.

    Example:
        >>> hm.Schedule.linear(20).alpha_bar.shape
        (21,)
    """

    alpha_bar: Float[Array, " steps_plus_1"]
    noise_variance: Float[Array, " steps_plus_1"]
    posterior_x0_weight: Float[Array, " steps_plus_1"]
    posterior_xt_weight: Float[Array, " steps_plus_1"]
    posterior_variance: Float[Array, " steps_plus_1"]

    @classmethod
    def linear(cls, num_steps: int = 500) -> "Schedule":
        """Betas evenly spaced from 0.1/T to 20/T: the paper's schedule (science.md#diffusion).

        Args:
            num_steps: T, at least 20 (below that the last beta would exceed 1).

        Raises:
            ValueError: if ``num_steps`` is not an integer of at least 20.

        Example:
            >>> [f"{left:.3f}" for left in hm.Schedule.linear(20).alpha_bar[:3]]
            ['1.000', '0.995', '0.938']
        """
        num_steps = check_integer("num_steps", num_steps, 20)
        return cls.from_betas(np.linspace(0.1 / num_steps, 20 / num_steps, num_steps))

    @classmethod
    def from_betas(cls, betas: np.ndarray) -> "Schedule":
        """Any schedule, from the variance added at each step 1…T.

        Args:
            betas: (T,) noise variances, each above 0 and at most 1. Only at the last step may no
                signal be left.

        Raises:
            ValueError: if ``betas`` is not such an array, or if what is left of signal or noise at
                a step is too small for the dtype of the schedule, and would be divided by as 0.

        Example:
            >>> hm.Schedule.from_betas(np.array([0.5, 0.5])).alpha_bar.tolist()
            [1.0, 0.5, 0.25]
        """
        betas = np.asarray(betas, dtype=np.float64)
        require(betas.ndim == 1 and betas.size > 0, "betas", betas, "a one-dimensional array")
        require(bool(np.all((betas > 0) & (betas <= 1))), "betas", betas, "above 0 and at most 1")
        alpha = np.concatenate([[1.0], 1 - betas])
        beta = np.concatenate([[0.0], betas])
        alpha_bar = np.cumprod(alpha)
        # 1 − alpha_bar by its own recursion, v_t = beta_t + alpha_t v_{t−1}: no cancellation.
        noise_variance = np.zeros_like(alpha_bar)
        for step in range(1, len(alpha)):
            noise_variance[step] = beta[step] + alpha[step] * noise_variance[step - 1]
        tiny = float(np.finfo(jnp.result_type(float)).tiny)
        too_small = np.flatnonzero((noise_variance[1:] < tiny) | (alpha_bar[:-1] < tiny))
        if too_small.size:
            step = int(too_small[0])
            raise InputError(
                f"betas[{step}]={betas[step]!r} is not allowed: with it, alpha_bar before step "
                f"{step + 1} is {alpha_bar[step]:g} and the noise after it "
                f"{noise_variance[step + 1]:g}; both must be at least {tiny:g}"
            )
        previous = np.arange(len(alpha)) - 1
        previous[0] = 0
        safe_variance = np.where(noise_variance > 0, noise_variance, 1)
        x0_weight = np.sqrt(alpha_bar[previous]) * beta / safe_variance
        xt_weight = np.sqrt(alpha) * noise_variance[previous] / safe_variance
        variance = beta * noise_variance[previous] / safe_variance
        x0_weight[0] = 1.0  # the clean end stays where it is
        return cls(*map(jnp.asarray, (alpha_bar, noise_variance, x0_weight, xt_weight, variance)))

    @property
    def num_steps(self) -> int:
        """T, the number of steps."""
        return self.alpha_bar.shape[-1] - 1

    @property
    def vocab_size(self) -> None:
        """None: sequences of any vocabulary take this noise."""
        return None

    @property
    def num_states(self) -> None:
        """None: noisy positions hold real vectors, not symbols."""
        return None

    def encode(
        self, symbols: Symbols, vocab_size: int, dtype: DTypeLike | None = None
    ) -> Float[Array, "... leaves vocab"]:
        """One-hot vectors of symbols; of JAX's default dtype if none is given.

        Raises:
            ValueError: for a symbol outside 0…vocab_size − 1.
        """
        return one_hot(symbols, vocab_size, dtype)

    def decode(self, x_0: Float[Array, "... leaves vocab"]) -> Int[Array, "... leaves"]:
        """The largest entry of every position; FAILED throughout where a sequence holds NaN."""
        failed = jnp.isnan(x_0).any((-2, -1))[..., None]
        return jnp.where(failed, FAILED, x_0.argmax(-1)).astype(jnp.int32)

    def network_input(
        self, x_t: Float[Array, "... leaves vocab"], dtype: DTypeLike | None = None
    ) -> Float[Array, "... leaves vocab"]:
        """The vectors as they are."""
        return x_t if dtype is None else x_t.astype(dtype)

    def corrupt(
        self,
        key: Key[Array, ""] | RowKey,
        x_0: Float[Array | np.ndarray, "... leaves vocab"],
        t: Steps,
    ) -> Float[Array, "... leaves vocab"]:
        """x_t = sqrt(abar_t) x_0 + sqrt(1 − abar_t) eps, with eps of its own for every row.

        Args:
            key: one typed key; or a RowKey for rows along one leading axis.
            x_0: clean data, one-hot or any real; its dtype is kept.
            t: steps in 1…num_steps, broadcasting with the leading axes; several steps of one
                sequence get noise of their own.

        Raises:
            ValueError: for an x_0 that is not floating or has fewer than two axes, or a step out
                of range.
        """
        check_steps(t, self.num_steps)
        x_0 = jnp.asarray(x_0)
        require(x_0.ndim >= 2, "x_0", x_0.shape, "of shape (..., num_leaves, vocab_size)")
        require(jnp.issubdtype(x_0.dtype, jnp.floating), "x_0", x_0.dtype, "one-hot and floating")
        batch = jnp.broadcast_shapes(x_0.shape[:-2], jnp.shape(t))
        return self.mix(x_0, normal_per_sample(key, batch, x_0.shape[-2:], x_0.dtype), t)

    def mix(
        self, x_0: Float[Array, "..."], noise: Float[Array, "..."], t: Steps
    ) -> Float[Array, "..."]:
        """Signal and given noise in the proportions of step t."""
        signal, spread = self._amplitudes(x_0.dtype, t)
        return signal * x_0 + spread * noise

    def remove_noise(
        self, x_t: Float[Array, "..."], noise: Float[Array, "..."], t: Steps
    ) -> Float[Array, "..."]:
        """What ``mix`` was given as x_0, if this is the noise in x_t; alpha_bar must be above 0."""
        signal, spread = self._amplitudes(x_t.dtype, t)
        return (x_t - spread * noise) / signal

    def evidence(
        self, x_t: Float[Array, "... leaves vocab"], t: Steps
    ) -> Float[Array, "... leaves vocab"]:
        """Log-field h_i(a) = sqrt(abar_t) / (1 − abar_t) · x_t[i, a] of noisy leaves.

        Raises:
            ValueError: for a step out of range.
        """
        check_steps(t, self.num_steps)
        steps = jnp.asarray(t)
        scale = jnp.sqrt(self.alpha_bar[steps]) / self.noise_variance[steps]
        return scale.astype(x_t.dtype)[..., None, None] * x_t

    def log_likelihood(
        self, x_t: Float[Array, "... leaves vocab"], t: Steps
    ) -> tuple[Float[Array, "... leaves vocab"], Float[Array, "..."]]:
        """Log N(x_t[i]; sqrt(abar_t) e_a, (1 − abar_t) I) per leaf i and symbol a, in two parts.

        The squares of differences, and the normalisation, summed over all leaves and symbols.

        Raises:
            ValueError: for a step out of range.
        """
        check_steps(t, self.num_steps)
        steps = jnp.asarray(t)
        mean = jnp.sqrt(self.alpha_bar)[steps].astype(x_t.dtype)[..., None, None]
        variance = self.noise_variance[steps].astype(x_t.dtype)
        num_leaves, vocab_size = x_t.shape[-2:]
        # Summing over the others, not subtracting one from all: the one is the largest by far.
        others = 1 - jnp.eye(vocab_size, dtype=x_t.dtype)
        from_others = jnp.matmul(jnp.square(x_t), others, precision=jax.lax.Precision.HIGHEST)
        squares = (jnp.square(x_t - mean) + from_others) / (-2 * variance[..., None, None])
        constant = -0.5 * num_leaves * vocab_size * jnp.log(2 * jnp.pi * variance)
        return squares, jnp.broadcast_to(constant, x_t.shape[:-2])

    def posterior(
        self, x_t: Float[Array, "..."], x_0: Float[Array, "..."], t: Steps
    ) -> tuple[Float[Array, "..."], Float[Array, "..."]]:
        """Mean and variance of q(x_{t−1} | x_t, x_0); at t = 1 the mean is x_0 and the variance 0.

        Args:
            x_t: (..., num_leaves, vocab_size) noisy data at step t.
            x_0: the same shape, clean data or its expectation.
            t: steps in 1…num_steps, broadcasting against the leading axes.

        Returns:
            The mean, shaped as x_t, and the variance of every coordinate, shaped as t.
        """
        steps = jnp.asarray(t)
        x0_weight = self.posterior_x0_weight[steps].astype(x_t.dtype)[..., None, None]
        xt_weight = self.posterior_xt_weight[steps].astype(x_t.dtype)[..., None, None]
        variance = self.posterior_variance[steps].astype(x_t.dtype)
        return x0_weight * x_0 + xt_weight * x_t, variance

    def reverse_step(
        self,
        key: Key[Array, ""],
        x_t: Float[Array, "... leaves vocab"],
        x_0_hat: Float[Array, "... leaves vocab"],
        t: Steps,
    ) -> Float[Array, "... leaves vocab"]:
        """Draw from the normal law q(x_{t−1} | x_t, x_0 = x_0_hat), each row by its own number.

        Args:
            key: one typed key, another at every step.
            x_t: noisy data at step t.
            x_0_hat: a denoiser's probabilities or mean, or x_0 itself.
            t: steps in 1…num_steps, broadcasting against the leading axes.
        """
        mean, variance = self.posterior(x_t, x_0_hat, t)
        rows = row_key(key, prod(x_t.shape[:-2]))
        noise = random_normal(rows, x_t.shape[-2:], x_t.dtype).reshape(x_t.shape)
        return mean + jnp.sqrt(variance)[..., None, None] * noise

    def pure_noise(
        self, key: Key[Array, ""], num_samples: int, num_leaves: int, vocab_size: int
    ) -> Float[Array, "num_samples leaves vocab"]:
        """Standard normals, each sample's from its own key."""
        shape, dtype = (num_leaves, vocab_size), jnp.result_type(float)
        return normal_per_sample(key, (num_samples,), shape, dtype)

    @functools.partial(jax.jit, static_argnames="dtype")
    def _amplitudes(
        self, dtype: jnp.dtype, t: Steps
    ) -> tuple[Float[Array, "..."], Float[Array, "..."]]:
        """Factors of signal and noise, sqrt(abar_t) and sqrt(1 − abar_t), for arrays of vectors."""
        steps = jnp.asarray(t)
        signal = jnp.sqrt(self.alpha_bar[steps]).astype(dtype)[..., None, None]
        return signal, jnp.sqrt(self.noise_variance[steps]).astype(dtype)[..., None, None]
