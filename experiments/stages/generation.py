"""Samples of every network along training, compared with each other, their data and the law."""

import dataclasses
import functools
import itertools
from typing import Any

import jax
import numpy as np
from jaxtyping import Array, Key, Num

from experiments.configs import RunConfig
from experiments.runs.data import data_as_drawn, epochs_of, run_key
from experiments.runs.members import checkpoints_of
from experiments.stages.denoising import map_over_devices
from experiments.stages.evaluation import same_data_pairs, split_pairs
from experiments.stages.pipeline import Context, Plan, Recipe, along_checkpoints
from experiments.stages.registry import Stage, any_world
from experiments.stages.settings import check_counts, sampling_passes
from experiments.store import Measurement, Measurements
from experiments.worlds.registry import world_of
from hiermodel.checks import require
from hiermodel.diffusion.samplers import sample_ancestral
from hiermodel.diffusion.schedule import Schedule
from hiermodel.measures.spread import gap_of_sets
from hiermodel.measures.units import by_training_set, partner_split


@dataclasses.dataclass(frozen=True)
class SamplesConfig:
    """How samples are drawn at a checkpoint.

    Attributes:
        num_samples: examples per member and checkpoint; x_T and step noise are shared by all.
        every: 2 samples every second checkpoint, counted back from the last; 1 all of them.
    """

    num_samples: int = 50_000
    every: int = 1

    def __post_init__(self):
        check_counts(self, "num_samples", "every")


@dataclasses.dataclass(frozen=True)
class ComparisonConfig:
    """How samples are compared with training sets and with fresh data.

    Attributes:
        num_floor_repeats: repetitions of the finite-sample floor, where fresh data can be drawn.
        copy_radius: Hamming distance up to which a sample counts as a near-copy.
        num_reference: fresh sequences that stand for the law in the nearest-neighbour divergence,
            where it has too many sequences to list.
        memorised_below: a sample of real numbers whose distance to the nearest training example is
            below this share of that to the second nearest counts as memorised.
    """

    num_floor_repeats: int = 20
    copy_radius: int = 1
    num_reference: int = 1_000_000
    memorised_below: float = 1 / 3

    def __post_init__(self):
        check_counts(self, "num_floor_repeats", "num_reference")
        share = self.memorised_below
        require(bool(0 < share < 1), "memorised_below", share, "above 0 and below 1")


MAX_BATCH = 2048
"""Examples denoised at once."""


def sampled_epochs(config: RunConfig, settings: SamplesConfig) -> list[int]:
    """The checkpoints that are sampled, the last among them."""
    return epochs_of(config)[:: -settings.every][::-1]


def plan_samples(context: Context) -> Plan:
    """The stage "samples": examples of every member at every sampled checkpoint."""
    config, settings = context.config, context.own["samples"]
    world = world_of(config)
    dims, about = ("member", "sample", *world.axes), f"generated {world.examples}"

    def prepare() -> Recipe:
        checkpoints = checkpoints_of(config, context.run)
        key = run_key(config, "samples")

        def at_epoch(epoch: int) -> Measurements:
            drawn = generate(key, config, checkpoints.load_params(epoch), settings.num_samples)
            return {world.examples: Measurement(drawn, dims, world.units["value"], about)}

        return Recipe(at_epoch)

    return along_checkpoints(sampled_epochs(config, settings), prepare)


def samples_of(context: Context) -> np.ndarray:
    """What the stage "samples" has drawn: (checkpoint, member, sample, ...)."""
    return context.load("samples")[world_of(context.config).examples].values


def plan_comparison(context: Context) -> Plan:
    """The stage "comparison": samples against each other, training sets and fresh data."""
    config, settings = context.config, context.own["comparison"]
    epochs = sampled_epochs(config, context.own["samples"])

    def prepare() -> Recipe:
        splits, samples = data_as_drawn(config), samples_of(context)
        key = run_key(config, "fresh")
        further = world_of(config).comparison(key, config, settings, splits, samples.shape[2])

        def at_epoch(epoch: int) -> Measurements:
            drawn = samples[epochs.index(epoch)]
            distance = own_distances(config, drawn, splits.train)
            compared = compare(config, drawn, splits.train, distance)
            return {**compared, **further.measure(drawn, distance)}

        return Recipe(at_epoch, further.constant)

    return along_checkpoints(epochs, prepare)


def generate(
    key: Key[Array, ""], config: RunConfig, params: Any, num_samples: int
) -> Num[np.ndarray, "member sample ..."]:
    """Examples from every member, all from the same x_T and step noise."""
    world, blocks = world_of(config), []
    params = jax.device_put(params)  # once for all blocks
    for start in range(0, num_samples, MAX_BATCH):
        size = min(MAX_BATCH, num_samples - start)
        own = jax.random.fold_in(key, start)
        drawn = _generate_block(own, config.network, config.schedule, params, size)
        blocks.append(np.asarray(drawn, world.dtype(config.data)))
    return np.concatenate(blocks, axis=1)


@functools.partial(jax.jit, static_argnames=("network", "size"))
def _generate_block(
    key: Key[Array, ""], network: Any, schedule: Schedule, params: Any, size: int
) -> Num[Array, "member sample ..."]:
    def one_member(own: Any) -> Array:
        denoiser = network.target.denoiser(network, own, schedule)
        return sample_ancestral(key, denoiser, schedule, size)

    return map_over_devices(one_member, params)


def sample_pairs(num_splits: int, num_seeds: int) -> list[tuple[int, int]]:
    """All pairs of members with the same seed on disjoint splits; those of split_pairs first."""
    first = split_pairs(num_splits, num_seeds)
    everything = [
        (a * num_seeds + seed, b * num_seeds + seed)
        for a, b in itertools.combinations(range(num_splits), 2)
        for seed in range(num_seeds)
    ]
    return first + [pair for pair in everything if pair not in first]


def own_distances(
    config: RunConfig,
    samples: Num[np.ndarray, "member sample ..."],
    train: Num[np.ndarray, "split n ..."],
) -> Num[np.ndarray, "member sample"]:
    """Distance of every sample to the nearest example of its network's own training set."""
    distance = world_of(config).distance
    return np.stack(
        [distance(rows, train[member // config.num_seeds]) for member, rows in enumerate(samples)]
    )


def compare(
    config: RunConfig,
    samples: Num[np.ndarray, "member sample ..."],
    train: Num[np.ndarray, "split n ..."],
    distance: Num[np.ndarray, "member sample"],
) -> Measurements:
    """How one checkpoint's samples lie to each other, to their training set and to another.

    Args:
        config: the run.
        samples: of all members, the i-th of each from the same noise.
        train: training sets.
        distance: from :func:`own_distances`.
    """
    world, (num_splits, num_seeds) = world_of(config), (config.num_splits, config.num_seeds)

    def gap(member: int, rows: np.ndarray) -> float:
        partner = partner_split(member // num_seeds, num_splits)
        if partner is None:  # a last odd one has none
            return np.nan
        return np.mean(world.distance(rows, train[partner]) - distance[member])

    units, what = world.units, world.about["dissimilarity"]
    nearest = "mean over samples of the distance to the nearest example of the training set"
    found = {
        "nearest_distance": Measurement(distance.mean(1), ("member",), units["distance"], nearest)
    }
    if num_splits > 1:
        to_sets = [[world.distance(rows, own).mean() for own in train] for rows in samples]
        of_sets = gap_of_sets(by_training_set(np.array(to_sets), num_splits))
        about = "mean over samples of distance to the nearest example of another training set − of "
        about += "their own, both directions; pseudo-values of the mean over all pairs of sets"
        found["gap_of_sets"] = Measurement(of_sets, ("split",), units["distance"], about)
        gaps = np.array([gap(member, rows) for member, rows in enumerate(samples)])
        about = "mean over samples of distance to the nearest example of the other split of its "
        about += "pair − of its own; NaN for a last odd split"
        found["gap"] = Measurement(gaps, ("member",), units["distance"], about)
    for name, pairs, where in (
        ("dissimilarity", sample_pairs(num_splits, num_seeds), "disjoint splits, all pairs"),
        (
            "same_data",
            same_data_pairs(num_splits, num_seeds),
            "the same split from different seeds",
        ),
    ):
        if pairs:
            values = [world.dissimilarity(samples[a], samples[b]).mean() for a, b in pairs]
            about = f"{what}, of paired samples of networks on {where}"
            found[name] = Measurement(np.array(values), ("pair",), units["dissimilarity"], about)
    return found


STAGES = (
    Stage("samples", SamplesConfig, plan_samples, measures=any_world, passes=sampling_passes),
    Stage("comparison", ComparisonConfig, plan_comparison, reads=("samples",), measures=any_world),
)
