"""Which networks are compared with which."""

from itertools import chain

import pytest

from experiments.stages.evaluation import same_data_pairs, split_pairs
from experiments.stages.generation import partner_split


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


def test_each_split_is_once_own_and_once_other():
    for num_splits in (2, 3, 15):
        partners = [partner_split(split, num_splits) for split in range(num_splits)]
        assert sorted(partners) == list(range(num_splits))
        assert all(partner != split for split, partner in enumerate(partners))
