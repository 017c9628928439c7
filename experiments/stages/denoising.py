"""Denoisers applied to many rows, work spread over devices, networks picked from checkpoints."""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import PartitionSpec
from jaxtyping import Array, Float, Int

from experiments.configs import RunConfig
from experiments.store import Measurement
from hiermodel.diffusion.compiled import run_compiled
from hiermodel.diffusion.denoiser import AnyDenoiser
from hiermodel.training.checkpoints import StackedCheckpoints
from hiermodel.training.epochs import training_mesh

SETS = ("train", "test")

PIECE = 1024
"""Rows given to an exact denoiser at a time."""


def denoise_rows(
    denoiser: AnyDenoiser, x_t: Float[Array, "... _ _"], t: Int[Array, "..."]
) -> Float[Array, "... _ _"]:
    """Apply a denoiser to any number of rows, always as many at a time: it compiles once."""
    rows, steps = x_t.reshape(-1, *x_t.shape[-2:]), t.reshape(-1)
    padding = -len(rows) % PIECE
    rows = jnp.pad(rows, ((0, padding), (0, 0), (0, 0)))
    steps = jnp.pad(steps, (0, padding), constant_values=1)
    pieces = [
        run_compiled(_denoise, denoiser, rows[start : start + PIECE], steps[start : start + PIECE])
        for start in range(0, len(rows), PIECE)
    ]
    return jnp.concatenate(pieces)[: len(rows) - padding].reshape(x_t.shape)


def _denoise(denoiser: AnyDenoiser, x_t: Array, t: Array) -> Array:
    return denoiser(x_t, t)


def map_over_devices(function: Callable[[Any], Any], stacked: Any) -> Any:
    """``jax.lax.map`` along the leading axis, a share of it on every device.

    Nothing depends on the number of devices. To be called inside a compiled function.
    """
    count = len(jax.tree.leaves(stacked)[0])
    spec = PartitionSpec("member")
    return jax.shard_map(
        lambda own: jax.lax.map(function, own),
        mesh=training_mesh(count),
        in_specs=spec,
        out_specs=spec,
        check_vma=False,
    )(stacked)


def denoisers_of(config: RunConfig, params: Mapping[str, np.ndarray]) -> list[AnyDenoiser]:
    """Every member as a denoiser of its own."""
    target = config.network.target
    return [
        target.denoiser(
            config.network,
            {name: jnp.asarray(values[member]) for name, values in params.items()},
            config.schedule,
        )
        for member in range(config.num_splits * config.num_seeds)
    ]


def params_at(
    checkpoints: StackedCheckpoints, epochs: Int[np.ndarray, " member"]
) -> dict[str, np.ndarray]:
    """Each member's parameters at an epoch of its own, stacked on a leading axis."""
    picked: dict[str, np.ndarray] = {}
    for epoch in np.unique(epochs):
        rows = epochs == epoch
        for name, values in checkpoints.load_params(int(epoch)).items():
            picked.setdefault(name, np.empty_like(values))[rows] = values[rows]
    return picked


def mean_and_error(
    values: Float[np.ndarray, "..."], name: str, dims: tuple[str, ...], units: str, definition: str
) -> dict[str, Measurement]:
    """Mean over the last axis, independent units, and its standard error, as two measurements."""
    wide = np.asarray(values, np.float64)
    mean = np.asarray(wide.mean(-1))
    error = np.asarray(wide.std(-1)) / np.sqrt(max(wide.shape[-1] - 1, 1))
    return {
        name: Measurement(mean, dims, units, definition),
        f"{name}_error": Measurement(error, dims, units, f"standard error of {name}"),
    }
