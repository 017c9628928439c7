"""Losses and divergences of an ensemble at every checkpoint, and of what is known of the law."""

import functools
import itertools
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from experiments.configs import RunConfig
from experiments.runs.data import data_as_drawn, epochs_of, run_key
from experiments.runs.members import checkpoints_of
from experiments.stages.denoising import denoise_rows, map_over_devices
from experiments.stages.noisy_inputs import (
    EvaluationConfig,
    NoisyInputs,
    make_inputs,
    over_noises,
    own_inputs,
)
from experiments.stages.pipeline import Context, Plan, Recipe, along_checkpoints
from experiments.stages.registry import Stage, any_world
from experiments.stages.settings import (
    num_members,
    num_rows,
    step_at,
)
from experiments.store import Measurement, Measurements
from experiments.worlds.registry import world_of
from experiments.worlds.world import Splits, World
from hiermodel.diffusion.denoiser import AnyDenoiser
from hiermodel.diffusion.schedule import Schedule
from hiermodel.measures.spread import MIN_SETS, pair_pseudo_values
from hiermodel.measures.units import by_training_set, disjoint_pairs
from hiermodel.training.checkpoints import Weights


def plan(context: Context) -> Plan:
    """The stage "evaluation".

    Where running averages of the parameters are kept, the first is measured, and beside it the
    parameters as they were trained, ``raw_…``, and the other averages, ``decay_0.999_…``.
    """
    config, settings = context.config, context.own["evaluation"]

    def prepare() -> Recipe:
        checkpoints, splits = checkpoints_of(config, context.run), data_as_drawn(config)
        inputs = make_inputs(run_key(config, "evaluation"), config, settings, splits)

        def at_epoch(epoch: int) -> Measurements:
            found = {}
            for prefix, weights in _kinds_of_weights(config, settings).items():
                params = checkpoints.load_params(epoch, weights)
                own = evaluate(config, settings, inputs, params)
                found |= {f"{prefix}{name}": values for name, values in own.items()}
            return found

        constant = {
            **reference_losses(config, splits, inputs),
            **oracle_lines(config, settings, inputs["test"]),
            **world_of(config).overlap(splits),
            **_noise_levels(settings, config.schedule),
        }
        return Recipe(at_epoch, constant)

    return along_checkpoints(epochs_of(config), prepare)


def _kinds_of_weights(config: RunConfig, settings: EvaluationConfig) -> dict[str, Weights]:
    """Which parameters are measured, by what stands before the names of their measurements."""
    decays = sorted(config.training.ema_decays)
    if settings.weights is not None or not decays:
        return {"": settings.weights}
    return {"": None, "raw_": "raw", **{f"decay_{decay:g}_": decay for decay in decays[1:]}}


def _noise_levels(settings: EvaluationConfig, schedule: Schedule) -> Measurements:
    """Where the axis "noise_level" lies, if there is one."""
    if np.ndim(settings.relative_time) == 0:
        return {}
    times = np.array([step_at(time, schedule) for time in settings.times]) / schedule.num_steps
    return {"noise_level": Measurement(times, ("noise_level",), "t/T", "of the divergences")}


def split_pairs(num_splits: int, num_seeds: int) -> list[tuple[int, int]]:
    """Pairs of members trained on disjoint splits, no member in two of them."""
    return [
        (first * num_seeds + seed, second * num_seeds + seed)
        for first, second in disjoint_pairs(num_splits)
        for seed in range(num_seeds)
    ]


def same_data_pairs(num_splits: int, num_seeds: int) -> list[tuple[int, int]]:
    """Pairs of members trained on the same split from different seeds: the control."""
    return [
        (split * num_seeds + a, split * num_seeds + b)
        for split in range(num_splits)
        for a, b in itertools.combinations(range(num_seeds), 2)
    ]


def evaluate(
    config: RunConfig, settings: EvaluationConfig, inputs: dict[str, NoisyInputs], params: Any
) -> Measurements:
    """All losses and divergences of one checkpoint.

    Args:
        config: the run.
        settings: as the inputs were made with.
        inputs: from :func:`make_inputs`.
        params: parameters of all members, stacked on a leading axis, split by split.
    """
    world, network = world_of(config), config.network
    params = jax.device_put(params)  # once for all programs
    member_split = jnp.repeat(jnp.arange(config.num_splits), config.num_seeds)
    losses, from_oracles = _evaluate_members(world, network, inputs, params, member_split)
    steps = " and ".join(str(step_at(time, config.schedule)) for time in settings.times)
    at = f"at step t = {steps} of {config.num_steps}"
    units, about = world.units, world.about

    levels = ("noise_level",) * np.ndim(settings.relative_time)
    words = {
        "loss": f"{about['loss']}, mean over stratified t",
        "distillation": "loss above that of the exact denoiser, in expectation given x_t",
    }
    results = {
        name: Measurement(np.asarray(values), ("member", "set"), units["loss"], words[name])
        for name, values in losses.items()
    }
    for name, values in from_oracles.items():
        extra = world.oracle_extras().get(name)
        unit = units["divergence"] if extra is None else extra[0]
        what = f"{about['divergence']}, A the filtered-k denoiser, B the model"
        definition = f"{what if extra is None else extra[1]}, {at}"
        dims = ("member", "set", "level", *levels)
        results[name] = Measurement(over_noises(settings, values), dims, unit, definition)
    pairs = split_pairs(config.num_splits, config.num_seeds)
    controls = same_data_pairs(config.num_splits, config.num_seeds)
    if not pairs + controls:
        return results
    if config.num_splits >= MIN_SETS:
        between = _between_members(world, network, inputs["test"], params)
        between = _of_training_sets(over_noises(settings, between), config.num_splits)
        about_all = f"{about['divergence']} {at} on test inputs, mean over both orders and over "
        about_all += "networks of other training sets; pseudo-values of the mean over all pairs"
        results["split_divergence"] = Measurement(
            between, ("split", *levels), units["divergence"], about_all
        )
    listed = jnp.asarray(pairs + controls)  # all pairs at once, to compile once
    divergence = over_noises(
        settings, _evaluate_pairs(world, network, inputs, params, member_split, listed)
    )
    of_pairs, of_controls = divergence[: len(pairs)], divergence[len(pairs) :]

    def add(name: str, values: Float[np.ndarray, "pair set ..."], definition: str) -> None:
        dims = ("pair", "set", *levels)
        results[name] = Measurement(values, dims, units["divergence"], definition)

    between = f"{about['divergence']} {at}, inputs of A's split, A and B trained"
    if pairs:
        add("sample_split", of_pairs, f"{between} on disjoint splits")
    if controls:
        add("same_data", of_controls, f"{between} on the same split from two seeds")
    if pairs and controls:
        control = np.stack([_control_of(pair, controls, of_controls) for pair in pairs])
        definition = "sample-split divergence − mean same-data divergence of the pair's members"
        add("split_excess", of_pairs - control, definition)
    return results


def _of_training_sets(
    divergence: Float[np.ndarray, "member member ..."], num_splits: int
) -> Float[np.ndarray, "split ..."]:
    """From divergences between networks to one value per training set."""
    for axis in (0, 1):
        divergence = by_training_set(divergence, num_splits, axis=axis)
    return pair_pseudo_values(np.moveaxis(divergence, (0, 1), (-2, -1))).T


def _control_of(
    pair: tuple[int, int],
    controls: list[tuple[int, int]],
    divergence: Float[np.ndarray, "control set ..."],
) -> Float[np.ndarray, "set ..."]:
    """Mean same-data divergence over the control pairs that a member of ``pair`` is in."""
    shared = [bool(set(pair) & set(control)) for control in controls]
    return divergence[np.array(shared)].mean(0)


def reference_losses(
    config: RunConfig, splits: Splits, inputs: dict[str, NoisyInputs]
) -> Measurements:
    """The world's reference denoisers' losses on each member's own inputs: (member, set)."""
    world, found = world_of(config), {}
    for name, reference in world.references(config).items():
        values = [
            [_loss_of(config, reference.of(train), given) for given in own_inputs(inputs, split)]
            for split, train in enumerate(splits.train)
        ]
        of_members = np.repeat(np.asarray(values), config.num_seeds, axis=0)
        dims, units = ("member", "set"), world.units["loss"]
        found[name] = Measurement(of_members, dims, units, reference.definition)
    return found


def oracle_lines(config: RunConfig, settings: EvaluationConfig, given: NoisyInputs) -> Measurements:
    """How far the oracle of every level is from the exact denoiser, on the same test inputs.

    A network beats an oracle where its own divergence, that of level 0, is smaller.
    """
    if given.oracles is None:
        return {}
    world = world_of(config)
    exact = jnp.broadcast_to(given.oracles[:, :1], given.oracles.shape)
    far = np.asarray(world.divergence(exact, given.oracles).mean(-1).T)
    levels = ("noise_level",) * np.ndim(settings.relative_time)
    about = f"{world.about['divergence']}, A the exact denoiser, B that of the filter level"
    values = over_noises(settings, far)
    return {
        "oracle_line": Measurement(values, ("level", *levels), world.units["divergence"], about)
    }


def _loss_of(config: RunConfig, denoiser: AnyDenoiser, given: NoisyInputs) -> float:
    world, x_t, t = world_of(config), given.x_loss, given.t_loss
    predicted = world.prediction_of(denoise_rows(denoiser, x_t, t), config.schedule, x_t, t)
    return float(world.loss(predicted, given.target).mean())


@functools.partial(jax.jit, static_argnames=("world", "network"))
def _evaluate_members(
    world: World,
    network: Any,
    inputs: dict[str, NoisyInputs],
    params: Any,
    member_split: Int[Array, " member"],
) -> tuple[dict[str, Float[Array, "member set"]], dict[str, Array]]:
    """Losses (member, set); and what lies between oracles and networks, means over examples.

    The latter are (member, set, level, times).
    """
    measures = {"model_oracle": world.divergence} | {
        name: function for name, (_, _, function) in world.oracle_extras().items()
    }

    def one_set(own: Any, given: NoisyInputs) -> tuple[dict[str, Array], dict[str, Array]]:
        def loss(piece: tuple[Array, Array, Array, Array | None]) -> dict[str, Array]:
            x_t, t, target, exact = piece
            learned = world.prediction(network, own, x_t, t)
            losses = {"loss": world.loss(learned, target).mean()}
            if exact is not None:
                losses["distillation"] = world.distillation(exact, learned).mean()
            return losses

        def from_oracles(piece: tuple[Array, Array, Array]) -> dict[str, Array]:
            x_t, t, oracles = piece
            learned = jnp.broadcast_to(world.prediction(network, own, x_t, t), oracles.shape)
            return {name: of(oracles, learned).mean(-1) for name, of in measures.items()}

        losses = jax.lax.map(loss, (given.x_loss, given.t_loss, given.target, given.exact))
        means = {name: values.mean() for name, values in losses.items()}
        if given.oracles is None:
            return means, {}
        found = jax.lax.map(from_oracles, (given.x_t, given.t, given.oracles))
        return means, {name: values.T for name, values in found.items()}

    def one_member(member: tuple[Any, Array]) -> tuple[Array, dict[str, Array]]:
        own, split = member
        per_set = [one_set(own, given) for given in own_inputs(inputs, split)]
        return jax.tree.map(lambda *values: jnp.stack(values), *per_set)

    return map_over_devices(one_member, (params, member_split))


@functools.partial(jax.jit, static_argnames=("world", "network"))
def _between_members(
    world: World, network: Any, given: NoisyInputs, params: Any
) -> Float[Array, "member member times"]:
    """Divergences between all networks, both orders averaged."""

    def one_noise(piece: tuple[Array, Array]) -> Array:
        x_t, t = piece
        predictions = map_over_devices(lambda own: world.prediction(network, own, x_t, t), params)

        def from_one(first: Array) -> Array:
            return jax.vmap(lambda second: world.divergence(first, second).mean())(predictions)

        return jax.lax.map(from_one, predictions)

    divergence = jax.lax.map(one_noise, (given.x_t, given.t))
    return jnp.moveaxis((divergence + divergence.mT) / 2, 0, -1)


@functools.partial(jax.jit, static_argnames=("world", "network"))
def _evaluate_pairs(
    world: World,
    network: Any,
    inputs: dict[str, NoisyInputs],
    params: Any,
    member_split: Int[Array, " member"],
    pairs: Int[Array, "pair two"],
) -> Float[Array, "pair set times"]:
    def one_pair(pair: Array) -> Array:
        both = [jax.tree.map(lambda leaf, own=own: leaf[own], params) for own in pair]

        def one_noise(piece: tuple[Array, Array]) -> Array:
            x_t, t = piece
            return world.divergence(
                *(world.prediction(network, own, x_t, t) for own in both)
            ).mean()

        per_set = own_inputs(inputs, member_split[pair[0]])
        return jnp.stack([jax.lax.map(one_noise, (given.x_t, given.t)) for given in per_set])

    return map_over_devices(one_pair, pairs)


def _passes(run: RunConfig, settings: Mapping[str, Any]) -> float:
    own, sizes = settings["evaluation"], (run.num_splits, run.num_seeds)
    pairs = len(split_pairs(*sizes)) + len(same_data_pairs(*sizes))
    noises = own.num_noises * len(own.times)
    per_row = num_members(run) * (own.num_loss_noises + noises) + 2 * pairs * noises
    kinds = len(_kinds_of_weights(run, own))
    return kinds * run.num_checkpoints * per_row * num_rows(run, own.num_examples)


STAGES = (Stage("evaluation", EvaluationConfig, plan, measures=any_world, passes=_passes),)
