"""The loss decomposition of an ensemble along training (science.md#measures)."""

import dataclasses
import functools
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key

from experiments.runs.data import epochs_of, make_data, run_key
from experiments.runs.members import checkpoints_of
from experiments.stages.denoising import denoise_rows
from experiments.stages.pipeline import Context, Plan, Recipe, along_checkpoints
from experiments.stages.registry import Stage
from experiments.stages.settings import (
    check_counts,
    check_relative_times,
    num_members,
    num_rows,
    step_at,
)
from experiments.store import Measurement, Measurements
from experiments.worlds.registry import world_of
from experiments.worlds.world import World
from hiermodel.diffusion.corruption import add_noise, one_hot
from hiermodel.diffusion.denoisers import exact_denoiser
from hiermodel.diffusion.schedule import Schedule
from hiermodel.grammar.rules import Grammar
from hiermodel.measures.decomposition import LossDecomposition, decompose_loss
from hiermodel.measures.loss import stratified_steps


@dataclasses.dataclass(frozen=True)
class DecompositionConfig:
    """How the loss decomposition is measured at a checkpoint (science.md#measures).

    Attributes:
        num_sequences: clean sequences per set (all of the training split, if it is smaller).
        num_noises: noises per sequence at the fixed step, and as many at stratified steps.
        relative_time: t/T of the fixed step.
    """

    num_sequences: int = 3000
    num_noises: int = 5
    relative_time: float = 0.3

    def __post_init__(self):
        check_counts(self, "num_sequences", "num_noises")
        check_relative_times(self.relative_time)


PARTS = {
    "distillation": "−x̂* · log p of the model, x̂* the exact denoiser",
    "excess": "−(x_0 − x̂*) · log p of the model, x̂* the exact denoiser",
}


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Inputs:
    """Noisy sequences with the exact answers: at the fixed step, then at stratified ones.

    Training inputs have one more axis, ``split``, in front.
    """

    clean: Int[Array, "*split n leaves"]
    x_t: Float[Array, "*split two noises n leaves vocab"]
    t: Int[Array, "*split two noises n"]
    exact: Float[Array, "*split two noises n leaves vocab"]


def plan(context: Context) -> Plan:
    """The stage "decomposition"."""
    config, settings = context.config, context.own["decomposition"]

    def prepare() -> Recipe:
        checkpoints = checkpoints_of(config, context.run)
        splits, grammar = make_data(config), config.data.build()
        keys = jax.random.split(run_key(config, "decomposition"), len(splits.train) + 1)
        make = functools.partial(make_inputs, settings, grammar, config.schedule)
        train = [make(key, rows) for key, rows in zip(keys[1:], splits.train, strict=True)]
        inputs = {
            "train": jax.tree.map(lambda *leaves: jnp.stack(leaves), *train),
            "test": make(keys[0], splits.test),
        }
        member_split = jnp.repeat(jnp.arange(config.num_splits), config.num_seeds)

        def at_epoch(epoch: int) -> Measurements:
            params = checkpoints.load_params(epoch)
            world, network = world_of(config), config.network
            return _named(_decompose(world, network, inputs, params, member_split), settings)

        return Recipe(at_epoch, _floors(_exact_entropy(inputs, member_split), settings))

    return along_checkpoints(epochs_of(config), prepare)


def make_inputs(
    settings: DecompositionConfig,
    grammar: Grammar,
    schedule: Schedule,
    key: Key[Array, ""],
    sequences: Int[np.ndarray, "size leaves"],
) -> Inputs:
    """Noise sequences at both kinds of steps, and denoise them exactly."""
    clean = jnp.asarray(sequences[: settings.num_sequences], jnp.int32)
    step_key, noise_key = jax.random.split(key)
    repeats = range(settings.num_noises)
    spread = [
        stratified_steps(jax.random.fold_in(step_key, repeat), schedule.num_steps, len(clean))
        for repeat in repeats
    ]
    fixed = jnp.full((len(repeats), len(clean)), step_at(settings.relative_time, schedule))
    t = jnp.stack([fixed, jnp.stack(spread)])
    x_0 = one_hot(clean, grammar.vocab_size)
    x_t = add_noise(noise_key, schedule, jnp.broadcast_to(x_0, (*t.shape[:2], *x_0.shape)), t)
    return Inputs(clean, x_t, t, denoise_rows(exact_denoiser(grammar, schedule), x_t, t))


@functools.partial(jax.jit, static_argnames=("world", "network"))
def _decompose(
    world: World,
    network: Any,
    inputs: dict[str, Inputs],
    params: Any,
    member_split: Int[Array, " member"],
) -> tuple[LossDecomposition, LossDecomposition]:
    """Means over sequences and their standard errors, each (member, set, two)."""

    def one_set(own: Any, given: Inputs) -> LossDecomposition:
        def one_noise(noisy: tuple[Array, Array, Array]) -> LossDecomposition:
            x_t, t, exact = noisy
            return decompose_loss(world.prediction(network, own, x_t, t), exact, given.clean)

        flat = [array.reshape(-1, *array.shape[2:]) for array in (given.x_t, given.t, given.exact)]
        parts = jax.lax.map(one_noise, tuple(flat))
        return jax.tree.map(lambda part: part.reshape(*given.t.shape).mean(1), parts)

    def one_member(member: tuple[Any, Array]) -> tuple[LossDecomposition, LossDecomposition]:
        own, split = member
        train = jax.tree.map(lambda leaf: leaf[split], inputs["train"])
        per_set = [one_set(own, given) for given in (train, inputs["test"])]
        means = [jax.tree.map(lambda part: part.mean(-1), parts) for parts in per_set]
        errors = [jax.tree.map(_standard_error, parts) for parts in per_set]
        join = functools.partial(jax.tree.map, lambda *parts: jnp.stack(parts))
        return join(*means), join(*errors)

    return jax.lax.map(one_member, (params, member_split))


def _standard_error(values: Float[Array, "... n"]) -> Float[Array, "..."]:
    """Of the mean over the last axis; 0 for a single value, which has no spread."""
    size = values.shape[-1]
    return values.std(-1) / np.sqrt(max(size - 1, 1))


def _exact_entropy(
    inputs: dict[str, Inputs], member_split: Int[Array, " member"]
) -> Float[np.ndarray, "member set two"]:
    """The distillation term of the exact denoiser itself: its entropy, nats per position."""

    def entropy(given: Inputs) -> Float[Array, "*split two"]:
        probs = jnp.exp(given.exact)
        terms = jnp.where(probs > 0, probs * given.exact, 0)
        return -terms.sum(-1).mean((-3, -2, -1))

    train = entropy(inputs["train"])[member_split]
    return np.asarray(jnp.stack([train, jnp.broadcast_to(entropy(inputs["test"]), train.shape)], 1))


def _kinds(settings: DecompositionConfig) -> dict[str, str]:
    """Endings of names, and where they were measured, in the order of the axis ``two``."""
    return {
        "": f"at t/T = {settings.relative_time:g}",
        "_all": "mean over stratified t",
    }


def _named(
    measured: tuple[LossDecomposition, LossDecomposition], settings: DecompositionConfig
) -> Measurements:
    dims, units = ("member", "set"), "nats per position"
    results: dict[str, Measurement] = {}
    for part, what in PARTS.items():
        means, errors = (np.asarray(getattr(parts, part)) for parts in measured)
        for index, (ending, where) in enumerate(_kinds(settings).items()):
            name = f"{part}{ending}"
            results[name] = Measurement(means[..., index], dims, units, f"{what}, {where}")
            about = f"standard error of {name} over sequences"
            results[f"{name}_error"] = Measurement(errors[..., index], dims, units, about)
    return results


def _floors(
    entropy: Float[np.ndarray, "member set two"], settings: DecompositionConfig
) -> Measurements:
    return {
        f"distillation{ending}_floor": Measurement(
            entropy[..., index],
            ("member", "set"),
            "nats per position",
            f"distillation term of the exact denoiser itself, {where}",
        )
        for index, (ending, where) in enumerate(_kinds(settings).items())
    }


def _passes(run: Any, settings: Mapping[str, Any]) -> float:
    own = settings["decomposition"]
    rows = num_rows(run, own.num_sequences)
    return 2.0 * run.num_checkpoints * num_members(run) * own.num_noises * rows


STAGES = (Stage("decomposition", DecompositionConfig, plan, passes=_passes),)
