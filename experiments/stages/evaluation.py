"""Losses and divergences of an ensemble at one checkpoint, against the exact denoisers."""

import dataclasses
import functools
import itertools
from collections.abc import Mapping
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key

from experiments.stages.denoising import denoise_rows, log_probs
from experiments.stages.pipeline import Context, Plan, Recipe, along_checkpoints
from experiments.stages.registry import Stage
from experiments.stages.settings import num_members, num_rows, step_at
from experiments.store import Measurement, Measurements
from experiments.train import checkpoints_of, epochs_of, make_data, run_key
from hiermodel.diffusion.corruption import add_noise, one_hot
from hiermodel.diffusion.denoisers import exact_denoiser
from hiermodel.diffusion.schedule import Schedule
from hiermodel.grammar.rules import Grammar
from hiermodel.grammar.splits import Splits
from hiermodel.measures.divergence import CLIP, kl_divergence, unsupported_mass
from hiermodel.measures.loss import denoising_loss, stratified_steps
from hiermodel.measures.units import disjoint_pairs


@dataclasses.dataclass(frozen=True)
class EvaluationConfig:
    """How losses and divergences are measured at a checkpoint (science.md#measures).

    Attributes:
        num_sequences: clean sequences per set (all of the training split, if it is smaller).
        num_noises: noises per sequence.
        relative_time: t/T at which the divergences are taken.
        num_loss_noises: noises per sequence for the loss, at stratified t.
    """

    num_sequences: int = 3000
    num_noises: int = 5
    relative_time: float = 0.15
    num_loss_noises: int = 5


Inputs = TypeVar("Inputs")


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class NoisyInputs:
    """The same noisy sequences for every network and checkpoint, with the exact answers.

    The axis ``noises`` is also how the work is cut into pieces that fit in memory. Training
    inputs have one more axis, ``split``, in front.

    Attributes:
        clean: the symbols before noising.
        x_loss, t_loss: noised at stratified steps, for the loss.
        exact_loss: cross-entropy of the exact denoiser there: the floor of the loss.
        x_t: noised at the one step of the divergences.
        oracles: log-probabilities of the denoisers of every filter level there.
    """

    clean: Int[Array, "*split n leaves"]
    x_loss: Float[Array, "*split loss_noises n leaves vocab"]
    t_loss: Int[Array, "*split loss_noises n"]
    exact_loss: Float[Array, "*split"]
    x_t: Float[Array, "*split noises n leaves vocab"]
    oracles: Float[Array, "*split noises levels n leaves vocab"]


def plan(context: Context) -> Plan:
    """The stage "evaluation"."""
    config, settings = context.config, context.own["evaluation"]

    def prepare() -> Recipe:
        checkpoints = checkpoints_of(config, context.run)
        splits = make_data(config)
        inputs = make_inputs(
            run_key(config, "evaluation"),
            settings,
            config.grammar.build(),
            config.schedule,
            splits,
        )

        def at_epoch(epoch: int) -> Measurements:
            params = checkpoints.load_params(epoch)
            sizes = config.num_splits, config.num_seeds
            return evaluate(config.network, config.schedule, settings, inputs, params, *sizes)

        constant = {"loss_floor": loss_floor(inputs, config.num_seeds), **overlap_with_test(splits)}
        return Recipe(at_epoch, constant)

    return along_checkpoints(epochs_of(config), prepare)


def overlap_with_test(splits: Splits) -> Measurements:
    """How much of the test set, which is drawn from the law, was trained on."""
    found = splits.test_in_train
    about = f"test sequences, of {len(splits.test)}, that are also in the training split"
    return {
        "test_in_train": Measurement(found, ("split",), "sequences", about),
        "test_share_in_train": Measurement(found / len(splits.test), ("split",), "fraction", about),
    }


def make_inputs(
    key: Key[Array, ""],
    settings: EvaluationConfig,
    grammar: Grammar,
    schedule: Schedule,
    splits: Splits,
) -> dict[str, NoisyInputs]:
    """Noisy inputs from the test set, and from every training split (stacked)."""
    keys = jax.random.split(key, len(splits.train) + 1)
    make = functools.partial(_noisy_inputs, settings, grammar, schedule)
    train = [make(k, rows) for k, rows in zip(keys[1:], splits.train, strict=True)]
    return {
        "train": jax.tree.map(lambda *leaves: jnp.stack(leaves), *train),
        "test": make(keys[0], splits.test),
    }


def _noisy_inputs(
    settings: EvaluationConfig,
    grammar: Grammar,
    schedule: Schedule,
    key: Key[Array, ""],
    sequences: Int[np.ndarray, "size leaves"],
) -> NoisyInputs:
    clean = jnp.asarray(sequences[: settings.num_sequences], jnp.int32)
    x_0 = one_hot(clean, grammar.vocab_size)
    step_key, loss_key, noise_key = jax.random.split(key, 3)

    t_loss = jnp.stack(
        [
            stratified_steps(jax.random.fold_in(step_key, repeat), schedule.num_steps, len(clean))
            for repeat in range(settings.num_loss_noises)
        ]
    )
    repeated = jnp.broadcast_to(x_0, (settings.num_loss_noises, *x_0.shape))
    x_loss = add_noise(loss_key, schedule, repeated, t_loss)
    exact = denoise_rows(exact_denoiser(grammar, schedule), x_loss, t_loss)
    exact_loss = denoising_loss(exact, jnp.broadcast_to(clean, exact.shape[:-1])).mean()

    t = step_at(settings.relative_time, schedule)
    repeated = jnp.broadcast_to(x_0, (settings.num_noises, *x_0.shape))
    x_t = add_noise(noise_key, schedule, repeated, t)
    steps = jnp.full(x_t.shape[:-2], t)
    oracles = [
        denoise_rows(exact_denoiser(grammar, schedule, filter_level=level), x_t, steps)
        for level in range(grammar.depth + 1)
    ]
    return NoisyInputs(clean, x_loss, t_loss, exact_loss, x_t, jnp.stack(oracles, 1))


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
    network: Any,
    schedule: Schedule,
    settings: EvaluationConfig,
    inputs: dict[str, NoisyInputs],
    params: Any,
    num_splits: int,
    num_seeds: int,
) -> Measurements:
    """All losses and divergences of one checkpoint.

    Args:
        network: the architecture's configuration.
        schedule: the noise.
        settings: as the inputs were made with.
        inputs: from :func:`make_inputs`.
        params: parameters of all members, stacked on a leading axis, split by split.
        num_splits: disjoint training sets.
        num_seeds: members per training set.
    """
    t = step_at(settings.relative_time, schedule)
    member_split = jnp.repeat(jnp.arange(num_splits), num_seeds)
    loss, oracle = _evaluate_members(network, t, inputs, params, member_split)
    model_oracle, unsupported = np.moveaxis(np.asarray(oracle), -1, 0)
    at = f"at step t = {t} of {schedule.num_steps}"

    results = {
        "loss": Measurement(
            np.asarray(loss),
            ("member", "set"),
            "nats per position",
            "denoising cross-entropy, mean over stratified t",
        ),
        "model_oracle": Measurement(
            model_oracle,
            ("member", "set", "level"),
            "nats per sequence",
            f"KL(filtered-k denoiser ‖ model) {at}, probabilities at least {CLIP:g}",
        ),
        "model_oracle_unsupported": Measurement(
            unsupported,
            ("member", "set", "level"),
            "positions",
            f"mass of the filtered-k denoiser where the model is below {CLIP:g}, {at}",
        ),
    }
    pairs = split_pairs(num_splits, num_seeds)
    controls = same_data_pairs(num_splits, num_seeds)
    if not pairs + controls:
        return results
    listed = jnp.asarray(pairs + controls)  # all pairs at once, to compile once
    divergence = np.asarray(_evaluate_pairs(network, t, inputs, params, member_split, listed))
    of_pairs, of_controls = divergence[: len(pairs)], divergence[len(pairs) :]

    def add(name: str, values: Float[np.ndarray, "pair set"], definition: str) -> None:
        results[name] = Measurement(values, ("pair", "set"), "nats per sequence", definition)

    between = f"KL(model A ‖ model B) {at}, inputs of A's split, A and B trained"
    if pairs:
        add("sample_split", of_pairs, f"{between} on disjoint splits")
    if controls:
        add("same_data", of_controls, f"{between} on the same split from two seeds")
    if pairs and controls:
        control = np.stack([_control_of(pair, controls, of_controls) for pair in pairs])
        definition = "sample-split divergence − mean same-data divergence of the pair's members"
        add("split_excess", of_pairs - control, definition)
    return results


def _control_of(
    pair: tuple[int, int], controls: list[tuple[int, int]], divergence: Float[np.ndarray, "c set"]
) -> Float[np.ndarray, " set"]:
    """Mean same-data divergence over the control pairs that a member of ``pair`` is in."""
    shared = [bool(set(pair) & set(control)) for control in controls]
    return divergence[np.array(shared)].mean(0)


def loss_floor(inputs: dict[str, NoisyInputs], num_seeds: int) -> Measurement:
    """The exact denoiser's loss on each member's own inputs: (member, set)."""
    train = np.repeat(np.asarray(inputs["train"].exact_loss), num_seeds)
    test = np.full_like(train, inputs["test"].exact_loss)
    return Measurement(
        np.stack([train, test], -1),
        ("member", "set"),
        "nats per position",
        "denoising cross-entropy of the exact denoiser on the same noisy inputs",
    )


def own_inputs(inputs: Mapping[str, Inputs], split: Int[Array, ""]) -> tuple[Inputs, Inputs]:
    """A member's inputs per set, in the order of SETS."""
    return jax.tree.map(lambda leaf: leaf[split], inputs["train"]), inputs["test"]


@functools.partial(jax.jit, static_argnames="network")
def _evaluate_members(
    network: Any,
    t: int,
    inputs: dict[str, NoisyInputs],
    params: Any,
    member_split: Int[Array, " member"],
) -> tuple[Float[Array, "member set"], Float[Array, "member set level 2"]]:
    """Losses; divergences from the oracles, and the mass of theirs that the network rules out."""

    def one_set(own: Any, given: NoisyInputs) -> tuple[Array, Array]:
        losses = jax.lax.map(
            lambda pair: denoising_loss(log_probs(network, own, *pair), given.clean).mean(),
            (given.x_loss, given.t_loss),
        )

        def from_oracles(pair: tuple[Array, Array]) -> Array:
            x_t, oracles = pair
            learned = jnp.broadcast_to(log_probs(network, own, x_t, t), oracles.shape)
            both = kl_divergence(oracles, learned), unsupported_mass(oracles, learned)
            return jnp.stack(both, -1).mean(-2)

        divergences = jax.lax.map(from_oracles, (given.x_t, given.oracles))
        return losses.mean(), divergences.mean(0)

    def one_member(member: tuple[Any, Array]) -> tuple[Array, Array]:
        own, split = member
        per_set = [one_set(own, given) for given in own_inputs(inputs, split)]
        losses, divergences = zip(*per_set, strict=True)
        return jnp.stack(losses), jnp.stack(divergences)

    return jax.lax.map(one_member, (params, member_split))


@functools.partial(jax.jit, static_argnames="network")
def _evaluate_pairs(
    network: Any,
    t: int,
    inputs: dict[str, NoisyInputs],
    params: Any,
    member_split: Int[Array, " member"],
    pairs: Int[Array, "pair two"],
) -> Float[Array, "pair set"]:
    def one_set(first: Any, second: Any, given: NoisyInputs) -> Array:
        def one_noise(x_t: Array) -> Array:
            log_p, log_q = (log_probs(network, own, x_t, t) for own in (first, second))
            return kl_divergence(log_p, log_q).mean()

        return jax.lax.map(one_noise, given.x_t).mean()

    def one_pair(pair: Array) -> Array:
        first = jax.tree.map(lambda leaf: leaf[pair[0]], params)
        second = jax.tree.map(lambda leaf: leaf[pair[1]], params)
        per_set = own_inputs(inputs, member_split[pair[0]])
        return jnp.stack([one_set(first, second, given) for given in per_set])

    return jax.lax.map(one_pair, pairs)


def _passes(run: Any, settings: Mapping[str, Any]) -> float:
    own, sizes = settings["evaluation"], (run.num_splits, run.num_seeds)
    pairs = len(split_pairs(*sizes)) + len(same_data_pairs(*sizes))
    noises = num_members(run) * (own.num_loss_noises + own.num_noises) + 2 * pairs * own.num_noises
    return run.num_checkpoints * noises * num_rows(run, own.num_sequences)


STAGES = (Stage("evaluation", EvaluationConfig, plan, passes=_passes),)
