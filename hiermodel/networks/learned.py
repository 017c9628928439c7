"""Networks as plain pytrees: parameters by name, application, and the Denoiser made of them.

Flax modules exist only inside this file's functions. Outside, a network is its config (hashable)
and a flat dict of arrays such as ``params["blocks.0.attention.output.kernel"]``.
"""

import dataclasses
import functools
from collections.abc import Mapping
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.typing import DTypeLike
from jaxtyping import Array, Float, Int, Key

from hiermodel.checks import (
    check_integer,
    check_key,
    check_trailing_shape,
    is_concrete,
    require,
)
from hiermodel.diffusion.inputs import check_noisy
from hiermodel.diffusion.process import Steps
from hiermodel.diffusion.schedule import Schedule
from hiermodel.networks.layers import rounded_dot_general
from hiermodel.networks.mlp import MLP, MLPConfig
from hiermodel.networks.transformer import Transformer, TransformerConfig
from hiermodel.networks.tree_unet import TreeUNet, TreeUNetConfig
from hiermodel.networks.unet import UNet, UNetConfig
from hiermodel.random_bits import RowKey, threefry_key

SymbolNetworkConfig = TransformerConfig | MLPConfig | TreeUNetConfig
NetworkConfig = SymbolNetworkConfig | UNetConfig
"""A network says what its data are: symbols, or (a U-Net) pixels, of which it gives the noise."""
MatmulPrecision = Literal["highest", "high"]
"""How exactly float32 numbers are multiplied."""
Params = dict[str, Array]
"""Parameters by dotted name."""


_MODULES = {
    TransformerConfig: Transformer,
    MLPConfig: MLP,
    TreeUNetConfig: TreeUNet,
    UNetConfig: UNet,
}


def data_shape(config: NetworkConfig) -> tuple[int, ...]:
    """Axes of one clean example: (num_leaves,), or an image's (height, width, channels)."""
    if isinstance(config, UNetConfig):
        return config.height, config.width, config.channels
    return (config.num_leaves,)


def build_network(
    config: NetworkConfig, rngs: nnx.Rngs, param_dtype: DTypeLike
) -> Transformer | MLP | TreeUNet | UNet:
    """The Flax module that a config describes, freshly initialised."""
    return _MODULES[type(config)](config, rngs, param_dtype)  # pyright: ignore[reportArgumentType]


@functools.partial(jax.jit, static_argnames=("config", "dtype"))
def _draw_params(key: Key[Array, ""], config: NetworkConfig, dtype: DTypeLike) -> Params:
    state = nnx.state(build_network(config, nnx.Rngs(params=key), dtype), nnx.Param)
    flat = nnx.traversals.flatten_mapping(nnx.to_pure_dict(state))
    return {".".join(map(str, path)): value for path, value in flat.items()}


def init_params(
    key: Key[Array, ""], config: NetworkConfig, dtype: DTypeLike = jnp.float32
) -> Params:
    """Draw initial parameters from PyTorch's default distributions (science.md#transformer).

    Args:
        key: one typed key.
        config: the network.
        dtype: of the parameters.

    Raises:
        ValueError: if ``key`` is not a typed key.
    """
    check_key(key)
    return _draw_params(threefry_key(key), config, dtype)


@functools.cache
def _network_structure(config: NetworkConfig) -> tuple[Any, dict[str, tuple[Any, ...]]]:
    """Static structure of a network, and the path in it of each parameter's name."""
    network = nnx.eval_shape(lambda: build_network(config, nnx.Rngs(0), jnp.float32))
    graphdef, state = nnx.split(network)
    return graphdef, {".".join(map(str, path)): path for path, _ in nnx.to_flat_state(state)}


def param_shapes(config: NetworkConfig) -> dict[str, tuple[int, ...]]:
    """Name and shape of every parameter of a network."""
    shapes = jax.eval_shape(lambda: _draw_params(jax.random.key(0), config, jnp.float32))
    return {name: value.shape for name, value in shapes.items()}


def bind(config: NetworkConfig, params: Params) -> Transformer | MLP | TreeUNet | UNet:
    """The Flax module with given parameters."""
    graphdef, paths = _network_structure(config)
    state = nnx.from_flat_state([(path, nnx.Param(params[name])) for name, path in paths.items()])
    return nnx.merge(graphdef, state)


def apply(
    config: NetworkConfig,
    params: Params,
    x_t: Float[Array, "*batch leaves vocab"],
    t: Int[Array, "..."],
    key: RowKey | None = None,
    *,
    compute_dtype: DTypeLike | None = None,
    precision: MatmulPrecision = "highest",
    remat: bool = False,
    dropout: Float[Array, ""] | None = None,
) -> Float[Array, "*batch leaves vocab"]:
    """Logits of x_0, or the noise in images: a pure function, for use in jit, vmap and grad.

    Args:
        config: the network.
        params: its parameters.
        x_t: (..., num_leaves, vocab_size) noisy one-hot sequences; or (..., pixels, channels).
        t: integer steps that broadcast against the leading axes.
        key: randomness of dropout, as in training, for as many rows as there are sequences; None
            for none.
        compute_dtype: of the operands of the matrix products inside the blocks, forward and
            backward. The residual stream, layer norms, softmax, biases, the small maps at both
            ends, the logits and all gradients keep the parameters' dtype. None for no other.
        precision: of all other products of float32: "highest", float32 itself; "high", TF32 on
            CUDA, three bfloat16 passes on TPU. Never the backend's own choice.
        remat: keep only the blocks' inputs for the backward pass.
        dropout: rate instead of the config's, in compiled code a number of its own.
    """
    network = bind(config, params)
    if dropout is not None:
        network.set_attributes(dropout_rate=nnx.data(dropout))
    if compute_dtype is not None:
        for block in network.blocks:
            block.set_attributes(dot_general=rounded_dot_general(compute_dtype))
            # Convolutions are not made of products everywhere, and not all blocks have some.
            block.set_attributes(compute_dtype=compute_dtype, raise_if_not_found=False)
    # The gradient's products take the precision of those that they come from.
    with jax.default_matmul_precision(precision):
        return network(x_t, t, key=key, remat=remat)


_apply_compiled = jax.jit(apply, static_argnames="config")


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, eq=False)
class LearnedDenoiser:
    """A network as a Denoiser: (x_t, t) to log-probabilities of x_0 per position.

    Attributes:
        config: the network.
        params: its parameters.
        num_steps: T of the noise that it was trained on, to check steps by; None if unknown.
    """

    config: SymbolNetworkConfig = dataclasses.field(metadata={"static": True})
    params: Params
    num_steps: int | None = dataclasses.field(metadata={"static": True})

    @property
    def num_leaves(self) -> int:
        """Length of the sequences."""
        return self.config.num_leaves

    @property
    def vocab_size(self) -> int:
        """Number of symbols."""
        return self.config.vocab_size

    def logits(self, x_t: Float[Array | np.ndarray, "..."], t: Steps) -> Float[Array, "..."]:
        """Unnormalised log-probabilities (..., num_leaves, vocab_size), without dropout.

        Raises:
            ValueError: for an x_t of the wrong shape or dtype or not finite, or a t that is not a
                step or does not broadcast against the leading axes.
        """
        unknown = np.iinfo(np.int32).max  # as many steps as there are numbers for
        x_t = check_noisy(self, unknown if self.num_steps is None else self.num_steps, x_t, t)
        return _apply_compiled(self.config, self.params, x_t, jnp.asarray(t))

    def __call__(self, x_t: Float[Array | np.ndarray, "..."], t: Steps) -> Float[Array, "..."]:
        """Log-probabilities (..., num_leaves, vocab_size) of x_0 given x_t at step t."""
        return jax.nn.log_softmax(self.logits(x_t, t), axis=-1)


def learned_denoiser(
    config: SymbolNetworkConfig,
    params: Mapping[str, Array | np.ndarray],
    num_steps: int | None = None,
) -> LearnedDenoiser:
    """Make a Denoiser of a network.

    Args:
        config: the network.
        params: its parameters, as ``init_params`` makes them. A leading member axis on every one
            is allowed if the denoiser is then called under ``jax.vmap``.
        num_steps: T of the noise that it was trained on; None to accept any step from 1.

    Raises:
        ValueError: if parameters are missing, unknown or misshaped.
    """
    if num_steps is not None:
        num_steps = check_integer("num_steps", num_steps, 1)
    return LearnedDenoiser(config, _check_params(config, params), num_steps)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, eq=False)
class LearnedPixelDenoiser:
    """A network that predicts noise as a MeanDenoiser: (x_t, t) to E[x_0 | x_t].

    Attributes:
        config: the network.
        params: its parameters.
        schedule: the noise that it was trained on.
    """

    config: UNetConfig = dataclasses.field(metadata={"static": True})
    params: Params
    schedule: Schedule

    @property
    def event_shape(self) -> tuple[int, int]:
        """Pixels and channels of one image."""
        return self.config.event_shape

    def noise(self, x_t: Float[Array | np.ndarray, "..."], t: Steps) -> Float[Array, "..."]:
        """The predicted noise (..., pixels, channels), without dropout.

        Raises:
            ValueError: as :meth:`LearnedDenoiser.logits`.
        """
        x_t = check_noisy(self, self.schedule.num_steps, x_t, t)
        return _apply_compiled(self.config, self.params, x_t, jnp.asarray(t))

    def __call__(self, x_t: Float[Array | np.ndarray, "..."], t: Steps) -> Float[Array, "..."]:
        """E[x_0 | x_t] = (x_t − sqrt(1 − abar_t) noise) / sqrt(abar_t), (..., pixels, channels)."""
        noise = self.noise(x_t, t)
        return self.schedule.remove_noise(jnp.asarray(x_t), noise, t)


def learned_pixel_denoiser(
    config: UNetConfig, params: Mapping[str, Array | np.ndarray], schedule: Schedule
) -> LearnedPixelDenoiser:
    """Make a MeanDenoiser of a network that predicts noise.

    Args:
        config: the network.
        params: as in :func:`learned_denoiser`.
        schedule: the noise that it was trained on.

    Raises:
        ValueError: if parameters are missing, unknown or misshaped, or if the last step leaves no
            signal: there all is noise, and knowing it says nothing of x_0.
    """
    if is_concrete(schedule):
        last = float(np.asarray(schedule.alpha_bar)[-1])
        require(last > 0, "schedule.alpha_bar[-1]", last, "above 0")
    return LearnedPixelDenoiser(config, _check_params(config, params), schedule)


def _check_params(config: NetworkConfig, params: Mapping[str, Array | np.ndarray]) -> Params:
    expected = param_shapes(config)
    check_names("params", params, expected)
    for name, shape in expected.items():
        check_trailing_shape(f"params[{name!r}]", params[name], shape, "the network's shape")
    return {name: jnp.asarray(params[name]) for name in expected}


def check_names(argument: str, given: Any, expected: Any) -> None:
    """Refuse a mapping that lacks some of the expected names, or has others."""
    missing, unknown = sorted(set(expected) - set(given)), sorted(set(given) - set(expected))
    if missing or unknown:
        raise ValueError(
            f"{argument} does not hold the network's parameters: missing {missing}, "
            f"unknown {unknown}"
        )
