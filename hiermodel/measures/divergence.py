"""How far one denoiser's output is from another's (science.md#measures)."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from hiermodel.checks import InputError, is_concrete, require
from hiermodel.diffusion.denoiser import Denoiser
from hiermodel.diffusion.process import Noisy, Steps

CLIP = 1e-8
"""Probabilities below this are raised to it in the divergences of science.md#measures."""

NORMALISATION_TOLERANCE = 1e-2
"""How far probabilities may be from summing to one: a network in bfloat16 is off by some 1e-3."""


def kl_divergence(
    log_p: Float[Array | np.ndarray, "..."],
    log_q: Float[Array | np.ndarray, "..."],
    *,
    clip: float | None = CLIP,
) -> Float[Array, "..."]:
    """KL(P ‖ Q) per sample in nats, summed over positions and symbols.

    Sum of p · (log p − log q), both probabilities raised to at least ``clip`` and not renormalised,
    so that equal outputs give exactly 0 and others at least about −clip per entry. Computed in the
    wider dtype of the two, float32 at least.

    Args:
        log_p: (..., num_leaves, vocab_size) natural-log probabilities.
        log_q: of the same shape.
        clip: the least probability; None takes the definition to the letter: 0 · log 0 = 0, and
            mass of P where Q is exactly zero gives +inf.

    Returns:
        (...) one divergence per sample; the mean over samples and its interval are the caller's.

    Raises:
        ValueError: for shapes that differ, log-probabilities that are not normalised, or a clip
            outside (0, 1).

    Example:
        >>> log_p, log_q = np.log([[[0.5, 0.5]]]), np.log([[[0.9, 0.1]]])
        >>> round(float(hm.measures.kl_divergence(log_p, log_q)[0]), 4)
        0.5108
    """
    log_p, log_q = _check_pair(log_p, log_q)
    return _divergence(log_p, log_q, None if clip is None else _check_clip(clip))


@functools.partial(jax.jit, static_argnames="floor")
def _divergence(
    log_p: Float[Array, "..."], log_q: Float[Array, "..."], floor: float | None
) -> Float[Array, "..."]:
    probs = jnp.exp(log_p)
    if floor is None:
        # The inner `where` keeps inf − inf, and so NaN, out of gradients too.
        possible = log_p > -jnp.inf
        ratio = jnp.where(possible, log_p, 0) - jnp.where(possible, log_q, 0)
        terms = jnp.where(possible, probs * ratio, 0)
    else:
        log_floor = float(np.log(floor))  # a NumPy scalar would widen float32
        ratio = jnp.maximum(log_p, log_floor) - jnp.maximum(log_q, log_floor)
        terms = jnp.maximum(probs, floor) * ratio
    return terms.sum((-2, -1))


def unsupported_mass(
    log_p: Float[Array | np.ndarray, "..."],
    log_q: Float[Array | np.ndarray, "..."],
    *,
    clip: float | None = CLIP,
) -> Float[Array, "..."]:
    """How much of P, per sample, sits where Q is below ``clip``, or exactly zero for ``clip=None``.

    Summed over positions and symbols: the expected number of positions at which P draws a symbol
    that Q rules out. Where this is not small, a clipped divergence measures its clip.

    Args:
        log_p: (..., num_leaves, vocab_size) natural-log probabilities.
        log_q: of the same shape.
        clip: probabilities of Q below it count as none; None for exact zeros only.

    Returns:
        (...) a number in 0…num_leaves per sample.

    Raises:
        ValueError: as :func:`kl_divergence`.
    """
    log_p, log_q = _check_pair(log_p, log_q)
    ruled_out = log_q == -jnp.inf if clip is None else log_q < np.log(_check_clip(clip))
    return jnp.where(ruled_out, jnp.exp(log_p), 0).sum((-2, -1))


def denoiser_divergence(
    denoiser_p: Denoiser,
    denoiser_q: Denoiser,
    x_t: Noisy,
    t: Steps,
    *,
    clip: float | None = CLIP,
) -> Float[Array, "..."]:
    """KL(P ‖ Q) per sample of two denoisers on the same noisy sequences.

    With the filtered denoiser as P and a network as Q this is the model–oracle divergence; with
    two networks of disjoint splits, the sample-split divergence; with the exact denoiser as P and
    t running over all steps, the divergence along t.

    Args:
        denoiser_p: gives P.
        denoiser_q: gives Q.
        x_t: noisy sequences, (..., num_leaves, vocab_size) or symbols of a discrete process.
        t: steps in 1…num_steps, broadcasting against the leading axes.
        clip: as in :func:`kl_divergence`.

    Returns:
        (...) one divergence per sample, in nats.

    Raises:
        ValueError: for a wrong shape or a step out of range.

    Example:
        >>> float(hm.measures.denoiser_divergence(denoiser, denoiser, noisy, 5).max())
        0.0
    """
    x_t = jnp.asarray(x_t)
    return kl_divergence(denoiser_p(x_t, t), denoiser_q(x_t, t), clip=clip)


def check_log_probs(argument: str, log_probs: Array | np.ndarray) -> Array:
    """Return log-probabilities in float32 or better, after checking shape and, if known, values."""
    shape = np.shape(log_probs)
    require(len(shape) >= 2, argument, shape, "of shape (..., num_leaves, vocab_size)")
    if is_concrete(log_probs):
        # In NumPy: within a trace, jnp would turn even known values into traced ones.
        total = np.exp(np.asarray(log_probs).astype(np.float64)).sum(-1)
        error = float(np.abs(total - 1).max(initial=0))
        # Written so that NaN fails too.
        if not error <= NORMALISATION_TOLERANCE:
            raise InputError(
                f"{argument} has rows whose probabilities sum to 1 ± {error:.3g}, which is not "
                f"allowed: they must be log-probabilities, summing to 1 over the last axis"
            )
    log_probs = jnp.asarray(log_probs)
    return log_probs.astype(jnp.promote_types(log_probs.dtype, jnp.float32))


def check_same_shape(argument: str, array: Array, other: str, reference: Array) -> None:
    """Refuse an array whose shape differs from that of ``reference``, called ``other``."""
    if array.shape != reference.shape:
        raise InputError(
            f"{argument} has shape {array.shape}, which is not allowed: it must be that of "
            f"{other}, {reference.shape}"
        )


def _check_pair(
    log_p: Float[Array | np.ndarray, "..."], log_q: Float[Array | np.ndarray, "..."]
) -> tuple[jax.Array, jax.Array]:
    """Both outputs, checked, in one dtype."""
    first, second = check_log_probs("log_p", log_p), check_log_probs("log_q", log_q)
    check_same_shape("log_q", second, "log_p", first)
    dtype = jnp.promote_types(first.dtype, second.dtype)
    return first.astype(dtype), second.astype(dtype)


def _check_clip(clip: float) -> float:
    require(bool(0 < clip < 1), "clip", clip, "None, or above 0 and below 1")
    return clip
