"""How much of a sequence survives being noised and denoised (SPEC section 6)."""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from hiermodel.checks import require
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
    """
    start, end = jnp.asarray(start), jnp.asarray(end)
    fits = min(start.ndim, end.ndim) >= 1 and start.shape[-1] == end.shape[-1]
    require(fits, "end", end.shape, f"of the length of start, whose shape is {start.shape}")
    try:
        np.broadcast_shapes(start.shape, end.shape)
    except ValueError:
        raise ValueError(
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
