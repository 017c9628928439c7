"""Verdicts, units and statistics of claims, on made-up measurements."""

import json

import numpy as np
import pytest

from experiments.claim import Statistic
from experiments.store import Measurement
from figures.claims import Run, per_network, per_pair
from figures.claims_on_phases import distance_falls, no_bias_before_onset
from figures.claims_on_samples import MARGIN, against_refitted, growth, u_turns
from figures.figure import examine_runs
from figures.figure_1a import samples_of_pairs
from figures.figure_3b import peaks
from figures.figure_4b import loss_decomposition
from figures.figure_levels import data_dependence, half_times

EPOCHS = np.array([0, 10, 20, 40, 80, 160])
SPLITS, NETWORKS = 12, 24


def measured(values, *dims) -> Measurement:
    return Measurement(np.asarray(values, float), dims, "units", "made up")


def onsets(tau_bias: float, tau_test: float, located: bool = True) -> dict[str, Measurement]:
    apart = np.linspace(0.9, 1.1, NETWORKS)
    result = {}
    for name, tau in (("tau_neighbour", tau_bias), ("tau_test", tau_test)):
        result[name] = measured(tau * apart, "member")
        for end, value in (("located", located), ("at_start", False), ("at_end", not located)):
            flags = np.full(NETWORKS, value)
            result[f"{name}_{end}"] = Measurement(flags, ("member",), "", "made up")
    return result


STAGE = {"epoch": measured(EPOCHS, "checkpoint")}


def run_with(size: str = "middle", **results) -> Run:
    n = {"small": 50, "middle": 100}.get(size, 200)
    return Run(results, SPLITS, 2, size, n, 1, "" if size == "middle" else f"n = {n}")


def verdicts(claims) -> dict[str, str]:
    return {claim.name: claim.verdict for claim in claims}


def test_units_are_training_sets_whatever_the_seeds():
    about = {"name": "name", "statement": "what", "about": "how"}
    sets = per_network(Run({}, 6, 2), Statistic.known(np.arange(12.0)), **about)
    assert sets.values.tolist() == [0.5, 2.5, 4.5, 6.5, 8.5, 10.5]
    assert sets.statistic == "how, per training set"
    assert sets.verdict == "shown"
    few = per_network(Run({}, 2, 2), Statistic.known(np.arange(4.0)), **about)
    assert few.values.tolist() == [0.5, 2.5]
    assert few.verdict == "too few training sets"
    pairs = per_pair(Run({}, 10, 2), Statistic.known(np.arange(10.0)), **about)
    assert pairs.values.tolist() == [0.5, 2.5, 4.5, 6.5, 8.5]
    assert pairs.statistic == "how, per pair of training sets"


def test_a_claim_is_json_whatever_its_ends():
    about = {"name": "name", "statement": "what", "about": "how"}
    found = per_pair(Run({}, 3, 1), Statistic.known(np.array([2.0])), **about).to_json()
    assert (found["estimate"], found["low"], found["high"]) == (2, None, None)
    assert found["claimed"] == [0, None]
    json.dumps(found, allow_nan=False)


def test_terms_of_the_loss_fall_between_the_minima():
    slope = 1 + 0.01 * np.arange(NETWORKS)[:, None]
    falls = np.linspace(1, 0, len(EPOCHS))[:, None, None] * slope
    rises = -falls
    both = np.concatenate([falls, rises], -1)  # on train and on test
    terms = ("distillation", "excess", "distillation_all", "excess_all")
    of = ("checkpoint", "member", "set")
    stage = {name: measured(both, *of) for name in terms}
    stage["epoch"] = measured(EPOCHS, "checkpoint")
    claims = loss_decomposition(run_with(onsets=onsets(20, 100), decomposition=stage))
    assert set(verdicts(claims).values()) == {"shown"}
    assert len(claims) == 4
    # A training loss that falls for what all data share alone is not remembered.
    alike = {name: measured(np.concatenate([falls, falls], -1), *of) for name in terms}
    stage = {**stage, **alike}
    claims = loss_decomposition(run_with(onsets=onsets(20, 100), decomposition=stage))
    assert verdicts(claims) == {
        "distillation-falls": "shown",
        "excess-falls": "not shown",
        "distillation-falls-all": "shown",
        "excess-falls-all": "not shown",
    }
    none = loss_decomposition(run_with(onsets=onsets(100, 20), decomposition=stage))
    assert all("no biased phase in 24 of 24" in claim.note for claim in none)
    assert set(verdicts(none).values()) == {"not located"}


def test_u_turns_coincide_first_and_separate_later():
    rng = np.random.default_rng(0)
    ratio = 1 + 0.001 * rng.normal(size=(2, NETWORKS, 2, 5))
    ratio[1, :, 0] += 0.1
    stage = {"ratio": measured(ratio, "moment", "member", "set", "time")}
    claims = u_turns(run_with(onsets=onsets(20, 100), u_turns=stage))
    assert set(verdicts(claims).values()) == {"shown"}
    ratio[0, :, 0] += 0.1 + MARGIN
    stage = {"ratio": measured(ratio, "moment", "member", "set", "time")}
    claims = u_turns(run_with(onsets=onsets(20, 100), u_turns=stage))
    assert verdicts(claims) == {
        "u-turns-coincide": "contradicted",
        "u-turns-separate": "shown",
        "u-turns-part": "contradicted",
    }


def test_minima_come_later_with_more_data():
    comparison = {"comparison": STAGE, "evaluation": STAGE}
    small = run_with("small", onsets=onsets(10, 25), **comparison)
    middle = run_with("middle", onsets=onsets(40, 100), **comparison)
    claims = growth(small, middle)
    assert [claim.name for claim in claims] == [
        "bias-grows-small-middle",
        "test-grows-small-middle",
    ]
    assert all(claim.interval.estimate == pytest.approx(np.log(4)) for claim in claims)
    assert set(verdicts(claims).values()) == {"shown"}
    assert set(verdicts(growth(middle, small)).values()) == {"contradicted"}
    border = run_with("small", onsets=onsets(10, 50, located=False), **comparison)
    claims = growth(border, middle)
    assert all("n = 50" in claim.note for claim in claims)
    assert set(verdicts(claims).values()) == {"not located"}  # τ of the smaller may be any later
    claims = growth(middle, border)
    assert set(verdicts(claims).values()) == {"not located"}


def test_sizes_with_other_numbers_of_seeds_meet_in_the_members_they_share():
    stages = {"comparison": STAGE, "evaluation": STAGE}
    small = run_with("small", onsets=onsets(10, 50), **stages)
    single = {
        name: Measurement(m.values[::2], m.dims, "", "") for name, m in onsets(20, 100).items()
    }
    large = Run({"onsets": single, **stages}, SPLITS, 1, "large", 200, 2)
    for claim in growth(small, large):
        # The first seed of every split; two steps per epoch of the larger.
        assert claim.values == pytest.approx(np.log(np.full(SPLITS, 4)))


def test_peaks_are_located():
    times = np.linspace(0.05, 1, 20)
    stage = {
        "relative_time": measured(times, "time"),
        "filter_level": Measurement(np.array([1, 2, 3]), ("level",), "", "made up"),
        "peak_time": measured([0.16, 0.4, 0.5], "level"),
        "peak_low": measured([0.14, 0.38, 0.5], "level"),
        "peak_high": measured([0.18, 0.42, 0.5], "level"),
        "model": measured(
            -np.abs(times - 0.15 - 0.001 * np.arange(NETWORKS)[:, None]), "member", "time"
        ),
    }
    claims = peaks(run_with(along_time=stage))
    expected = {"peak-1": "shown", "peak-2": "contradicted", "peak-model": "shown"}
    assert verdicts(claims) == expected
    assert [claim.name for claim in peaks(run_with("large", along_time=stage))] == [
        "peak-model-large"
    ]


def levels_stage(rise: np.ndarray) -> dict[str, Measurement]:
    """Block excess (checkpoint, level), a little apart per pair, and its test at the end."""
    excess = rise[:, None] * (1 + 0.05 * np.arange(SPLITS))[:, None]
    return {
        **STAGE,
        "block_excess": measured(excess, "checkpoint", "pair", "level"),
        "onset_p": measured(np.where(rise > 0, 0.001, 1), "checkpoint", "level"),
        "significance": measured(0.05),
    }


def test_dependence_is_asked_of_all_levels():
    rise = np.array([[0.0, 0, 0, 0.1, 0.5, 1], [0, 0.5, 0.9, 1, 1, 1], [0, 0, 0, 0, 0, 0]]).T
    run = run_with(onsets=onsets(20, 100), levels=levels_stage(rise))
    claims = data_dependence(run)
    assert verdicts(claims) == {
        "dependence-0": "shown",
        "dependence-1": "shown",
        "dependence-2": "not shown",  # zero in all pairs
        "dependence-order-1-0": "shown",
        "dependence-order-2-1": "not located",  # one of them never came
    }
    early = data_dependence(run_with(onsets=onsets(20, 15), levels=levels_stage(rise)))
    assert verdicts(early)["dependence-0"] == "not shown"


def test_half_times_are_interpolated():
    times = np.array([1.0, 10, 100])
    found = half_times(times, np.array([[0.0, 0, 1], [0, 1, 2], [1, 1, 1], [0, 1, -1]]))
    assert np.exp(found.values[:2]) == pytest.approx([10**1.5, 10])
    assert (found.lower[:2] == found.upper[:2]).all()
    assert (found.lower[2:] == -np.inf).all()
    assert found.upper.tolist()[2:] == [0, np.inf]  # there from the start; nothing at the end
    nothing = half_times(times, np.array([[0.0, 0, 1]]), begun=False)
    assert (nothing.lower[0], nothing.upper[0]) == (-np.inf, np.inf)


def test_half_times_do_not_fire_on_noise_in_untrained_networks():
    times = np.geomspace(1, 100, 5)
    spike = np.array([[0.0, 0.9, 0, 0.2, 1.0]])
    assert np.exp(half_times(times, spike).values[0]) > times[3]


@pytest.mark.parametrize(("size", "verdict"), [(20, "not shown"), (400, "shown")])
def test_no_memorised_sample_among_few_is_no_proof_of_none(size, verdict):
    comparison = {**STAGE, "memorised": measured(np.zeros((6, NETWORKS)), "checkpoint", "member")}
    comparison |= {"gap_of_sets": comparison["memorised"]}
    pairs = {
        name.replace("tau_neighbour", "tau_pair"): Measurement(m.values[::2], ("pair",), "", "")
        for name, m in onsets(20, 100).items()
        if name.startswith("tau_neighbour")
    }
    results = {"onsets": onsets(20, 100) | pairs, "comparison": comparison, "evaluation": STAGE}
    (claim,) = samples_of_pairs(Run(results, NETWORKS, 1, "images", num_samples=size))[-1:]
    assert claim.name == "not-yet-memorised"
    assert claim.verdict == verdict


def test_claims_come_in_the_order_of_the_figures_asked_for():
    ratio = measured(np.ones((2, NETWORKS, 2, 5)), "moment", "member", "set", "time")
    stage = {
        "relative_time": measured([0.1, 0.2, 0.3], "time"),
        "filter_level": Measurement(np.array([3]), ("level",), "", "made up"),
        "model": measured(np.eye(3)[np.arange(4) % 3], "member", "time"),
    }
    results = {"onsets": onsets(20, 100), "u_turns": {"ratio": ratio}, "along_time": stage}
    runs = {"middle": Run(results, 2, 2)}
    # Figure 5 takes "comparison" too: without it there is nothing to say of it.
    assert [claim.figure for claim in examine_runs(runs, ("4a", "3b"))] == ["3b"]
    assert examine_runs(runs, ("4b",)) == []
    assert examine_runs({}, ("3b", "4a")) == []


def phases(gap: np.ndarray, distance: np.ndarray, onset: float = 40.0) -> Run:
    """One network per training set: the gap and the distance to the exact denoiser, by epoch."""
    apart = 1 + 0.001 * np.arange(SPLITS)
    found = {}
    for name, time in (("tau_turn", 40), ("tau_test", 80)):
        found[name] = measured(np.full(SPLITS, time), "member")
        for end, value in (("located", True), ("at_start", False), ("at_end", False)):
            found[f"{name}_{end}"] = Measurement(np.full(SPLITS, value), ("member",), "", "made up")
    comparison = {**STAGE, "gap_of_sets": measured(gap[:, None] * apart, "checkpoint", "split")}
    both = np.stack([distance[:, None] * apart] * 2, -1)
    return Run(
        {
            "onsets": found,
            "comparison": comparison,
            "evaluation": {**STAGE, "distillation": measured(both, "checkpoint", "member", "set")},
            "refitted": {"gap_of_sets": measured(np.full(SPLITS, 0.01), "split")},
            "levels": {**STAGE, "gap_onset": measured(np.full(SPLITS // 2, onset), "pair")},
        },
        SPLITS,
        1,
    )


def test_bias_is_the_refitted_grammars_before_the_onset_and_more_at_the_lowest_test_loss():
    gap, distance = np.array([0, 0, 0.02, 0.2, 0.5, 1]), np.array([9, 4, 3, 2, 1, 2])
    run = phases(gap, distance)
    (before,) = no_bias_before_onset(run)
    of_epochs_10_and_20 = (0 + 0.02) / 2 * 1.0055
    assert before.interval.estimate == pytest.approx(of_epochs_10_and_20 - 0.01, abs=1e-9)
    (beyond,), (falls,) = against_refitted(run), distance_falls(run)
    assert beyond.interval.estimate == pytest.approx(0.5 * 1.0055 - 0.01)
    assert falls.interval.estimate == pytest.approx(np.log(2))  # from epoch 40 to 80
    assert verdicts([before, beyond, falls]) == dict.fromkeys(
        ("gap-before-onset", "gap-beyond-refitted", "distance-falls"), "shown"
    )
    (early,) = no_bias_before_onset(phases(gap + 0.2, distance))
    (rises,) = distance_falls(phases(gap, distance[::-1]))
    assert (early.verdict, rises.verdict) == ("contradicted", "contradicted")


def test_without_a_checkpoint_before_the_onset_nothing_is_claimed_of_it():
    (claim,) = no_bias_before_onset(phases(np.ones(6), np.ones(6), onset=10.0))
    assert claim.verdict == "not located"
