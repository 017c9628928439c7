"""The stages "attacks" and "advice" on networks that learn a small training set by heart."""

import dataclasses
import json
from typing import Any

import jax
import numpy as np
import pytest

from experiments import configs
from experiments.cards import audit
from experiments.cards.card import QUESTIONS
from experiments.configs import Protocol
from experiments.measure import measure_run
from experiments.runs.data import make_data
from experiments.runs.members import checkpoints_of
from experiments.runs.training import open_run, train_run
from experiments.stages import advice, attacks
from experiments.stages.advice import AdviceConfig
from experiments.stages.attacks import AttacksConfig
from experiments.stages.denoising import denoisers_of
from experiments.stages.evaluation import EvaluationConfig
from experiments.stages.generation import ComparisonConfig, SamplesConfig
from experiments.worlds.grammar import GrammarConfig
from experiments.worlds.registry import read_run
from figures import card as card_page
from hiermodel.measures import attack_losses, membership_score, near_copies
from hiermodel.measures.membership import auc
from hiermodel.networks.mlp import MLPConfig
from hiermodel.training.state import TrainingConfig

pytestmark = pytest.mark.long

RUN = configs.RunConfig(
    data=GrammarConfig("random", vocab_size=4, depth=2, rules_per_symbol=3),
    network=MLPConfig(num_leaves=4, vocab_size=4, width=48, num_blocks=1),
    training=TrainingConfig(num_epochs=600, batch_size=16, learning_rate=5e-3),
    num_splits=2,
    num_seeds=2,
    split_size=16,
    test_size=120,
    num_steps=20,
    first_checkpoint=10,
    num_checkpoints=3,
)
BASE = {
    "evaluation": EvaluationConfig(num_examples=32, num_noises=1, num_loss_noises=2),
    "samples": SamplesConfig(num_samples=200),
    "comparison": ComparisonConfig(num_floor_repeats=2),
}
STAGES: dict[str, Any] = {
    "attacks": AttacksConfig(num_noises=12, num_cycles=2, num_resamples=100, delta=1e-6),
    "advice": AdviceConfig(num_examples=40, num_noises=2, num_permutations=200),
}


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    train_run(RUN, folder, progress=False)
    return folder


@pytest.fixture(scope="module")
def results(root):
    return measure_run(Protocol(RUN, BASE | STAGES), root, progress=False)


def networks(root, epoch):
    return denoisers_of(RUN, checkpoints_of(RUN, open_run(RUN, root)).load_params(epoch))


def test_attacks_are_those_of_the_losses(root, results):
    measured = results["attacks"]
    assert measured["auc"].dims == ("checkpoint", "member", "attack", "time_of_noise")
    assert measured["auc"].values.shape == (4, 4, 3, 2)
    assert measured["tpr"].values.shape == (4, 4, 3, 2, 2)
    setting = attacks.make_setting(RUN, STAGES["attacks"], 200)
    splits, key = make_data(RUN), jax.random.split(setting.noise_key)[1]
    own, reference = networks(root, 600)[3], networks(root, 600)[1]
    pool = np.concatenate([splits.train[1], splits.train[0], splits.unseen])
    pool[:16], pool[16:32] = splits.train[0], splits.train[1]  # the order of the stage's pool
    loss, other = (
        attack_losses(key, each, RUN.schedule, pool, setting.steps[1]) for each in (own, reference)
    )
    for attack, scores in ((0, membership_score(loss)), (2, membership_score(loss, other))):
        expected = auc(scores[16:32], scores[32:])
        assert measured["auc"].values[-1, 3, attack, 1] == pytest.approx(expected)


def test_what_was_never_trained_gives_nothing_away_and_what_knows_its_data_does(results):
    """Over 4 members × 3 attacks × 2: means of intervals, so that chance is not in the way."""
    low, high = (results["attacks"][f"auc_{end}"].values for end in ("low", "high"))
    assert low[0].mean() < 0.5 < high[0].mean()
    assert low[-1, :, 1:].mean() > 0.6
    assert results["attacks"]["epsilon"].values[0].max() < 0.5
    assert results["attacks"]["epsilon"].values.shape == (4, 4, 2, 2)


def test_reproduction_and_extraction_are_those_of_the_samples(root, results):
    measured, train = results["attacks"], make_data(RUN).train
    copies = results["comparison"]["copies"].values
    setting = attacks.make_setting(RUN, STAGES["attacks"], 200)
    for baseline, rows in enumerate(setting.baselines):
        expected = [near_copies(rows, train[m // 2], (0,)).mean() for m in range(4)]
        found = measured["reproduction"].values[:, :, baseline, 0]
        np.testing.assert_allclose(found, copies - expected)
    assert measured["reproduction_low"].values[-1, :, 0, 0].min() > 0
    against_own, against_other = np.moveaxis(measured["precision"].values[-1], -1, 0)
    assert (against_own > against_other).all()
    assert (measured["num_claims"].values[-1] > 0).all()
    cycles = measured["cycle_copies"].values
    assert cycles.shape == (4, 4, 3)
    assert cycles[-1, :, -1].mean() > measured["cycle_copies_exact"].values[:, -1].mean() + 0.1


def test_advice_speaks_up_on_networks_that_copy(results):
    measured = results["advice"]
    assert measured["alarm"].values.shape == (2, len(advice.SIGNALS))
    gap = measured["curve_estimate"].values[:, :, advice.SIGNALS.index("own–other gap")]
    one_way = results["comparison"]["gap"].values[1:]
    np.testing.assert_allclose(gap, (one_way[:, :2] + one_way[:, 2:]) / 2, rtol=1e-5)
    assert (measured["stop_epoch"].values <= 600).all()
    assert measured["test_loss"].values.shape == (4, 4, 40)
    assert measured["split_divergence"].values.shape == (4, 2, 40)
    assert (measured["split_divergence"].values.mean(-1)[-1] > 0.1).all()


def test_one_split_has_no_reference_and_no_advice(tmp_path):
    run = dataclasses.replace(RUN, num_splits=1, num_seeds=1)
    run = dataclasses.replace(run, training=dataclasses.replace(run.training, num_epochs=10))
    train_run(run, tmp_path, progress=False)

    def measure(name):
        own = {name: STAGES[name]}
        return measure_run(Protocol(run, BASE | own), tmp_path, wanted=[name], progress=False)[name]

    found = measure("attacks")
    assert found["auc"].values.shape[2] == 2
    assert "epsilon" not in found
    with pytest.raises(ValueError, match="num_splits=1"):
        measure("advice")


def test_the_card_says_what_was_measured_and_names_what_is_missing(root, results, tmp_path):
    run = open_run(RUN, root)
    assert read_run(run.config_file) == RUN
    page = card_page.main(card_page.Arguments(run.path.name[:6], root, tmp_path))
    card = json.loads((tmp_path / "card.json").read_text())
    assert card["missing"] == []
    numbers = {number["name"]: number for number in card["numbers"]}
    area = numbers["AUC of the calibrated attack, mean over t, at τ_test"]
    assert area["estimate"] > area["chance"]
    assert area["low"] is None  # two training sets have no interval, whatever the seeds
    assert area["note"] == "2 training sets, fewer than 4: no interval"
    turned = numbers["repeated U-turns that end on a training sequence, at τ_test"]
    assert turned["estimate"] > turned["chance"]
    assert {number["question"] for number in card["numbers"]} == set(QUESTIONS)
    assert all(question in page.read_text() for question in QUESTIONS)


def test_the_card_computes_attacks_and_advice_from_samples(tmp_path):
    run = dataclasses.replace(RUN, num_seeds=1, num_checkpoints=4)
    run = dataclasses.replace(run, training=dataclasses.replace(run.training, num_epochs=40))
    train_run(run, tmp_path, progress=False)
    folder = open_run(run, tmp_path)
    bare = audit.audit(folder)
    assert len(bare.missing) == 4
    assert not bare.numbers
    measure_run(Protocol(run, BASE), tmp_path, progress=False)
    card = audit.audit(folder)
    assert card.missing == []
    assert len(audit.audit(folder, compute=False).missing) == 2
    assert {number.question for number in card.numbers} == set(QUESTIONS)
    with pytest.raises(ValueError, match="a run folder"):
        audit.find_run("nowhere", tmp_path)
