"""Verdicts, units and statistics of claims, on made-up measurements."""

import numpy as np
import pytest

from experiments.store import Measurement
from hiermodel.measures.uncertainty import Interval
from paper_repro.claims import Claim, Run, examine_runs
from paper_repro.claims.claim import per_network, per_pair
from paper_repro.claims.phases import MARGIN, growth, loss_decomposition, u_turns
from paper_repro.claims.structure import data_dependence, half_times, peaks

EPOCHS = np.array([0, 10, 20, 40, 80, 160])
NETWORKS = 4  # 2 splits × 2 seeds


def measured(values, *dims) -> Measurement:
    return Measurement(np.asarray(values, float), dims, "units", "made up")


def onsets(tau_bias: float, tau_test: float, located: bool = True) -> dict[str, Measurement]:
    apart = np.array([0.9, 1, 1, 1.1])
    result = {}
    for name, tau in (("tau_neighbour", tau_bias), ("tau_test", tau_test)):
        result[name] = measured(tau * apart, "member")
        result[f"{name}_located"] = Measurement(
            np.full(NETWORKS, located), ("member",), "", "made up"
        )
    return result


def run_with(size: str = "middle", **results) -> Run:
    return Run(results, 2, 2, size, {"small": 50, "middle": 100}.get(size, 200), 1)


def verdicts(claims) -> dict[str, str]:
    return {claim.name: claim.verdict for claim in claims}


@pytest.mark.parametrize(
    ("low", "high", "note", "verdict"),
    [
        (0.1, 0.5, "", "shown"),
        (-0.1, 0.5, "", "not shown"),
        (-0.5, -0.1, "", "contradicted"),
        (-0.5, -0.1, "on the border", "not shown"),
    ],
)
def test_an_order_is_shown_by_an_interval_above_zero(low, high, note, verdict):
    interval = Interval((low + high) / 2, low, high, 0.95)
    claim = Claim("name", "1b", "statement", "statistic", interval, np.array([low, high]), note)
    assert claim.verdict == verdict


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [
        (-0.01, 0.015, "shown"),
        (-0.01, 0.05, "not shown"),
        (-0.05, 0.05, "not shown"),
        (0.03, 0.05, "contradicted"),
        (-0.05, -0.03, "contradicted"),
    ],
)
def test_an_equivalence_is_shown_by_an_interval_within_its_margin(low, high, verdict):
    interval = Interval((low + high) / 2, low, high, 0.95)
    values = np.array([low, high])
    claim = Claim("name", "5", "statement", "statistic", interval, values, low=-0.02, high=0.02)
    assert claim.verdict == verdict


def test_many_splits_are_the_units_few_are_not():
    about = {"name": "name", "figure": "1b", "statement": "what", "statistic": "how"}
    many = per_network(Run({}, 6, 2), values=np.arange(12.0), **about)
    assert many.values.tolist() == [0.5, 2.5, 4.5, 6.5, 8.5, 10.5]
    assert many.statistic == "how, per split"
    few = per_network(Run({}, 2, 2), values=np.arange(4.0), **about)
    assert len(few.values) == 4
    assert few.statistic == "how, per network"
    pairs = per_pair(Run({}, 10, 2), values=np.arange(10.0), **about)
    assert len(pairs.values) == 5
    assert pairs.statistic == "how, per pair of splits"


def test_terms_of_the_loss_fall_between_the_minima():
    falls = np.linspace(1, 0, len(EPOCHS))[:, None, None] + 0.01 * np.arange(NETWORKS)[:, None]
    rises = -falls
    both = np.concatenate([falls, rises], -1)  # on train and on test
    terms = ("distillation", "excess", "distillation_all", "excess_all")
    stage = {name: measured(both, "checkpoint", "member", "set") for name in terms}
    stage["epoch"] = measured(EPOCHS, "checkpoint")
    claims = loss_decomposition(run_with(onsets=onsets(20, 100), decomposition=stage), "4b")
    assert set(verdicts(claims).values()) == {"shown"}
    assert len(claims) == 4
    none = loss_decomposition(run_with(onsets=onsets(100, 20), decomposition=stage), "4b")
    assert all("no biased phase" in claim.note for claim in none)
    assert "shown" not in verdicts(none).values()


def test_u_turns_coincide_first_and_separate_later():
    rng = np.random.default_rng(0)
    ratio = 1 + 0.001 * rng.normal(size=(2, NETWORKS, 2, 5))
    ratio[1, :, 0] += 0.1
    stage = {"ratio": measured(ratio, "moment", "member", "set", "time")}
    claims = u_turns(run_with(onsets=onsets(20, 100), u_turns=stage), "5")
    assert set(verdicts(claims).values()) == {"shown"}
    ratio[0, :, 0] += 0.1 + MARGIN
    stage = {"ratio": measured(ratio, "moment", "member", "set", "time")}
    claims = u_turns(run_with(onsets=onsets(20, 100), u_turns=stage), "5")
    assert verdicts(claims) == {
        "u-turns-coincide": "contradicted",
        "u-turns-separate": "shown",
        "u-turns-part": "contradicted",
    }


def test_minima_come_later_with_more_data():
    comparison = {"comparison": {}}
    small = run_with("small", onsets=onsets(10, 50), **comparison)
    middle = run_with("middle", onsets=onsets(20, 100), **comparison)
    claims = growth(small, middle, "9")
    assert [claim.name for claim in claims] == [
        "bias-grows-small-middle",
        "test-grows-small-middle",
    ]
    assert all(claim.interval.estimate == pytest.approx(np.log(2)) for claim in claims)
    assert set(verdicts(claims).values()) == {"shown"}
    assert set(verdicts(growth(middle, small, "9")).values()) == {"contradicted"}
    border = run_with("small", onsets=onsets(10, 50, located=False), **comparison)
    assert all("n = 50" in claim.note for claim in growth(border, middle, "9"))


def test_sizes_with_other_numbers_of_seeds_meet_in_the_members_they_share():
    small = run_with("small", onsets=onsets(10, 50))
    single = {
        name: Measurement(m.values[::2], m.dims, "", "") for name, m in onsets(20, 100).items()
    }
    large = Run({"onsets": single}, 2, 1, "large", 200, 2)
    for claim in growth(small, large, "10"):
        # Members (split 0, seed 0) and (split 1, seed 0); two steps per epoch of the larger.
        assert claim.values == pytest.approx(np.log([4, 4]))


def test_peaks_are_located():
    times = np.linspace(0.05, 1, 20)
    stage = {
        "relative_time": measured(times, "time"),
        "filter_level": Measurement(np.array([1, 2, 3]), ("level",), "", "made up"),
        "peak_time": measured([0.16, 0.4, 0.5], "level"),
        "peak_low": measured([0.14, 0.38, 0.5], "level"),
        "peak_high": measured([0.18, 0.42, 0.5], "level"),
        "model": measured(-np.abs(times - 0.15) + np.zeros((NETWORKS, 1)), "member", "time"),
    }
    claims = peaks(run_with(along_time=stage), "3b")
    expected = {"peak-1": "shown", "peak-2": "contradicted", "peak-model": "shown"}
    assert verdicts(claims) == expected
    assert [claim.name for claim in peaks(run_with("large", along_time=stage), "3b")] == [
        "peak-model-large"
    ]


def test_dependence_is_dated_by_level():
    rise = np.array([[0.0, 0, 0, 0.1, 0.5, 1], [0, 0.5, 0.9, 1, 1, 1], [0, 0, 0, 0, 0, 0]]).T
    excess = rise[:, None] * np.array([1, 1.1])[:, None]
    stage = {
        "epoch": measured(EPOCHS, "checkpoint"),
        "block_excess": measured(excess, "checkpoint", "pair", "level"),
        "onset_p": measured(np.where(rise > 0, 0.001, 1), "checkpoint", "level"),
        "onset_epoch": measured([40, 10, np.inf], "level"),
        "block_share": measured([[0.8, 0.15, 0.05], [0.81, 0.14, 0.05]], "pair", "level"),
    }
    claims = data_dependence(run_with(onsets=onsets(20, 100), levels=stage), "levels")
    assert verdicts(claims) == {
        "dependence-0": "shown",
        "dependence-1": "shown",
        "dependence-order-1-0": "shown",
        "dependence-of-large-blocks": "shown",
    }
    assert "corrected p 0.001" in claims[0].statistic


def test_half_times_are_interpolated():
    times = np.array([1.0, 10, 100])
    assert half_times(times, np.array([0.0, 0, 1])) == pytest.approx(10**1.5)
    assert half_times(times, np.array([[1.0, 1, 1], [0, 1, 2]])) == pytest.approx([1, 10])


def test_claims_come_in_the_order_of_the_figures_asked_for():
    ratio = measured(np.ones((2, NETWORKS, 2, 5)), "moment", "member", "set", "time")
    stage = {
        "relative_time": measured([0.1, 0.2, 0.3], "time"),
        "filter_level": Measurement(np.array([3]), ("level",), "", "made up"),
        "model": measured(np.eye(3)[[0, 1, 2, 1]], "member", "time"),
    }
    results = {"onsets": onsets(20, 100), "u_turns": {"ratio": ratio}, "along_time": stage}
    runs = {"middle": Run(results, 2, 2)}
    # Figure 5 takes "comparison" too: without it there is nothing to say of it.
    assert [claim.figure for claim in examine_runs(runs, ("5", "3b"))] == ["3b"]
    assert examine_runs(runs, ("4b",)) == []
    assert examine_runs({}, ("3b", "5")) == []
