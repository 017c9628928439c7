"""Samplers along the probability-flow ODE: DDIM and Heun's method (science.md#diffusion).

In y = x / sqrt(abar) and sigma = sqrt((1 − abar) / abar) the flow is dy/dsigma = (y − x̂_0) / sigma,
with x̂_0 the denoiser's expectation (Karras et al., arXiv:2206.00364, equation 3; Song et al.,
arXiv:2010.02502, equation 14). DDIM without noise is Euler's method for it.
"""

from math import prod

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key, Num

from hiermodel.checks import check_integer, check_key, is_concrete, require
from hiermodel.diffusion.compiled import run_sampler
from hiermodel.diffusion.denoiser import AnyDenoiser, expectation, finished
from hiermodel.diffusion.samplers import starting_point
from hiermodel.diffusion.schedule import Schedule
from hiermodel.randomness import normal_at_step


def sample_ddim(
    key: Key[Array, ""],
    denoiser: AnyDenoiser,
    schedule: Schedule,
    num_samples: int | None = None,
    *,
    x_T: Float[Array | np.ndarray, "..."] | None = None,
    start: int | None = None,
    num_steps: int | None = None,
    eta: float = 0.0,
) -> Num[Array, "..."]:
    """DDIM: jump from step to step by the implied noise, with a share ``eta`` of it drawn anew.

    Args:
        key: one typed key; with ``eta`` = 0 and ``x_T`` given, nothing depends on it.
        denoiser: gives E[x_0 | x_t].
        schedule: the noise.
        num_samples: as in sample_ancestral.
        x_T: as in sample_ancestral.
        start: as in sample_ancestral.
        num_steps: how many of the steps 1…start are used, evenly spaced; all if left out.
        eta: 0 for the deterministic sampler; 1 for the variance of the ancestral one.

    Returns:
        int32 sequences (..., num_leaves), the argmax of x_0; or images, as sample_ancestral.

    Raises:
        ValueError: as sample_ancestral, or for a number of steps or an eta out of range.

    Example:
        >>> hm.sample_ddim(key, denoiser, schedule, 3, num_steps=5).shape
        (3, 4)
    """
    check_key(key)
    require(0 <= eta <= 1, "eta", eta, "in 0…1")
    noise_key, step_key = jax.random.split(key)
    x_T, start = starting_point(noise_key, denoiser, schedule, num_samples, x_T, start)
    steps = _steps(start, num_steps)
    return run_sampler(_ddim, denoiser, step_key, schedule, x_T, steps, jnp.asarray(eta))


def sample_ode(
    key: Key[Array, ""],
    denoiser: AnyDenoiser,
    schedule: Schedule,
    num_samples: int | None = None,
    *,
    x_T: Float[Array | np.ndarray, "..."] | None = None,
    start: int | None = None,
    num_steps: int | None = None,
) -> Num[Array, "..."]:
    """Heun's second-order method for the probability-flow ODE, two denoiser calls per step.

    Arguments, result and errors as in :func:`sample_ddim`. The last step, to zero noise, is Euler.
    ``start`` must leave some signal, alpha_bar above 0.

    Example:
        >>> longer = hm.Schedule.linear(100)
        >>> exact = hm.exact_denoiser(grammar, longer)
        >>> hm.sample_ode(key, exact, longer, 3, num_steps=5).shape
        (3, 4)
    """
    check_key(key)
    noise_key, _ = jax.random.split(key)
    x_T, start = starting_point(noise_key, denoiser, schedule, num_samples, x_T, start)
    if is_concrete(schedule):
        left = float(np.asarray(schedule.alpha_bar)[start])
        allowed = f"above 0 at step start={start}: the flow begins at a finite sigma"
        require(left > 0, "schedule.alpha_bar", left, allowed)
    return run_sampler(_heun, denoiser, schedule, x_T, _steps(start, num_steps))


def _steps(start: int, num_steps: int | None) -> Int[Array, " steps_plus_1"]:
    """The steps visited, from ``start`` down to 0."""
    num_steps = start if num_steps is None else check_integer("num_steps", num_steps, 1, start)
    return jnp.asarray(np.rint(np.linspace(start, 0, num_steps + 1)).astype(np.int32))


def _ddim(
    denoiser: AnyDenoiser,
    key: Key[Array, ""],
    schedule: Schedule,
    x_T: Float[Array, "... leaves vocab"],
    steps: Int[Array, " steps_plus_1"],
    eta: Float[Array, ""],
) -> Num[Array, "..."]:
    dtype = x_T.dtype
    num_samples = prod(x_T.shape[:-2])

    def step(index: Array, x_t: Array) -> Array:
        t, after = steps[index], steps[index + 1]
        expected = expectation(denoiser, schedule, x_t, t)
        signal = jnp.sqrt(schedule.alpha_bar[t]).astype(dtype)
        variance, variance_after = schedule.noise_variance[t], schedule.noise_variance[after]
        noise = (x_t - signal * expected) / jnp.sqrt(variance).astype(dtype)
        ratio = schedule.alpha_bar[t] / schedule.alpha_bar[after]
        fresh = jnp.square(eta) * (variance_after / variance) * (1 - ratio)
        drawn = normal_at_step(key, t, num_samples, x_T.shape[-2:], dtype)
        return (
            jnp.sqrt(schedule.alpha_bar[after]).astype(dtype) * expected
            + jnp.sqrt(variance_after - fresh).astype(dtype) * noise
            + jnp.sqrt(fresh).astype(dtype) * drawn.reshape(x_t.shape)
        )

    x_0 = jax.lax.fori_loop(0, len(steps) - 1, step, x_T)
    return finished(denoiser, schedule, x_0)


def _heun(
    denoiser: AnyDenoiser,
    schedule: Schedule,
    x_T: Float[Array, "... leaves vocab"],
    steps: Int[Array, " steps_plus_1"],
) -> Num[Array, "..."]:
    dtype = x_T.dtype
    sigmas = jnp.sqrt(schedule.noise_variance / schedule.alpha_bar).astype(dtype)
    signals = jnp.sqrt(schedule.alpha_bar).astype(dtype)

    def slope(y: Array, t: Array) -> Array:
        return (y - expectation(denoiser, schedule, signals[t] * y, t)) / sigmas[t]

    def step(index: Array, y: Array) -> Array:
        t, after = steps[index], steps[index + 1]
        first = slope(y, t)
        reach = sigmas[after] - sigmas[t]
        euler = y + reach * first
        # At zero noise there is no slope; one is evaluated at t = 1 and not used.
        second = slope(euler, jnp.maximum(after, 1))
        return jnp.where(after > 0, y + reach * (first + second) / 2, euler)

    y = jax.lax.fori_loop(0, len(steps) - 1, step, x_T / signals[steps[0]])
    return finished(denoiser, schedule, y)
