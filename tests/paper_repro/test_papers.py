"""Families of predictions: frozen numbers, the page that is made of them, data collapse."""

import jax
import numpy as np
import pytest

import hiermodel as hm
from experiments.store import Measurement
from experiments.theory import f11
from figures.theory.collapse import collapse
from figures.theory.f1 import crossing
from figures.theory.family import all_families, families_of
from hiermodel import theory
from paper_repro.papers import link, listing, page, summary


def test_predictions_have_names_sources_and_ranges_of_their_own():
    for family in all_families().values():
        names = [each.name for each in family.predictions]
        assert len(set(names)) == len(names)
        for each in family.predictions:
            assert each.low < each.high
            assert each.source
            assert each.expected is None or each.low < each.expected < each.high
        assert all(paper in family.settings for paper in family.papers)


def test_frozen_numbers_are_those_of_the_theory():
    known = {each.name: each.expected for each in all_families()["f1"].predictions}
    threshold = theory.noise_threshold(vocab_size=64, rules_per_symbol=8)
    assert known["threshold-v64_m8"] == pytest.approx(threshold, abs=5e-4)
    known = {each.name: each.expected for each in all_families()["f2"].predictions}
    sizes = {"vocab_size": 16, "rules_per_symbol": 4}
    assert known["nu-v16_m4"] == pytest.approx(theory.correlation_exponent(**sizes), abs=2e-3)
    assert known["decay-v16_m4"] == pytest.approx(theory.change_exponent(**sizes), abs=2e-3)


def test_families_are_found_by_paper_and_by_name():
    assert list(families_of(("2406.00048",))) == ["f12"]
    assert list(families_of(("f1",))) == ["f1"]
    assert list(families_of(("all",))) == list(all_families())
    with pytest.raises(ValueError, match=r"9999\.99999.*2402\.16991"):
        families_of(("9999.99999",))


def test_a_list_says_what_is_predicted_and_runs_nothing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found = listing(("2410.13770",))
    assert found.startswith("f2: ")
    assert "f2b: Chunks of trained networks (2410.13770)" in found
    assert "siblings come to change together before cousins do  [derived here]" in found
    assert not list(tmp_path.iterdir())


def test_collapse_finds_centre_and_growth():
    x, depths = np.linspace(0.4, 0.8, 41), (3, 5, 7)
    curves = np.stack([1 / (1 + np.exp(4 * (x - 0.613) * 1.4**depth)) for depth in depths], 1)
    centre, growth = collapse(x, curves, depths, centre=0.6, growth=1.3)
    np.testing.assert_allclose([centre, growth], [0.613, 1.4], rtol=2e-3)


def test_a_crossing_is_where_the_difference_falls_through_zero():
    noise = np.array([0.1, 0.2, 0.3, 0.4])
    beliefs = np.zeros((1, 4, 10))
    beliefs[0, :, 9] = [0.3, 0.1, -0.1, -0.2]
    measured = {
        "a_noise": Measurement(noise, ("noise",), "", ""),
        "a_beliefs": Measurement(beliefs, ("realisation", "noise", "depth"), "", ""),
    }
    np.testing.assert_allclose(crossing("a", measured), [0.25])


def test_the_page_says_what_was_predicted_found_and_judged():
    family = all_families()["f12"]
    measured = {}
    for vocab_size, rules, depth in ((32, 8, 3), (16, 4, 4), (64, 8, 3)):
        sizes = {"vocab_size": vocab_size, "rules_per_symbol": rules}
        exact = np.array([[theory.leaf_covariance(d + 1, **sizes) for d in range(depth)]] * 5)
        exact = exact * np.linspace(0.999, 1.001, 5)[:, None]
        sequences = np.array([10, 1000])
        error = np.ones((5, depth, 2)) / vocab_size / np.sqrt(sequences)
        name = f"v{vocab_size}_m{rules}_L{depth}"
        for part, values in (("exact", exact), ("error", error), ("sequences", sequences)):
            dims = ("a", "b", "c")[: values.ndim]
            measured[f"{name}_{part}"] = Measurement(values, dims, "", "")
    claims = [claim.to_json() for claim in family.claims(measured, "f12")]
    by_name = {claim["name"]: claim for claim in claims}
    assert by_name["C-v32_m8_L3-2"]["verdict"] == "shown"
    assert by_name["C-next-v32_m8_L3-1"]["verdict"] == "shown"
    assert by_name["P-v16_m4_L4-4"]["verdict"] == "shown"
    assert abs(by_name["P-v16_m4_L4-4"]["estimate"]) < 0.01
    text = page({"f12": summary(family, claims, 7, {"seconds": 90.0, "cores": 2})})
    assert "[arXiv:2406.00048](https://arxiv.org/abs/2406.00048)" in text
    assert "Measured in 1.5 minutes on 2 cores." in text
    assert "| **shown** |" in text
    assert text.count("\n| ") == len(claims) + 1


def test_links_are_made_of_numbers_only():
    assert link("derived here") == "derived here"
    assert link("2402.16991, again").startswith("[arXiv:2402.16991](https://arxiv.org")


def measurement(values, *dims):
    return Measurement(np.asarray(values, float), dims, "", "")


def test_collapse_and_classes_are_read_off_curves():
    """Steps of a curve that falls by 1/100 per step from 200 on; classes lost at noise 0.25."""
    steps, noise = np.arange(100, 400.0), np.linspace(0.0, 0.5, 11)
    curve = np.clip(1 - (steps - 200) / 100, 0, 1)
    measured = {
        "collapse_step": measurement(steps, "step"),
        "collapse_known": measurement(np.tile(curve, (5, 3, 1)), "r", "n", "step"),
        "collapse_predicted": measurement(np.full((5, 3), 250.0), "r", "n"),
    }
    for name, chance in (("pairs", 1 / 32), ("wide", 1 / 8)):
        fall = np.where(noise < 0.225, 1.0, chance)
        curves = np.tile(fall[:, None], (5, 1, 7))
        measured |= {
            f"{name}_noise": measurement(noise, "noise"),
            f"{name}_unchanged": measurement(curves, "r", "noise", "level"),
            f"{name}_signal": measurement(np.full((5, 7), 7 / 2), "r", "level"),
        }
    family = all_families()["f6"]
    found = {each.name: each.values(measured) for each in family.predictions}
    np.testing.assert_allclose(found["collapse-512"], 0, atol=1e-9)
    np.testing.assert_allclose(found["class-threshold"], 0.225)
    signal = (1 - 0.225) / 0.225
    np.testing.assert_allclose(found["class-covariance-wide"], np.log(signal * 3.5))
    np.testing.assert_allclose(found["class-covariance-wide-2"], np.log(signal * 3.5))
    assert family.draw(measured).axes


def test_samplers_are_ranked_by_their_errors():
    measured = {}
    for index in range(6):
        for name, size in (("ancestral", 3), ("ddim", 2), ("ode", 1), ("masked", 4), ("joint", 0)):
            calls = np.array([1.0, 0.5, 0.1])[: len(f11.calls_of(name))]
            errors = size * calls[:, None] * np.array([1.0, 2.0, 3.0]) + 0.001 * index
            measured[f"{index}_{name}_error"] = measurement([errors], "r", "calls", "distance")
        measured[f"{index}_any_order_error"] = measurement(np.zeros((1, 1, 3)), "r", "c", "d")
        for name in f11.samplers(f11.F11Study()):
            ones = np.ones((1, len(f11.calls_of(name))))
            measured[f"{index}_{name}_passes"] = measurement(ones, "r", "calls")
            measured[f"{index}_{name}_valid"] = measurement(ones, "r", "calls")
    family = all_families()["f11"]
    verdicts = {claim.name: claim.verdict for claim in family.claims(measured)}
    assert set(verdicts.values()) == {"shown"}, verdicts
    assert family.draw(measured).axes


def test_errors_of_pairs_are_zero_for_the_law_and_one_without_ties():
    key = jax.random.key(0)
    sizes = {"vocab_size": 4, "rules_per_symbol": 2, "depth": 2, "branching": 2}
    grammar = hm.Grammar.random_hierarchy(key, **sizes)
    rows = np.array(hm.sample_leaves(jax.random.key(1), grammar, 20_000))
    np.testing.assert_allclose(f11.pair_errors(grammar, rows), 0, atol=0.03)
    apart = np.stack([np.roll(rows[:, leaf], leaf) for leaf in range(4)], 1)
    np.testing.assert_allclose(f11.pair_errors(grammar, apart), 1, atol=0.1)
