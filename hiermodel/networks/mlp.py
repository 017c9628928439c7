"""A residual multilayer perceptron on the flattened sequence: a cheap learned denoiser."""

import dataclasses

import jax
import jax.numpy as jnp
from flax import nnx
from jax.typing import DTypeLike
from jaxtyping import Array, Float, Int

from hiermodel.checks import check_integer, require
from hiermodel.networks.layers import (
    draw_start,
    dropout,
    layer_norm,
    linear,
    run_blocks,
    time_features,
)
from hiermodel.networks.modules import ConfiguredNetwork
from hiermodel.networks.targets import SymbolLogits
from hiermodel.random_bits import RowKey


@dataclasses.dataclass(frozen=True)
class MLPConfig(ConfiguredNetwork):
    """Shape of the perceptron.

    Attributes:
        num_leaves: length N of the sequences.
        vocab_size: number q of symbols.
        width: of the residual stream and of each block's hidden layer.
        num_blocks: number of residual blocks.
        time_features: number of sinusoidal features of t, even.
        dropout: rate, on each block's output; acts only where a key is given.

    Raises:
        ValueError: for any value outside these.

    Example:
        >>> hm.networks.MLPConfig(num_leaves=4, vocab_size=2, width=16).target.event_shape
        (4, 2)
    """

    num_leaves: int
    vocab_size: int
    width: int = 256
    num_blocks: int = 3
    time_features: int = 32
    dropout: float = 0.0

    def __post_init__(self):
        check_integer("num_leaves", self.num_leaves, 1)
        check_integer("vocab_size", self.vocab_size, 2)
        check_integer("width", self.width, 1)
        check_integer("num_blocks", self.num_blocks, 1)
        check_integer("time_features", self.time_features, 2)
        require(self.time_features % 2 == 0, "time_features", self.time_features, "even")
        require(0 <= self.dropout < 1, "dropout", self.dropout, "at least 0 and below 1")

    @property
    def target(self) -> SymbolLogits:
        """Logits of the symbols."""
        return SymbolLogits(self.num_leaves, self.vocab_size)

    def build(self, rngs: nnx.Rngs, param_dtype: DTypeLike = jnp.float32) -> "MLP":
        """The Flax module, freshly initialised."""
        return MLP(self, rngs, param_dtype)


class ResidualBlock(nnx.Module):
    """h + W_out relu(W_in norm(h))."""

    def __init__(self, config: MLPConfig, rngs: nnx.Rngs, param_dtype: DTypeLike):
        self.dropout_rate = config.dropout
        self.norm = layer_norm(config.width, rngs, param_dtype)
        self.hidden = linear(config.width, config.width, rngs, param_dtype)
        self.output = linear(config.width, config.width, rngs, param_dtype)

    def __call__(
        self, h: Float[Array, "... width"], key: RowKey | None
    ) -> Float[Array, "... width"]:
        """Apply the block."""
        update = self.output(jax.nn.relu(self.hidden(self.norm(h))))
        return h + dropout(update, self.dropout_rate, key)


class MLP(nnx.Module):
    """Logits of x_0 per position from a noisy sequence and its step.

    Args:
        config: shape.
        rngs: where initial values come from: its ``params`` stream.
        param_dtype: of the parameters.
    """

    def __init__(self, config: MLPConfig, rngs: nnx.Rngs, param_dtype: DTypeLike = jnp.float32):
        size = config.num_leaves * config.vocab_size
        self.num_features = config.time_features
        self.input_projection = linear(size, config.width, rngs, param_dtype)
        self.time_embedding = linear(config.time_features, config.width, rngs, param_dtype)
        self.blocks = nnx.List(
            ResidualBlock(config, rngs, param_dtype) for _ in range(config.num_blocks)
        )
        self.final_norm = layer_norm(config.width, rngs, param_dtype)
        self.output_projection = linear(config.width, size, rngs, param_dtype)
        draw_start(self, rngs.params())

    def __call__(
        self,
        x_t: Float[Array, "*batch leaves vocab"],
        t: Int[Array, "..."],
        *,
        key: RowKey | None = None,
        remat: bool = False,
    ) -> Float[Array, "*batch leaves vocab"]:
        """Logits of x_0.

        Args:
            x_t: noisy one-hot sequences.
            t: steps, broadcasting against the leading axes.
            key: randomness of dropout, for as many rows as there are sequences; None for none.
            remat: keep only the blocks' inputs for the backward pass.
        """
        dtype = jnp.promote_types(x_t.dtype, self.time_embedding.kernel.dtype)
        features = time_features(jnp.asarray(t), self.num_features, dtype)
        flat = x_t.reshape(*x_t.shape[:-2], x_t.shape[-2] * x_t.shape[-1])
        h = self.input_projection(flat) + self.time_embedding(features)
        h = run_blocks(self.blocks, h, key=key, remat=remat)
        return self.output_projection(self.final_norm(h)).reshape(x_t.shape)
