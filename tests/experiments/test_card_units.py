"""Numbers and curves of cards are over training sets; pictures shade what was located."""

import numpy as np
import pytest
from matplotlib.figure import Figure

from experiments.cards import contents, lines
from experiments.onsets import ensemble
from experiments.store import Measurement
from figures import style
from hiermodel.measures.uncertainty import student_interval

SPLITS, SEEDS = 5, 3


def measured(values, *dims) -> Measurement:
    return Measurement(np.asarray(values), dims, "units", "made up")


def results_with(start: float, test: float, **located: bool) -> dict:
    """Results of five training sets with three seeds each, and minima that are located or not."""
    onsets = {}
    for name, time in (("tau_neighbour", start), ("tau_test", test)):
        onsets[name] = measured(np.full(SPLITS * SEEDS, time), "member")
        flags = np.full(SPLITS * SEEDS, True)
        flags[0] = located.get(name, True)
        onsets[f"{name}_located"] = measured(flags, "member")
    return {"onsets": onsets, "ensemble": ensemble(SPLITS, SEEDS)}


def test_numbers_are_over_training_sets_and_pairs():
    values = np.random.default_rng(0).normal(size=SPLITS * SEEDS)
    results = results_with(10, 100)
    number = lines.per_set(results, lines.BIASED, "name", values)
    expected = student_interval(values.reshape(SPLITS, SEEDS).mean(1))
    assert (number.low, number.high) == pytest.approx((expected.low, expected.high))
    pairs = lines.per_pair(results, lines.BIASED, "name", values)  # the fifth has no partner
    assert pairs.estimate == pytest.approx(values[: 4 * SEEDS].mean())
    assert pairs.low is None
    assert pairs.note == "2 pairs of training sets, fewer than 4: no interval"


def test_minima_on_the_border_have_no_interval_and_no_mark():
    names = {"τ_bias": "tau_neighbour", "τ_test": "tau_test"}
    results = results_with(10, 100, tau_test=False)
    bias, test = lines.onset_numbers(results, {"tau_neighbour": "a", "tau_test": "b"})
    assert bias.low is not None
    assert (test.low, test.note) == (None, "on the border: 1 of 15")
    assert lines.marked(results, names) == {"τ_bias": pytest.approx(10)}


def opacities(results) -> list[float]:
    axis = Figure().subplots()
    axis.set_xscale("log")
    style.shade_biased_phase(axis, results)
    return [patch.get_alpha() or 0.0 for patch in axis.patches]


def test_shading_runs_only_between_located_minima():
    assert opacities(results_with(10, 100)) == [style.SHADE]
    assert opacities(results_with(100, 10)) == []  # no biased phase
    assert opacities(results_with(10, 100, tau_neighbour=False)) == []
    fading = opacities(results_with(10, 100, tau_test=False))
    assert len(fading) == style.FADING
    assert (np.diff(fading) < 0).all()
    assert opacities({"ensemble": ensemble(SPLITS, SEEDS)}) == []


def test_bands_are_students_over_units_and_lines_where_they_are_too_few():
    x, curves = np.geomspace(1, 10, 4), np.random.default_rng(0).normal(size=(4, 5))
    axis = Figure().subplots()
    style.curve_with_band(axis, x, curves)
    (band,) = axis.collections
    ends = student_interval(curves.T)
    vertices = band.get_paths()[0].vertices[:, 1]
    assert vertices.max() == pytest.approx(np.max(ends.high))
    assert vertices.min() == pytest.approx(np.min(ends.low))
    few = Figure().subplots()
    style.curve_with_band(few, x, curves[:, :3])
    assert not few.collections
    assert len(few.lines) == 1 + 3


def test_minima_of_pictures_are_averaged_within_training_sets():
    results = results_with(10, 100, tau_test=False)
    apart = np.exp(np.random.default_rng(0).normal(size=SPLITS * SEEDS))
    results["onsets"]["tau_test"] = measured(apart, "member")
    times, located = style.onset(results, "tau_test")
    np.testing.assert_allclose(np.log(times), np.log(apart).reshape(SPLITS, SEEDS).mean(1))
    assert located.tolist() == [False, True, True, True, True]


def test_the_card_says_how_many_tests_refute_the_law():
    """Every network fails one of four tests; the law itself none."""
    results = results_with(10, 100)
    p_values = np.full((2, SPLITS * SEEDS, 4), 0.3)
    p_values[1, :, 2] = 0.01
    results["examination"] = {
        "epoch": measured([10.0, 100.0], "checkpoint"),
        "p_value": measured(p_values, "checkpoint", "member", "test"),
        "p_value_of_law": measured([0.9, 0.8, 0.7, 0.2], "test"),
    }
    (number,) = contents.law_numbers(results)
    assert (number.estimate, number.chance) == (0.25, 0.0)
    p_values[1, :, 3] = np.nan  # so few are derivable that it cannot be tested: failed too
    (number,) = contents.law_numbers(results)
    assert number.estimate == 0.5
    assert not list(contents.law_numbers(results_with(10, 100)))
