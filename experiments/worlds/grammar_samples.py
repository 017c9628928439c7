"""What samples are compared with where the law is a grammar: the law itself, and training sets."""

from typing import Any

import jax
import numpy as np
from jaxtyping import Array, Float, Int, Key

from experiments.configs import RunConfig
from experiments.store import Measurement, Measurements
from experiments.worlds.world import Comparison, World
from hiermodel.inference.belief_propagation import log_prob
from hiermodel.measures.neighbour_law import law_histogram, reference_law
from hiermodel.measures.neighbours import distance_histogram, histogram_divergence
from hiermodel.measures.reproduction import block_reproduction
from hiermodel.measures.units import partner_split
from hiermodel.measures.validity import level_validity


def comparison(
    world: World,
    key: Key[Array, ""],
    run: RunConfig,
    settings: Any,
    train: Int[np.ndarray, "split n leaves"],
    count: int,
) -> Comparison:
    """How samples lie to the law, and what they reproduce.

    Args:
        world: the grammars'.
        key: of fresh data.
        run: whose samples they are.
        settings: a ``ComparisonConfig``.
        train: training sets.
        count: samples per network.
    """
    data = run.data
    grammar = data.build()
    law = reference_law(
        jax.random.fold_in(key, 0),
        grammar,
        filter_level=data.filter_level,
        num_fresh=settings.num_reference,
    )
    expected = np.stack([law_histogram(law, own) for own in train])

    def divergence(distances: np.ndarray, law: np.ndarray) -> float:
        return histogram_divergence(distance_histogram(distances, grammar.num_leaves), law)

    def measure(samples: np.ndarray, distance: np.ndarray) -> Measurements:
        log_probs = [log_prob(grammar, rows, filter_level=data.filter_level) for rows in samples]
        derivable = np.stack([np.asarray(each) > -np.inf for each in log_probs])
        split = np.arange(len(samples)) // run.num_seeds
        valid = [level_validity(grammar, rows).by_level.mean(0) for rows in samples]
        found = {
            "neighbour_divergence": [
                divergence(*each) for each in zip(distance, expected[split], strict=True)
            ],
            "neighbour_divergence_derivable": [
                divergence(own[can], law) if can.any() else np.nan
                for own, can, law in zip(distance, derivable, expected[split], strict=True)
            ],
            "derivable": derivable.mean(1),
            "copies": (distance == 0).mean(1),
            "near_copies": (distance <= settings.copy_radius).mean(1),
            "validity": valid,
        }
        if run.num_splits > 1:
            found["block_reproduction"] = [
                _blocks(grammar, rows, train, number)
                for rows, number in zip(samples, split.tolist(), strict=True)
            ]
        return {
            name: Measurement(np.asarray(found[name]), dims, units, definition)
            for name, (dims, units, definition) in _MEASURED.items()
            if name in found
        }

    floors = np.zeros((3, len(train), settings.num_floor_repeats))
    for repeat in range(settings.num_floor_repeats):
        fresh = np.asarray(world.fresh(jax.random.fold_in(key, repeat + 1), run, count))
        for split, own in enumerate(train):
            distance = world.distance(fresh, own)
            copies, near = distance == 0, distance <= settings.copy_radius
            floors[:, split, repeat] = (
                divergence(distance, expected[split]), copies.mean(), near.mean()
            )  # fmt: skip
    constant = {
        name: Measurement(values, ("split", "repeat"), units, definition)
        for values, (name, (units, definition)) in zip(floors, _FLOORS.items(), strict=True)
    }
    return Comparison(measure, constant)


def _blocks(
    grammar: Any,
    samples: Int[np.ndarray, "sample leaves"],
    train: Int[np.ndarray, "split n leaves"],
    split: int,
) -> Float[np.ndarray, " level"]:
    partner = partner_split(split, len(train))
    if partner is None:  # without both directions there is nothing to say
        return np.full(grammar.depth + 1, np.nan)
    own, other = train[split], train[partner]
    return block_reproduction(samples, own, other, grammar.branching, grammar.depth).mean(0)


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

_FLOORS = {
    "neighbour_floor": (
        "nats",
        "nearest-neighbour divergence of as many fresh sequences from the law",
    ),
    "copies_fresh": ("fraction", "fresh sequences that are training sequences"),
    "near_copies_fresh": ("fraction", "fresh sequences within the copy radius of one"),
}
