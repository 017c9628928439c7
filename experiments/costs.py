"""What runs cost: the time measured where they are finished, one simple estimate where not.

The estimate counts forward passes of the networks, a training step as three, at a share of the
rate of a large matrix product. Exact inference, neighbours, tests and compilation come on top and
matter only for tiny networks.
"""

import dataclasses
import functools
from collections.abc import Collection
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

from experiments.configs import Protocol
from experiments.progress import progress_of
from experiments.runs.data import num_training_rows
from experiments.stages.registry import context_of, stages_of
from experiments.words import duration
from hiermodel.networks.network import apply, init_params

EFFICIENCY = 0.3
"""Share of the rate of a large matrix product that networks are taken to reach."""


@dataclasses.dataclass(frozen=True)
class Cost:
    """Time of a training and of measuring stages.

    Attributes:
        spent: seconds, measured, of those that are finished.
        operations: floating-point operations, estimated, of those that are not.
    """

    spent: float = 0.0
    operations: float = 0.0

    def __add__(self, other: "Cost") -> "Cost":
        return Cost(self.spent + other.spent, self.operations + other.operations)

    def seconds_left(self, rate: float) -> float:
        """Expected time of what is not finished, given the GFLOP/s of a matrix product."""
        return self.operations / (EFFICIENCY * rate * 1e9)

    def text(self, rate: float) -> str:
        """In words, for a terminal."""
        left = f"about {duration(self.seconds_left(rate))} (estimated)"
        spent = f"{duration(self.spent)} (measured)"
        if not self.operations:
            return spent
        return f"{spent}, {left} to go" if self.spent else left


def cost(own: Protocol, stages: Collection[str], root: Path) -> Cost:
    """Cost of training a run and of some of its stages ("train" among them, or not)."""
    timings = context_of(own, root).run.timings()
    total = Cost()
    for stage in stages:
        if progress_of(own, stage, root).finished:
            total += Cost(spent=timings.get(stage, 0.0))
        else:
            total += Cost(operations=operations(own, stage))
    return total


def operations(own: Protocol, stage: str) -> float:
    """Floating-point operations of a stage, or of the training, as estimated."""
    if stage != "train":
        return forward_passes(own, stage) * forward_operations(own.run.network)
    run = own.run
    members = run.num_splits * run.num_seeds
    passes = 3.0 * members * run.training.num_epochs * num_training_rows(run)
    return passes * forward_operations(run.network)


def forward_passes(own: Protocol, stage: str) -> float:
    """Forward passes of a stage that measures, counted per example."""
    return stages_of(own.run)[stage].passes(own.run, context_of(own, "").own)


@functools.cache
def forward_operations(network: Any) -> float:
    """Operations of one forward pass of one example, as XLA counts them."""
    rows = 16
    params = jax.eval_shape(lambda key: init_params(key, network), jax.random.key(0))
    x_t = jax.ShapeDtypeStruct((rows, *network.target.event_shape), jnp.float32)
    t = jax.ShapeDtypeStruct((rows,), jnp.int32)
    lowered = jax.jit(lambda *inputs: apply(network, *inputs)).lower(params, x_t, t)
    return float((lowered.cost_analysis() or {})["flops"]) / rows


def device_name() -> str:
    """The devices of this process."""
    devices = jax.devices()
    return f"{len(devices)} × {devices[0].device_kind}"
