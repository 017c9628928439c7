"""Published weights: the authors' PyTorch names and layouts, to and from this package's."""

import importlib
import os
from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from hiermodel.checks import check_integer, require
from hiermodel.networks.learned import LearnedDenoiser, check_names, learned_denoiser
from hiermodel.networks.network import param_shapes
from hiermodel.networks.transformer import TransformerConfig

_EMBEDDING = "positional_embedding.weight"
_LINEARS = {
    "input_projection": "input_up_projection",
    "time_embedding": "time_embedding",
    "output_projection": "output_down_projection",
}
_BLOCK_LINEARS = {
    "attention.output": "self_attn.out_proj",
    "feedforward_in": "linear1",
    "feedforward_out": "linear2",
}
_BLOCK_NORMS = {"attention_norm": "norm1", "feedforward_norm": "norm2"}


def torch_names(num_layers: int) -> dict[str, str]:
    """PyTorch's name of every parameter of a post-norm transformer, by this package's name."""
    names = {"positional_embedding.embedding": _EMBEDDING}
    linears, norms = dict(_LINEARS), {}
    for index in range(num_layers):
        here, there = f"blocks.{index}", f"transformer_encoder.layers.{index}"
        attention = f"{here}.attention.query_key_value"
        names[f"{attention}.kernel"] = f"{there}.self_attn.in_proj_weight"
        names[f"{attention}.bias"] = f"{there}.self_attn.in_proj_bias"
        linears |= {
            f"{here}.{ours}": f"{there}.{theirs}" for ours, theirs in _BLOCK_LINEARS.items()
        }
        norms |= {f"{here}.{ours}": f"{there}.{theirs}" for ours, theirs in _BLOCK_NORMS.items()}
    for kind, modules in (("kernel", linears), ("scale", norms)):
        for ours, theirs in modules.items():
            names[f"{ours}.{kind}"] = f"{theirs}.weight"
            names[f"{ours}.bias"] = f"{theirs}.bias"
    return names


def _clean_name(name: str) -> str:
    """Drop what torch.compile and one-element Sequentials add to a name."""
    name = name.removeprefix("_orig_mod.")
    for module in _LINEARS.values():
        name = name.replace(f"{module}.0.", f"{module}.")
    return name


def _read_config(arrays: Mapping[str, np.ndarray], num_heads: int) -> TransformerConfig:
    """Find the shape of the network from the shapes of its parameters."""
    needed = (
        "input_up_projection.weight",
        "time_embedding.weight",
        _EMBEDDING,
        "transformer_encoder.layers.0.linear1.weight",
    )
    for name in needed:
        found = arrays[name].ndim if name in arrays else "no such name"
        require(found == 2, f"state[{name!r}].ndim", found, "2: the network's shape is read there")
    prefix = "transformer_encoder.layers."
    layers = {name[len(prefix) :].split(".")[0] for name in arrays if name.startswith(prefix)}
    width, vocab_size = arrays[needed[0]].shape
    hidden = arrays[needed[3]].shape[0]
    require(hidden % width == 0, "feed-forward width", hidden, f"a multiple of width={width}")
    return TransformerConfig(
        num_leaves=arrays[_EMBEDDING].shape[0],
        vocab_size=vocab_size,
        width=width,
        num_layers=len(layers),
        num_heads=num_heads,
        feedforward_factor=hidden // width,
        time_features=arrays["time_embedding.weight"].shape[1],
    )


def transformer_from_state_dict(state: Mapping[str, Any], *, num_heads: int) -> LearnedDenoiser:
    """Import a post-norm transformer saved under PyTorch's parameter names.

    Source: science.md#transformer.

    Args:
        state: arrays by name, such as ``transformer_encoder.layers.0.linear1.weight``; the prefix
            ``_orig_mod.`` and a ``.0`` after the name of a projection are ignored. Linear weights
            are (out, in). The dtype is kept (float64 only if JAX's 64-bit mode is on).
        num_heads: attention heads, which no shape shows (the paper: 4).

    Raises:
        ValueError: if names are missing, unknown or appear twice, or a shape does not fit.

    Example:
        >>> network = hm.networks.TransformerConfig(4, 2, width=8, num_layers=1, num_heads=2)
        >>> params = network.init(key)
        >>> mine = hm.networks.learned_denoiser(network, params, schedule)
        >>> state = hm.networks.transformer_to_state_dict(mine)
        >>> hm.transformer_from_state_dict(state, num_heads=2).vocab_size
        2
    """
    num_heads = check_integer("num_heads", num_heads, 1)
    arrays = {_clean_name(name): np.asarray(value) for name, value in state.items()}
    require(len(arrays) == len(state), "state", list(state), "free of names given twice")
    config = _read_config(arrays, num_heads)
    names = torch_names(config.num_layers)
    check_names("state", arrays, names.values())
    params = {}
    for name, shape in param_shapes(config).items():
        array = _transpose_kernel(name, arrays[names[name]])
        if array.shape != shape:
            raise ValueError(
                f"state[{names[name]!r}] has shape {arrays[names[name]].shape}, which is not "
                f"allowed: as {name} it must have shape {shape}, up to the order of its axes"
            )
        params[name] = jnp.asarray(array)
    return learned_denoiser(config, params)


def transformer_to_state_dict(denoiser: LearnedDenoiser) -> dict[str, Float[np.ndarray, "..."]]:
    """Export under PyTorch's parameter names; the import's exact inverse.

    Raises:
        ValueError: unless the network is a post-norm transformer.

    Example:
        >>> small = hm.networks.TransformerConfig(4, 2, width=8, num_layers=1, num_heads=2)
        >>> learned = hm.networks.learned_denoiser(small, small.init(key))
        >>> state = hm.networks.transformer_to_state_dict(learned)
        >>> hm.networks.transformer_from_state_dict(state, num_heads=2).network.width
        8
    """
    names = torch_names(len({name.split(".")[1] for name in denoiser.params if "blocks" in name}))
    exportable = set(names) == set(denoiser.params)
    require(exportable, "denoiser.network", denoiser.network, "a post-norm transformer")
    return {
        theirs: _transpose_kernel(ours, np.asarray(denoiser.params[ours]))
        for ours, theirs in names.items()
    }


def _transpose_kernel(name: str, array: np.ndarray) -> np.ndarray:
    """Swap between (in, out) kernels and (out, in) weights; leave everything else."""
    return np.ascontiguousarray(array.T) if name.endswith(".kernel") else array


def load_torch_checkpoint(path: str | os.PathLike[str]) -> dict[str, Float[Array, "..."]]:
    """Read the parameters in a PyTorch file, for ``transformer_from_state_dict``.

    Only tensors and plain containers are unpickled, never code. A state dict nested under
    ``model_state_dict``, ``state_dict`` or ``model`` is found there.

    Args:
        path: the file.

    Raises:
        ImportError: if PyTorch is not installed.
        ValueError: if the file holds no state dict.

    Example:
        >>> state = hm.networks.load_torch_checkpoint("model.pt")  # doctest: +SKIP
        >>> learned = hm.transformer_from_state_dict(state, num_heads=4)  # doctest: +SKIP
    """
    try:
        torch = importlib.import_module("torch")
    except ImportError:
        raise ImportError(
            f"reading {path} needs PyTorch, which is not installed: pip install torch"
        ) from None
    loaded = torch.load(path, map_location="cpu", weights_only=True)
    for wrapper in ("model_state_dict", "state_dict", "model"):
        if isinstance(loaded, Mapping) and isinstance(loaded.get(wrapper), Mapping):
            loaded = loaded[wrapper]
    if not isinstance(loaded, Mapping) or not all(map(torch.is_tensor, loaded.values())):
        raise ValueError(f"path={str(path)!r} is not allowed: the file must hold a state dict")
    return {name: jnp.asarray(tensor.detach().numpy()) for name, tensor in loaded.items()}
