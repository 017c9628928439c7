"""Overlaps of U-turns and their ratios."""

import numpy as np
import pytest

from hiermodel.measures import overlap
from hiermodel.measures.u_turn import overlap_ratio


def test_overlap_counts_agreeing_positions():
    start = np.array([[0, 1, 2, 3], [0, 0, 0, 0]])
    end = np.array([[0, 1, 0, 0], [1, 1, 1, 1]])
    np.testing.assert_array_equal(overlap(start, end), [0.5, 0.0])
    np.testing.assert_array_equal(overlap(start, start), [1.0, 1.0])
    noises = np.stack([end, start])  # many ends of each start
    np.testing.assert_array_equal(overlap(start, noises), [[0.5, 0.0], [1.0, 1.0]])


def test_ratio_averages_over_noises_before_dividing():
    model = np.array([[1.0, 0.5], [0.25, 0.25]])
    exact = np.array([[0.5, 0.5, 0.5], [0.0, 0.5, 0.25]])
    np.testing.assert_allclose(overlap_ratio(model, exact), [1.5, 1.0])


ONES = np.ones((2, 3))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: overlap(np.zeros((2, 4), int), np.zeros((2, 3), int)), "of the length of start"),
        (lambda: overlap(np.zeros((2, 4), int), np.zeros((3, 4), int)), "must broadcast"),
        (lambda: overlap_ratio(ONES, ONES[:1]), "exact_overlap=1 is not allowed"),
        (lambda: overlap_ratio(2 * ONES, ONES), "model_overlap"),
        (lambda: overlap_ratio(ONES, 0 * ONES), "exact_overlap=0.0"),
        (lambda: overlap_ratio(ONES[0], ONES), "model_overlap"),
        (lambda: overlap_ratio(np.nan * ONES, ONES), "must be finite"),
    ],
)
def test_bad_input_is_refused(call, message, unchecked_types):
    with pytest.raises(ValueError, match=message):
        call()
