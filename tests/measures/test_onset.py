"""Minima over training, on curves whose minima are known."""

import jax
import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from hiermodel.measures import biased_phase, locate_minimum, student_interval
from hiermodel.measures.onset import (
    minimum_after_transient,
    minimum_interval,
    paired_log_ratio,
    smooth_log_time,
)

TIMES = np.geomspace(100, 20_000, 25)
LOG_TIMES = np.log(TIMES)
KEY = jax.random.key(0)


def valley(tau, curvature=1.0):
    return curvature * (LOG_TIMES - np.log(tau)) ** 2 + 0.3


def split_curve(tau, peak=200.0):
    """Up to an early maximum at ``peak``, down to a minimum at ``tau``, then higher than ever."""
    rise = np.exp(-((LOG_TIMES - np.log(peak)) ** 2) / (2 * 0.3**2))
    return 0.5 * rise + 0.1 * np.log1p((TIMES / tau) ** 4) + 0.02 * (LOG_TIMES - np.log(tau)) ** 2


@pytest.mark.parametrize("width", [0.0, 0.25, 0.6])
def test_straight_lines_pass_unchanged_and_weights_sum_to_one(width):
    lines = np.stack([np.full(25, 3.0), 2 - 5 * LOG_TIMES])
    np.testing.assert_allclose(smooth_log_time(TIMES, lines, width=width), lines, rtol=1e-9)


def test_isolated_times_are_not_smoothed():
    times = np.array([1.0, 10.0, 1e6])
    values = np.array([1.0, 5.0, 2.0])
    np.testing.assert_allclose(smooth_log_time(times, values, width=0.01), values)


def test_smoothing_removes_noise():
    noise = np.random.default_rng(0).normal(size=(200, 25))
    assert smooth_log_time(TIMES, noise, width=0.5).std() < 0.7 * noise.std()


@given(
    st.lists(st.floats(np.log(150), np.log(12_000)), min_size=1, max_size=5),
    st.sampled_from([0.0, 0.1, 0.25]),
)
def test_minimum_of_a_parabola_is_found_between_checkpoints(log_taus, width):
    taus = np.exp(log_taus)
    found = locate_minimum(TIMES, np.stack([valley(tau) for tau in taus]), width=width)
    # Exact without smoothing; with it, the ends of the kernel near a border shift it a little.
    np.testing.assert_allclose(found.time, taus, rtol=1e-9 if width == 0 else 0.06)
    assert found.located.all()
    assert (np.abs(LOG_TIMES[found.checkpoint] - log_taus) <= 0.13).all()


def test_uneven_times_are_interpolated_exactly():
    times = np.array([100.0, 150, 400, 450, 2000])
    curve = (np.log(times) - np.log(380)) ** 2
    np.testing.assert_allclose(locate_minimum(times, curve, width=0.0).time, 380)


def test_minimum_on_a_border_is_flagged():
    found = locate_minimum(TIMES, np.stack([LOG_TIMES, -LOG_TIMES, valley(1000)]))
    np.testing.assert_array_equal(found.at_start, [True, False, False])
    np.testing.assert_array_equal(found.at_end, [False, True, False])
    np.testing.assert_array_equal(found.located, [False, False, True])
    np.testing.assert_allclose(found.time[:2], TIMES[[0, -1]])


def test_minimum_under_noise():
    """Noise of a tenth of the depth at one e-fold: within 35 % in each of 200 draws."""
    rng = np.random.default_rng(1)
    noisy = valley(1000) + 0.1 * rng.normal(size=(200, 25))
    found = locate_minimum(TIMES, noisy)
    assert (np.abs(np.log(found.time / 1000)) < np.log(1.35)).all()
    unsmoothed = locate_minimum(TIMES, noisy, width=0.0)
    assert np.log(found.time).std() < np.log(unsmoothed.time).std()


@pytest.mark.parametrize("noise", [0.0, 0.01])
@pytest.mark.parametrize("tau", [1000.0, 3000.0])
def test_transient_is_skipped(tau, noise):
    curve = split_curve(tau)
    assert curve[0] < curve[3] > curve[12] < curve[-1]
    fine = np.linspace(np.log(300), np.log(15_000), 20_000)
    truth = np.exp(fine[np.argmin(np.interp(fine, LOG_TIMES, curve))])
    noisy = curve + noise * np.abs(np.random.default_rng(2).normal(size=(50, 25)))
    found = minimum_after_transient(TIMES, noisy)
    assert found.located.all()
    assert (np.abs(np.log(found.time / truth)) < 0.3 + 30 * noise).all()


def test_a_start_lower_than_the_minimum_is_not_mistaken_for_it():
    curve = split_curve(1000.0)
    curve[0] = 0.0
    assert locate_minimum(TIMES, curve, width=0.0).at_start
    found = minimum_after_transient(TIMES, curve, width=0.0)
    assert found.located
    assert 500 < found.time < 2000


def test_transients_without_a_minimum_are_flagged():
    rising = LOG_TIMES - LOG_TIMES[0]
    found = minimum_after_transient(TIMES, rising)
    assert found.at_start
    assert found.at_end
    never_rising_again = np.where(np.arange(25) < 5, 1 + np.arange(25), 6 * np.exp(-LOG_TIMES / 5))
    found = minimum_after_transient(TIMES, never_rising_again, width=0.0)
    assert found.at_end
    assert not found.at_start
    # A curve that falls from the first checkpoint on had its transient before.
    np.testing.assert_allclose(minimum_after_transient(TIMES, valley(1000)).time, 1000, rtol=0.01)


def test_interval_of_the_position_holds_it_and_shrinks_with_members():
    rng = np.random.default_rng(3)
    curves = valley(1000) + 0.3 * rng.normal(size=(40, 25))
    wide = minimum_interval(KEY, TIMES, curves[:5], num_resamples=300)
    narrow = minimum_interval(KEY, TIMES, curves, num_resamples=300, level=0.99)
    assert narrow.low <= narrow.estimate <= narrow.high
    assert narrow.high - narrow.low < wide.high - wide.low
    split = minimum_interval(
        KEY, TIMES, split_curve(1000.0) + np.zeros((3, 1)), after_transient=True, num_resamples=10
    )
    assert split.low == split.high == split.estimate


def test_interval_of_the_position_covers_at_its_level():
    """Forty members, 100 trials: false alarm 1e-6 about a coverage of 0.94."""
    rng = np.random.default_rng(4)
    hits = []
    for trial in range(100):
        curves = valley(1000) + 0.3 * rng.normal(size=(40, 25))
        found = minimum_interval(jax.random.key(trial), TIMES, curves, num_resamples=100)
        hits.append(found.contains(1000.0))
    low, high = scipy.stats.binom.interval(1 - 1e-6, 100, 0.94)
    assert low <= sum(hits) <= high


def test_paired_ratio_and_phase():
    ratio = paired_log_ratio(np.array([100, 200]), np.array([200.0, 100.0]))
    np.testing.assert_allclose(ratio, [-np.log(2), np.log(2)])
    assert student_interval(ratio).contains(0.0)
    phase = biased_phase(np.array([1, 2, 3, 4, 5]), np.array([2.0, 4.0]), np.array([5.0, 1.0]))
    np.testing.assert_array_equal(phase, [[False, False, True, True, False], [False] * 5])
    assert biased_phase(np.array([1, 2, 3]), 1.0, 3.0).tolist() == [False, True, False]


CURVE = valley(1000)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: locate_minimum(TIMES[:-1], CURVE), "values"),
        (lambda: locate_minimum(TIMES[::-1], CURVE), "positive and increasing"),
        (lambda: locate_minimum(TIMES - 100, CURVE), "positive and increasing"),
        (lambda: locate_minimum(TIMES[:2], CURVE[:2]), "at least 3 times"),
        (lambda: locate_minimum(TIMES, CURVE * np.nan), "values holds nan"),
        (lambda: locate_minimum(TIMES, CURVE, width=-1.0), "width=-1.0"),
        (lambda: minimum_after_transient(TIMES, -CURVE), "at least 0"),
        (lambda: minimum_after_transient(TIMES, CURVE, drop=1.0), "drop=1.0"),
        (lambda: minimum_interval(KEY, TIMES, CURVE), "curves"),
        (lambda: paired_log_ratio(np.array([0.0]), np.array([1.0])), "tau_a"),
        (lambda: paired_log_ratio(np.array([1.0]), np.array([1.0, 2.0])), "tau_b"),
        (lambda: biased_phase(TIMES, np.array([np.nan]), np.array([1.0])), "tau_bias holds nan"),
    ],
)
def test_bad_input_is_refused(call, message, unchecked_types):
    with pytest.raises(ValueError, match=message):
        call()
