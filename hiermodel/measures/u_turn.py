"""How much of a sequence survives being noised and denoised (science.md#measures)."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key

from hiermodel.checks import InputError, check_integer, check_key, require
from hiermodel.diffusion.denoiser import Denoiser
from hiermodel.diffusion.process import Process
from hiermodel.diffusion.samplers import u_turn
from hiermodel.measures.uncertainty import check_values


def overlap(
    start: Int[Array | np.ndarray, "..."], end: Int[Array | np.ndarray, "..."]
) -> Float[Array, "..."]:
    """Fraction of positions at which two sequences agree.

    Args:
        start: (..., num_leaves) symbols before the U-turn.
        end: (..., num_leaves) symbols after it; leading axes broadcast, so that one start meets
            the ends of many noises.

    Returns:
        (...) numbers in 0…1.

    Raises:
        ValueError: for lengths that differ or leading axes that do not broadcast.

    Example:
        >>> float(hm.measures.overlap(np.array([0, 1]), np.array([0, 0])))
        0.5
    """
    start, end = jnp.asarray(start), jnp.asarray(end)
    fits = min(start.ndim, end.ndim) >= 1 and start.shape[-1] == end.shape[-1]
    require(fits, "end", end.shape, f"of the length of start, whose shape is {start.shape}")
    try:
        np.broadcast_shapes(start.shape, end.shape)
    except ValueError:
        raise InputError(
            f"end has shape {end.shape}, which is not allowed: its leading axes must broadcast "
            f"against those of start, {start.shape}"
        ) from None
    return (start == end).mean(-1)


def overlap_ratio(
    model_overlap: Float[Array | np.ndarray, "..."], exact_overlap: Float[Array | np.ndarray, "..."]
) -> Float[np.ndarray, " num_sequences"]:
    """Per starting sequence, the model's overlap over the exact denoiser's.

    Each is averaged over its noises first, then divided; the mean over sequences is the U-turn
    ratio. Above 1, the model returns to its starts more often than the data's structure explains.

    Args:
        model_overlap: (num_sequences, num_noises) overlaps after U-turns of the model.
        exact_overlap: (num_sequences, any number of noises) of the exact denoiser from the same
            starts.

    Raises:
        ValueError: for shapes that do not fit, overlaps outside 0…1, or a sequence whose exact
            overlap is zero for all its noises.
    """
    means = []
    for argument, values in (("model_overlap", model_overlap), ("exact_overlap", exact_overlap)):
        numbers = check_values(argument, values)
        require(numbers.ndim == 2, argument, numbers.shape, "of shape (sequences, noises)")
        inside = bool(((numbers >= 0) & (numbers <= 1)).all())
        require(inside, argument, (numbers.min(), numbers.max()), "within 0…1")
        means.append(numbers.mean(1))
    model, exact = means
    require(len(model) == len(exact), "exact_overlap", len(exact), f"of {len(model)} sequences")
    require(
        bool((exact > 0).all()), "exact_overlap", 0.0, "above 0 for some noise of each sequence"
    )
    return model / exact


def repeated_u_turns(
    key: Key[Array, ""],
    denoiser: Denoiser,
    schedule: Process,
    starts: Int[Array | np.ndarray, "n leaves"],
    t: int,
    num_cycles: int,
) -> Int[np.ndarray, "cycles n leaves"]:
    """Noise to step t and denoise back, again and again, each cycle from the end of the last.

    A denoiser of the law itself keeps moving among its sequences; one that leans to its training
    set is drawn onto it, cycle by cycle, which one pass of generation shows more faintly. Count
    what arrives there with ``near_copies``, and compare with the exact denoiser's chain.

    Args:
        key: one typed key; more cycles leave the first ones as they were.
        denoiser: as in ``hiermodel.u_turn``, on the way back.
        schedule: the noise, any Process.
        starts: (n, num_leaves) symbols, such as fresh sequences.
        t: the turning point, in 1…num_steps.
        num_cycles: at least 1.

    Returns:
        (num_cycles + 1, n, num_leaves): the starts, then the end of each cycle.

    Raises:
        ValueError: as ``hiermodel.u_turn``, or for a number of cycles below 1.

    Example:
        >>> hm.measures.repeated_u_turns(key, denoiser, schedule, leaves, 10, 2).shape
        (3, 8, 4)
    """
    check_key(key)
    num_cycles = check_integer("num_cycles", num_cycles, 1)
    chain = [np.asarray(starts)]
    for cycle in range(num_cycles):
        ends = u_turn(jax.random.fold_in(key, cycle), denoiser, schedule, chain[-1], t)
        chain.append(np.asarray(ends).astype(chain[0].dtype))
    return np.stack(chain)
