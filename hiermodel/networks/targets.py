"""What networks are trained to give: logits of symbols, or the noise in images.

Loss: science.md#loss-and-rates.
"""

import dataclasses
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike
from jaxtyping import Array, Float, Int, Num

from hiermodel.checks import check_integer, check_symbols, is_concrete, require
from hiermodel.diffusion.corruption import pixels
from hiermodel.diffusion.process import Process
from hiermodel.grammar.rules import symbol_dtype
from hiermodel.networks.learned import LearnedDenoiser, LearnedPixelDenoiser, shown
from hiermodel.networks.network import Network, Params
from hiermodel.random_bits import RowKey, random_normal

LossName = Literal["cross_entropy", "squared_error"]


def position_losses(
    logits: Float[Array, "*batch leaves vocab"], x_0: Int[Array, "*batch leaves"], loss: LossName
) -> Float[Array, "*batch leaves"]:
    """Loss of each position.

    Args:
        logits: unnormalised log-probabilities of x_0.
        x_0: clean symbols.
        loss: "cross_entropy", −log softmax(logits)[x_0] in nats; or "squared_error",
            |softmax(logits) − one-hot(x_0)|². In expectation both are least at the exact posterior.
    """
    if loss == "cross_entropy":
        # A product with the one-hot symbols: its gradient has no scatter.
        one_hot = jax.nn.one_hot(x_0, logits.shape[-1], dtype=logits.dtype)
        return -(jax.nn.log_softmax(logits, axis=-1) * one_hot).sum(-1)
    probs = jax.nn.softmax(logits, axis=-1)
    return ((probs - jax.nn.one_hot(x_0, logits.shape[-1], dtype=probs.dtype)) ** 2).sum(-1)


def noise_losses(
    predicted: Float[Array, "*batch pixels channels"],
    noise: Float[Array, "*batch pixels channels"],
) -> Float[Array, "*batch"]:
    """Squared error of the predicted noise, mean over pixels and channels (DDPM, equation 14)."""
    return jnp.square(predicted - noise).mean((-2, -1))


@dataclasses.dataclass(frozen=True)
class SymbolLogits:
    """Logits of the symbol at every leaf; the denoiser is their log-softmax.

    Attributes:
        num_leaves: length N of the sequences.
        vocab_size: number q of symbols.

    Raises:
        ValueError: for values below 1 and 2.

    Example:
        >>> target = hm.networks.SymbolLogits(num_leaves=4, vocab_size=2)
        >>> (target.shape, target.event_shape)
        ((4,), (4, 2))
    """

    num_leaves: int
    vocab_size: int
    dtype = jnp.int32

    def __post_init__(self):
        check_integer("num_leaves", self.num_leaves, 1)
        check_integer("vocab_size", self.vocab_size, 2)

    @property
    def shape(self) -> tuple[int]:
        """The leaves."""
        return (self.num_leaves,)

    @property
    def event_shape(self) -> tuple[int, int]:
        """Leaves and symbols."""
        return self.num_leaves, self.vocab_size

    def checked(self, argument: str, values: Array | np.ndarray) -> np.ndarray:
        """Sequences (n, num_leaves) in the smallest dtype that holds the symbols.

        Raises:
            ValueError: for another shape, NaN, or a symbol out of range.
        """
        _check_rows(argument, values, "num_sequences", self.shape)
        check_symbols(argument, values, self.vocab_size)
        return np.asarray(values).astype(symbol_dtype(self.vocab_size))

    def corrupt(
        self,
        key: RowKey,
        process: Process,
        x_0: Int[Array, "batch leaves"],
        t: Int[Array, " batch"],
        dtype: DTypeLike,
    ) -> tuple[Float[Array, "batch leaves vocab"], Int[Array, "batch leaves"]]:
        """Noisy sequences as vectors, and the clean symbols."""
        dtype = jnp.dtype(dtype)
        x_t = process.corrupt(key, process.encode(x_0, self.vocab_size, dtype), t)
        return shown(process.network_input(x_t, dtype), self.vocab_size), x_0

    def losses(
        self,
        output: Float[Array, "batch leaves vocab"],
        wanted: Int[Array, "batch leaves"],
        loss: LossName,
    ) -> Float[Array, " batch"]:
        """``position_losses``, mean over the leaves."""
        return position_losses(output, wanted, loss).mean(-1)

    def denoiser(self, network: Network, params: Params, process: Any) -> LearnedDenoiser:
        """Log-probabilities; None for ``process`` is Gaussian noise, of any number of steps."""
        if process is None:
            return LearnedDenoiser(network, params, None)
        symbols = process.vocab_size in (None, self.vocab_size)
        require(symbols, "process.vocab_size", process.vocab_size, f"{self.vocab_size}")
        return LearnedDenoiser(network, params, process.num_steps, process.num_states)


@dataclasses.dataclass(frozen=True)
class PixelNoise:
    """The noise in an image; the denoiser is what the noise leaves of it.

    Attributes:
        height: of the images.
        width: likewise.
        channels: 1 for grey.

    Raises:
        ValueError: for values below 1.

    Example:
        >>> target = hm.networks.PixelNoise(height=8, width=8)
        >>> (target.shape, target.event_shape)
        ((8, 8, 1), (64, 1))
    """

    height: int
    width: int
    channels: int = 1
    dtype = jnp.uint8

    def __post_init__(self):
        for name in ("height", "width", "channels"):
            check_integer(name, getattr(self, name), 1)

    @property
    def shape(self) -> tuple[int, int, int]:
        """An image's axes."""
        return self.height, self.width, self.channels

    @property
    def event_shape(self) -> tuple[int, int]:
        """Pixels and channels."""
        return self.height * self.width, self.channels

    def checked(self, argument: str, values: Array | np.ndarray) -> np.ndarray:
        """Images (n, height, width, channels) as they are, uint8 or floating.

        Raises:
            ValueError: for another shape or dtype, or pixels that are not finite.
        """
        _check_rows(argument, values, "num_images", self.shape)
        values = np.asarray(values)
        fits = values.dtype == np.uint8 or np.issubdtype(values.dtype, np.floating)
        require(fits, argument, values.dtype, "images of dtype uint8 or floating")
        finite = values.dtype == np.uint8 or bool(np.isfinite(values).all())
        require(finite, argument, "pixels that are not finite", "finite everywhere")
        return values

    def corrupt(
        self,
        key: RowKey,
        process: Any,
        x_0: Num[Array, "batch h w c"],
        t: Int[Array, " batch"],
        dtype: DTypeLike,
    ) -> tuple[Float[Array, "batch pixels channels"], Float[Array, "batch pixels channels"]]:
        """Noisy pixels, laid out as a sequence is as its leaves, and their noise."""
        clean = pixels(x_0, jnp.dtype(dtype))
        noise = random_normal(key, clean.shape[1:], clean.dtype)
        return process.mix(clean, noise, t), noise

    def losses(
        self,
        output: Float[Array, "batch pixels channels"],
        wanted: Float[Array, "batch pixels channels"],
        loss: LossName,
    ) -> Float[Array, " batch"]:
        """``noise_losses``, whatever the loss of symbols is."""
        return noise_losses(output, wanted)

    def denoiser(self, network: Network, params: Params, process: Any) -> LearnedPixelDenoiser:
        """E[x_0 | x_t]; ``process`` is the noise that the network was trained on."""
        require(process is not None, "process", process, "the noise that the network predicts")
        gaussian = process.num_states is None
        require(gaussian, "process", type(process).__name__, "Gaussian noise, as a Schedule")
        if is_concrete(process):
            last = float(np.asarray(process.alpha_bar)[-1])
            require(last > 0, "process.alpha_bar[-1]", last, "above 0")
        return LearnedPixelDenoiser(network, params, process)


def _check_rows(
    argument: str, values: Array | np.ndarray, count: str, shape: tuple[int, ...]
) -> None:
    given = np.shape(values)
    fits = len(given) == len(shape) + 1 and given[1:] == shape and given[0] > 0
    require(fits, argument, given, f"of shape ({count}, {', '.join(map(str, shape))})")
    if jnp.issubdtype(jnp.result_type(values), jnp.floating):
        places = np.argwhere(np.isnan(np.asarray(values)))
        first = "".join(f"[{axis}]" for axis in places[0]) if len(places) else ""
        require(not first, f"{argument}{first}", np.nan, "a number: NaN is none")
