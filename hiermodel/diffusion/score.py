"""Exact score and log-density of noisy sequences (SPEC section 3)."""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from hiermodel.diffusion.denoisers import (
    AnyDenoiser,
    Corruption,
    Noisy,
    Steps,
    check_input,
    check_noisy,
    exact_denoiser,
    expectation,
)
from hiermodel.diffusion.schedule import Schedule
from hiermodel.grammar.rules import Grammar
from hiermodel.inference.belief_propagation import run_bp


def score(
    denoiser: AnyDenoiser, schedule: Schedule, x_t: Float[Array | np.ndarray, "..."], t: Steps
) -> Float[Array, "..."]:
    """Score (sqrt(abar_t) E[x_0 | x_t] − x_t) / (1 − abar_t), from any denoiser.

    With the exact denoiser this is the gradient of :func:`log_density`.

    Args:
        denoiser: gives E[x_0 | x_t].
        schedule: the noise.
        x_t: (..., num_leaves, vocab_size), or (..., pixels, channels).
        t: steps in 1…num_steps, broadcasting against the leading axes.

    Raises:
        ValueError: for a wrong shape or a step out of range.
    """
    x_t = check_noisy(denoiser, schedule.num_steps, x_t, t)
    steps = jnp.asarray(t)
    alpha_bar = schedule.alpha_bar[steps].astype(x_t.dtype)[..., None, None]
    variance = schedule.noise_variance[steps].astype(x_t.dtype)[..., None, None]
    return (jnp.sqrt(alpha_bar) * expectation(denoiser, x_t, t) - x_t) / variance


def log_density(
    grammar: Grammar,
    schedule: Corruption,
    x_t: Noisy,
    t: Steps,
    *,
    filter_level: int = 0,
) -> Float[Array, "..."]:
    """Natural-log density of x_t at step t under the (filtered) model.

    log p_t(x) = log Z(h) + log N(x; 0, (1 − abar_t) I) − N abar_t / (2 (1 − abar_t)); for a
    discrete process the log-probability log Z(h) + Σ_i max_a log q(x_t[i] | x_0[i] = a).

    Args:
        grammar: the model of the data.
        schedule: the noise, a Schedule or a DiscreteProcess.
        x_t: (..., num_leaves, vocab_size), or (..., num_leaves) symbols of a discrete process.
        t: steps in 1…num_steps, broadcasting against the leading axes.
        filter_level: k in 0…depth.

    Raises:
        ValueError: for a wrong shape, a step or a filter level out of range.
    """
    denoiser = exact_denoiser(grammar, schedule, filter_level=filter_level)
    x_t = check_input(denoiser, schedule, x_t, t)
    field = schedule.leaf_evidence(x_t, t)
    log_evidence = run_bp(grammar, field, filter_level=filter_level).log_evidence
    return log_evidence + schedule.log_constant(x_t, t)
