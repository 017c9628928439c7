"""The mitigation study: equal compute, comparison at equal loss, and what is said of it."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from experiments import frontier, laptop, store
from experiments.advice_score import advice_table, score_advice, score_table
from experiments.runs.data import epochs_of, make_data, training_rows
from experiments.stages.advice import SIGNALS, AdviceConfig
from experiments.stages.evaluation import EvaluationConfig
from experiments.stages.generation import ComparisonConfig, SamplesConfig
from experiments.stages.tradeoff import TradeoffConfig
from experiments.store import Measurement, RunFolder
from experiments.studies import mitigations
from experiments.study.outcome import Made, Outcome
from experiments.study.runner import run_study
from experiments.worlds.grammar import GrammarConfig
from figures import study_frontier, study_report
from hiermodel.networks.transformer import TransformerConfig
from hiermodel.training.state import TrainingConfig

SMOKE = mitigations.study_of(
    dataclasses.replace(
        laptop.BASE,
        data=GrammarConfig(depth=2),
        network=TransformerConfig(4, 6, width=16, num_layers=1, num_heads=2, dropout=0.0),
        training=TrainingConfig(num_epochs=40, batch_size=16, learning_rate=2e-3),
        num_splits=2,
        num_seeds=2,
        split_size=16,
        test_size=64,
        num_steps=20,
        first_checkpoint=8,
        num_checkpoints=3,
    ),
    {
        "evaluation": EvaluationConfig(num_examples=32, num_noises=1, num_loss_noises=1),
        "samples": SamplesConfig(num_samples=60),
        "comparison": ComparisonConfig(num_floor_repeats=2),
        "advice": AdviceConfig(num_examples=32, num_noises=1, num_permutations=100),
        "tradeoff": TradeoffConfig(num_sequences=32, num_loss_noises=4),
    },
)
"""Every part once; its numbers mean nothing."""

EPOCHS = np.array([0, 10, 20, 40, 80, 160])
NETWORKS = 16
BASE = dataclasses.replace(SMOKE.base, num_splits=8)
"""Two networks on each of eight training sets."""


def measured(values, *dims):
    return Measurement(np.asarray(values, float), dims, "1", "test")


def results(loss, copies, auc=0.5, num_splits=BASE.num_splits):
    """One run's stages, with curves (checkpoints,) for all of its networks, or for each."""
    shape = len(EPOCHS), NETWORKS
    apart = 0.001 * np.arange(NETWORKS)
    wide = {
        name: np.broadcast_to(np.atleast_2d(np.asarray(curve).T).T, shape) + apart
        for name, curve in (("loss", loss), ("copies", copies), ("auc", auc))
    }
    unit = ("checkpoint", "unit")
    stage = {"epoch": measured(EPOCHS, "checkpoint")}
    for kind in ("network", "same", "halves"):
        size = NETWORKS if kind == "network" else NETWORKS // 2
        own = {name: values[:, :size] for name, values in wide.items()}
        stage |= {
            f"loss_{kind}": measured(own["loss"], *unit),
            f"divergence_{kind}": measured(own["loss"], *unit),
            f"reproduction_{kind}": measured(own["copies"][..., None], *unit, "radius"),
            f"auc_{kind}": measured(np.stack([own["auc"]] * 2, -1), *unit, "attack"),
        }
    onsets = {f"tau_{name}": measured([tau] * NETWORKS, "member") for name, tau in TAUS.items()}
    onsets["tau_turn"] = measured([TAUS["neighbour"]] * num_splits, "split")
    onsets["tau_turn_located"] = Measurement(np.full(num_splits, True), ("split",), "", "test")
    return {"tradeoff": stage, "onsets": onsets}


TAUS = {"neighbour": 20.0, "test": 80.0}
LOSS = [3.0, 2.0, 1.5, 1.2, 1.0, 1.1]
SCATTER = [0.01, 0.01, -0.01, -0.01] * 2
COPIES = [0.0, 0.01, 0.02, 0.04, 0.08, 0.2]


@pytest.mark.parametrize(
    "study",
    [pytest.param(mitigations.STUDY, marks=pytest.mark.long), SMOKE],
    ids=["laptop", "smoke"],
)
def test_all_are_trained_for_as_many_passes(study):
    runs = {study.name_of(run): run for run in study.runs()}
    assert list(runs) == list(mitigations.variants(study.base))
    assert len(runs) == len(set(runs.values())) == 8
    averaged = [name for name, run in runs.items() if study.measures_of(run)["tradeoff"].averages]
    assert averaged == ["baseline"]
    passes = {
        name: run.training.num_epochs * training_rows(run, make_data(run)).shape[1]
        for name, run in runs.items()
    }
    for name, number in passes.items():
        assert number == pytest.approx(passes["baseline"], rel=0.06), name
        assert len(epochs_of(runs[name])) >= 4


def test_equal_loss_is_on_the_way_down():
    base = frontier.curves(results(LOSS, COPIES))
    at = frontier._at_loss(base, 0, 3, 1.35)
    assert at["copies"] == pytest.approx(0.03)  # half-way between 1.5 and 1.2
    assert frontier._at_loss(base, 0, 3, 0.5)["copies"] == pytest.approx(0.08)
    assert frontier._at_loss(base, 0, 3, 9.0)["copies"] == pytest.approx(0.01)


def test_verdicts_say_what_the_numbers_do():
    found = {
        "baseline": results(LOSS, COPIES),
        "better": results(LOSS, np.array(COPIES) / 2),
        "worse": results(LOSS, np.array(COPIES) + 0.1, 0.7 + np.tile(SCATTER, (6, 2))),
        "slower": results([3, 2.5, 2.2, 2.0, 1.8, 1.5], 0.02 + np.tile(SCATTER, (6, 2))),
    }
    rows = frontier.summarise(frontier.points(found, BASE))
    verdict = {row["name"]: row["verdict"] for row in rows}
    base = next(row for row in rows if row["name"] == "baseline")
    assert base["copies_beyond"]["estimate"] == base["auc_beyond"]["estimate"] == 0
    assert verdict["better"] == "fewer copies"
    assert verdict["worse"] == "more copies and a stronger attack"
    assert verdict["slower"] == "no better than stopping the baseline early"
    assert verdict["early stop at the turn"] == "no better than stopping the baseline early"
    said = " ".join(frontier.sentences(rows))
    assert "fewer copies: better" in said
    assert "stronger attack: worse" in said
    assert "than stopping early: slower" in said
    # The turn is epoch 20: loss 1.5 − 1.0, copies 0.02 − 0.08.
    early = next(row for row in rows if row["name"].startswith("early"))
    assert early["loss_less_minimum"]["estimate"] == pytest.approx(0.5, abs=0.03)
    assert early["copies_less_minimum"]["estimate"] == pytest.approx(-0.06, abs=0.005)


def test_two_training_sets_are_too_few_for_a_verdict():
    few = dataclasses.replace(BASE, num_splits=2, num_seeds=8)  # as many networks
    found = {
        "baseline": results(LOSS, COPIES, num_splits=2),
        "better": results(LOSS, np.array(COPIES) / 2, num_splits=2),
    }
    rows = frontier.summarise(frontier.points(found, few))
    assert {row["verdict"] for row in rows[1:]} == {"too few training sets"}
    assert "fewer copies: none" in " ".join(frontier.sentences(rows))
    json.dumps(rows, allow_nan=False)


def test_what_learns_less_than_the_baseline_at_first_is_not_compared():
    found = {"baseline": results(LOSS, COPIES), "poor": results(np.array(LOSS) + 3, COPIES)}
    rows = frontier.summarise(frontier.points(found, BASE))
    assert next(r for r in rows if r["name"] == "poor")["verdict"] == frontier.INCOMPARABLE


def test_the_advisor_is_scored_against_what_is_known():
    config = SMOKE.base  # of two splits: the first four networks
    run = results(LOSS, COPIES)
    alarm, since = np.full((2, 4), np.inf), np.full((2, 4), np.inf)
    alarm[0, 1], since[0, 1] = 80, 40
    run["advice"] = {
        "alarm": measured(alarm, "pair", "signal"),
        "since": measured(since, "pair", "signal"),
    }
    rows = score_advice(config, run)
    table = score_table(rows)
    gap = table.loc[SIGNALS[1]]
    assert (gap["pairs"], gap["alarmed"]) == (2, 1)
    assert gap["alarm"] == pytest.approx(np.log(80 / 20))
    assert gap["since"] == pytest.approx(np.log(40 / 20))
    # Back to epoch 20 for one pair; to the end, 160, for the other.
    assert gap["loss_given_up_going_back"] == pytest.approx((0.5 + 0.1) / 2)
    assert gap["reproduction_avoided_going_back"] == pytest.approx((0.06 - 0.12) / 2)
    # Or stopped at epoch 80, the minimum.
    assert gap["loss_given_up_stopping"] == pytest.approx((0.0 + 0.1) / 2)
    pd.testing.assert_series_equal(table.loc["any sign of bias"], gap, check_names=False)
    assert np.isnan(table.loc["test loss", "since"])
    words = advice_table(table).set_index("signal").loc[SIGNALS[1]]
    assert words["alarms"] == "1 of 2"
    assert words.iloc[-1] == "0.3, -0.03"


def without_advice(found):
    """Stages of a run on which the advisor never spoke up."""
    silent = np.full((NETWORKS // 2, 4), np.inf)
    own = {name: measured(silent, "pair", "signal") for name in ("alarm", "since")}
    return {**found, "advice": {**own, "control_alarm": measured([np.inf, 5.0], "pair")}}


def test_answer_and_figure_come_from_the_outcome(tmp_path):
    half = results(LOSS, np.array(COPIES) / 2)
    runs = [
        Made(name, BASE, without_advice(found), RunFolder(tmp_path / name))
        for name, found in (("baseline", results(LOSS, COPIES)), ("better", half))
    ]
    privacy = runs[1].folder.privacy_file
    privacy.parent.mkdir()
    store.write_json(privacy, {"delta": 0.01, "epsilon": {"0": 0.0, "9": 3.0}})
    found = Outcome(SMOKE, runs, pd.DataFrame())
    answer = mitigations.answer(found)
    assert "fewer copies: better" in answer.paragraph
    assert "better: ε = 3 at δ = 0.01" in answer.paragraph
    assert "2 false alarms of 4" in answer.paragraph
    verdicts = {claim.name: claim.verdict for claim in answer.claims}
    assert verdicts["copies-better"] == "shown"
    assert verdicts["auc-better"] == "not shown"
    assert not any("baseline" in name for name in verdicts)
    mitigated, advised = answer.tables.values()
    assert mitigated.set_index("mitigation").loc["better", "at equal test loss"] == "fewer copies"
    assert set(advised["alarms"]) == {"0 of 16"}
    figure = study_frontier.draw(found)
    assert figure.axes[0].get_yticklabels()[0].get_text() == "better"
    assert study_frontier.draw(Outcome(SMOKE, runs[1:], pd.DataFrame())) is None


@pytest.mark.long
def test_the_whole_study_at_smoke_scale(tmp_path, monkeypatch):
    """With training sets enough for a turn, and one network on each, as in the shipped study."""
    base = dataclasses.replace(SMOKE.base, num_splits=4, num_seeds=1)
    study = mitigations.study_of(base, SMOKE.measures_of(base))
    run_study(study, tmp_path, progress=False)
    monkeypatch.setattr(study_report, "load_study", lambda *_: study)
    page = study_report.write_report("mitigations", tmp_path)
    summary = store.read_json(page.with_name("report.json"))
    (frontier_rows, _) = summary["tables"].values()
    # Averages of disjoint data and the early stop more; with one seed, none of the same data.
    assert len(frontier_rows["data"]) == len(study.runs()) + 2
    assert next(iter(summary["figures"])) == "frontier"
    assert Path(page.with_name("frontier.png")).exists()
