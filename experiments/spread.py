"""Work on many networks, spread over all devices, as in training."""

from collections.abc import Callable
from typing import Any

import jax
from jax.sharding import PartitionSpec

from hiermodel.training.epochs import training_mesh


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
