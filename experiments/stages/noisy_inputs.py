"""The noisy inputs on which networks are evaluated, with what is known of them exactly.

They are the same for all networks and checkpoints, so that differences are the networks' own.
"""

import dataclasses
import functools
from collections.abc import Mapping
from typing import TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key

from experiments.configs import RunConfig
from experiments.stages.denoising import denoise_rows
from experiments.stages.settings import check_counts, check_relative_times, step_at
from experiments.worlds.registry import world_of
from experiments.worlds.world import Splits
from hiermodel.diffusion.denoiser import AnyDenoiser
from hiermodel.measures.loss import stratified_steps
from hiermodel.randomness import normal_per_sample
from hiermodel.training.checkpoints import Weights
from hiermodel.training.state import OMIT_DEFAULT


@dataclasses.dataclass(frozen=True)
class EvaluationConfig:
    """How losses and divergences are measured at a checkpoint (science.md#measures).

    Attributes:
        num_examples: clean examples per set (all of the training split, if it is smaller).
        num_noises: noises per example, at every relative time.
        relative_time: t/T at which the divergences are taken; of several, they get an axis
            "noise_level" at their end.
        num_loss_noises: noises per example for the loss, at stratified t.
        weights: which parameters of a checkpoint are measured: "raw", "average", or the decay of a
            running average; None for the average where one is kept.
    """

    num_examples: int = 3000
    num_noises: int = 5
    relative_time: float | tuple[float, ...] = 0.15
    num_loss_noises: int = 5
    weights: Weights = dataclasses.field(default=None, metadata=OMIT_DEFAULT)

    def __post_init__(self):
        check_counts(self, "num_examples", "num_noises", "num_loss_noises")
        check_relative_times(*self.times)

    @property
    def times(self) -> tuple[float, ...]:
        """All of the relative times."""
        return tuple(np.atleast_1d(self.relative_time).tolist())


Inputs = TypeVar("Inputs")


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class NoisyInputs:
    """The same noisy inputs for every network and checkpoint, with what the oracles say of them.

    The first axis is also how the work is cut into pieces that fit in memory. Training inputs have
    one more axis, ``split``, in front.

    Attributes:
        x_loss, t_loss, target: noised at stratified steps, for the loss, and what is predicted.
        x_t, t: noised at the steps of the divergences, every time with all its noises.
        oracles: predictions of the denoisers of every level there; None if there are none.
        exact: prediction of the exact denoiser at x_loss; None if it is not known.
    """

    x_loss: Float[Array, "*split loss_noises n _ _"]
    t_loss: Int[Array, "*split loss_noises n"]
    target: Array
    x_t: Float[Array, "*split times n _ _"]
    t: Int[Array, "*split times"]
    oracles: Float[Array, "*split times levels n _ _"] | None
    exact: Float[Array, "*split loss_noises n _ _"] | None


def make_inputs(
    key: Key[Array, ""], config: RunConfig, settings: EvaluationConfig, splits: Splits
) -> dict[str, NoisyInputs]:
    """Noisy inputs from the test set, and from every training split (stacked)."""
    _, *keys = jax.random.split(key, len(splits.train) + 1)
    make = functools.partial(_noisy_inputs, config, settings)
    train = [make(k, rows) for k, rows in zip(keys, splits.train, strict=True)]
    return {
        "train": jax.tree.map(lambda *leaves: jnp.stack(leaves), *train),
        "test": test_inputs(key, config, settings, splits),
    }


def test_inputs(
    key: Key[Array, ""], config: RunConfig, settings: EvaluationConfig, splits: Splits
) -> NoisyInputs:
    """The noisy inputs from the test set."""
    key, *_ = jax.random.split(key, len(splits.train) + 1)
    return _noisy_inputs(config, settings, key, splits.test)


def _noisy_inputs(
    config: RunConfig, settings: EvaluationConfig, key: Key[Array, ""], examples: np.ndarray
) -> NoisyInputs:
    world, schedule = world_of(config), config.schedule
    examples = examples[: settings.num_examples]
    x_0 = world.clean(config.data, examples)
    step_key, loss_key, noise_key = jax.random.split(key, 3)
    t_loss = jnp.stack(
        [
            stratified_steps(jax.random.fold_in(step_key, repeat), schedule.num_steps, len(x_0))
            for repeat in range(settings.num_loss_noises)
        ]
    )
    noise = normal_per_sample(loss_key, t_loss.shape, x_0.shape[1:], x_0.dtype)
    t = jnp.asarray(
        np.repeat([step_at(time, schedule) for time in settings.times], settings.num_noises)
    )
    other = normal_per_sample(noise_key, (len(t), len(x_0)), x_0.shape[1:], x_0.dtype)
    x_t = schedule.mix(x_0, other, t[:, None])
    steps = jnp.broadcast_to(t[:, None], x_t.shape[:2])
    x_loss = schedule.mix(x_0, noise, t_loss)

    def prediction(denoiser: AnyDenoiser, x_t: Array, t: Array) -> Array:
        return world.prediction_of(denoise_rows(denoiser, x_t, t), schedule, x_t, t)

    oracles = [prediction(denoiser, x_t, steps) for denoiser in world.oracles(config)]
    exact = world.exact(config)
    return NoisyInputs(
        x_loss,
        t_loss,
        world.target(examples, noise),
        x_t,
        t,
        jnp.stack(oracles, 1) if oracles else None,
        None if exact is None else prediction(exact, x_loss, t_loss),
    )


def own_inputs(inputs: Mapping[str, Inputs], split: int | Int[Array, ""]) -> tuple[Inputs, Inputs]:
    """A member's inputs per set: training, then test."""
    return jax.tree.map(lambda leaf: leaf[split], inputs["train"]), inputs["test"]


def over_noises(settings: EvaluationConfig, values: Array | np.ndarray) -> np.ndarray:
    """Means over noises, from values along "times", which is their last axis."""
    shape = (*values.shape[:-1], len(settings.times), settings.num_noises)
    means = np.asarray(values).reshape(shape).mean(-1)
    return means if np.ndim(settings.relative_time) else means[..., 0]
