"""A tiny run on images: its stages, what they mean, and its figures, whole and partial."""

import dataclasses
import json

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import pytest

from experiments.cards import audit, contents
from experiments.cards.card import QUESTIONS
from experiments.configs import Protocol, RunConfig
from experiments.measure import load_finished, measure_run
from experiments.runs.data import data_as_drawn, run_key
from experiments.runs.members import checkpoints_of
from experiments.runs.training import open_run, train_run
from experiments.stages.attacks import AttacksConfig, make_setting, measure
from experiments.stages.denoising import denoisers_of
from experiments.stages.evaluation import EvaluationConfig
from experiments.stages.generation import (
    ComparisonConfig,
    SamplesConfig,
    compare,
    own_distances,
    sample_pairs,
)
from experiments.study import Grid, Study
from experiments.study.outcome import load
from experiments.worlds.images import ImageDataConfig, memorised
from experiments.worlds.registry import read_run
from figures import card as drawing
from figures import study_report, tables
from figures.figure import all_figures
from figures.pictures import mosaic
from hiermodel.measures import attack_losses
from hiermodel.measures.agreement import dissimilarity, noise_cosine
from hiermodel.measures.loss import stratified_steps
from hiermodel.measures.membership import auc
from hiermodel.networks.unet import UNetConfig
from hiermodel.training.state import TrainingConfig

pytestmark = pytest.mark.long

RUN = RunConfig(
    data=ImageDataConfig(),
    network=UNetConfig(8, 8, base_width=4, multipliers=(1,), num_res_blocks=1, num_groups=2),
    training=TrainingConfig(num_epochs=8, batch_size=8, learning_rate=1e-2),
    num_splits=2,
    num_seeds=2,
    split_size=8,
    test_size=12,
    num_steps=40,
    first_checkpoint=1,
    num_checkpoints=4,
)
BASE = {
    "evaluation": EvaluationConfig(num_examples=8, num_noises=1, relative_time=(0.1, 0.5)),
    "samples": SamplesConfig(4),
    "comparison": ComparisonConfig(),
}
OWN = Protocol(RUN, BASE)


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    train_run(RUN, folder, progress=False)
    return folder


@pytest.fixture(scope="module")
def results(root):
    found = measure_run(OWN, root, progress=False)
    again = load_finished(OWN, root)
    assert set(again) == set(found) == {"evaluation", "comparison", "onsets", "ensemble"}
    return found


def test_untrained_networks_predict_nothing_and_draw_the_same(results):
    evaluation, comparison = results["evaluation"], results["comparison"]
    assert evaluation["loss"].values.shape == (5, 4, 2)
    assert np.abs(evaluation["loss"].values[0] - 1).max() < 5 * np.sqrt(2 / (5 * 8 * 64))
    assert evaluation["sample_split"].dims == ("checkpoint", "pair", "set", "noise_level")
    assert (evaluation["sample_split"].values[0] == 1).all()  # 1 − the cosine of nothing
    assert (evaluation["sample_split"].values[1:] != 1).all()
    assert np.abs(comparison["dissimilarity"].values[0]).max() < 1e-6
    assert (comparison["dissimilarity"].values[-1] > 1e-6).all()
    assert (comparison["memorised_low"].values <= comparison["memorised"].values).all()


def test_the_memoriser_is_perfect_on_its_own_images_and_poor_on_others(results):
    empirical = results["evaluation"]["empirical_loss"].values
    gaussian = results["evaluation"]["gaussian_loss"].values
    assert (empirical[:, 0] < gaussian[:, 0]).all()
    assert (empirical[:, 0] < empirical[:, 1]).all()


def test_onsets_of_images_are_found(results):
    onsets = results["onsets"]
    assert onsets["tau_test"].values.shape == (4,)
    assert onsets["tau_pair"].values.shape == (2,)
    assert onsets["tau_split"].values.shape == (2, 2)
    assert "tau_level" not in onsets


def test_tables_leave_pictures_out(results):
    table = tables.table_of(results["comparison"])
    assert "dissimilarity" in table
    assert not any("picture" in name for name in table)
    assert len(table) == 5


@pytest.mark.parametrize("name", ["1a", "2"])
def test_figures_are_drawn_whole_or_marked_as_partial(name, results):
    spec = all_figures()[name]
    wanted = {stage: results[stage] for stage in (*spec.stages, "onsets", "ensemble")}

    def partial(found) -> bool:
        figure = spec.draw(found)
        figure.draw_without_rendering()
        title = figure.get_suptitle()
        plt.close(figure)
        return title.startswith("partial")

    assert not partial({"whole": wanted})
    assert partial({"whole": {}})
    if len(spec.sizes) > 1:
        assert not partial(dict.fromkeys(spec.sizes, wanted))
        assert partial({**dict.fromkeys(spec.sizes, wanted), "images": {}})


def test_the_card_of_a_run_on_images_computes_attacks_and_advice(root, results, tmp_path):
    run = open_run(RUN, root)
    assert read_run(run.config_file) == RUN
    page = drawing.main(drawing.Arguments(run.path.name, root, tmp_path))
    card = json.loads((tmp_path / "card.json").read_text())
    assert card["missing"] == []
    assert {number["question"] for number in card["numbers"]} == set(QUESTIONS)
    assert all(question in page.read_text() for question in QUESTIONS)
    numbers = {number["name"]: number for number in card["numbers"]}
    gap = [number for name, number in numbers.items() if name.startswith("own–other gap at τ_test")]
    assert gap[0]["low"] is None
    assert gap[0]["note"] == "1 pairs of training sets, fewer than 4: no interval"
    assert "AUC of the calibrated attack, mean over t, at τ_test" not in numbers
    panels = {curve["panel"] for curve in card["curves"]}
    drawn = [axis.get_title() for axis in drawing.draw(card).axes if axis.get_visible()]
    assert set(drawn) == panels
    assert len(drawn) == len(panels) == 5
    assert len(audit.audit(run, compute=False).missing) == 2


def test_the_card_of_images_that_are_elsewhere_says_so(root):
    data = ImageDataConfig(source="file", checksum="none")
    run, config = open_run(RUN, root), dataclasses.replace(RUN, data=data)
    assert any("--images" in line for line in contents.fill_in(config, run, {}).missing)
    assert contents.compute(config, run, {}) == {}


def test_attacks_on_images_compare_own_with_test_images(root):
    splits = data_as_drawn(RUN)
    networks = denoisers_of(RUN, checkpoints_of(RUN, open_run(RUN, root)).load_params(8))
    setting = make_setting(RUN, AttacksConfig(num_noises=4, num_resamples=50), 4)
    found = measure(setting, networks, splits.train)
    assert not any(name.startswith(("reproduction", "precision", "cycle")) for name in found)
    assert found["auc"].values.shape == (4, 2, 2)
    step_key, noise_key, *_ = jax.random.split(run_key(RUN, "attacks"), 6)
    steps = np.asarray(stratified_steps(step_key, 40, 4))
    own, reference = (networks[member] for member in (3, 1))
    pool = np.concatenate([*splits.train, splits.test])
    key = jax.random.split(noise_key)[1]
    loss, other = (attack_losses(key, each, RUN.schedule, pool, steps) for each in (own, reference))
    for number, scores in ((0, -loss), (1, other - loss)):
        expected = auc(scores[8:16], scores[16:])
        assert found["auc"].values[3, number, 1] == pytest.approx(expected)


def test_rows_of_a_study_hold_what_the_measurements_hold(root, results, monkeypatch):
    measures = BASE
    study = Study("tiny", "any?", RUN, (Grid("split_size", (8,)),), measures, seeds=(RUN.seed,))
    rows = load(study, root)
    assert len(rows) == 4
    onsets, compared = results["onsets"], results["comparison"]
    np.testing.assert_array_equal(rows["tau_test"], onsets["tau_test"].values)
    np.testing.assert_array_equal(rows["tau_bias"][:2], onsets["tau_pair"].values[:2])
    assert np.isnan(rows["tau_bias"][2:]).all()
    test = rows["tau_test"].to_numpy()
    expected = np.sqrt(test[:2] * test[2:]) / rows["tau_bias"][:2]
    np.testing.assert_allclose(rows["ratio"][:2], expected)
    nearest = 1 + np.abs(np.log(compared["epoch"].values[1:] / rows["tau_test"][0])).argmin()
    assert rows["memorised"][0] == compared["memorised"].values[nearest, 0]
    assert sorted(load(root)["test_loss"]) == sorted(rows["test_loss"])
    monkeypatch.setattr(study_report, "load_study", lambda *_: study)
    page = study_report.write_report("tiny.py", root).read_text()
    assert page.count("<img alt=") == 2  # phases and curves


def test_copies_are_memorised_and_lean_to_their_own_set():
    random = np.random.default_rng(0)
    train = random.normal(size=(2, 6, 9, 1)).astype(np.float32)
    run, key = dataclasses.replace(RUN, num_seeds=1), jax.random.key(0)

    def compared(samples):
        distance = own_distances(run, samples, train)
        copies = memorised(key, ComparisonConfig(), samples, train, 1)["memorised"].values
        return copies, compare(run, samples, train, distance)

    copies, found = compared(train[:, :4])
    assert (copies == 1).all()
    assert (found["gap"].values > 1).all()
    np.testing.assert_allclose(found["nearest_distance"].values, 0, atol=1e-3)
    copies, swapped = compared(train[::-1, :4])
    assert (swapped["gap"].values < -1).all()
    assert (copies == 0).all()


def test_all_pairs_of_splits_are_taken_independent_ones_first():
    assert sample_pairs(3, 1) == [(0, 1), (0, 2), (1, 2)]
    assert sample_pairs(2, 2) == [(0, 2), (1, 3)]
    assert len(sample_pairs(15, 1)) == 105


def test_cosines_are_those_of_the_definition():
    random = np.random.default_rng(0)
    a, b = random.normal(size=(2, 3, 5, 2))
    expected = [np.dot(x, y) / np.linalg.norm(x) / np.linalg.norm(y) for x, y in flat_pairs(a, b)]
    np.testing.assert_allclose(noise_cosine(a, b), expected, rtol=1e-9)
    correlation = [np.corrcoef(x, y)[0, 1] for x, y in flat_pairs(a, b)]
    np.testing.assert_allclose(dissimilarity(a, b), 1 - np.array(correlation), rtol=1e-9)
    np.testing.assert_allclose(dissimilarity(a, 3 * a + 1), 0, atol=1e-9)
    assert float(noise_cosine(a[0], 0 * a[0])) == 0
    assert float(dissimilarity(a[0], jnp.ones((5, 2)))) == 1
    with pytest.raises(ValueError, match="noise_b"):
        noise_cosine(a, b[0])


def flat_pairs(a, b):
    return zip(a.reshape(3, -1), b.reshape(3, -1), strict=True)


def test_a_mosaic_keeps_images_apart():
    images = np.ones((2, 3, 4, 5, 1))
    whole = mosaic(images)
    assert whole.shape == (10, 18)
    assert (whole[:4, :5] == 1).all()
    assert (whole[4] == 0).all()
    assert mosaic(np.ones((1, 1, 2, 2, 3))).shape == (3, 3, 3)
