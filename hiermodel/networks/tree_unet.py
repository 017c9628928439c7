"""A U-Net on the tree: the grammar's own shape as architecture (science.md#tree-u-net).

On the way down, from the leaves to the root, one map per level takes each block of s siblings to
their parent. On the way up, one map per level takes a parent, with its children's features of the
way down, to these children. Weights are shared within a level and not between levels.

What it can express. With ``activation="log_sum_exp"``, ``norm="log_softmax"``,
``time="log_posterior"`` and no hidden layer it carries out belief propagation exactly, for every
grammar of its depth, ambiguous or not, and at every step of the noise (science.md#f8): features are
log-messages, the linear part adds up those of a rule and its log-weight, and the pieces of a
channel are the rules summed over. This takes a width of at least q, and as many pieces as the most
rules that one parent has, or that have one symbol at one place among the children
(``tests/networks/test_tree_unet.py`` sets the weights). The other activations have no product of
beliefs: they approximate it, the better the wider; ReLU is exact where all leaves are certain, its
width being at least the number of rules, each unit recognising one tuple. Whatever the options, a
block that is not a subtree's is never seen as a whole, and what lies outside a subtree acts on it
only through its root's features.
"""

import dataclasses
from typing import Literal

import jax
import jax.numpy as jnp
from flax import nnx
from jax.typing import DTypeLike
from jaxtyping import Array, Float, Int

from hiermodel.checks import check_integer, require
from hiermodel.diffusion.schedule import Schedule
from hiermodel.networks.layers import (
    draw_start,
    dropout,
    layer_norm,
    linear,
    split_keys,
    time_features,
)
from hiermodel.networks.modules import ConfiguredNetwork
from hiermodel.networks.targets import SymbolLogits
from hiermodel.random_bits import RowKey

ACTIVATIONS = {"gelu": jax.nn.gelu, "relu": jax.nn.relu, "silu": jax.nn.silu}
"""Entry by entry; "log_sum_exp" joins several."""
NORMS = ("rms", "layer", "log_softmax", "none")
TIMES = ("bias", "gain", "posterior", "log_posterior")


@dataclasses.dataclass(frozen=True)
class TreeUNetConfig(ConfiguredNetwork):
    """Shape of the tree U-Net.

    Attributes:
        depth: levels L below the root, as the grammar's.
        branching: children s of a node, as the grammar's.
        vocab_size: number q of symbols.
        width: features C of every node.
        hidden_factor: hidden units of every map, in units of ``width``; 0 for maps without a
            hidden layer.
        activation: after the first linear part of every map. "log_sum_exp" joins ``pieces`` linear
            units to one, as a smooth maximum.
        pieces: of "log_sum_exp"; 1 for the others.
        norm: of the features of every node: by their root mean square, to mean 0 and variance 1,
            to log-probabilities, or none.
        time: how t is given. "bias" adds an embedding of it before the activation of every map,
            "gain" multiplies by 1 plus one; "posterior" gives no t, but in place of x_t each leaf's
            posterior by itself, softmax of sqrt(abar_t) / (1 − abar_t) x_t; "log_posterior" its
            logarithm.
        num_steps: T of ``Schedule.linear``, which the posteriors need; None for the others.
        time_features: number of sinusoidal features of t, even.
        dropout: rate, on the result of every map; acts only where a key is given.

    Raises:
        ValueError: for any value outside these.

    Example:
        >>> tree = hm.networks.TreeUNetConfig(depth=2, branching=2, vocab_size=2, width=8)
        >>> params = tree.init(key)
        >>> tree.apply(params, noisy, jnp.asarray(5)).shape
        (8, 4, 2)
    """

    depth: int
    branching: int
    vocab_size: int
    width: int = 128
    hidden_factor: int = 2
    activation: Literal["gelu", "relu", "silu", "log_sum_exp"] = "gelu"
    pieces: int = 1
    norm: Literal["rms", "layer", "log_softmax", "none"] = "rms"
    time: Literal["bias", "gain", "posterior", "log_posterior"] = "bias"
    num_steps: int | None = None
    time_features: int = 32
    dropout: float = 0.0

    def __post_init__(self):
        check_integer("depth", self.depth, 1)
        check_integer("branching", self.branching, 2)
        check_integer("vocab_size", self.vocab_size, 2)
        check_integer("width", self.width, 1)
        check_integer("hidden_factor", self.hidden_factor, 0)
        check_integer("time_features", self.time_features, 2)
        for name, allowed in (
            ("activation", (*ACTIVATIONS, "log_sum_exp")),
            ("norm", NORMS),
            ("time", TIMES),
        ):
            value = getattr(self, name)
            require(value in allowed, name, value, f"one of {allowed}")
        joins = self.activation == "log_sum_exp"
        check_integer("pieces", self.pieces, 1, None if joins else 1)
        if self.shows_posteriors:
            check_integer("num_steps", self.num_steps, 1)
        else:
            none = self.num_steps is None
            require(none, "num_steps", self.num_steps, f"None for time={self.time!r}")
        require(self.time_features % 2 == 0, "time_features", self.time_features, "even")
        require(0 <= self.dropout < 1, "dropout", self.dropout, "at least 0 and below 1")

    @property
    def num_leaves(self) -> int:
        """Length N of the sequences, branching ** depth."""
        return self.branching**self.depth

    @property
    def target(self) -> SymbolLogits:
        """Logits of the symbols."""
        return SymbolLogits(self.num_leaves, self.vocab_size)

    def build(self, rngs: nnx.Rngs, param_dtype: DTypeLike = jnp.float32) -> "TreeUNet":
        """The Flax module, freshly initialised."""
        return TreeUNet(self, rngs, param_dtype)

    @property
    def shows_posteriors(self) -> bool:
        """Whether leaves are shown as posteriors, which hold all that t says."""
        return self.time in ("posterior", "log_posterior")


class Map(nnx.Module):
    """norm(map(h)) from some nodes' features to others', the same for all blocks of a level.

    Args:
        num_in: nodes whose features one block takes.
        num_out: nodes whose features it gives.
        config: of the network.
        rngs: for the initial values.
        param_dtype: of the parameters.
    """

    def __init__(
        self,
        num_in: int,
        num_out: int,
        config: TreeUNetConfig,
        rngs: nnx.Rngs,
        param_dtype: DTypeLike,
    ):
        width = config.width
        self.config = config
        self.dropout_rate = config.dropout
        units = (config.hidden_factor or num_out) * width
        self.first = linear(num_in * width, units * config.pieces, rngs, param_dtype)
        self.time = (
            None
            if config.shows_posteriors
            else linear(config.time_features, units * config.pieces, rngs, param_dtype)
        )
        self.second = (
            linear(units, num_out * width, rngs, param_dtype) if config.hidden_factor else None
        )
        self.norm = _norm(config, rngs, param_dtype)

    def __call__(
        self,
        h: Float[Array, "blocks taken"],
        features: Float[Array, "batch features"],
        key: RowKey | None,
    ) -> Float[Array, "nodes width"]:
        """Map all blocks of all sequences, which lie one after the other."""
        config = self.config
        h = self.first(h)
        if self.time is not None:
            # by sequence: (batch, blocks of one, units)
            by_sequence = h.reshape(features.shape[0], -1, h.shape[-1])
            t = self.time(features)[:, None]
            h = by_sequence * (1 + t) if config.time == "gain" else by_sequence + t
        if config.activation == "log_sum_exp":
            h = jax.nn.logsumexp(h.reshape(*h.shape[:-1], -1, config.pieces), axis=-1)
        else:
            h = ACTIVATIONS[config.activation](h)
        h = h.reshape(-1, h.shape[-1])
        h = h if self.second is None else self.second(h)
        h = h.reshape(-1, config.width)
        h = jax.nn.log_softmax(h) if config.norm == "log_softmax" else h
        h = h if self.norm is None else self.norm(h)
        return dropout(h, self.dropout_rate, key)


def _norm(
    config: TreeUNetConfig, rngs: nnx.Rngs, param_dtype: DTypeLike
) -> nnx.RMSNorm | nnx.LayerNorm | None:
    """A norm with parameters, if the config has one."""
    if config.norm == "layer":
        return layer_norm(config.width, rngs, param_dtype)
    if config.norm == "rms":
        return nnx.RMSNorm(config.width, epsilon=1e-5, rngs=rngs, param_dtype=param_dtype)
    return None


class TreeUNet(nnx.Module):
    """Logits of x_0 per leaf from a noisy sequence and its step.

    ``blocks`` holds the maps down to level depth − 1, …, 0, then those up to level 1, …, depth.

    Args:
        config: shape.
        rngs: for the initial values: PyTorch's default distributions.
        param_dtype: of the parameters.
    """

    def __init__(
        self, config: TreeUNetConfig, rngs: nnx.Rngs, param_dtype: DTypeLike = jnp.float32
    ):
        self.config = config
        s = config.branching
        self.input_projection = linear(config.vocab_size, config.width, rngs, param_dtype)
        down = [Map(s, 1, config, rngs, param_dtype) for _ in range(config.depth)]
        up = [Map(1 + s, s, config, rngs, param_dtype) for _ in range(config.depth)]
        self.blocks = nnx.List(down + up)
        self.output_projection = linear(2 * config.width, config.vocab_size, rngs, param_dtype)
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
            remat: keep only the maps' inputs for the backward pass.
        """
        config = self.config
        dtype = jnp.promote_types(x_t.dtype, self.input_projection.kernel.dtype)
        steps = jnp.broadcast_to(jnp.asarray(t), x_t.shape[:-2]).reshape(-1)
        features = time_features(steps, config.time_features, dtype)
        leaves = _show(config, x_t.reshape(-1, *x_t.shape[-2:]), steps)
        h = self.input_projection(leaves.reshape(-1, config.vocab_size))

        keys = split_keys(key, len(self.blocks))

        def apply(index: int, h: Array) -> Array:
            block = self.blocks[index]

            def run(h: Array) -> Array:
                return block(h, features, keys[index])

            return (jax.checkpoint(run) if remat else run)(h)

        own, by_level = h, [h]  # from the leaves to the root
        for index in range(config.depth):
            siblings = by_level[-1].reshape(-1, config.branching * config.width)
            by_level.append(apply(index, siblings))
        h = by_level.pop()
        for index in range(config.depth, 2 * config.depth):
            siblings = by_level.pop().reshape(-1, config.branching * config.width)
            h = apply(index, jnp.concatenate([h, siblings], axis=-1))
        return self.output_projection(jnp.concatenate([h, own], axis=-1)).reshape(x_t.shape)


def _show(
    config: TreeUNetConfig, x_t: Float[Array, "batch leaves vocab"], steps: Int[Array, " batch"]
) -> Float[Array, "batch leaves vocab"]:
    """What the network sees of the leaves."""
    if not config.shows_posteriors:
        return x_t
    assert config.num_steps is not None  # checked by the config
    field = Schedule.linear(config.num_steps).evidence(x_t, steps)
    return jax.nn.softmax(field) if config.time == "posterior" else jax.nn.log_softmax(field)
