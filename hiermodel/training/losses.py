"""What training minimises: how wrong a network is about x_0 (science.md#loss-and-rates)."""

import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from hiermodel.diffusion.schedule import Schedule
from hiermodel.networks.targets import LossName, position_losses


def batch_loss(
    logits: Float[Array, "batch leaves vocab"],
    x_0: Int[Array, "batch leaves"],
    row_weights: Float[Array, " batch"],
    step_weights: Float[Array, " batch"] | None = None,
    loss: LossName = "cross_entropy",
    total_weight: Float[Array, ""] | None = None,
) -> Float[Array, ""]:
    """Mean loss over positions and real rows.

    Args:
        logits: unnormalised log-probabilities of x_0.
        x_0: clean symbols.
        row_weights: 1 for real rows, 0 for the padding of an epoch's last batch.
        step_weights: factor on each row's loss, a function of its step; None for 1.
        loss: as in ``position_losses``.
        total_weight: to divide by where these rows are a part of a batch: its real rows. The
            losses of the parts then add up to that of the batch. None for the rows given.
    """
    rows = position_losses(logits, x_0, loss).mean(-1)
    return mean_over_rows(rows, row_weights, step_weights, total_weight)


def mean_over_rows(
    rows: Float[Array, " batch"],
    row_weights: Float[Array, " batch"],
    step_weights: Float[Array, " batch"] | None = None,
    total_weight: Float[Array, ""] | None = None,
) -> Float[Array, ""]:
    """Mean of the rows' losses over the real ones; arguments as in ``batch_loss``."""
    if step_weights is not None:
        rows = rows * step_weights
    # Padding is cut out, not multiplied by zero, so that nothing in it can spoil the mean.
    total = row_weights.sum() if total_weight is None else total_weight
    return jnp.where(row_weights > 0, rows * row_weights, 0).sum() / total


def window_weights(
    schedule: Schedule, window: tuple[float, float], inside: float
) -> Float[Array, " steps_plus_1"]:
    """Weights per step, in the ratio ``inside`` : 1 within and without a window, of mean 1.

    The mean is over the steps 1…T, from which training draws. Entry 0 is no step; it holds 0.

    Args:
        schedule: the noise.
        window: first and last t/T of the window, both within it.
        inside: weight in the window before normalisation.
    """
    steps = jnp.arange(1, schedule.num_steps + 1)
    first, last = (bound * schedule.num_steps for bound in window)
    weights = jnp.where((first <= steps) & (steps <= last), inside, 1.0)
    weights = (weights / weights.mean()).astype(schedule.alpha_bar.dtype)
    return jnp.concatenate([jnp.zeros_like(weights[:1]), weights])


def variational_weights(schedule: Schedule) -> Float[Array, " steps_plus_1"]:
    """Weights per step of the variational bound, of mean 1 and then clipped to [0.01, 50].

    w_t = beta_t² abar_{t−1} / (2 v_t (1 − abar_t)²), v_t being the variance of
    q(x_{t−1} | x_t, x_0) and v_1, which is 0, replaced by v_2. Entry 0 is no step; it holds 0.
    """
    noise, variance = schedule.noise_variance, schedule.posterior_variance
    # beta_t from v_t = beta_t (1 − abar_{t−1}) / (1 − abar_t); beta_1 = 1 − abar_1.
    beta = jnp.concatenate([noise[1:2], variance[2:] * noise[2:] / noise[1:-1]])
    variance = jnp.concatenate([variance[2:3], variance[2:]])
    weights = beta**2 * schedule.alpha_bar[:-1] / (2 * variance * noise[1:] ** 2)
    weights = jnp.clip(weights / weights.mean(), 0.01, 50)
    return jnp.concatenate([jnp.zeros_like(weights[:1]), weights])
