"""What a network is: parameters by name, and a pure function of them, of x_t and of t.

A network is hashable: compiled programs are kept by it. It says by its target what its data are and
what it gives of them, so that nothing elsewhere asks which network it has.
"""

import functools
import inspect
from typing import Any, Literal, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike
from jaxtyping import Array, Float, Int, Key, Num

from hiermodel.checks import InputError, check_key, require
from hiermodel.diffusion.process import Process
from hiermodel.random_bits import RowKey, row_key, threefry_key

Params = dict[str, Array]
"""Parameters by dotted name."""
MatmulPrecision = Literal["highest", "high"]
"""How exactly float32 numbers are multiplied."""


@runtime_checkable
class Target(Protocol):
    """What a network's data are, what it gives of them, how wrong it is, what denoiser it makes.

    Two are there: ``SymbolLogits`` and ``PixelNoise`` (``hiermodel.networks.targets``).

    Example:
        >>> isinstance(hm.networks.SymbolLogits(4, 2), hm.networks.Target)
        True
    """

    @property
    def shape(self) -> tuple[int, ...]:
        """Axes of one clean example as it is stored."""
        ...

    @property
    def event_shape(self) -> tuple[int, int]:
        """Axes of one x_t, and of what the network gives of it."""
        ...

    @property
    def dtype(self) -> DTypeLike:
        """Of clean examples, as far as memory is concerned."""
        ...

    def checked(self, argument: str, values: Array | np.ndarray) -> np.ndarray:
        """Clean examples (n, *shape), n at least 1, in the dtype that training takes.

        Raises:
            ValueError: for anything else.
        """
        ...

    def corrupt(
        self,
        key: RowKey,
        process: Process,
        x_0: Num[Array, "batch ..."],
        t: Int[Array, " batch"],
        dtype: DTypeLike,
    ) -> tuple[Float[Array, "batch _ _"], Array]:
        """What the network is shown of noisy data at steps t, and what it is to give of it."""
        ...

    def losses(
        self, output: Float[Array, "batch _ _"], wanted: Array, loss: Any
    ) -> Float[Array, " batch"]:
        """Loss of each row."""
        ...

    def denoiser(self, network: Any, params: Any, process: Any) -> Any:
        """The denoiser that a network with these parameters is."""
        ...


@runtime_checkable
class Network(Protocol):
    """Anything hashable with a target, initial parameters and their application.

    ``apply`` may take more, which settings of training then reach: ``compute_dtype``, of matrix
    products; ``remat``, True to keep little for the backward pass; and ``dropout``, a rate instead
    of that of the network, which is then a dataclass with a field of this name.

    Example:
        >>> isinstance(network, hm.networks.Network)
        True
        >>> network.apply(network.init(key), noisy, jnp.asarray(5)).shape
        (8, 4, 2)
    """

    @property
    def target(self) -> Target:
        """What its data are, and what it gives of them."""
        ...

    def init(self, key: Key[Array, ""]) -> Params:
        """Initial parameters, float32, by name."""
        ...

    def apply(
        self,
        params: Params,
        x_t: Float[Array, "*batch _ _"],
        t: Int[Array, "..."],
        key: RowKey | None = None,
    ) -> Float[Array, "*batch _ _"]:
        """What it gives of x_t at step t, of the same shape.

        Args:
            params: as ``init`` gives them.
            x_t: (..., *target.event_shape).
            t: steps, broadcasting against the leading axes.
            key: randomness of dropout, for as many rows as the leading axes hold; None for none.
        """
        ...


@functools.partial(jax.jit, static_argnames=("network", "dtype"))
def _draw_params(key: Key[Array, ""], network: Network, dtype: DTypeLike) -> Params:
    return {name: value.astype(dtype) for name, value in network.init(key).items()}


def init_params(key: Key[Array, ""], network: Network, dtype: DTypeLike = jnp.float32) -> Params:
    """Draw initial parameters: of this library's networks, from PyTorch's default distributions.

    Args:
        key: one typed key.
        network: whose.
        dtype: of the parameters.

    Raises:
        ValueError: if ``key`` is not a typed key.
    """
    check_key(key)
    return _draw_params(threefry_key(key), network, dtype)


def param_shapes(network: Network) -> dict[str, tuple[int, ...]]:
    """Name and shape of every parameter of a network."""
    shapes = jax.eval_shape(lambda: _draw_params(jax.random.key(0), network, jnp.float32))
    return {name: value.shape for name, value in shapes.items()}


def takes(network: Network, option: str) -> bool:
    """Whether a network's ``apply`` has an option."""
    return option in inspect.signature(network.apply).parameters


def apply(
    network: Network,
    params: Params,
    x_t: Float[Array, "*batch _ _"],
    t: Int[Array, "..."],
    key: RowKey | None = None,
    *,
    precision: MatmulPrecision = "highest",
    **options: Any,
) -> Float[Array, "*batch _ _"]:
    """What a network gives of x_t: a pure function, for use in jit, vmap and grad.

    Args:
        network: the network.
        params: its parameters.
        x_t: (..., num_leaves, vocab_size) noisy one-hot sequences; or (..., pixels, channels).
        t: integer steps that broadcast against the leading axes.
        key: randomness of dropout, as in training, for as many rows as there are sequences; None
            for none.
        precision: of products of float32: "highest", float32 itself; "high", TF32 on CUDA, three
            bfloat16 passes on TPU. Never the backend's own choice.
        options: of the network's own ``apply``.

    Raises:
        ValueError: for an option that the network does not take, or a result of another shape.
    """
    for option in options:
        name = type(network).__name__
        require(takes(network, option), "network", name, f"one whose apply takes {option}")
    # The gradient's products take the precision of those that they come from.
    with jax.default_matmul_precision(precision):
        output = network.apply(params, x_t, t, key, **options)
    if np.shape(output) != x_t.shape:
        raise InputError(
            f"network={type(network).__name__} is not allowed: for x_t of shape {x_t.shape} it "
            f"gave shape {np.shape(output)}, and must give {x_t.shape}"
        )
    return output


def check_network(network: Network) -> None:
    """Refuse a network that gives no parameters by name, or not the shape of x_t, with its reason.

    Nothing is computed: shapes alone are followed, with a key of dropout and without.

    Raises:
        ValueError: saying which shape came, and which is wanted.
    """
    params = jax.eval_shape(network.init, jax.random.key(0))
    by_name = hasattr(params, "items") and all(hasattr(leaf, "shape") for leaf in params.values())
    require(by_name, "network.init(key)", params, "a flat dict of arrays by name")
    x_t = jax.ShapeDtypeStruct((2, *network.target.event_shape), jnp.float32)
    t = jax.ShapeDtypeStruct((2,), jnp.int32)

    def both(params: Params, x_t: Array, t: Array) -> tuple[Array, Array]:
        key = row_key(jax.random.key(0), 2)
        return apply(network, params, x_t, t), apply(network, params, x_t, t, key)

    jax.eval_shape(both, params, x_t, t)
