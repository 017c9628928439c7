"""Which networks are compared with which."""

from itertools import chain

import jax
import numpy as np
import pytest

from experiments.configs import RunConfig
from experiments.stages.evaluation import same_data_pairs, split_pairs
from experiments.stages.generation import ComparisonConfig, compare, own_distances
from experiments.worlds import grammar_samples
from experiments.worlds.grammar import WORLD, GrammarConfig
from hiermodel.training.state import TrainingConfig


@pytest.mark.parametrize(("num_splits", "num_seeds"), [(2, 3), (4, 2), (15, 2), (3, 1)])
def test_split_pairs_share_no_network_and_no_data(num_splits, num_seeds):
    pairs = split_pairs(num_splits, num_seeds)
    members = list(chain.from_iterable(pairs))
    assert len(set(members)) == len(members) == 2 * (num_splits // 2) * num_seeds
    assert all(a // num_seeds != b // num_seeds for a, b in pairs)
    assert all(a % num_seeds == b % num_seeds for a, b in pairs)


def test_controls_are_all_pairs_of_seeds_on_the_same_split():
    pairs = same_data_pairs(2, 3)
    assert pairs == [(0, 1), (0, 2), (1, 2), (3, 4), (3, 5), (4, 5)]
    assert same_data_pairs(2, 1) == []


def test_gaps_cancel_over_both_directions_of_a_pair():
    """Samples that depend on no split, all the same: one split lies closer to them than another.

    Over both directions of a pair that is nothing at all, whatever the number of splits.
    """
    rng = np.random.default_rng(0)
    run = RunConfig(GrammarConfig(), None, TrainingConfig(1), num_splits=5, num_seeds=1)
    train = rng.integers(6, size=(5, 8, 16)).astype(np.int8)
    samples = np.broadcast_to(rng.integers(6, size=(1, 20, 16)).astype(np.int8), (5, 20, 16))
    distance = own_distances(run, samples, train)
    gap = compare(run, samples, train, distance)["gap"].values
    settings = ComparisonConfig(num_floor_repeats=1, num_reference=100)
    further = grammar_samples.comparison(WORLD, jax.random.key(0), run, settings, train, 20)
    blocks = further.measure(samples, distance)["block_reproduction"].values
    assert (gap[:4] != 0).any()
    np.testing.assert_allclose(gap[:4].reshape(2, 2).sum(1), 0, atol=1e-12)
    np.testing.assert_allclose(blocks[:4].reshape(2, 2, -1).sum(1), 0, atol=1e-12)
    assert np.isnan(gap[4])  # the fifth split has no partner, so no second direction
    assert np.isnan(blocks[4]).all()
