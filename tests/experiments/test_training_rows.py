"""Copies and variants of what is trained on, and identities of runs that have none."""

import dataclasses
import json

import numpy as np
import pytest

import hiermodel as hm
from experiments.configs import RunConfig, identity, to_json
from experiments.runs.data import make_data, num_training_rows, training_rows
from experiments.runs.members import checkpoints_of
from experiments.runs.training import open_run, report_privacy, train_run
from experiments.worlds.grammar import GrammarConfig
from hiermodel.networks.mlp import MLPConfig
from hiermodel.training.privacy import PrivacyConfig, epsilon_spent
from hiermodel.training.state import TrainingConfig

CONFIG = RunConfig(
    data=GrammarConfig(depth=2),
    network=MLPConfig(num_leaves=4, vocab_size=6, width=8, num_blocks=1),
    training=TrainingConfig(num_epochs=2, batch_size=8),
    num_splits=2,
    num_seeds=1,
    split_size=10,
    test_size=4,
    num_steps=20,
    first_checkpoint=2,
    num_checkpoints=2,
)


def rows_of(**settings):
    config = dataclasses.replace(CONFIG, **settings)
    rows = training_rows(config, make_data(config))
    assert rows.shape == (config.num_splits, num_training_rows(config), 4)
    return rows, np.asarray(make_data(config).train)


def test_by_default_the_originals_are_trained_on():
    rows, train = rows_of()
    np.testing.assert_array_equal(rows, train)


def test_the_first_sequences_stand_several_times():
    rows, train = rows_of(num_duplicated=3, num_copies=4)
    np.testing.assert_array_equal(rows[:, :10], train)
    np.testing.assert_array_equal(rows[:, 10:], np.tile(train[:, :3], (1, 3, 1)))


@pytest.mark.parametrize("filter_level", [0, 1, 2])
def test_variants_are_possible_sequences_and_originals_stay(filter_level):
    rows, train = rows_of(
        augmentation=5, data=dataclasses.replace(CONFIG.data, filter_level=filter_level)
    )
    np.testing.assert_array_equal(rows[:, :10], train)
    log_probs = hm.log_prob(CONFIG.data.build(), rows, filter_level=filter_level)
    assert np.all(np.asarray(log_probs) > -np.inf)
    variants = rows[:, 10:].reshape(2, 4, 10, 4)
    for index in range(4):
        assert np.any(variants[:, index] != train)
        assert np.any(variants[:, index] != variants[:, index - 1])
    assert rows.dtype == train.dtype


def test_copies_have_variants_of_their_own():
    rows, train = rows_of(augmentation=2, num_duplicated=10, num_copies=2)
    np.testing.assert_array_equal(rows[:, 10:20], train)
    assert np.any(rows[:, 20:30] != rows[:, 30:40])


def test_a_splits_variants_do_not_depend_on_other_splits():
    rows, _ = rows_of(augmentation=3, num_splits=3)
    more, _ = rows_of(augmentation=3, num_splits=4)
    np.testing.assert_array_equal(more[:3], rows)


def test_an_epoch_passes_over_copies_and_variants(tmp_path):
    config = dataclasses.replace(CONFIG, augmentation=2, num_duplicated=4, num_copies=2)
    train_run(config, tmp_path, progress=False)
    state = checkpoints_of(config, open_run(config, tmp_path)).latest()
    steps = next(value for name, value in state.items() if name.endswith("count"))
    assert list(steps) == [2 * 4] * 2  # 28 rows in batches of 8


@pytest.mark.parametrize(
    ("field", "value"), [("num_duplicated", 11), ("num_copies", 0), ("augmentation", 0)]
)
def test_wrong_settings_are_refused(field, value):
    with pytest.raises(ValueError, match=field):
        dataclasses.replace(CONFIG, **{field: value})


def test_runs_without_new_settings_keep_their_identity():
    assert identity(CONFIG) == "ae403edbb7a3680019d6346e413ac86a866ad9c793ec70cc2da5457a0973128f"
    new = dataclasses.replace(CONFIG, augmentation=2)
    assert to_json(new)["augmentation"] == 2
    assert identity(new) != identity(CONFIG)


def test_a_private_run_reports_its_epsilon_at_every_checkpoint(tmp_path):
    privacy = PrivacyConfig(noise_multiplier=2.0)
    training = dataclasses.replace(CONFIG.training, privacy=privacy)
    config = dataclasses.replace(CONFIG, training=training)
    run = open_run(config, tmp_path)
    report_privacy(config, run)
    report = json.loads(run.privacy_file.read_text())
    assert report["delta"] == 1 / 10
    assert report["epsilon"] == {
        "0": 0.0,
        "2": epsilon_spent(privacy, 10, 8, 2),
    }
    with pytest.raises(ValueError, match="augmentation"):
        dataclasses.replace(config, augmentation=2)
    assert not open_run(CONFIG, tmp_path).privacy_file.exists()
