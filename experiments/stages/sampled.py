"""Stages that look at the networks of a checkpoint together with what they have drawn."""

from collections.abc import Callable
from typing import Any

import numpy as np
from jaxtyping import Int

from experiments.stages.generation import sampled_epochs
from experiments.stages.pipeline import Context, Plan, Recipe, along_checkpoints
from experiments.stages.u_turns import members_of
from experiments.store import Measurements
from experiments.train import checkpoints_of
from hiermodel.networks.learned import LearnedDenoiser


def plan_sampled(
    context: Context,
    name: str,
    make_setting: Callable[[Any, Any, int], Any],
    measure: Callable[
        [Any, list[LearnedDenoiser], Int[np.ndarray, "member sample leaves"]], Measurements
    ],
    constant: Callable[[Any], Measurements] = lambda setting: {},
) -> Plan:
    """A stage that measures every sampled checkpoint against a setting made once.

    Args:
        context: the run.
        name: of the stage.
        make_setting: from the run, the stage's settings and the number of samples per network.
        measure: one checkpoint, from the setting, the networks and their samples.
        constant: what is the same at all checkpoints.
    """
    config, settings = context.config, context.own[name]
    epochs = sampled_epochs(config, context.own["samples"])

    def prepare() -> Recipe:
        checkpoints = checkpoints_of(config, context.run)
        sequences = context.load("samples")["sequences"].values
        setting = make_setting(config, settings, sequences.shape[2])

        def at_epoch(epoch: int) -> Measurements:
            networks = members_of(config, checkpoints.load_params(epoch))
            return measure(setting, networks, sequences[epochs.index(epoch)])

        return Recipe(at_epoch, constant(setting))

    return along_checkpoints(epochs, prepare)
