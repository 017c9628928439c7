"""The denoising loss split into what can be distilled and what must be remembered."""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from hiermodel.checks import InputError, is_concrete
from hiermodel.diffusion.corruption import one_hot
from hiermodel.measures.divergence import check_log_probs, check_same_shape
from hiermodel.measures.loss import check_output


class LossDecomposition(NamedTuple):
    """The two parts of the cross-entropy, which add up to it.

    Attributes:
        distillation: (...) −x̂* · log p, mean over positions, in nats: the cross-entropy against
            the exact denoiser, least where the model equals it.
        excess: (...) −(x_0 − x̂*) · log p, mean over positions, in nats: of zero mean on data that
            the model has never seen, negative on what it remembers.
    """

    distillation: Float[Array, "..."]
    excess: Float[Array, "..."]


def decompose_loss(
    log_probs: Float[Array | np.ndarray, "..."],
    oracle_log_probs: Float[Array | np.ndarray, "..."],
    sequences: Int[Array | np.ndarray, "..."],
) -> LossDecomposition:
    """Split the denoising loss by the exact denoiser x̂* = E[x_0 | x_t] (science.md#measures).

    Args:
        log_probs: (..., num_leaves, vocab_size) natural-log probabilities of the model.
        oracle_log_probs: of the same shape, from the exact denoiser at the same x_t.
        sequences: (..., num_leaves) the clean symbols.

    Returns:
        Both parts per sample.

    Raises:
        ValueError: for shapes that do not fit, symbols out of range, log-probabilities that are
            not normalised, or a model that rules out what the exact denoiser or the data hold
            (the parts would be infinite, of either sign).

    Example:
        >>> exact = denoiser(noisy, 5)
        >>> parts = hm.measures.decompose_loss(exact, exact, leaves)
        >>> loss = hm.measures.denoising_loss(exact, leaves)
        >>> bool(np.allclose(parts.excess + parts.distillation, loss))
        True
    """
    log_probs, sequences = check_output(log_probs, sequences)
    oracle_log_probs = check_log_probs("oracle_log_probs", oracle_log_probs)
    check_same_shape("oracle_log_probs", oracle_log_probs, "log_probs", log_probs)
    oracle = jnp.exp(oracle_log_probs)
    clean = one_hot(sequences, log_probs.shape[-1], log_probs.dtype)
    needed = (oracle > 0) | (clean > 0)
    if is_concrete(log_probs, needed) and bool((needed & (log_probs == -jnp.inf)).any()):
        raise InputError(
            "log_probs holds −inf where oracle_log_probs or sequences have mass, which is not "
            "allowed: the parts of the loss would be infinite"
        )
    surprise = jnp.where(needed, -log_probs, 0)  # 0 · log 0 = 0
    distillation = (oracle * surprise).sum(-1).mean(-1)
    excess = ((clean - oracle) * surprise).sum(-1).mean(-1)
    return LossDecomposition(distillation, excess)
