"""Samples of every network along training, compared with its data and with fresh data."""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jaxtyping import Array, Bool, Float, Int, Key

from experiments.spread import map_over_devices
from experiments.stages.pipeline import Context, Plan, Recipe, along_checkpoints
from experiments.stages.registry import Stage
from experiments.stages.settings import check_counts, sampling_passes
from experiments.store import Measurement, Measurements
from experiments.train import (
    AnyRunConfig,
    checkpoints_of,
    epochs_of,
    make_data,
    run_key,
)
from hiermodel.diffusion.samplers import sample_ancestral
from hiermodel.diffusion.schedule import Schedule
from hiermodel.grammar.rules import Grammar, symbol_dtype
from hiermodel.grammar.sampling import sample_leaves
from hiermodel.inference.belief_propagation import log_prob
from hiermodel.measures.neighbour_law import law_histogram, reference_law
from hiermodel.measures.neighbours import (
    distance_histogram,
    histogram_divergence,
    nearest_neighbours,
)
from hiermodel.measures.reproduction import block_reproduction
from hiermodel.measures.units import partner_split
from hiermodel.measures.validity import level_validity
from hiermodel.networks.learned import learned_denoiser


@dataclasses.dataclass(frozen=True)
class SamplesConfig:
    """How samples are drawn at a checkpoint.

    Attributes:
        num_samples: sequences per member and checkpoint; x_T and step noise are shared by all.
        every: one out of so many checkpoints is sampled, counted back from the last.
    """

    num_samples: int = 50_000
    every: int = 1

    def __post_init__(self):
        check_counts(self, "num_samples", "every")


@dataclasses.dataclass(frozen=True)
class ComparisonConfig:
    """How samples are compared with training sets and with fresh data.

    Attributes:
        num_floor_repeats: repetitions of the finite-sample floor.
        copy_radius: Hamming distance up to which a sample counts as a near-copy.
        num_reference: fresh sequences that stand for the law in the nearest-neighbour divergence,
            where it has too many sequences to list.
    """

    num_floor_repeats: int = 20
    copy_radius: int = 1
    num_reference: int = 1_000_000

    def __post_init__(self):
        check_counts(self, "num_floor_repeats", "num_reference")


MAX_BATCH = 2048
"""Sequences denoised at once; samples do not depend on it, since each has its own key."""


def sampled_epochs(config: AnyRunConfig, settings: Any) -> list[int]:
    """Every so many checkpoints, so that the last is among them."""
    return epochs_of(config)[:: -settings.every][::-1]


def plan_samples(context: Context) -> Plan:
    """The stage "samples": sequences of every member at every sampled checkpoint."""
    axes = ("leaf",)
    return plan_drawing(context, generate, "sequences", axes, "symbol", "generated sequences")


def plan_drawing(
    context: Context,
    draw: Callable[..., np.ndarray],
    name: str,
    axes: tuple[str, ...],
    units: str,
    definition: str,
) -> Plan:
    """A stage of samples of every member at every sampled checkpoint.

    Args:
        context: the run.
        draw: as :func:`generate`.
        name: of the measurement.
        axes: of one sample.
        units: of the measurement.
        definition: of the measurement.
    """
    config, settings = context.config, context.own["samples"]

    def prepare() -> Recipe:
        checkpoints = checkpoints_of(config, context.run)
        key = run_key(config, "samples")

        def at_epoch(epoch: int) -> Measurements:
            params = checkpoints.load_params(epoch)
            drawn = draw(key, config.network, config.schedule, params, settings.num_samples)
            return {name: Measurement(drawn, ("member", "sample", *axes), units, definition)}

        return Recipe(at_epoch)

    return along_checkpoints(sampled_epochs(config, settings), prepare)


def plan_comparison(context: Context) -> Plan:
    """The stage "comparison": the samples against their training set, another, and fresh data."""
    config, settings = context.config, context.own["comparison"]
    epochs = sampled_epochs(config, context.own["samples"])

    def prepare() -> Recipe:
        grammar = config.grammar.build()
        train = make_data(config).train
        sequences = context.load("samples")["sequences"].values
        key = run_key(config, "fresh")
        expected, constant = references(
            key, grammar, settings, train, config.filter_level, sequences.shape[2]
        )

        def at_epoch(epoch: int) -> Measurements:
            drawn = sequences[epochs.index(epoch)]
            derivable = are_derivable(grammar, drawn, config.filter_level)
            return compare(grammar, settings, drawn, derivable, train, expected, config.num_seeds)

        return Recipe(at_epoch, constant)

    return along_checkpoints(epochs, prepare)


def generate(
    key: Key[Array, ""],
    network: Any,
    schedule: Schedule,
    params: Any,
    num_samples: int,
) -> Int[np.ndarray, "member sample leaves"]:
    """Sequences from every member, all from the same x_T and step noise."""
    return in_blocks(
        lambda own, size: _generate_block(own, network, schedule, params, size),
        key,
        num_samples,
        MAX_BATCH,
    )


def in_blocks(
    draw: Callable[[Key[Array, ""], int], Array],
    key: Key[Array, ""],
    num_samples: int,
    most: int,
) -> np.ndarray:
    """Samples (member, sample, …) of ``draw(key, size)``, ``most`` at a time."""
    starts = range(0, num_samples, most)
    blocks = [
        np.asarray(draw(jax.random.fold_in(key, start), min(most, num_samples - start)))
        for start in starts
    ]
    return np.concatenate(blocks, axis=1)


@functools.partial(jax.jit, static_argnames=("network", "size"))
def _generate_block(
    key: Key[Array, ""], network: Any, schedule: Schedule, params: Any, size: int
) -> Int[Array, "member sample leaves"]:
    def one_member(own: Any) -> Array:
        denoiser = learned_denoiser(network, own, schedule)
        return sample_ancestral(key, denoiser, schedule, size).astype(
            symbol_dtype(network.vocab_size)
        )

    return map_over_devices(one_member, params)


def compare(
    grammar: Grammar,
    settings: ComparisonConfig,
    samples: Int[np.ndarray, "member sample leaves"],
    derivable: Bool[np.ndarray, "member sample"],
    train: Int[np.ndarray, "split n leaves"],
    expected: Float[np.ndarray, "split bins"],
    num_seeds: int,
) -> Measurements:
    """How one checkpoint's samples lie to their training set, to another one, to the law.

    ``expected`` comes from :func:`references`, ``derivable`` from :func:`are_derivable`.
    """
    num_splits, num_leaves = len(train), train.shape[-1]
    rows: dict[str, list[Any]] = {name: [] for name in _MEASURED}
    for member, generated in enumerate(samples):
        split = member // num_seeds
        own, partner = train[split], partner_split(split, num_splits)
        distance = _distances(generated, own)
        counts = distance_histogram(distance, num_leaves)
        rows["neighbour_divergence"].append(histogram_divergence(counts, expected[split]))
        possible = distance_histogram(distance[derivable[member]], num_leaves)
        rows["neighbour_divergence_derivable"].append(
            histogram_divergence(possible, expected[split]) if possible.any() else np.nan
        )
        rows["derivable"].append(np.mean(derivable[member]))
        rows["copies"].append(np.mean(distance == 0))
        rows["near_copies"].append(np.mean(distance <= settings.copy_radius))
        rows["validity"].append(np.mean(level_validity(grammar, generated).by_level, 0))
        if num_splits == 1:
            continue
        if partner is None:  # without both directions there is nothing to say
            rows["gap"].append(np.nan)
            rows["block_reproduction"].append(np.full(grammar.depth + 1, np.nan))
            continue
        other = train[partner]
        rows["gap"].append(np.mean(_distances(generated, other) - distance))
        found_more = block_reproduction(generated, own, other, grammar.branching, grammar.depth)
        rows["block_reproduction"].append(np.mean(found_more, 0))
    return {
        name: Measurement(np.asarray(values), dims, units, definition)
        for name, values in rows.items()
        if values
        for dims, units, definition in [_MEASURED[name]]
    }


_MEASURED = {
    "neighbour_divergence": (
        ("member",),
        "nats",
        "KL(distances of samples to their nearest training sequence ‖ same for the law)",
    ),
    "neighbour_divergence_derivable": (
        ("member",),
        "nats",
        "the same of derivable samples alone; nan if there are none",
    ),
    "derivable": (("member",), "fraction", "samples that the law of the data can yield"),
    "gap": (
        ("member",),
        "symbols",
        "mean over samples of distance to the nearest sequence of the other split of its pair − of "
        "its own; NaN for a last odd split",
    ),
    "copies": (("member",), "fraction", "samples that are training sequences"),
    "near_copies": (("member",), "fraction", "samples within the copy radius of one"),
    "block_reproduction": (
        ("member", "level"),
        "fraction",
        "blocks under a node of the level found at that place in the own split − in the other of "
        "its pair; NaN for a last odd split",
    ),
    "validity": (("member", "level"), "fraction", "nodes of the level that are derivable"),
}


def references(
    key: Key[Array, ""],
    grammar: Grammar,
    settings: ComparisonConfig,
    train: Int[np.ndarray, "split n leaves"],
    filter_level: int,
    num_samples: int,
) -> tuple[Float[np.ndarray, "split bins"], Measurements]:
    """What the law gives, to compare samples with.

    Returns:
        Its histogram of distances to each split; and the floor of the nearest-neighbour divergence
        and the copies, both (split, repeat), found in data that knows nothing of the splits.
    """
    num_leaves = train.shape[-1]

    def draw(index: int) -> np.ndarray:
        block = jax.random.fold_in(key, index)
        leaves = sample_leaves(block, grammar, num_samples, filter_level=filter_level)
        return np.asarray(leaves, symbol_dtype(grammar.vocab_size))

    law_key = jax.random.fold_in(key, 0)
    law = reference_law(
        law_key, grammar, filter_level=filter_level, num_fresh=settings.num_reference
    )
    expected = np.stack([law_histogram(law, own) for own in train])
    floor = np.zeros((len(train), settings.num_floor_repeats))
    copies = np.zeros_like(floor)
    near_copies = np.zeros_like(floor)
    for repeat in range(settings.num_floor_repeats):
        again = draw(repeat + 1)
        for split, own in enumerate(train):
            distance = _distances(again, own)
            divergence = histogram_divergence(
                distance_histogram(distance, num_leaves), expected[split]
            )
            floor[split, repeat] = divergence
            copies[split, repeat] = np.mean(distance == 0)
            near_copies[split, repeat] = np.mean(distance <= settings.copy_radius)
    dims = ("split", "repeat")
    return expected, {
        "neighbour_floor": Measurement(
            floor,
            dims,
            "nats",
            "nearest-neighbour divergence of as many fresh sequences from the law",
        ),
        "copies_fresh": Measurement(
            copies, dims, "fraction", "fresh sequences that are training sequences"
        ),
        "near_copies_fresh": Measurement(
            near_copies, dims, "fraction", "fresh sequences within the copy radius of one"
        ),
    }


def are_derivable(
    grammar: Grammar, samples: Int[np.ndarray, "member sample leaves"], filter_level: int
) -> Bool[np.ndarray, "member sample"]:
    """Which samples the law of the data can yield."""
    found = [log_prob(grammar, rows, filter_level=filter_level) for rows in samples]
    return np.stack([np.asarray(each) > -np.inf for each in found])


def _distances(
    sequences: Int[np.ndarray, "sample leaves"], train: Int[np.ndarray, "n leaves"]
) -> Int[np.ndarray, " sample"]:
    return np.asarray(nearest_neighbours(sequences, train).distance)


STAGES = (
    Stage("samples", SamplesConfig, plan_samples, passes=sampling_passes),
    Stage("comparison", ComparisonConfig, plan_comparison, reads=("samples",)),
)
