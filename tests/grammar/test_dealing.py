"""Tuples that all differ, drawn from few or from very many."""

import jax
import numpy as np
import pytest
from scipy import stats

from hiermodel.grammar import dealing


@pytest.mark.parametrize("num_tuples", [4096, 4096**2])
def test_no_tuple_is_dealt_twice(num_tuples):
    dealt = dealing.deal_tuples(jax.random.key(0), num_tuples, (512, 4))
    assert dealt.shape == (512, 4)
    assert len(np.unique(dealt)) == dealt.size
    assert 0 <= dealt.min() <= dealt.max() < num_tuples
    again = dealing.deal_tuples(jax.random.key(0), num_tuples, (512, 4))
    np.testing.assert_array_equal(dealt, again)


def test_every_choice_is_equally_likely_when_drawn_one_by_one():
    """Ordered pairs out of four; chi-square, false alarms 1 in 1000 for this fixed draw."""
    keys = jax.random.split(jax.random.key(1), 600)
    pairs = [dealing._first_to_differ(key, 4, 2) for key in keys]
    counts = np.bincount([4 * first + second for first, second in pairs], minlength=16)
    assert (counts.reshape(4, 4).diagonal() == 0).all()
    assert stats.chisquare(counts[counts > 0]).pvalue > 1e-3
    assert (counts > 0).sum() == 12
