"""What a network computes on its way: features of every layer, and where it attends."""

import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float, Int

from hiermodel.networks.modules import ConfiguredNetwork
from hiermodel.networks.network import Params


def activations(
    network: ConfiguredNetwork,
    params: Params,
    x_t: Float[Array, "inputs leaves vocab"],
    t: Int[Array, " inputs"],
) -> Float[Array, "layers inputs leaves width"]:
    """Features over every leaf, of the map of the input and of each block after it.

    A tree's node stands over all its leaves: they share its features.

    Args:
        network: with an ``input_projection`` of each leaf, and ``blocks``.
        params: its parameters.
        x_t: as the network is shown it.
        t: steps.
    """
    found = _outputs(network, params, x_t, t)
    inputs, leaves, _ = x_t.shape
    first = found["input_projection.__call__"]
    layers = [first, *_of_blocks(found, "__call__")]
    over_nodes = [h.reshape(inputs, -1, first.shape[-1]) for h in layers]
    return jnp.stack([jnp.repeat(h, leaves // h.shape[1], axis=1) for h in over_nodes])


def attention_by_height(
    network: ConfiguredNetwork,
    params: Params,
    x_t: Float[Array, "inputs leaves vocab"],
    t: Int[Array, " inputs"],
    branching: int,
) -> Float[Array, "layers heights"]:
    """Share of attention that leaves give to those whose common ancestor is h levels up.

    h = 0 is the leaf itself; the mean over inputs, heads and leaves. Up to some h, these are the
    shares of blocks of s^h leaves.

    Args:
        network: a transformer.
        params: its parameters.
        x_t: as the network is shown it.
        t: steps.
        branching: s.
    """
    leaves = x_t.shape[-2]
    weights = jnp.stack(_of_blocks(_outputs(network, params, x_t, t), "attention.weights"))
    apart = heights(leaves, branching)
    mean = weights.mean(1)
    return jnp.stack([(mean * (apart == h)).sum((-2, -1)) for h in range(apart.max() + 1)], -1) / (
        leaves
    )


def heights(num_leaves: int, branching: int) -> Int[np.ndarray, "leaves leaves"]:
    """Levels from two leaves up to their lowest common ancestor."""
    places, apart = np.arange(num_leaves), np.zeros((num_leaves, num_leaves), int)
    while len(np.unique(places)) > 1:
        apart += places[:, None] != places
        places //= branching
    return apart


def _of_blocks(found: dict[str, Array], method: str) -> list[Array]:
    number = sum(name.startswith("blocks.") and name.count(".") == 2 for name in found)
    return [found[f"blocks.{index}.{method}"] for index in range(number)]


def _outputs(network: ConfiguredNetwork, params: Params, x_t: Array, t: Array) -> dict[str, Array]:
    """What every method of every part gives, by dotted name."""
    forward = nnx.capture(network.bind(params), nnx.Intermediate, method_outputs=nnx.Intermediate)
    _, caught = forward(x_t, t)
    found = nnx.to_flat_state(caught)
    return {".".join(map(str, path)): variable.get_value()[0] for path, variable in found}
