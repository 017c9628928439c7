"""How much signal is left at each diffusion step."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from hiermodel.checks import check_integer, require


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
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
        """Betas evenly spaced from 0.1/T to 20/T: the paper's schedule (SPEC section 3).

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
            betas: (T,) noise variances, each above 0 and at most 1.

        Raises:
            ValueError: if ``betas`` is not such an array.
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

    def field_scale(self, t: Int[Array, "*batch"], dtype: jnp.dtype) -> Float[Array, "*batch"]:
        """sqrt(alpha_bar_t) / (1 − alpha_bar_t): what turns x_t into the leaf log-field."""
        return (jnp.sqrt(self.alpha_bar[t]) / self.noise_variance[t]).astype(dtype)
