"""A turn must be confirmed by other units; an onset lasts. Corrections for several claims."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hiermodel.measures.multiplicity import holm, p_value_of_units
from hiermodel.measures.turns import lasting_onset, rise_after_turn
from hiermodel.measures.units import CONTRADICTED, NOT_SHOWN, SHOWN, decide

TIMES = np.geomspace(10, 1000, 15)


def test_noise_alone_shows_no_rise_where_the_naive_statistic_does():
    """False alarms of the two-sided 95 % test: mean over 400 repeats within 4 standard errors."""
    rng = np.random.default_rng(0)
    curves = rng.normal(size=(400, 8, len(TIMES)))
    crossed = np.array([rise_after_turn(TIMES, each).mean() for each in curves])
    naive = np.array([(c[:, -3:].mean(1) - c.min(1)).mean() for c in curves])
    assert abs(crossed.mean()) < 4 * crossed.std() / 20
    assert naive.mean() > 20 * naive.std() / 20


def test_a_turn_is_found_with_its_size():
    log = np.log(TIMES / 100)
    rises = rise_after_turn(TIMES, np.tile(log**2, (6, 1)), num_last=1)
    np.testing.assert_allclose(rises, log[-1] ** 2, atol=0.02)
    falling = rise_after_turn(TIMES, np.tile(-log, (6, 1)))
    assert (falling <= 0).all()


def test_an_onset_must_last():
    p = np.array([[1, 0.01, 0.2, 0.01, 0.01], [0.01] * 5, [0.01, 0.01, 0.01, 0.01, 0.9]])
    np.testing.assert_array_equal(lasting_onset(p), [3, 0, 5])


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_holm_by_its_definition(p):
    found = holm(np.array(p))
    order = np.argsort(p, kind="stable")
    for rank, claim in enumerate(order):
        steps = [(len(p) - earlier) * p[order[earlier]] for earlier in range(rank + 1)]
        assert found[claim] == pytest.approx(min(1, max(steps)))
    assert (found >= np.array(p) - 1e-15).all()


@given(st.integers(0, 2**32 - 1), st.sampled_from([0.0, 1.0, -3.0]))
def test_p_values_are_where_the_verdict_changes(seed, mean):
    values = mean + np.random.default_rng(seed).normal(size=6)
    p = p_value_of_units(values)
    decided = (SHOWN, CONTRADICTED)
    if p < 0.99:
        assert decide(values, level=1 - p * 1.01) in decided
    if p > 1e-11:
        assert decide(values, level=1 - p * 0.99) == NOT_SHOWN


def test_bad_input():
    with pytest.raises(ValueError, match="p_values"):
        holm(np.array([0.5, 2.0]))
    with pytest.raises(ValueError, match="curves"):
        rise_after_turn(TIMES, np.zeros((1, len(TIMES))))
    with pytest.raises(ValueError, match="significance"):
        lasting_onset(np.array([0.5]), 0.0)
