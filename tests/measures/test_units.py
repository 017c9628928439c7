"""Units are training sets: averages, pairs, and verdicts that can fail both ways."""

import numpy as np
import pytest

from hiermodel.measures.units import (
    CONTRADICTED,
    NOT_LOCATED,
    NOT_SHOWN,
    SHOWN,
    TOO_FEW,
    band_of_units,
    by_pair_of_sets,
    by_training_set,
    decide,
    disjoint_pairs,
    interval_of_units,
    mean_of_units,
    other_split,
    partner_split,
)


def test_seeds_are_averaged_within_their_training_set():
    values = np.array([[1.0, 3, 10, 20], [0, 2, 4, 8]])
    np.testing.assert_array_equal(by_training_set(values, 2, axis=1), [[2, 15], [1, 6]])
    np.testing.assert_array_equal(by_pair_of_sets(np.arange(6.0), 3), [1.5])  # the third has none
    with pytest.raises(ValueError, match="multiple of 3"):
        by_training_set(values, 3, axis=1)


@pytest.mark.parametrize("num_splits", [1, 2, 3, 4, 15])
def test_partners_are_mutual_and_pairs_share_no_split(num_splits):
    pairs = disjoint_pairs(num_splits)
    assert sorted({split for pair in pairs for split in pair}) == list(range(2 * len(pairs)))
    assert len(pairs) == num_splits // 2
    for a, b in pairs:
        assert (partner_split(a, num_splits), partner_split(b, num_splits)) == (b, a)
    if num_splits % 2:
        assert partner_split(num_splits - 1, num_splits) is None
        assert other_split(num_splits - 1, num_splits) == 0


def test_fewer_than_four_units_decide_nothing():
    assert decide(np.array([1.0, 1.01, 1.02])) == TOO_FEW
    assert decide(np.array([1.0, 1.01, 1.02, 1.03])) == SHOWN
    assert band_of_units(np.ones((3, 5))) is None
    alone = interval_of_units(np.array([2.0]))
    assert (alone.estimate, alone.low, alone.high) == (2, -np.inf, np.inf)


def test_too_few_units_have_a_mean_without_ends():
    assert mean_of_units(np.array([1.0, 3.0]))[0] == 2
    geometric, *ends = mean_of_units(np.log([2.0, 8.0]), of_logs=True)
    assert geometric == pytest.approx(4)
    assert np.isnan(ends).all()
    numbers = np.array([1.0, 2.0, 3.0, 5.0])
    assert mean_of_units(numbers) == interval_of_units(numbers)[:3]


@pytest.mark.parametrize(
    ("shift", "verdict"), [(1.0, SHOWN), (0.0, NOT_SHOWN), (-1.0, CONTRADICTED)]
)
def test_verdicts_are_two_sided(shift, verdict):
    assert decide(shift + np.array([-0.1, 0.1, -0.2, 0.2, 0.05])) == verdict


def test_an_equivalence_must_fit_within_its_margin():
    spread = np.array([-0.01, 0.01, -0.02, 0.02])
    assert decide(spread, low=-0.1, high=0.1) == SHOWN
    assert decide(10 * spread, low=-0.1, high=0.1) == NOT_SHOWN
    assert decide(spread + 0.5, low=-0.1, high=0.1) == CONTRADICTED
    assert decide(spread - 0.5, low=-0.1, high=0.1) == CONTRADICTED


def test_differences_within_the_resolution_count_as_none_on_both_sides():
    values = np.array([0.10, 0.11, 0.12, 0.11])
    assert decide(values) == SHOWN
    assert decide(values, resolution=0.2) == NOT_SHOWN
    assert decide(-values, resolution=0.2) == NOT_SHOWN
    assert decide(10 * values, resolution=0.2) == SHOWN
    assert decide(-10 * values, resolution=0.2) == CONTRADICTED


def test_an_interval_without_width_decides_nothing():
    assert decide(np.zeros(5)) == NOT_SHOWN
    assert decide(np.zeros(5), low=-np.inf, high=0.05) == NOT_SHOWN  # five equal values: 1 in 16
    assert decide(np.zeros(6), low=-np.inf, high=0.05) == SHOWN


def test_what_is_known_in_sign_is_decided_by_the_sign_test():
    """A bound from one side may show or contradict, and leaves open what it does not settle."""
    values = np.linspace(0.5, 1, 7)
    beyond = np.where(np.arange(7) < 3, np.inf, values)  # three lie further than was measured
    assert decide(values, lower=values, upper=beyond) == SHOWN
    assert decide(-values, lower=-beyond, upper=-values) == CONTRADICTED
    # Bounded from the other side, those three may be anything: 4 of 7 is no majority.
    before = np.where(np.arange(7) < 3, -np.inf, values)
    assert decide(values, lower=before, upper=values) == NOT_LOCATED
    assert decide(-values, lower=-values, upper=-before) == NOT_LOCATED
    # Of five units all positive is too likely by chance: 2 in 32.
    assert decide(values[:5], lower=values[:5], upper=beyond[:5]) == NOT_LOCATED
    with pytest.raises(ValueError, match="within their bounds"):
        decide(values, lower=values + 1, upper=values + 2)


def test_false_alarms_are_as_rare_as_stated():
    """2000 draws of each: shown with a chance of 2.5 %; 4 standard errors are 1.4 %."""
    rng = np.random.default_rng(0)
    draws = rng.normal(size=(2000, 8))
    by_interval = np.mean([decide(values) == SHOWN for values in draws])
    assert abs(by_interval - 0.025) < 0.014
    censored = np.where(draws > 1, np.inf, draws)  # those beyond 1 are only known to be
    clipped = np.minimum(draws, 1)
    by_sign = np.mean(
        [decide(v, lower=v, upper=u) == SHOWN for v, u in zip(clipped, censored, strict=True)]
    )
    assert by_sign < 0.025 + 0.014


def test_seeds_of_one_training_set_give_no_false_confidence():
    """Null claims, networks that share their set's accident: counting them shows far too much.

    Of training sets 2.5 % are shown; 2000 draws, 4 standard errors are 1.4 %.
    """
    rng = np.random.default_rng(1)
    draws = rng.normal(size=(2000, 5, 1)) + 0.3 * rng.normal(size=(2000, 5, 4))
    shown = np.mean([decide(by_training_set(each.ravel(), 5)) == SHOWN for each in draws])
    by_network = np.mean([decide(each.ravel()) == SHOWN for each in draws])
    assert abs(shown - 0.025) < 0.014
    assert by_network > 0.1
