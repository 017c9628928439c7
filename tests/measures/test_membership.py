"""Membership attacks: rank statistics against counting all pairs and all thresholds."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hiermodel.measures import membership_score
from hiermodel.measures.membership import auc, tpr_at_fpr

scores = st.lists(st.integers(-5, 5).map(float), min_size=1, max_size=40).map(np.array)
rates = st.sampled_from([0.0, 0.01, 0.1, 0.25, 0.5, 1.0])


@given(scores, scores)
def test_auc_equals_pair_counting(members, others):
    higher = (members[:, None] > others).mean() + 0.5 * (members[:, None] == others).mean()
    np.testing.assert_allclose(auc(members, others), higher, rtol=1e-14)
    np.testing.assert_allclose(auc(others, members), 1 - higher, rtol=0, atol=1e-14)


@given(scores, scores, rates)
def test_tpr_equals_the_best_threshold(members, others, fpr):
    thresholds = np.concatenate([members, others, [np.inf]])
    best = max(
        (members >= threshold).mean()
        for threshold in thresholds
        if (others >= threshold).mean() <= fpr
    )
    assert tpr_at_fpr(members, others, fpr) == (1.0 if fpr == 1 else best)


def test_rate_is_not_lost_to_rounding():
    others = np.arange(100.0)
    for allowed in range(100):
        found = tpr_at_fpr(others, others, allowed / 100)
        np.testing.assert_allclose(found, allowed / 100)


def test_extremes():
    low, high = np.arange(10.0), np.arange(10.0, 20.0)
    assert auc(high, low) == 1
    assert auc(low, high) == 0
    assert auc(low, low) == 0.5
    assert tpr_at_fpr(high, low, 0.0) == 1
    assert tpr_at_fpr(low, high, 0.5) == 0


def test_calibration_takes_out_how_hard_a_sequence_is():
    rng = np.random.default_rng(0)
    exact = rng.exponential(size=2000)
    loss = exact + 0.1 * rng.normal(size=2000)
    loss[:1000] -= 0.2  # the members
    plain, calibrated = membership_score(loss), membership_score(loss, exact)
    np.testing.assert_allclose(plain, -loss)
    assert auc(calibrated[:1000], calibrated[1000:]) > 0.9 > auc(plain[:1000], plain[1000:]) > 0.5


GOOD = np.array([1.0, 2.0])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: auc(GOOD[:0], GOOD), "member_scores"),
        (lambda: auc(GOOD, np.array([np.nan])), "other_scores holds nan"),
        (lambda: auc(GOOD[None], GOOD), "one-dimensional"),
        (lambda: tpr_at_fpr(GOOD, GOOD, 1.5), "fpr=1.5"),
        (lambda: membership_score(GOOD, GOOD[:1]), "reference_loss"),
    ],
)
def test_bad_input_is_refused(call, message, unchecked_types):
    with pytest.raises(ValueError, match=message):
        call()
