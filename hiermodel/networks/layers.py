"""Pieces shared by the networks: PyTorch's initial distributions, time features, cheap dropout."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.typing import DTypeLike
from jaxtyping import Array, Float, Int, Key, PyTree

from hiermodel.random_bits import RowKey, random_16_bits, row_key, symmetric_uniform

_MASK_LEVELS = 2**16


def linear(
    num_in: int,
    num_out: int,
    rngs: nnx.Rngs,
    param_dtype: DTypeLike,
    *,
    kernel_bound: float | None = None,
    bias_bound: float | None = None,
) -> nnx.Linear:
    """A linear map that ``draw_start`` will fill uniformly within the bounds.

    Bounds of None are PyTorch's default, 1/sqrt(num_in); 0 leaves zeros.
    """
    default = 1 / math.sqrt(num_in)
    return nnx.Linear(
        num_in,
        num_out,
        kernel_init=nnx.initializers.zeros,
        kernel_metadata={"bound": default if kernel_bound is None else kernel_bound},
        bias_metadata={"bound": default if bias_bound is None else bias_bound},
        rngs=rngs,
        param_dtype=param_dtype,
    )


def draw_start(module: nnx.Module, key: Key[Array, ""]) -> None:
    """Fill every parameter that has a bound, uniformly within it, from one draw for all.

    A draw for each would take seconds to compile. Values have 24 bits whatever their dtype.
    """
    state = nnx.to_flat_state(nnx.state(module, nnx.Param))
    bounded = [(path, param) for path, param in state if "bound" in param.get_metadata()]
    sizes = [param.size for _, param in bounded]
    unit = symmetric_uniform(row_key(key, 1), sum(sizes))[0]
    filled = []
    for (path, param), start in zip(bounded, np.cumsum([0, *sizes[:-1]]), strict=True):
        values = unit[start : start + param.size].reshape(param.shape).astype(param.dtype)
        filled.append((path, param.replace(values * param.get_metadata()["bound"])))
    nnx.update(module, nnx.from_flat_state(filled))


def layer_norm(width: int, rngs: nnx.Rngs, param_dtype: DTypeLike) -> nnx.LayerNorm:
    """Layer norm over the last axis, with PyTorch's epsilon, starting as the identity."""
    return nnx.LayerNorm(
        width, epsilon=1e-5, use_fast_variance=False, rngs=rngs, param_dtype=param_dtype
    )


def time_features(
    t: Int[Array, "*batch"], num_features: int, dtype: DTypeLike
) -> Float[Array, "*batch features"]:
    """Sinusoidal features of the raw step: cosines, then sines, of periods up to 2 pi 1e4.

    Args:
        t: diffusion steps, not divided by T (science.md#transformer).
        num_features: an even number; half of it are frequencies 1e4^(−i / half).
        dtype: precision of the products t · frequency, and of the result.
    """
    half = num_features // 2
    frequencies = jnp.asarray(np.exp(-math.log(1e4) * np.arange(half) / half), dtype)
    angles = t[..., None].astype(dtype) * frequencies
    return jnp.concatenate([jnp.cos(angles), jnp.sin(angles)], axis=-1)


def dropout(
    x: Float[Array, "*shape"], rate: float | Float[Array, ""], key: RowKey | None
) -> Float[Array, "*shape"]:
    """Set entries to zero with probability ``rate`` and scale the others up, to keep the mean.

    The rate is rounded to a multiple of 2^−16 (0.1 becomes 0.1000061), because each entry takes
    16 random bits; the scale uses the rounded rate, so that the mean is kept exactly.

    Args:
        x: any array that holds the entries of the key's rows one row after the other.
        rate: probability, at least 0 and below 1; an array gives the same as its value would.
        key: for the rows; None for no dropout.
    """
    if key is None:
        return x
    threshold = _mask_threshold(rate)
    if isinstance(threshold, int) and threshold == 0:
        return x
    bits = random_16_bits(key, x.size // key.rows.size).reshape(x.shape)
    kept = bits >= jnp.asarray(threshold, jnp.uint32)
    # Both numbers are exact in float32, so their quotient is rounded once, whoever takes it.
    scale = jnp.asarray(_MASK_LEVELS, x.dtype) / jnp.asarray(_MASK_LEVELS - threshold, x.dtype)
    return jnp.where(kept, x * scale, jnp.zeros((), x.dtype))


def rounded_rate(rate: float) -> float:
    """The rate that ``dropout`` really uses, a multiple of 2^−16."""
    return _mask_threshold(rate) / _MASK_LEVELS


def _mask_threshold(rate: Any) -> Any:
    """How many of the 2^16 values of a mask's bits set an entry to zero."""
    if isinstance(rate, jax.Array):
        rounded = jnp.round(rate * _MASK_LEVELS).astype(jnp.int32)
        return jnp.minimum(rounded, _MASK_LEVELS - 1)
    return min(round(rate * _MASK_LEVELS), _MASK_LEVELS - 1)


def split_keys(key: RowKey | None, num_keys: int) -> Sequence[RowKey | None]:
    """``num_keys`` keys, or as many Nones."""
    return [None] * num_keys if key is None else key.split(num_keys)


def run_blocks(
    blocks: Sequence[Callable[..., Array]],
    h: PyTree,
    *arguments: Any,
    key: RowKey | None,
    remat: bool,
) -> PyTree:
    """Apply ``block(h, *arguments, block_key)`` one after the other.

    Args:
        blocks: of a network.
        h: input of the first: an array, or several.
        arguments: given to all of them.
        key: split among them; None for no dropout.
        remat: keep only the blocks' inputs for the backward pass, which then computes the inside
            of each again: memory of one block rather than all, for a third more time.
    """
    for block, block_key in zip(blocks, split_keys(key, len(blocks)), strict=True):

        def run(h: PyTree, block: Any = block, block_key: RowKey | None = block_key) -> PyTree:
            return block(h, *arguments, block_key)

        h = (jax.checkpoint(run) if remat else run)(h)
    return h


def rounded_dot_general(dtype: DTypeLike) -> Callable[..., Array]:
    """A ``dot_general`` whose operands and result, forward and backward, are rounded to ``dtype``.

    Sums inside the product are float32, as matrix units take them; the result is returned in the
    dtype of the operands that were given.
    """

    def dot_general(x: Array, y: Array, dimension_numbers: Any, **options: Any) -> Array:
        # Rounded operands are the precision that was chosen; more passes would add nothing.
        options["precision"] = jax.lax.Precision.DEFAULT
        product = jax.lax.dot_general(
            x.astype(dtype), y.astype(dtype), dimension_numbers, **options
        )
        return product.astype(jnp.promote_types(x.dtype, y.dtype))

    return dot_general
