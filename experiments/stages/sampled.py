"""Stages that look at the networks of a checkpoint together with what they have drawn."""

from collections.abc import Callable
from typing import Any

import numpy as np
from jaxtyping import Num

from experiments.runs.members import checkpoints_of
from experiments.stages.denoising import denoisers_of
from experiments.stages.generation import sampled_epochs, samples_of
from experiments.stages.pipeline import Context, Plan, Recipe, along_checkpoints
from experiments.store import Measurements
from hiermodel.diffusion.denoiser import AnyDenoiser


def plan_sampled(
    context: Context,
    name: str,
    make_setting: Callable[[Any, Any, int], Any],
    measure: Callable[[Any, list[AnyDenoiser], Num[np.ndarray, "member sample ..."]], Measurements],
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
        samples = samples_of(context)
        setting = make_setting(config, settings, samples.shape[2])

        def at_epoch(epoch: int) -> Measurements:
            networks = denoisers_of(config, checkpoints.load_params(epoch))
            return measure(setting, networks, samples[epochs.index(epoch)])

        return Recipe(at_epoch, constant(setting))

    return along_checkpoints(epochs, prepare)
