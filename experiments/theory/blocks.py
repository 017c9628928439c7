"""Empirical denoisers that know of a training set only its blocks of leaves (science.md#f9)."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

import hiermodel as hm
from hiermodel.diffusion.process import Process


@functools.partial(jax.jit, static_argnames=("vocab_size", "size", "pooled"))
def block_log_probs(
    process: Process,
    sequences: Int[Array | np.ndarray, "rows leaves"],
    vocab_size: int,
    size: int,
    x_t: Array,
    t: Int[Array, " inputs"],
    *,
    pooled: bool = False,
) -> Float[Array, "inputs leaves vocab"]:
    """Log-posterior of every leaf, if its block is one of the training set's blocks.

    Each block by itself: what is noised elsewhere says nothing of it. A size of one gives each
    leaf its own law, and that of all leaves the empirical denoiser.

    Args:
        process: the noise.
        sequences: the training set.
        vocab_size: q.
        size: of a block, in leaves; it divides their number.
        x_t: (inputs, leaves, …) noisy sequences.
        t: their steps.
        pooled: whether a block may be that of any place; otherwise only of its own.
    """
    rows = jnp.asarray(sequences).reshape(len(sequences), -1, size)
    noisy = x_t.reshape(len(x_t), -1, size, *x_t.shape[2:])
    if pooled:
        everywhere = hm.empirical_denoiser(process, rows.reshape(-1, size), vocab_size)
        found = everywhere(noisy, t[:, None])
    else:

        def of_place(own: Array, x_t: Array) -> Array:
            return hm.empirical_denoiser(process, own, vocab_size)(x_t, t)

        found = jax.vmap(of_place, (1, 1), 1)(rows, noisy)
    return found.reshape(*x_t.shape[:2], vocab_size)


def explained(
    network: Float[np.ndarray, "... inputs leaves vocab"],
    denoiser: Float[np.ndarray, "... inputs leaves vocab"],
    marginal: Float[np.ndarray, "leaves vocab"],
) -> Float[np.ndarray, "..."]:
    """r²: the share of a network's variance about a marginal that a denoiser explains.

    1 − Σ |network − denoiser|² / Σ |network − marginal|², over inputs, leaves and symbols; at most
    1, and below 0 for a denoiser further away than the marginal.

    Args:
        network: its probabilities of x_0.
        denoiser: likewise.
        marginal: probabilities of someone who sees no x_t.
    """
    of_inputs = (-3, -2, -1)
    left = np.square(network - denoiser).sum(of_inputs)
    return 1 - left / np.square(network - marginal).sum(of_inputs)
