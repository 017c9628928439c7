"""How much signal is left at each diffusion step."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key

from hiermodel.checks import check_integer, require
from hiermodel.randomness import normal_per_sample


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, eq=False)
class Schedule:
    """A variance-preserving noise schedule, x_t = sqrt(alpha_bar) x_0 + sqrt(1 − alpha_bar) eps.

    Every array has ``num_steps + 1`` entries, so that a step t in 1…num_steps indexes it directly;
    entry 0 is the clean end. All are computed in float64 and rounded once: near t = 1, subtracting
    a rounded alpha_bar from 1 would lose four of float32's seven digits.

    Attributes:
        alpha_bar: share of signal variance left.
        noise_variance: 1 − alpha_bar.
        posterior_x0_weight: factor of x_0 in the mean of q(x_{t−1} | x_t, x_0).
        posterior_xt_weight: factor of x_t in that mean.
        posterior_variance: variance of q(x_{t−1} | x_t, x_0); 0 at t = 1.
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
            raise ValueError(
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

    def leaf_evidence(
        self, x_t: Float[Array, "... leaves vocab"], t: int | Int[Array | np.ndarray, "..."]
    ) -> Float[Array, "... leaves vocab"]:
        """Log-field h_i(a) = sqrt(abar_t) / (1 − abar_t) · x_t[i, a] of noisy leaves.

        Source: science.md#diffusion.
        """
        return self.field_scale(jnp.asarray(t), x_t.dtype)[..., None, None] * x_t

    def log_constant(
        self, x_t: Float[Array, "... leaves vocab"], t: int | Int[Array | np.ndarray, "..."]
    ) -> Float[Array, "..."]:
        """What log q(x_t | x_0) holds beyond the leaf evidence, summed over positions.

        Source: science.md#diffusion.

        log N(x_t; 0, (1 − abar_t) I) − num_leaves · abar_t / (2 (1 − abar_t)).
        """
        steps = jnp.asarray(t)
        alpha_bar = self.alpha_bar[steps].astype(x_t.dtype)
        variance = self.noise_variance[steps].astype(x_t.dtype)
        num_leaves, vocab_size = x_t.shape[-2:]
        log_normal = -0.5 * (
            jnp.square(x_t).sum((-2, -1)) / variance
            + num_leaves * vocab_size * jnp.log(2 * jnp.pi * variance)
        )
        return log_normal - num_leaves * alpha_bar / (2 * variance)

    def pure_noise(
        self, key: Key[Array, ""], num_samples: int, num_leaves: int, vocab_size: int
    ) -> Float[Array, "num_samples leaves vocab"]:
        """Standard normals, each sample's from its own key."""
        shape, dtype = (num_leaves, vocab_size), jnp.result_type(float)
        return normal_per_sample(key, (num_samples,), shape, dtype)

    def field_scale(self, t: Int[Array, "*batch"], dtype: jnp.dtype) -> Float[Array, "*batch"]:
        """sqrt(alpha_bar_t) / (1 − alpha_bar_t): what turns x_t into the leaf log-field."""
        return (jnp.sqrt(self.alpha_bar[t]) / self.noise_variance[t]).astype(dtype)
