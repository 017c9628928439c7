"""Pieces shared by the networks: PyTorch's initial distributions, time features, cheap dropout."""

import math
from collections.abc import Iterator

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.typing import DTypeLike
from jaxtyping import Array, Float, Int, Key, UInt

_ROTATIONS = ((13, 15, 26, 6), (17, 29, 16, 24))
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
    """Fill every parameter that has a bound, uniformly in [−bound, bound), from one draw for all.

    A draw for each would take seconds to compile. Values have 24 random bits whatever their dtype.
    """
    state = nnx.to_flat_state(nnx.state(module, nnx.Param))
    bounded = [(path, param) for path, param in state if "bound" in param.get_metadata()]
    sizes = [param.size for _, param in bounded]
    unit = (random_words(key, sum(sizes)) >> np.uint32(8)).astype(jnp.float32) * 2.0**-23 - 1
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
        t: diffusion steps, not divided by T (SPEC section 5).
        num_features: an even number; half of it are frequencies 1e4^(−i / half).
        dtype: precision of the products t · frequency, and of the result.
    """
    half = num_features // 2
    frequencies = jnp.asarray(np.exp(-math.log(1e4) * np.arange(half) / half), dtype)
    angles = t[..., None].astype(dtype) * frequencies
    return jnp.concatenate([jnp.cos(angles), jnp.sin(angles)], axis=-1)


def dropout(
    x: Float[Array, "*shape"], rate: float, key: Key[Array, ""] | None
) -> Float[Array, "*shape"]:
    """Set entries to zero with probability ``rate`` and scale the others up, to keep the mean.

    The rate is rounded to a multiple of 2^−16 (0.1 becomes 0.1000061), because each entry takes
    16 random bits; the scale uses the rounded rate, so that the mean is kept exactly.

    Args:
        x: any array.
        rate: probability, at least 0 and below 1.
        key: one typed key; None for no dropout.
    """
    threshold = min(round(rate * _MASK_LEVELS), _MASK_LEVELS - 1)
    if key is None or threshold == 0:
        return x
    kept = random_16_bits(key, x.size).reshape(x.shape) >= np.uint32(threshold)
    scale = _MASK_LEVELS / (_MASK_LEVELS - threshold)
    return jnp.where(kept, x * jnp.asarray(scale, x.dtype), jnp.zeros((), x.dtype))


def random_16_bits(key: Key[Array, ""], size: int) -> UInt[Array, " size"]:
    """``size`` uniform integers in 0…65535, two from each random word."""
    words = random_words(key, -(-size // 2))
    return jnp.concatenate([words & np.uint32(0xFFFF), words >> np.uint32(16)])[:size]


def random_words(key: Key[Array, ""], size: int) -> UInt[Array, " size"]:
    """``size`` uniform 32-bit words, two from each block of Threefry-2x32.

    ``jax.random.bits`` spends a block on every word, or even on every bit of ``bernoulli``, and on
    CPU runs its twenty rounds as a loop through memory, which can cost more than the rest of a
    small network. The same cipher written out is fused into one pass; for dropout, with all bits
    of a block used, it is about 15 times faster. It also compiles much sooner.
    """
    first_key, second_key = jax.random.key_data(key)
    blocks = jnp.arange(-(-size // 2), dtype=jnp.uint32)
    words = _threefry_2x32(first_key, second_key, jnp.zeros_like(blocks), blocks)
    return jax.lax.optimization_barrier(jnp.concatenate(words)[:size])


def _threefry_2x32(key_0: Array, key_1: Array, x_0: Array, x_1: Array) -> tuple[Array, Array]:
    """Threefry-2x32 with 20 rounds (Salmon et al., SC 2011), as in ``jax.random``."""
    keys = (key_0, key_1, key_0 ^ key_1 ^ np.uint32(0x1BD11BDA))
    x_0, x_1 = x_0 + keys[0], x_1 + keys[1]
    for group in range(5):
        for rotation in _ROTATIONS[group % 2]:
            x_0 = x_0 + x_1
            x_1 = (x_1 << np.uint32(rotation)) | (x_1 >> np.uint32(32 - rotation))
            x_1 = x_0 ^ x_1
        x_0 = x_0 + keys[(group + 1) % 3]
        x_1 = x_1 + keys[(group + 2) % 3] + np.uint32(group + 1)
    return x_0, x_1


def split_keys(key: Key[Array, ""] | None, num_keys: int) -> Iterator[Key[Array, ""] | None]:
    """Iterate over ``num_keys`` keys, or as many Nones."""
    return iter([None] * num_keys if key is None else jax.random.split(key, num_keys))
