"""The denoising loss, and the steps at which it is evaluated (science.md#measures)."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key

from hiermodel.checks import InputError, check_integer, check_key, check_symbols, require
from hiermodel.diffusion.denoiser import Denoiser, known_vocab_size
from hiermodel.diffusion.process import Process, Steps
from hiermodel.measures.divergence import check_log_probs
from hiermodel.randomness import sample_keys


def denoising_loss(
    log_probs: Float[Array | np.ndarray, "..."], sequences: Int[Array | np.ndarray, "..."]
) -> Float[Array, "..."]:
    """Cross-entropy −log p(x_0) of a denoiser's output, per sample, mean over positions.

    Args:
        log_probs: (..., num_leaves, vocab_size) natural-log probabilities of the symbols.
        sequences: (..., num_leaves) the clean symbols.

    Returns:
        (...) nats per position; +inf where a clean symbol was given probability zero.

    Raises:
        ValueError: for shapes that do not fit, symbols out of range, or log-probabilities that are
            not normalised.

    Example:
        >>> hm.measures.denoising_loss(denoiser(noisy, 5), leaves).shape
        (8,)
    """
    log_probs, sequences = check_output(log_probs, sequences)
    return -jnp.take_along_axis(log_probs, sequences[..., None], axis=-1)[..., 0].mean(-1)


def stratified_steps(
    key: Key[Array, ""], num_steps: int, num_samples: int
) -> Int[Array, " num_samples"]:
    """A step of its own for every sample, spread evenly over 1…num_steps.

    Each step is uniform on its own, every run of num_steps samples (from sample 0 on) visits each
    step exactly once, and shorter runs are spread evenly too: they follow the bit-reversed order,
    shifted around the circle of steps by a random amount per run. So a mean over samples has no
    more error from the choice of steps than it must, and asking for more samples leaves the first
    ones as they were.

    Args:
        key: one typed key.
        num_steps: T, at least 1.
        num_samples: how many steps, at least 1.

    Returns:
        (num_samples,) int32 steps.

    Raises:
        ValueError: if a number is out of range.
    """
    check_key(key)
    num_steps = check_integer("num_steps", num_steps, 1)
    num_samples = check_integer("num_samples", num_samples, 1)
    return _stratified_steps(key, num_steps, num_samples)


def evaluate_loss(
    key: Key[Array, ""],
    denoiser: Denoiser,
    schedule: Process,
    sequences: Int[Array | np.ndarray, "..."],
    t: Steps,
    *,
    vocab_size: int | None = None,
) -> Float[Array, "..."]:
    """Denoising loss of every sequence, each noised once to its own step.

    Args:
        key: one typed key, for the noise.
        denoiser: what is evaluated; the exact one gives the floor of all others.
        schedule: the noise, any Process.
        sequences: (..., num_leaves) clean symbols.
        t: steps in 1…num_steps, broadcasting against the leading axes; see
            :func:`stratified_steps`.
        vocab_size: q; needed only if denoiser and noise take any.

    Returns:
        (...) nats per position.

    Raises:
        ValueError: for a wrong length, a symbol or step out of range, or an unknown vocabulary.

    Example:
        >>> hm.measures.evaluate_loss(key, denoiser, schedule, leaves, 5).shape
        (8,)
    """
    size = known_vocab_size(denoiser, schedule) if vocab_size is None else vocab_size
    if size is None:
        raise InputError("vocab_size=None is not allowed: this denoiser takes any, so name one")
    size = check_integer("vocab_size", size, 2)
    check_symbols("sequences", sequences, size)
    check_key(key)
    x_t = schedule.corrupt(key, schedule.encode(sequences, size), t)
    return denoising_loss(denoiser(x_t, t), sequences)


def check_output(
    log_probs: Float[Array | np.ndarray, "..."], sequences: Int[Array | np.ndarray, "..."]
) -> tuple[Float[Array, "..."], Int[Array, "..."]]:
    """Return a denoiser's output and the clean symbols as arrays, after checking them."""
    log_probs = check_log_probs("log_probs", log_probs)
    require(
        tuple(np.shape(sequences)) == log_probs.shape[:-1],
        "sequences",
        np.shape(sequences),
        f"of shape {log_probs.shape[:-1]}, that of log_probs without its last axis",
    )
    check_symbols("sequences", sequences, log_probs.shape[-1])
    return log_probs, jnp.asarray(sequences)


@functools.partial(jax.jit, static_argnames=("num_steps", "num_samples"))
def _stratified_steps(
    key: Key[Array, ""], num_steps: int, num_samples: int
) -> Int[Array, " num_samples"]:
    keys = sample_keys(key, -(-num_samples // num_steps))  # one per run of num_steps samples
    shifts = jax.vmap(lambda one: jax.random.randint(one, (), 0, num_steps))(keys)
    steps = 1 + (shifts[:, None] + _bit_reversed_order(num_steps)) % num_steps
    return steps.reshape(-1)[:num_samples].astype(jnp.int32)


@functools.lru_cache(maxsize=32)
def _bit_reversed_order(num_steps: int) -> np.ndarray:
    """Steps 0…num_steps − 1 so ordered that every first few of them are spread evenly."""
    bits = max(num_steps - 1, 1).bit_length()
    numbers = np.arange(2**bits)
    reversed_bits = sum(((numbers >> bit) & 1) << (bits - 1 - bit) for bit in range(bits))
    order = np.asarray(reversed_bits)
    return order[order < num_steps]
