"""What the stopping advisor would have said along a finished training, and what it looks at."""

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Num

from experiments.configs import RunConfig
from experiments.runs.data import data_as_drawn, run_key
from experiments.runs.members import checkpoints_of
from experiments.stages.denoising import denoisers_of
from experiments.stages.evaluation import split_pairs
from experiments.stages.generation import sampled_epochs, samples_of
from experiments.stages.pipeline import Context, Plan, Recipe, along_checkpoints
from experiments.stages.registry import Stage, any_world
from experiments.stages.settings import (
    check_counts,
    check_relative_times,
    num_members,
    num_sampled,
    step_at,
)
from experiments.store import Measurement, Measurements, trained_checkpoints
from experiments.worlds.registry import world_of
from experiments.worlds.world import Splits, World
from hiermodel.checks import require
from hiermodel.diffusion.corruption import add_noise
from hiermodel.measures.advisor import Advice, advise_stop
from hiermodel.measures.gap_test import permuted_gap
from hiermodel.measures.loss import stratified_steps
from hiermodel.measures.membership import attack_losses
from hiermodel.measures.neighbours import (
    distance_histogram,
    histogram_divergence,
    nearest_neighbours,
)


@dataclasses.dataclass(frozen=True)
class AdviceConfig:
    """What the stopping advisor looks at, at every checkpoint that is sampled.

    Attributes:
        num_examples: test examples for the loss and for the divergence between networks.
        num_noises: noises per example, for each.
        relative_time: t/T of the divergence.
        num_batches: batches of samples, for the nearest-neighbour divergence.
        tolerated_gap: own–other gap, in the units of distances, that is no cause for alarm.
        false_alarm: rate allowed over all looks.
        num_permutations: rows of chance.
    """

    num_examples: int = 3000
    num_noises: int = 4
    relative_time: float = 0.15
    num_batches: int = 20
    tolerated_gap: float = 0.0
    false_alarm: float = 0.05
    num_permutations: int = 2000

    def __post_init__(self):
        check_counts(self, "num_examples", "num_noises", "num_batches", "num_permutations")
        check_relative_times(self.relative_time)


SIGNALS = ("test loss", "own–other gap", "split divergence", "nearest-neighbour divergence")
"""In the order of the advisor's evidence; only sequences of a grammar have the last."""


def plan(context: Context) -> Plan:
    """The stage "advice"."""
    config, settings = context.config, context.own["advice"]
    require(config.num_splits > 1, "num_splits", config.num_splits, "at least 2 for advice")
    epochs = sampled_epochs(config, context.own["samples"])

    def prepare() -> Recipe:
        checkpoints = checkpoints_of(config, context.run)
        drawn, splits = samples_of(context), data_as_drawn(config)

        def at_epoch(epoch: int) -> Measurements:
            samples = drawn[epochs.index(epoch)]
            return look(config, settings, splits, checkpoints.load_params(epoch), samples)

        def finish(joined: Measurements) -> Measurements:
            return with_advice(config, settings, splits, joined, drawn)

        return Recipe(at_epoch, finish=finish)

    return along_checkpoints(epochs, prepare)


def with_advice(
    config: RunConfig,
    settings: AdviceConfig,
    splits: Splits,
    joined: Measurements,
    drawn: Num[np.ndarray, "checkpoint member sample ..."],
) -> Measurements:
    """What was looked at along all checkpoints ("epoch" says which), and what the advisor says."""
    trained, epochs = trained_checkpoints(joined)
    looks = {name: each.values[trained] for name, each in joined.items()}
    samples = drawn[trained]
    advised = advise(config, settings, splits, looks, samples, len(epochs))
    return {**joined, **_recorded(advised), **_control(config, settings, splits, epochs, samples)}


def _control(
    config: RunConfig,
    settings: AdviceConfig,
    splits: Splits,
    epochs: Int[np.ndarray, " look"],
    samples: Num[np.ndarray, "look member sample ..."],
) -> dict[str, Measurement]:
    """Alarms that can only be false: gaps to two sets that no network was trained on.

    Two networks of the same training set each pretend to have been trained on one of them.
    """
    size = config.split_size
    if config.num_seeds < 2 or len(splits.test) < 2 * size:
        return {}
    unseen = splits.unseen
    if len(unseen) < 2 * size:
        return {}
    key, alarms = jax.random.fold_in(run_key(config, "advice"), 2), []
    for split in range(config.num_splits):
        first = split * config.num_seeds
        gap = permuted_gap(
            jax.random.fold_in(key, split),
            samples[:, first],
            samples[:, first + 1],
            unseen[:size],
            unseen[size : 2 * size],
            num_permutations=settings.num_permutations,
            metric=world_of(config).metric,
        )
        advice = advise_stop(
            key, epochs, np.zeros((len(epochs), 2)), gap=gap, num_looks=len(epochs),
            false_alarm=settings.false_alarm, tolerated_gap=settings.tolerated_gap,
        )  # fmt: skip
        alarm = advice.evidence[1].alarm
        alarms.append(np.inf if alarm is None else alarm)
    about = "first alarm of the gap to two sets that were not trained on; inf if there was none"
    return {"control_alarm": Measurement(np.array(alarms), ("split",), "epochs", about)}


def look(
    config: RunConfig,
    settings: AdviceConfig,
    splits: Splits,
    params: Any,
    samples: Num[np.ndarray, "member sample ..."],
) -> dict[str, Measurement]:
    """What the advisor sees of one checkpoint, besides the samples: units of every signal.

    Nothing here comes from an oracle but fresh sequences, for which any held-out set would do.
    """
    step_key, loss_key, noise_key = jax.random.split(run_key(config, "advice"), 3)
    schedule, world = config.schedule, world_of(config)
    clean = splits.test[: settings.num_examples]
    steps = stratified_steps(step_key, schedule.num_steps, settings.num_noises)
    losses = [
        attack_losses(loss_key, network, schedule, clean, steps)
        for network in denoisers_of(config, params)
    ]
    x_0 = world.clean(config.data, clean)
    t = step_at(settings.relative_time, schedule)
    repeated = jnp.broadcast_to(x_0, (settings.num_noises, *x_0.shape))
    x_t = add_noise(noise_key, schedule, repeated, t)
    pairs = jnp.array(split_pairs(config.num_splits, config.num_seeds))
    divergence = np.asarray(_pair_divergence(world, config.network, params, pairs, x_t, t))
    found = {
        "test_loss": Measurement(
            np.stack(losses), ("member", "example"), world.units["loss"], "denoising loss on test"
        ),
        "split_divergence": Measurement(
            divergence,
            ("pair", "example"),
            world.units["divergence"],
            f"{world.about['divergence']}, A and B trained on disjoint splits, on test",
        ),
    }
    if world.grammar is None:
        return found
    batches = _batch_divergences(config, settings, splits, samples)
    about = "nearest-neighbour divergence of batches"
    of_batches = Measurement(batches, ("member", "batch"), "nats", about)
    return {**found, "neighbour_divergence": of_batches}


@functools.partial(jax.jit, static_argnames=("world", "network"))
def _pair_divergence(
    world: World,
    network: Any,
    params: Any,
    pairs: Int[Array, "pair two"],
    x_t: Float[Array, "noises n _ _"],
    t: int,
) -> Float[Array, "pair n"]:
    def one_pair(pair: Array) -> Array:
        both = [
            jax.tree.map(lambda leaf, place=place: leaf[pair[place]], params) for place in (0, 1)
        ]

        def one_noise(noisy: Array) -> Array:
            return world.divergence(
                *(world.prediction(network, own, noisy, jnp.asarray(t)) for own in both)
            )

        return jax.lax.map(one_noise, x_t).mean(0)

    return jax.lax.map(one_pair, pairs)


def _batch_divergences(
    config: RunConfig,
    settings: AdviceConfig,
    splits: Splits,
    samples: Int[np.ndarray, "member sample leaves"],
) -> Float[np.ndarray, "member batch"]:
    """Each batch of samples against fresh sequences, as they lie about the own training set."""
    num_leaves = samples.shape[-1]

    def counts(rows: np.ndarray, own: np.ndarray) -> np.ndarray:
        return distance_histogram(nearest_neighbours(rows, own).distance, num_leaves)

    fresh = np.asarray(world_of(config).fresh(run_key(config, "fresh"), config, samples.shape[1]))
    divergences = []
    for split, own in enumerate(splits.train):
        expected = counts(fresh, own)
        for generated in samples[split * config.num_seeds : (split + 1) * config.num_seeds]:
            batches = np.array_split(generated, settings.num_batches)
            divergences.append([histogram_divergence(counts(b, own), expected) for b in batches])
    return np.array(divergences)


def advise(
    config: RunConfig,
    settings: AdviceConfig,
    splits: Splits,
    looks: Mapping[str, np.ndarray],
    samples: Num[np.ndarray, "look member sample ..."],
    num_looks: int,
) -> list[Advice]:
    """The advice on each pair of networks of disjoint splits, after the looks there are.

    Args:
        config: the run.
        settings: of the advisor.
        splits: the training sets.
        looks: what :func:`look` gave, by name, with a leading axis of looks; and "epoch". The
            nearest-neighbour divergence may be missing.
        samples: of every look.
        num_looks: planned.
    """
    neighbours = looks.get("neighbour_divergence")
    gap_key, key = jax.random.split(jax.random.fold_in(run_key(config, "advice"), 1))
    advice = []
    for number, (a, b) in enumerate(split_pairs(config.num_splits, config.num_seeds)):
        both = [a, b]
        gap = permuted_gap(
            jax.random.fold_in(gap_key, number),
            samples[:, a],
            samples[:, b],
            splits.train[a // config.num_seeds],
            splits.train[b // config.num_seeds],
            num_permutations=settings.num_permutations,
            metric=world_of(config).metric,
        )
        advice.append(
            advise_stop(
                jax.random.fold_in(key, number),
                looks["epoch"],
                looks["test_loss"][:, both].mean(1),
                gap=gap,
                split_divergence=looks["split_divergence"][:, number],
                neighbour_divergence=None if neighbours is None else neighbours[:, both].mean(1),
                tolerated_gap=settings.tolerated_gap,
                false_alarm=settings.false_alarm,
                num_looks=num_looks,
                num_permutations=settings.num_permutations,
            )
        )
    return advice


def _recorded(advice: Sequence[Advice]) -> dict[str, Measurement]:
    """Advice as numbers; inf where there was no alarm."""

    def times(name: str) -> np.ndarray:
        values = [[getattr(e, name) for e in each.evidence] for each in advice]
        return np.array([[np.inf if v is None else v for v in row] for row in values])

    curves = [[e.curve for e in each.evidence] for each in advice]
    alarm, since = times("alarm"), times("since")
    biased = alarm[:, 1:].min(1)
    results = {
        "alarm": Measurement(alarm, ("pair", "signal"), "epochs", f"first alarm of {SIGNALS}"),
        "since": Measurement(
            since, ("pair", "signal"), "epochs", f"since when, as found at the alarm of {SIGNALS}"
        ),
        "stop_epoch": Measurement(
            biased, ("pair",), "epochs", "first alarm of bias; inf if there was none"
        ),
    }
    for end in ("estimate", "low", "high"):
        values = [[np.asarray(getattr(curve, end)) for curve in row] for row in curves]
        results[f"curve_{end}"] = Measurement(
            np.moveaxis(np.array(values), -1, 0),
            ("look", "pair", "signal"),
            "of the signal",
            f"{end} of {SIGNALS}; the interval of the gap is that of permutations",
        )
    return results


def _passes(run: Any, settings: Mapping[str, Any]) -> float:
    own = settings["advice"]
    per_network = 2.0 * min(own.num_examples, run.test_size) * own.num_noises
    return num_sampled(run, settings) * num_members(run) * per_network


STAGES = (
    Stage("advice", AdviceConfig, plan, reads=("samples",), measures=any_world, passes=_passes),
)
