"""How networks differ: from the truth all alike, by training set and by seed.

Source: science.md#estimators. Their mean divergence from the exact denoiser in three parts that
add up to it exactly, at every checkpoint, on the test inputs of the stage "evaluation". Seeds can
only be told from training sets in a run that has several of them.
"""

import dataclasses
import functools
from typing import Any

import jax
import numpy as np
from jaxtyping import Array, Float

from experiments.configs import RunConfig
from experiments.runs.data import data_as_drawn, epochs_of, run_key
from experiments.runs.members import checkpoints_of
from experiments.stages.noisy_inputs import NoisyInputs, over_noises, test_inputs
from experiments.stages.pipeline import Context, Plan, Recipe, along_checkpoints
from experiments.stages.registry import Stage
from experiments.stages.settings import num_members, num_rows
from experiments.store import Measurement, Measurements
from experiments.worlds.registry import world_of
from experiments.worlds.world import World
from hiermodel.measures.spread import Spread, decompose_spread

PARTS = {
    "common": "KL(exact ‖ q̄), q̄ the geometric mean of all networks: what all have wrong alike",
    "by_set": "mean KL(q̄ ‖ q̄_s), q̄_s that of a training set's networks: how training sets differ",
    "by_seed": "mean KL(q̄_s ‖ q): how networks of one training set differ; 0 with one network",
}


@dataclasses.dataclass(frozen=True)
class SpreadConfig:
    """Inputs are those of the stage "evaluation"."""


def plan(context: Context) -> Plan:
    """The stage "spread"."""
    config, settings = context.config, context.own["evaluation"]

    def prepare() -> Recipe:
        checkpoints, splits = checkpoints_of(config, context.run), data_as_drawn(config)
        inputs = test_inputs(run_key(config, "evaluation"), config, settings, splits)

        def at_epoch(epoch: int) -> Measurements:
            params = checkpoints.load_params(epoch, settings.weights)
            parts = _parts(world_of(config), config.network, config.num_splits, inputs, params)
            levels = ("noise_level",) * np.ndim(settings.relative_time)
            return {
                name: Measurement(
                    over_noises(settings, np.asarray(values)), levels, "nats per sequence", about
                )
                for (name, about), values in zip(PARTS.items(), parts, strict=True)
            }

        return Recipe(at_epoch)

    return along_checkpoints(epochs_of(config), prepare)


@functools.partial(jax.jit, static_argnames=("world", "network", "num_splits"))
def _parts(world: World, network: Any, num_splits: int, given: NoisyInputs, params: Any) -> Spread:
    """Each part at every time of the inputs, mean over them."""

    def at_time(piece: tuple[Array, Array, Array]) -> Spread:
        x_t, t, oracles = piece

        def prediction(own: Any) -> Float[Array, "n leaves vocab"]:
            return world.prediction(network, own, x_t, t)

        log_q = jax.lax.map(prediction, params)
        log_q = log_q.reshape(num_splits, -1, *log_q.shape[1:])
        return Spread(*(part.mean() for part in decompose_spread(oracles[0], log_q)))

    return jax.lax.map(at_time, (given.x_t, given.t, given.oracles))


def _passes(run: RunConfig, settings: Any) -> float:
    own = settings["evaluation"]
    noises = own.num_noises * len(own.times)
    return run.num_checkpoints * num_members(run) * noises * num_rows(run, own.num_examples)


STAGES = (Stage("spread", SpreadConfig, plan, reads=("evaluation",), passes=_passes),)
