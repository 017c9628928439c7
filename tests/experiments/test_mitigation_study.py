"""The mitigation study: equal compute, comparison at equal loss, and what is said of it."""

import dataclasses
import json

import numpy as np
import pytest

from experiments import frontier, mitigations
from experiments.advice_score import score_advice, score_table
from experiments.stages.advice import SIGNALS
from experiments.store import Measurement
from experiments.train import epochs_of, make_data, training_rows
from figures import mitigations as drawing

PLANS = [mitigations.laptop_plan(), mitigations.smoke_plan()]
EPOCHS = np.array([0, 10, 20, 40, 80, 160])
NETWORKS = 16
BASE = dataclasses.replace(PLANS[1].base, num_splits=8)
"""Two networks on each of eight training sets."""


def measured(values, *dims):
    return Measurement(np.asarray(values, float), dims, "1", "test")


def results(loss, copies, auc=0.5):
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
    located = Measurement(np.full(NETWORKS, True), ("member",), "", "test")
    onsets["tau_neighbour_located"] = located
    return {"tradeoff": stage, "onsets": onsets}


TAUS = {"neighbour": 20.0, "test": 80.0}
LOSS = [3.0, 2.0, 1.5, 1.2, 1.0, 1.1]
SCATTER = [0.01, 0.01, -0.01, -0.01] * 2
COPIES = [0.0, 0.01, 0.02, 0.04, 0.08, 0.2]


@pytest.mark.parametrize("plan", PLANS, ids=["laptop", "smoke"])
def test_all_are_trained_for_as_many_passes(plan):
    runs = mitigations.variants(plan.base)
    assert len(runs) == len(set(runs.values())) > 8
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
        "worse": results(LOSS, np.array(COPIES) + 0.1, 0.7),
        "slower": results([3, 2.5, 2.2, 2.0, 1.8, 1.5], 0.02 + np.tile(SCATTER, (6, 2))),
    }
    rows = frontier.summarise(frontier.points(found, BASE))
    verdict = {row["name"]: row["verdict"] for row in rows}
    base = next(row for row in rows if row["name"] == "baseline")
    assert base["copies_beyond"]["estimate"] == base["auc_beyond"]["estimate"] == 0
    assert verdict["better"] == "fewer copies"
    assert verdict["worse"] == "more copies and a stronger attack"
    assert verdict["slower"] == "no better than stopping the baseline early"
    assert verdict["early stop at τ_bias"] == "no better than stopping the baseline early"
    said = " ".join(frontier.sentences(rows))
    assert "fewer copies: better" in said
    assert "stronger attack: worse" in said
    assert "than stopping early: slower" in said
    # τ_bias is epoch 20: loss 1.5 − 1.0, copies 0.02 − 0.08.
    early = next(row for row in rows if row["name"].startswith("early"))
    assert early["loss_less_minimum"]["estimate"] == pytest.approx(0.5, abs=0.03)
    assert early["copies_less_minimum"]["estimate"] == pytest.approx(-0.06, abs=0.005)


def test_two_training_sets_are_too_few_for_a_verdict():
    found = {"baseline": results(LOSS, COPIES), "better": results(LOSS, np.array(COPIES) / 2)}
    few = dataclasses.replace(BASE, num_splits=2, num_seeds=8)  # as many networks
    rows = frontier.summarise(frontier.points(found, few))
    assert {row["verdict"] for row in rows[1:]} == {"too few training sets"}
    assert "fewer copies: none" in " ".join(frontier.sentences(rows))
    json.dumps(rows, allow_nan=False)


def test_what_learns_less_than_the_baseline_at_first_is_not_compared():
    found = {"baseline": results(LOSS, COPIES), "poor": results(np.array(LOSS) + 3, COPIES)}
    rows = frontier.summarise(frontier.points(found, BASE))
    assert next(r for r in rows if r["name"] == "poor")["verdict"] == frontier.INCOMPARABLE


def test_the_advisor_is_scored_against_what_is_known():
    config = PLANS[1].base  # of two splits: the first four networks
    run = results(LOSS, COPIES)
    alarm, since = np.full((2, 4), np.inf), np.full((2, 4), np.inf)
    alarm[0, 1], since[0, 1] = 80, 40
    run["advice"] = {
        "alarm": measured(alarm, "pair", "signal"),
        "since": measured(since, "pair", "signal"),
    }
    rows = score_advice(config, run)
    table = {row["signal"]: row for row in score_table(rows)}
    gap = table[SIGNALS[1]]
    assert (gap["pairs"], gap["alarmed"]) == (2, 1)
    assert gap["alarm"] == pytest.approx(np.log(80 / 20))
    assert gap["since"] == pytest.approx(np.log(40 / 20))
    # Back to epoch 20 for one pair; to the end, 160, for the other.
    assert gap["loss_given_up_going_back"] == pytest.approx((0.5 + 0.1) / 2)
    assert gap["reproduction_avoided_going_back"] == pytest.approx((0.06 - 0.12) / 2)
    # Or stopped at epoch 80, the minimum.
    assert gap["loss_given_up_stopping"] == pytest.approx((0.0 + 0.1) / 2)
    assert table["any sign of bias"] == {**gap, "signal": "any sign of bias"}
    assert table["test loss"]["since"] is None


ADVICE_TABLE = [
    {"signal": "gap", "pairs": 2, "alarmed": 1, "alarm": 0.5, "since": -0.5, "since_spread": 0.1}
    | {
        f"{what}_{rule}": 0.25
        for what in ("loss_given_up", "reproduction_avoided")
        for rule in ("stopping", "going_back")
    }
]


def test_tables_and_figure_come_from_the_json(tmp_path):
    found = {"baseline": results(LOSS, COPIES), "better": results(LOSS, np.array(COPIES) / 2)}
    rows = frontier.summarise(frontier.points(found, BASE))
    plain = {name: mitigations._plain(frontier.curves(each)) for name, each in found.items()}
    content = {
        "rows": rows,
        "sentences": frontier.sentences(rows),
        "curves": plain,
        "advice": ADVICE_TABLE,
        "controls": {"alarmed": 0, "of": 2},
        "privacy": {"DP": {"delta": 0.01, "epsilon": {"0": 0.0, "9": 3.0}}},
        "provenance": {"cores": 2},
        "seconds": 90,
    }
    (tmp_path / "mitigations.json").write_text(json.dumps(content))
    assert all(path.exists() for path in drawing.write(tmp_path))
    gallery = tmp_path / "gallery"
    gallery.mkdir()
    (gallery / "README.md").write_text(f"a\n{drawing.BEGIN}\nold\n{drawing.END}\nb\n")
    drawing.publish(tmp_path, gallery)
    page = (gallery / "README.md").read_text()
    assert "| better |" in page
    assert "ε = 3 at δ = 0.01" in page
    assert "| gap | 1 of 2 | 0.5 | -0.5 | 0.1 | 0.25, 0.25 | 0.25, 0.25 |" in page
    assert "old" not in page
    assert drawing.BEGIN in drawing.GALLERY.joinpath("README.md").read_text()


@pytest.mark.long
def test_the_whole_study_at_smoke_scale(tmp_path):
    folder = mitigations.main(mitigations.Arguments("smoke", tmp_path, progress=False))
    rows = json.loads((folder / "mitigations.json").read_text())["rows"]
    assert len(rows) == len(mitigations.variants(PLANS[1].base)) + 3
    assert (folder / "mitigations.png").exists()
