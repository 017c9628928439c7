"""Flax NNX modules as networks: those of this library, built by their configs, and a user's own.

Flax modules exist only inside this file's functions. Outside, a network is hashable, and its
parameters are a flat dict of arrays such as ``params["blocks.0.attention.output.kernel"]``.
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jax.typing import DTypeLike
from jaxtyping import Array, Float, Int, Key

from hiermodel.checks import InputError
from hiermodel.networks.layers import rounded_dot_general
from hiermodel.networks.network import Params, Target, check_network
from hiermodel.random_bits import RowKey

Factory = Callable[[nnx.Rngs], nnx.Module]
"""Makes a module, its initial values drawn from the random streams."""


def _name(path: tuple[Any, ...]) -> str:
    return ".".join(map(str, path))


def _initial(network: Any, key: Key[Array, ""]) -> Params:
    """Parameters of a new module, by name."""
    state = nnx.to_flat_state(nnx.state(network.build(nnx.Rngs(key)), nnx.Param))
    return {_name(path): variable.get_value() for path, variable in state}


@functools.cache
def _structure(network: Any) -> tuple[Any, list[tuple[Any, Any]], list[tuple[Any, Any]]]:
    """Static structure of a module, and paths and abstract values of parameters and streams.

    Raises:
        ValueError: for a module that holds anything else, such as running statistics.
    """
    module = nnx.eval_shape(lambda: network.build(nnx.Rngs(0)))
    graphdef, params, streams, others = nnx.split(module, nnx.Param, nnx.RngState, ...)
    unknown = [_name(path) for path, _ in nnx.to_flat_state(others)]
    if unknown:
        raise InputError(
            f"module={type(module).__name__} is not allowed: {unknown[0]} is neither a parameter "
            "nor a random stream; a network must keep nothing else from call to call"
        )
    return graphdef, list(nnx.to_flat_state(params)), list(nnx.to_flat_state(streams))


def _filled(variables: list[tuple[Any, Any]], values: list[Array]) -> Any:
    pairs = zip(variables, values, strict=True)
    return nnx.from_flat_state(
        [(path, variable.replace(value)) for (path, variable), value in pairs]
    )


def _stream_values(streams: list[tuple[Any, Any]], key: Key[Array, ""]) -> list[Array]:
    """Streams of a module started from one key, each from its own."""

    def value(index: int, like: Any) -> Array:
        if jnp.issubdtype(like.dtype, jax.dtypes.prng_key):
            own = jax.random.fold_in(key, index)
            return jax.random.split(own, like.shape) if like.shape else own
        return jnp.zeros(like.shape, like.dtype)

    return [value(index, variable.get_value()) for index, (_, variable) in enumerate(streams)]


def _bound(network: Any, params: Params, key: Key[Array, ""] | None = None) -> Any:
    """The module with given parameters, its streams started from the key."""
    graphdef, variables, streams = _structure(network)
    own = _filled(variables, [params[_name(path)] for path, _ in variables])
    if not streams:
        return nnx.merge(graphdef, own)
    start = jax.random.key(0) if key is None else key
    return nnx.merge(graphdef, own, _filled(streams, _stream_values(streams, start)))


class ConfiguredNetwork:
    """What makes a frozen config a Network: all but its target and how its module is built.

    The module's call takes ``key`` and ``remat``, and its ``blocks`` hold what is taken in lower
    precision.
    """

    @property
    def target(self) -> Target:
        """What its data are, and what it gives of them."""
        raise NotImplementedError

    def build(self, rngs: nnx.Rngs, param_dtype: DTypeLike = jnp.float32) -> nnx.Module:
        """The Flax module, freshly initialised."""
        raise NotImplementedError

    @property
    def event_shape(self) -> tuple[int, int]:
        """The axes of one x_t: leaves and symbols, or pixels and channels."""
        return self.target.event_shape

    def init(self, key: Key[Array, ""]) -> Params:
        """Initial parameters, from PyTorch's default distributions (science.md#transformer)."""
        return _initial(self, key)

    def bind(self, params: Params) -> Any:
        """The Flax module with given parameters."""
        return _bound(self, params)

    def apply(
        self,
        params: Params,
        x_t: Float[Array, "*batch _ _"],
        t: Int[Array, "..."],
        key: RowKey | None = None,
        *,
        compute_dtype: DTypeLike | None = None,
        remat: bool = False,
        dropout: Float[Array, ""] | None = None,
    ) -> Float[Array, "*batch _ _"]:
        """Logits of x_0, or the noise in images.

        Args:
            params: as ``init`` gives them.
            x_t: (..., num_leaves, vocab_size) noisy one-hot sequences; or (..., pixels, channels).
            t: integer steps that broadcast against the leading axes.
            key: randomness of dropout, for as many rows as there are sequences; None for none.
            compute_dtype: of the operands of the matrix products inside the blocks, forward and
                backward. The residual stream, layer norms, softmax, biases, the small maps at both
                ends, the logits and all gradients keep the parameters' dtype. None for no other.
            remat: keep only the blocks' inputs for the backward pass.
            dropout: rate instead of the config's, in compiled code a number of its own.
        """
        network = self.bind(params)
        if dropout is not None:
            network.set_attributes(dropout_rate=nnx.data(dropout))
        if compute_dtype is not None:
            for block in network.blocks:
                block.set_attributes(dot_general=rounded_dot_general(compute_dtype))
                # Convolutions are not made of products everywhere, and not all blocks have some.
                block.set_attributes(compute_dtype=compute_dtype, raise_if_not_found=False)
        return network(x_t, t, key=key, remat=remat)


@dataclasses.dataclass(frozen=True)
class ModuleNetwork:
    """A user's own Flax NNX module as a network (:func:`from_module`).

    Attributes:
        factory: makes the module.
        target: what its data are, and what it gives of them.
    """

    factory: Factory
    target: Target

    @property
    def event_shape(self) -> tuple[int, int]:
        """The axes of one x_t: leaves and symbols, or pixels and channels."""
        return self.target.event_shape

    def build(self, rngs: nnx.Rngs) -> nnx.Module:
        """The module, freshly initialised."""
        return self.factory(rngs)

    def init(self, key: Key[Array, ""]) -> Params:
        """Initial parameters, as the factory draws them."""
        return _initial(self, key)

    def apply(
        self,
        params: Params,
        x_t: Float[Array, "*batch _ _"],
        t: Int[Array, "..."],
        key: RowKey | None = None,
    ) -> Array:
        """``module(x_t, t)``, the leading axes made one; without a key in evaluation mode."""
        rows = x_t.reshape(-1, *x_t.shape[-2:])
        steps = jnp.broadcast_to(jnp.asarray(t), x_t.shape[:-2]).reshape(-1)
        _, _, streams = _structure(self)
        if key is None or not streams:
            module = _bound(self, params)
            module.set_attributes(deterministic=key is None, raise_if_not_found=False)
            return self._shaped(module(rows, steps), x_t)

        # A row's dropout depends on its number alone, so each is given its own key.
        def one(number: Array, row: Array, step: Array) -> Array:
            module = _bound(self, params, jax.random.fold_in(key.key, number))
            module.set_attributes(deterministic=False, raise_if_not_found=False)
            return module(row[None], step[None])[0]

        return self._shaped(jax.vmap(one)(key.rows, rows, steps), x_t)

    def _shaped(self, output: Any, x_t: Array) -> Array:
        """The output with the axes and dtype of x_t; a wrong shape is left to be refused."""
        fits = jnp.size(output) == x_t.size and jnp.shape(output)[-2:] == x_t.shape[-2:]
        return output.reshape(x_t.shape).astype(x_t.dtype) if fits else output


class _Copy:
    """The factory of a module that is there: always the same, with the values that it had."""

    def __init__(self, module: nnx.Module):
        self.graphdef, self.state = nnx.split(module)

    def __call__(self, rngs: nnx.Rngs) -> nnx.Module:
        return nnx.merge(self.graphdef, self.state)


def from_module(module: nnx.Module | Factory, target: Target) -> ModuleNetwork:
    """Make a network of any Flax NNX module with ``__call__(x_t, t)``.

    The module is called with x_t (batch, *target.event_shape), float, and t (batch,), int32, and
    gives the shape of x_t. Dropout acts while training. It may keep no running statistics.

    Args:
        module: a function of ``nnx.Rngs`` that makes the module, so that every seed starts from
            values of its own; or a module, from whose values, copied now, every seed starts.
        target: ``SymbolLogits(num_leaves, vocab_size)`` for logits of the symbols, or
            ``PixelNoise(height, width, channels)`` for the noise in images.

    Raises:
        ValueError: if the module gives another shape, or keeps more than parameters and random
            streams.

    Example:
        >>> from flax import nnx
        >>> class Linear(nnx.Module):
        ...     def __init__(self, rngs):
        ...         self.map = nnx.Linear(2, 2, rngs=rngs)
        ...     def __call__(self, x_t, t):
        ...         return self.map(x_t)
        >>> own = hm.networks.from_module(Linear, hm.networks.SymbolLogits(4, 2))
        >>> sorted(param.shape for param in own.init(key).values())
        [(2,), (2, 2)]
    """
    factory = _Copy(module) if isinstance(module, nnx.Module) else module
    network = ModuleNetwork(factory, target)
    check_network(network)
    return network
