"""Intervals and tests: closed forms, and how often they are right."""

import itertools

import jax
import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from hiermodel.measures import Interval, proportion_interval, student_interval
from hiermodel.measures.uncertainty import (
    bootstrap_interval,
    hierarchical_interval,
    pair_interval,
    proportion_difference,
    sign_flip_test,
)

KEY = jax.random.key(0)


def coverage(make_interval, num_trials=400):
    """Share of trials whose interval holds the true mean, 0."""
    rng = np.random.default_rng(0)
    return np.mean(
        [make_interval(jax.random.key(trial), rng).contains(0.0) for trial in range(num_trials)]
    )


def binomial_range(rate, num_trials=400, false_alarm=1e-6):
    return scipy.stats.binom.interval(1 - false_alarm, num_trials, rate) / np.float64(num_trials)


def test_proportion_interval_equals_the_score_test():
    """Its ends are where the normal test of the proportion just rejects."""
    counts = np.array([0, 3, 17, 20])
    found = proportion_interval(counts, 20, level=0.9)
    z = scipy.stats.norm.ppf(0.95)
    for ends, own in ((found.low[1:], counts[1:]), (found.high[:-1], counts[:-1])):
        np.testing.assert_allclose(np.abs(own / 20 - ends), z * np.sqrt(ends * (1 - ends) / 20))
    assert (found.low[0], found.high[-1]) == (0, 1)
    assert 0 < found.high[0] < 0.15
    empty = proportion_interval(0, 0)
    assert (empty.low, empty.high) == (0, 1)


def test_proportion_difference_covers():
    """Rare events against none at all; Newcombe's interval errs on the safe side there."""

    def one(_, rng):
        a, b = rng.binomial(100, 0.03), rng.binomial(300, 0.03)
        return proportion_difference(a, 100, b, 300, level=0.9)

    assert binomial_range(0.9)[0] <= coverage(one) < 1
    textbook = proportion_difference(56, 70, 48, 80)  # Newcombe 1998, table II, example (a)
    np.testing.assert_allclose(textbook[:3], [0.2, 0.0524, 0.3339], atol=1e-4)


def test_student_interval_equals_the_textbook():
    values = np.random.default_rng(1).normal(size=(7, 3))
    found = student_interval(values, level=0.9)
    low, high = scipy.stats.t.interval(0.9, 6, values.mean(0), scipy.stats.sem(values))
    np.testing.assert_allclose(found.low, low)
    np.testing.assert_allclose(found.high, high)
    np.testing.assert_allclose(found.estimate, values.mean(0))


def test_student_interval_covers_at_its_level():
    """Exact for normal data, even of three units; false alarm 1e-6."""
    low, high = binomial_range(0.8)
    assert low <= coverage(lambda _, rng: student_interval(rng.normal(size=3), level=0.8)) <= high


def test_bootstrap_covers_nearly_at_its_level():
    """With 50 skewed units the percentile interval is short of its level by some 0.02."""

    def interval(key, rng):
        return bootstrap_interval(key, rng.exponential(size=50) - 1, level=0.9, num_resamples=300)

    low, high = binomial_range(0.88)
    assert low <= coverage(interval) <= high


def test_bootstrap_approaches_the_normal_interval():
    values = np.random.default_rng(2).normal(size=(5000, 2))
    found = bootstrap_interval(KEY, values, num_resamples=1000)
    reach = scipy.stats.norm.isf(0.025) * values.std(0) / np.sqrt(5000)
    np.testing.assert_allclose(found.high - found.estimate, reach, rtol=0.15)
    np.testing.assert_allclose(found.estimate - found.low, reach, rtol=0.15)
    again = bootstrap_interval(KEY, values, num_resamples=1000)
    np.testing.assert_array_equal(again.low, found.low)
    other = bootstrap_interval(jax.random.key(1), values, num_resamples=1000)
    assert (other.low != found.low).all()


def test_hierarchical_covers_where_pooling_does_not():
    """Twelve splits of four seeds that share a split effect; false alarm 1e-6 about 0.92."""

    def draw(rng):
        return rng.normal(size=(12, 1)) + rng.normal(size=(12, 4))

    def nested(key, rng):
        return hierarchical_interval(key, draw(rng), num_resamples=300)

    def pooled(key, rng):
        return bootstrap_interval(key, draw(rng).reshape(-1), num_resamples=300)

    low, high = binomial_range(0.92)
    assert low <= coverage(nested) <= high
    assert coverage(pooled) < 0.8


def test_hierarchical_with_one_level_is_the_plain_bootstrap():
    values = np.random.default_rng(3).normal(size=(30, 2))
    nested = hierarchical_interval(KEY, values, num_levels=1, num_resamples=4000)
    plain = bootstrap_interval(KEY, values, num_resamples=4000)
    assert np.shape(nested.low) == (2,)
    np.testing.assert_allclose(nested.low, plain.low, atol=0.05)
    np.testing.assert_allclose(nested.high, plain.high, atol=0.05)


def test_pair_interval_ignores_the_diagonal_and_covers():
    rng = np.random.default_rng(4)
    values = rng.normal(size=(5, 5, 3))
    off_diagonal = [values[i, j] for i, j in itertools.permutations(range(5), 2)]
    values[np.arange(5), np.arange(5)] = np.nan
    found = pair_interval(KEY, values, num_resamples=200)
    np.testing.assert_allclose(found.estimate, np.mean(off_diagonal, axis=0))

    def interval(key, rng):
        effect = rng.normal(size=12)
        noise = rng.normal(size=(12, 12))
        return pair_interval(key, effect[:, None] + effect + noise, num_resamples=200)

    low, high = binomial_range(0.9)
    assert low <= coverage(interval) <= high


@given(st.lists(st.integers(-3, 3).map(float), min_size=1, max_size=8))
def test_sign_flips_are_counted_exactly(values):
    flips = np.array(list(itertools.product([-1, 1], repeat=len(values)))) @ np.array(values)
    total = sum(values)
    counted = {
        "two-sided": np.mean(np.abs(flips) >= abs(total)),
        "greater": np.mean(flips >= total),
        "less": np.mean(flips <= total),
    }
    for alternative, expected in counted.items():
        assert sign_flip_test(KEY, np.array(values), alternative=alternative) == expected


def test_sign_flips_at_random_agree_with_all_of_them_and_find_an_effect():
    values = np.random.default_rng(5).normal(size=13) + 0.3
    exact = sign_flip_test(KEY, values)
    drawn = sign_flip_test(KEY, values, num_flips=8000)  # fewer than 2**13
    # Six standard errors of a share of 8000 draws.
    assert abs(drawn - exact) < 6 * np.sqrt(exact * (1 - exact) / 8000)
    assert sign_flip_test(KEY, np.ones(30), num_flips=999) == 1 / 1000
    assert sign_flip_test(KEY, np.ones(30), num_flips=999, alternative="less") == 1.0


def test_sign_flip_test_keeps_its_level():
    """At 0.1, over 400 null data sets: false alarm 1e-6."""
    rng = np.random.default_rng(6)
    rejected = [sign_flip_test(KEY, rng.laplace(size=20), num_flips=99) <= 0.1 for _ in range(400)]
    low, high = binomial_range(0.1)
    assert low <= np.mean(rejected) <= high


def test_interval_contains():
    assert Interval(1.0, 0.5, 2.0, 0.95).contains(2.0)
    assert not Interval(1.0, 0.5, 2.0, 0.95).contains(0.0)
    assert isinstance(student_interval(np.array([1, 2])).low, float)


GOOD = np.array([1.0, 2.0])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: bootstrap_interval(KEY, GOOD[:0]), "values"),
        (lambda: bootstrap_interval(KEY, np.array([1.0, np.inf])), "values holds inf"),
        (lambda: bootstrap_interval(KEY, GOOD, level=1.0), "level=1.0"),
        (lambda: bootstrap_interval(KEY, GOOD, num_resamples=0), "num_resamples=0"),
        (lambda: bootstrap_interval(0, GOOD), "key=0"),
        (lambda: bootstrap_interval(KEY, np.float64(1.0)), "at least 1 axes"),
        (lambda: hierarchical_interval(KEY, GOOD), "at least 2 axes"),
        (lambda: hierarchical_interval(KEY, GOOD, num_levels=0), "num_levels=0"),
        (lambda: pair_interval(KEY, np.ones((2, 2))), "n at least 3"),
        (lambda: pair_interval(KEY, np.full((3, 3), np.nan)), "values holds nan"),
        (lambda: student_interval(GOOD[:1]), "at least two units"),
        (lambda: sign_flip_test(KEY, GOOD[None]), "one-dimensional"),
        (lambda: sign_flip_test(KEY, GOOD, alternative="more"), "alternative='more'"),
    ],
)
def test_bad_input_is_refused(call, message, unchecked_types):
    with pytest.raises(ValueError, match=message):
        call()
