"""Coarse first, fine late and from the data: what is learned at which level, and from when.

The start of data-dependence at a level is measured by block reproduction: how much more often
generated blocks of that size are found in the own training set than, at the same place, in another
split's. Its expectation is zero as long as samples do not depend on the split, whatever networks
have learned. So it needs neither an oracle nor a reference floor: a permutation test of the splits
says from which checkpoint on it is not zero.

The fraction found at level l is the share of leaves whose surroundings, up to the node of level l
above them, are in the training set; so the excesses of all levels add up to how many levels
further a leaf's surroundings follow the own data than other data, and each level's part in that
sum is its share.
"""

import dataclasses
from collections.abc import Iterator

import jax
import numpy as np
from jaxtyping import Array, Float, Int, Key

from experiments.configs import RunConfig
from experiments.onsets import nearest_epochs
from experiments.runs.data import make_data, run_key
from experiments.stages.evaluation import split_pairs
from experiments.stages.generation import sampled_epochs
from experiments.stages.pipeline import Context, Plan, Recipe, along_checkpoints
from experiments.stages.registry import Stage
from experiments.stages.settings import check_counts
from experiments.store import Measurement, Measurements
from hiermodel.checks import require
from hiermodel.grammar.rules import Grammar
from hiermodel.grammar.sampling import sample_leaves
from hiermodel.grammar.statistics import leaf_pairs
from hiermodel.measures.dependence import corrected_p_values, permuted_block_excess
from hiermodel.measures.features import correlations_by_distance, pair_covariance
from hiermodel.measures.gap_test import permuted_gap
from hiermodel.measures.turns import lasting_onset
from hiermodel.measures.units import disjoint_pairs


@dataclasses.dataclass(frozen=True)
class LevelsConfig:
    """How the start of data-dependence is tested, level by level (science.md#measures).

    Attributes:
        num_permutations: reassignments of the training sequences to their splits.
        significance: corrected p-value at and below which dependence has begun.
    """

    num_permutations: int = 2000
    significance: float = 0.05

    def __post_init__(self):
        check_counts(self, "num_permutations")
        require(0 < self.significance < 1, "significance", self.significance, "in (0, 1)")


Sequences = Int[np.ndarray, "checkpoint member sample leaves"]
Pair = tuple[jax.Array, np.ndarray, np.ndarray, np.ndarray, np.ndarray]

NUM_FLOOR_REPEATS = 20


def plan(context: Context) -> Plan:
    """The stage "levels"."""
    config, settings = context.config, context.own["levels"]
    epochs = sampled_epochs(config, context.own["samples"])

    def prepare() -> Recipe:
        grammar = config.data.build()
        test_key, floor_key = jax.random.split(run_key(config, "levels"))
        sequences = context.load("samples")["sequences"].values
        exact = np.asarray(leaf_pairs(grammar, filter_level=config.data.filter_level).covariance)

        def at_epoch(epoch: int) -> Measurements:
            members = sequences[epochs.index(epoch)]
            errors = np.stack([_correlation_error(grammar, exact, rows) for rows in members])
            about = "root mean square, over pairs of leaves at the tree distance, of the Frobenius "
            about += "norm of (covariance of samples − exact covariance)"
            dims = ("member", "distance")
            return {"correlation_error": Measurement(errors, dims, "probability", about)}

        def finish(joined: Measurements) -> Measurements:
            if config.num_splits == 1:
                return joined
            tau_test = context.onsets()["tau_test"].values
            return {
                **joined,
                **_dependence(test_key, config, settings, grammar, sequences, joined, tau_test),
            }

        floor = _correlation_floor(floor_key, config, grammar, exact, sequences.shape[2])
        return Recipe(at_epoch, {"correlation_floor": floor}, finish)

    return along_checkpoints(epochs, prepare)


def _correlation_error(
    grammar: Grammar, exact: np.ndarray, rows: Int[np.ndarray, "sample leaves"]
) -> Float[np.ndarray, " distance"]:
    difference = pair_covariance(rows, grammar.vocab_size) - exact
    return correlations_by_distance(difference, grammar.branching).frobenius


def _correlation_floor(
    key: Key[Array, ""], config: RunConfig, grammar: Grammar, exact: np.ndarray, size: int
) -> Measurement:
    floor = []
    for repeat in range(NUM_FLOOR_REPEATS):
        block = jax.random.fold_in(key, repeat)
        fresh = sample_leaves(block, grammar, size, filter_level=config.data.filter_level)
        floor.append(_correlation_error(grammar, exact, np.asarray(fresh)))
    about = "correlation_error of fresh data of the same size"
    return Measurement(np.stack(floor), ("repeat", "distance"), "probability", about)


def _dependence(
    key: Key[Array, ""],
    config: RunConfig,
    settings: LevelsConfig,
    grammar: Grammar,
    sequences: Sequences,
    joined: Measurements,
    tau_test: Float[np.ndarray, " member"],
) -> Measurements:
    """Block reproduction by level, with the test of when it begins."""
    epochs = joined["epoch"].values
    observed, permuted = _all_pairs(key, config, settings, grammar, sequences)
    num_levels = grammar.depth + 1
    p_values = np.stack(
        [
            corrected_p_values(observed.mean(1)[:, level], permuted[:, :, level])
            for level in range(num_levels)
        ],
        -1,
    )
    significant = p_values <= settings.significance
    first = np.where(significant.any(0), epochs[significant.argmax(0)], np.inf)
    results: dict[str, Measurement] = {
        "significance": Measurement(
            np.array(settings.significance), (), "probability", "level of the test of onset_epoch"
        ),
        "block_excess": Measurement(
            observed,
            ("checkpoint", "pair", "level"),
            "fraction",
            "blocks of samples found at their place in the own split − in the other, mean over "
            "both directions of the pair",
        ),
        "onset_p": Measurement(
            p_values,
            ("checkpoint", "level"),
            "probability",
            f"that mean block_excess be as large without data-dependence: one-sided test by "
            f"{settings.num_permutations} permutations of the splits, corrected for the number of "
            "checkpoints (maxT)",
        ),
        "onset_epoch": Measurement(
            first,
            ("level",),
            "epochs",
            f"first checkpoint with onset_p ≤ {settings.significance:g}; inf if there is none",
        ),
    }
    results |= _gap_onsets(key, config, settings, sequences, epochs)
    at_test = _at_minimum(config, observed, epochs, joined, tau_test)
    total = at_test.sum(-1, keepdims=True)
    if (total > 0).all():
        results["block_share"] = Measurement(
            at_test / total,
            ("pair", "level"),
            "fraction",
            "share of the level in the sum of block_excess over levels, at the test-loss minimum",
        )
    return results


def _gap_onsets(
    key: Key[Array, ""],
    config: RunConfig,
    settings: LevelsConfig,
    sequences: Sequences,
    epochs: Int[np.ndarray, " checkpoint"],
) -> dict[str, Measurement]:
    """From when on samples lean to their own training set, for every pair of sets by itself."""
    p_values = []
    for pair in _pairs(key, config, sequences):
        gaps = permuted_gap(*pair, num_permutations=settings.num_permutations)
        by_seed = (len(sequences), config.num_seeds)
        observed = gaps.observed.reshape(by_seed).mean(1)
        permuted = gaps.permuted.reshape(-1, *by_seed).mean(2)
        p_values.append(corrected_p_values(observed, permuted))
    p_values = np.stack(p_values, 1)
    onset = np.append(epochs, np.inf)[lasting_onset(p_values.T, settings.significance)]
    about = "that the own–other gap be as large without data-dependence: one-sided test by "
    about += "permutations of the splits, corrected for the number of checkpoints (maxT)"
    when = "first checkpoint from which on gap_p stays small; inf if there is none"
    return {
        "gap_p": Measurement(p_values, ("checkpoint", "pair"), "probability", about),
        "gap_onset": Measurement(onset, ("pair",), "epochs", when),
    }


def _pairs(key: Key[Array, ""], config: RunConfig, sequences: Sequences) -> Iterator[Pair]:
    """A key, the samples of both and the training sets of both, for every pair of splits.

    Samples are those of all checkpoints and seeds of a split, one after the other. Seeds of a split
    share its data, so one way of dealing these out serves all of them.
    """
    train, num_seeds = make_data(config).train, config.num_seeds

    def drawn(split: int) -> Int[np.ndarray, "..."]:
        own = sequences[:, split * num_seeds : (split + 1) * num_seeds]
        return own.reshape(-1, *sequences.shape[2:])

    for pair, (a, b) in enumerate(disjoint_pairs(config.num_splits)):
        yield jax.random.fold_in(key, pair), drawn(a), drawn(b), train[a], train[b]


def _at_minimum(
    config: RunConfig,
    observed: Float[np.ndarray, "checkpoint pair level"],
    epochs: Int[np.ndarray, " checkpoint"],
    joined: Measurements,
    tau_test: Float[np.ndarray, " member"],
) -> Float[np.ndarray, "pair level"]:
    """Each pair's values at the checkpoint nearest to the test-loss minimum of its members."""
    pairs = np.array(split_pairs(config.num_splits, config.num_seeds))
    used = nearest_epochs(joined, np.exp(np.log(tau_test)[pairs].mean(1)))
    return observed[np.searchsorted(epochs, used), np.arange(len(pairs))]


def _all_pairs(
    key: Key[Array, ""],
    config: RunConfig,
    settings: LevelsConfig,
    grammar: Grammar,
    sequences: Sequences,
) -> tuple[
    Float[np.ndarray, "checkpoint pair level"], Float[np.ndarray, "permutation checkpoint level"]
]:
    """Block excess of every pair of members; and, permuted, its mean over all pairs."""
    by_seed = (len(sequences), config.num_seeds, grammar.depth + 1)
    observed = []
    total = np.zeros((settings.num_permutations, len(sequences), grammar.depth + 1))
    for pair in _pairs(key, config, sequences):
        excess = permuted_block_excess(
            *pair, grammar.branching, grammar.depth, num_permutations=settings.num_permutations
        )
        observed.append(excess.observed.reshape(by_seed))
        total += excess.permuted.reshape(-1, *by_seed).mean(2)
    return np.concatenate(observed, 1), total / len(observed)


STAGES = (Stage("levels", LevelsConfig, plan, reads=("evaluation", "samples", "comparison")),)
