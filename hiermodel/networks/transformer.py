"""The paper's denoiser: a transformer encoder from (x_t, t) to logits of x_0.

Source: science.md#transformer.
"""

import dataclasses
import math
from typing import Literal

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
    split_keys,
    time_features,
)
from hiermodel.networks.modules import ConfiguredNetwork
from hiermodel.networks.targets import SymbolLogits
from hiermodel.random_bits import RowKey


@dataclasses.dataclass(frozen=True)
class TransformerConfig(ConfiguredNetwork):
    """Shape of the transformer; the defaults are the paper's.

    Attributes:
        num_leaves: length N of the sequences.
        vocab_size: number q of symbols.
        width: of the residual stream; a multiple of ``num_heads``.
        num_layers: number of blocks.
        num_heads: attention heads per block.
        feedforward_factor: hidden width of the feed-forward part, in units of ``width``.
        dropout: rate, in four places per block; acts only where a key is given.
        time_features: number of sinusoidal features of t, even.
        pre_norm: normalise before each sublayer (and once at the end) rather than after it.
        start: "copied_blocks" starts all blocks from identical values, as the authors' network does
            (nn.TransformerEncoder copies one layer); "independent_blocks" draws each by itself.

    Raises:
        ValueError: for any value outside these.

    Example:
        >>> paper = hm.networks.TransformerConfig(num_leaves=16, vocab_size=6)
        >>> (paper.width, paper.num_layers, paper.dropout)
        (512, 8, 0.1)
    """

    num_leaves: int
    vocab_size: int
    width: int = 512
    num_layers: int = 8
    num_heads: int = 4
    feedforward_factor: int = 2
    dropout: float = 0.1
    time_features: int = 32
    pre_norm: bool = False
    start: Literal["copied_blocks", "independent_blocks"] = "copied_blocks"

    def __post_init__(self):
        check_integer("num_leaves", self.num_leaves, 1)
        check_integer("vocab_size", self.vocab_size, 2)
        for name in ("width", "num_layers", "num_heads", "feedforward_factor"):
            check_integer(name, getattr(self, name), 1)
        check_integer("time_features", self.time_features, 2)
        require(self.time_features % 2 == 0, "time_features", self.time_features, "even")
        divides = self.width % self.num_heads == 0
        require(divides, "width", self.width, f"a multiple of num_heads={self.num_heads}")
        require(0 <= self.dropout < 1, "dropout", self.dropout, "at least 0 and below 1")
        starts = ("copied_blocks", "independent_blocks")
        require(self.start in starts, "start", self.start, f"one of {starts}")

    @property
    def target(self) -> SymbolLogits:
        """Logits of the symbols."""
        return SymbolLogits(self.num_leaves, self.vocab_size)

    def build(self, rngs: nnx.Rngs, param_dtype: DTypeLike = jnp.float32) -> "Transformer":
        """The Flax module, freshly initialised."""
        return Transformer(self, rngs, param_dtype)


class Attention(nnx.Module):
    """Multi-head self-attention with the start of nn.MultiheadAttention."""

    def __init__(self, config: TransformerConfig, rngs: nnx.Rngs, param_dtype: DTypeLike):
        width = config.width
        self.num_heads = config.num_heads
        self.dropout_rate = config.dropout
        self.dot_general = jax.lax.dot_general
        # Xavier on the stacked (3 width, width) matrix, not on its three parts.
        xavier = math.sqrt(6 / (4 * width))
        self.query_key_value = linear(
            width, 3 * width, rngs, param_dtype, kernel_bound=xavier, bias_bound=0.0
        )
        self.output = linear(width, width, rngs, param_dtype, bias_bound=0.0)

    def __call__(
        self, h: Float[Array, "tokens width"], num_leaves: int, key: RowKey | None
    ) -> Float[Array, "tokens width"]:
        """Attend within each run of ``num_leaves`` tokens."""
        size = h.shape[-1] // self.num_heads
        # With sequences and heads in one batch axis the products are plain batched matrix
        # products, which on CPU are half again as fast as einsums over (batch, leaves, heads).
        num_sequences = len(h) // num_leaves
        stacked = self.query_key_value(h)
        stacked = stacked.reshape(num_sequences, num_leaves, 3, self.num_heads, size)
        stacked = stacked.transpose(2, 0, 3, 1, 4)
        stacked = stacked.reshape(3, num_sequences * self.num_heads, num_leaves, size)
        query, key_, value = stacked
        weights = dropout(self.weights(query, key_), self.dropout_rate, key)
        mixed = self.dot_general(weights, value, (((2,), (1,)), ((0,), (0,))))
        mixed = mixed.reshape(num_sequences, self.num_heads, num_leaves, size)
        mixed = mixed.transpose(0, 2, 1, 3)
        return self.output(mixed.reshape(h.shape))

    def weights(
        self,
        query: Float[Array, "sequences leaves size"],
        key: Float[Array, "sequences leaves size"],
    ) -> Float[Array, "sequences leaves leaves"]:
        """How much each leaf attends to each; sequences and heads lie in the first axis."""
        scaled = query / math.sqrt(query.shape[-1])
        return jax.nn.softmax(self.dot_general(scaled, key, (((2,), (2,)), ((0,), (0,)))), axis=-1)


class Block(nnx.Module):
    """Self-attention, then a ReLU feed-forward part, each added to the residual stream."""

    def __init__(self, config: TransformerConfig, rngs: nnx.Rngs, param_dtype: DTypeLike):
        hidden = config.feedforward_factor * config.width
        self.dropout_rate = config.dropout
        self.pre_norm = config.pre_norm
        self.attention = Attention(config, rngs, param_dtype)
        self.attention_norm = layer_norm(config.width, rngs, param_dtype)
        self.feedforward_in = linear(config.width, hidden, rngs, param_dtype)
        self.feedforward_out = linear(hidden, config.width, rngs, param_dtype)
        self.feedforward_norm = layer_norm(config.width, rngs, param_dtype)

    def __call__(
        self, h: Float[Array, "tokens width"], num_leaves: int, key: RowKey | None
    ) -> Float[Array, "tokens width"]:
        """Apply the block to flattened tokens."""
        weights_key, attention_key, hidden_key, output_key = split_keys(key, 4)
        rate = self.dropout_rate

        def attend(h):
            return dropout(self.attention(h, num_leaves, weights_key), rate, attention_key)

        def feed_forward(h):
            hidden = dropout(jax.nn.relu(self.feedforward_in(h)), rate, hidden_key)
            return dropout(self.feedforward_out(hidden), rate, output_key)

        if self.pre_norm:
            h = h + attend(self.attention_norm(h))
            return h + feed_forward(self.feedforward_norm(h))
        h = self.attention_norm(h + attend(h))
        return self.feedforward_norm(h + feed_forward(h))


class Transformer(nnx.Module):
    """Logits of x_0 per position from a noisy sequence and its step.

    Args:
        config: shape.
        rngs: where initial values come from: its ``params`` stream.
        param_dtype: of the parameters.
    """

    def __init__(
        self, config: TransformerConfig, rngs: nnx.Rngs, param_dtype: DTypeLike = jnp.float32
    ):
        width = config.width
        self.num_features = config.time_features
        self.input_projection = linear(config.vocab_size, width, rngs, param_dtype)
        self.positional_embedding = nnx.Embed(
            config.num_leaves,
            width,
            embedding_init=jax.nn.initializers.normal(1.0),
            rngs=rngs,
            param_dtype=param_dtype,
        )
        self.time_embedding = linear(config.time_features, width, rngs, param_dtype)
        copied = config.start == "copied_blocks"
        num_drawn = 1 if copied else config.num_layers
        self.blocks = nnx.List(Block(config, rngs, param_dtype) for _ in range(num_drawn))
        self.final_norm = layer_norm(width, rngs, param_dtype) if config.pre_norm else None
        self.output_projection = linear(width, config.vocab_size, rngs, param_dtype)
        draw_start(self, rngs.params())
        self.blocks.extend(
            [nnx.clone(self.blocks[0]) for _ in range(config.num_layers - num_drawn)]
        )

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
        return self.from_time_features(
            x_t, time_features(jnp.asarray(t), self.num_features, dtype), key=key, remat=remat
        )

    def from_time_features(
        self,
        x_t: Float[Array, "*batch leaves vocab"],
        features: Float[Array, "... features"],
        *,
        key: RowKey | None = None,
        remat: bool = False,
    ) -> Float[Array, "*batch leaves vocab"]:
        """Logits of x_0, with the features of t given rather than computed."""
        num_leaves, vocab_size = x_t.shape[-2:]
        # Dense layers act on flattened tokens: on CPU their backward pass is then three times
        # faster than with a separate batch axis.
        num_tokens = math.prod(x_t.shape[:-1])
        h = self.input_projection(x_t.reshape(num_tokens, vocab_size))
        h = h.reshape(*x_t.shape[:-1], h.shape[-1]) + self.positional_embedding.embedding[...]
        h = h + self.time_embedding(features)[..., None, :]
        h = h.reshape(num_tokens, h.shape[-1])
        h = run_blocks(self.blocks, h, num_leaves, key=key, remat=remat)
        if self.final_norm is not None:
            h = self.final_norm(h)
        return self.output_projection(h).reshape(x_t.shape)
