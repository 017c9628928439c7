"""The U-Net of Ho and others (DDPM, arXiv:2006.11239, appendix B), predicting the noise of images.

An image is laid out as its pixels, (..., height · width, channels), as a sequence is as its leaves:
so noise, samplers and training are the same for both.
"""

import dataclasses
import math

import jax
import jax.numpy as jnp
from flax import nnx
from jax.typing import DTypeLike
from jaxtyping import Array, Float, Int

from hiermodel.checks import check_integer, require
from hiermodel.networks.layers import (
    draw_start,
    dropout,
    linear,
    run_blocks,
    time_features,
)
from hiermodel.networks.modules import ConfiguredNetwork
from hiermodel.networks.targets import PixelNoise
from hiermodel.random_bits import RowKey

Stack = tuple[Array, ...]
"""Images in the net: the last is what is worked on, those before it wait for the way up."""


@dataclasses.dataclass(frozen=True)
class UNetConfig(ConfiguredNetwork):
    """Shape of the U-Net; its base width is the paper's.

    Attributes:
        height: of the images, divisible by 2 as often as the resolution is halved.
        width: likewise.
        channels: 1 for grey.
        base_width: channels at the first resolution.
        multipliers: channels at each resolution, in units of ``base_width``; between two of them
            the resolution is halved.
        num_res_blocks: residual blocks per resolution on the way down, one more on the way up.
        attention_heights: heights at which blocks attend over all pixels, beside the middle one.
        num_groups: of the group norms; divides ``base_width``.
        dropout: rate, inside the residual blocks; acts only where a key is given.

    Raises:
        ValueError: for any value outside these.

    Example:
        >>> unet = hm.networks.UNetConfig(8, 8, base_width=8, multipliers=(1,))
        >>> unet.target.event_shape
        (64, 1)
    """

    height: int
    width: int
    channels: int = 1
    base_width: int = 32
    multipliers: tuple[int, ...] = (1, 2, 4)
    num_res_blocks: int = 2
    attention_heights: tuple[int, ...] = ()
    num_groups: int = 8
    dropout: float = 0.0

    def __post_init__(self):
        require(bool(self.multipliers), "multipliers", self.multipliers, "not empty")
        for name in ("channels", "base_width", "num_res_blocks", "num_groups"):
            check_integer(name, getattr(self, name), 1)
        for multiplier in self.multipliers:
            check_integer("multipliers", multiplier, 1)
        factor = 2 ** (len(self.multipliers) - 1)
        for name in ("height", "width"):
            size = check_integer(name, getattr(self, name), 1)
            require(size % factor == 0, name, size, f"a multiple of {factor}")
        divides = self.base_width % self.num_groups == 0 and self.base_width % 2 == 0
        require(divides, "base_width", self.base_width, f"even, a multiple of {self.num_groups}")
        require(0 <= self.dropout < 1, "dropout", self.dropout, "at least 0 and below 1")

    @property
    def target(self) -> PixelNoise:
        """Noise in images."""
        return PixelNoise(self.height, self.width, self.channels)

    def build(self, rngs: nnx.Rngs, param_dtype: DTypeLike = jnp.float32) -> "UNet":
        """The Flax module, freshly initialised."""
        return UNet(self, rngs, param_dtype)


class Convolution(nnx.Module):
    """A 3 × 3 convolution with zero padding: a linear map of every pixel's neighbourhood.

    On a CPU the neighbourhoods are gathered for one matrix product: XLA's own convolution is some
    twenty times slower inside a loop. Elsewhere they would only take memory.
    """

    def __init__(
        self,
        num_in: int,
        num_out: int,
        rngs: nnx.Rngs,
        param_dtype: DTypeLike,
        *,
        stride: int = 1,
        bound: float | None = None,
    ):
        self.stride = stride
        self.compute_dtype = None
        self.map = linear(
            9 * num_in, num_out, rngs, param_dtype, kernel_bound=bound, bias_bound=bound
        )

    def __call__(self, x: Float[Array, "n h w c"]) -> Float[Array, "n h2 w2 d"]:
        """Map every (stride-th) pixel."""
        # A gradient keeps what any branch asks for. That is x alone: what is gathered is computed
        # again, or rather found again by XLA in the same program.
        gathered = jax.checkpoint(self.gathered, prevent_cse=False)
        return jax.lax.platform_dependent(x, cpu=gathered, default=self.convolved)

    def gathered(self, x: Float[Array, "n h w c"]) -> Float[Array, "n h2 w2 d"]:
        """By one product of matrices."""
        return self.map(neighbourhoods(x, self.stride))

    def convolved(self, x: Float[Array, "n h w c"]) -> Float[Array, "n h2 w2 d"]:
        """By XLA's convolution."""
        kernel = jnp.asarray(self.map.kernel).reshape(3, 3, x.shape[-1], -1)
        result_dtype, rounded = jnp.promote_types(x.dtype, kernel.dtype), self.compute_dtype
        taken_in = result_dtype if rounded is None else rounded
        convolved = jax.lax.conv_general_dilated(
            x.astype(taken_in),
            kernel.astype(taken_in),
            window_strides=(self.stride,) * 2,
            padding=((1, 1), (1, 1)),
            dimension_numbers=("NHWC", "HWIO", "NHWC"),
            precision=None if rounded is None else jax.lax.Precision.DEFAULT,
        )
        return convolved.astype(result_dtype) + jnp.asarray(self.map.bias)


def neighbourhoods(x: Float[Array, "n h w c"], stride: int = 1) -> Float[Array, "n h2 w2 d"]:
    """The 3 × 3 surroundings of every (stride-th) pixel, row by row, along the last axis."""
    padded = jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    height, width = x.shape[1:3]
    rows, columns = (
        [slice(start, start + size, stride) for start in range(3)] for size in (height, width)
    )
    return jnp.concatenate([padded[:, i, j] for i in rows for j in columns], axis=-1)


class Attention(nnx.Module):
    """x plus single-head attention over all pixels, which starts as nothing."""

    def __init__(self, width: int, config: UNetConfig, rngs: nnx.Rngs, param_dtype: DTypeLike):
        self.dot_general = jax.lax.dot_general
        self.norm = group_norm(width, config, rngs, param_dtype)
        self.queries_keys_values = linear(width, 3 * width, rngs, param_dtype)
        self.output = linear(width, width, rngs, param_dtype, kernel_bound=0.0, bias_bound=0.0)

    def __call__(self, x: Float[Array, "n h w c"]) -> Float[Array, "n h w c"]:
        """Images with what their pixels attended to."""
        flat = self.norm(x).reshape(x.shape[0], -1, x.shape[-1])
        queries, keys, values = jnp.split(self.queries_keys_values(flat), 3, axis=-1)
        scores = self.dot_general(queries, keys, (((2,), (2,)), ((0,), (0,))))
        weights = jax.nn.softmax(scores / math.sqrt(x.shape[-1]), axis=-1)
        mixed = self.dot_general(weights, values, (((2,), (1,)), ((0,), (0,))))
        return x + self.output(mixed).reshape(x.shape)


class ResidualBlock(nnx.Module):
    """x + conv(silu(norm(conv(silu(norm(x))) + time))), with attention after it if asked for.

    Args:
        num_in: channels of what it works on.
        num_skip: channels of what it takes from the stack beside it; 0 for none.
        num_out: channels of its result.
        attends: whether attention follows.
        keeps: whether its result is kept for the way up.
        config: of the network.
        rngs: for the initial values.
        param_dtype: of the parameters.
    """

    def __init__(
        self,
        num_in: int,
        num_skip: int,
        num_out: int,
        attends: bool,
        keeps: bool,
        config: UNetConfig,
        rngs: nnx.Rngs,
        param_dtype: DTypeLike,
    ):
        num_all = num_in + num_skip
        self.takes, self.keeps = num_skip > 0, keeps
        self.dropout_rate = config.dropout
        self.first_norm = group_norm(num_all, config, rngs, param_dtype)
        self.first = Convolution(num_all, num_out, rngs, param_dtype)
        self.time = linear(4 * config.base_width, num_out, rngs, param_dtype)
        self.second_norm = group_norm(num_out, config, rngs, param_dtype)
        self.second = Convolution(num_out, num_out, rngs, param_dtype, bound=0.0)
        changes = num_all != num_out
        self.shortcut = linear(num_all, num_out, rngs, param_dtype) if changes else None
        self.attention = Attention(num_out, config, rngs, param_dtype) if attends else None

    def __call__(self, stack: Stack, time: Float[Array, "n d"], key: RowKey | None) -> Stack:
        """Work on the last of the stack."""
        *waiting, x = stack
        if self.takes:
            x = jnp.concatenate([x, waiting.pop()], axis=-1)
        h = self.first(jax.nn.silu(self.first_norm(x)))
        h = h + self.time(jax.nn.silu(time))[:, None, None]
        h = dropout(jax.nn.silu(self.second_norm(h)), self.dropout_rate, key)
        x = (x if self.shortcut is None else self.shortcut(x)) + self.second(h)
        x = x if self.attention is None else self.attention(x)
        return (*waiting, x, x) if self.keeps else (*waiting, x)


class Halving(nnx.Module):
    """Every other pixel of a convolution; its result is kept for the way up."""

    def __init__(self, width: int, rngs: nnx.Rngs, param_dtype: DTypeLike):
        self.convolution = Convolution(width, width, rngs, param_dtype, stride=2)

    def __call__(self, stack: Stack, time: Array, key: RowKey | None) -> Stack:
        """Work on the last of the stack."""
        *waiting, x = stack
        x = self.convolution(x)
        return (*waiting, x, x)


class Doubling(nnx.Module):
    """Every pixel four times, then a convolution."""

    def __init__(self, width: int, rngs: nnx.Rngs, param_dtype: DTypeLike):
        self.convolution = Convolution(width, width, rngs, param_dtype)

    def __call__(self, stack: Stack, time: Array, key: RowKey | None) -> Stack:
        """Work on the last of the stack."""
        *waiting, x = stack
        return (*waiting, self.convolution(x.repeat(2, axis=1).repeat(2, axis=2)))


class UNet(nnx.Module):
    """(x_t, t) to the noise in x_t.

    Args:
        config: shape of the network.
        rngs: for the initial values: PyTorch's default distributions, and zeros where a residual
            block, an attention or the network ends, as in DDPM.
        param_dtype: of the parameters, and so of the arithmetic.
    """

    def __init__(self, config: UNetConfig, rngs: nnx.Rngs, param_dtype: DTypeLike = jnp.float32):
        base = config.base_width
        self.shape = (config.height, config.width, config.channels)
        self.num_features = base
        self.first_time = linear(base, 4 * base, rngs, param_dtype)
        self.second_time = linear(4 * base, 4 * base, rngs, param_dtype)
        self.input = Convolution(config.channels, base, rngs, param_dtype)
        self.blocks = nnx.List(_blocks(config, rngs, param_dtype))
        top = base * config.multipliers[0]
        self.final_norm = group_norm(top, config, rngs, param_dtype)
        self.output = Convolution(top, config.channels, rngs, param_dtype, bound=0.0)
        draw_start(self, rngs.params())

    def __call__(
        self,
        x_t: Float[Array, "*batch pixels channels"],
        t: Int[Array, "..."],
        *,
        key: RowKey | None = None,
        remat: bool = False,
    ) -> Float[Array, "*batch pixels channels"]:
        """The noise eps of x_t = sqrt(abar_t) x_0 + sqrt(1 − abar_t) eps.

        Args:
            x_t: noisy images, laid out as pixels.
            t: steps, broadcasting against the leading axes.
            key: randomness of dropout, for as many rows as there are images; None for none.
            remat: keep only the blocks' inputs for the backward pass.
        """
        dtype = jnp.promote_types(x_t.dtype, self.first_time.kernel.dtype)
        steps = jnp.broadcast_to(jnp.asarray(t), x_t.shape[:-2]).reshape(-1)
        time = self.first_time(time_features(steps, self.num_features, dtype))
        time = self.second_time(jax.nn.silu(time))
        x = self.input(x_t.reshape(-1, *self.shape))
        (x,) = run_blocks(self.blocks, (x, x), time, key=key, remat=remat)
        return self.output(jax.nn.silu(self.final_norm(x))).reshape(x_t.shape)


def group_norm(
    width: int, config: UNetConfig, rngs: nnx.Rngs, param_dtype: DTypeLike
) -> nnx.GroupNorm:
    """Group norm with PyTorch's epsilon, starting as the identity."""
    return nnx.GroupNorm(
        width,
        num_groups=config.num_groups,
        epsilon=1e-5,
        use_fast_variance=False,
        rngs=rngs,
        param_dtype=param_dtype,
    )


def _blocks(config: UNetConfig, rngs: nnx.Rngs, param_dtype: DTypeLike) -> list[nnx.Module]:
    """All blocks between the first and the last convolution: down, across, up."""
    blocks: list[nnx.Module] = []
    width, kept = config.base_width, [config.base_width]
    last = len(config.multipliers) - 1

    def add(num_out: int, attends: bool, num_skip: int = 0, keeps: bool = False) -> None:
        shape = (width, num_skip, num_out, attends, keeps)
        blocks.append(ResidualBlock(*shape, config, rngs, param_dtype))

    def attends(level: int) -> bool:
        return config.height // 2**level in config.attention_heights

    for level, multiplier in enumerate(config.multipliers):
        for _ in range(config.num_res_blocks):
            add(config.base_width * multiplier, attends(level), keeps=True)
            width = config.base_width * multiplier
            kept.append(width)
        if level < last:
            blocks.append(Halving(width, rngs, param_dtype))
            kept.append(width)
    add(width, attends=True)
    add(width, attends=False)
    for level in range(last, -1, -1):
        for _ in range(config.num_res_blocks + 1):
            add(config.base_width * config.multipliers[level], attends(level), kept.pop())
            width = config.base_width * config.multipliers[level]
        if level > 0:
            blocks.append(Doubling(width, rngs, param_dtype))
    return blocks
