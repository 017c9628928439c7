"""The table holds what the measurements hold."""

import json

import numpy as np
import pytest
from tiny import STUDY

from experiments import configs, store
from experiments.study import table
from hiermodel.measures.uncertainty import student_interval

RUNS = STUDY.runs()


def test_one_call_gives_a_row_per_network(finished):
    rows = store.load(STUDY, finished)
    assert len(rows) == 2 * 4
    assert sorted(set(rows["training.learning_rate"])) == [0.003, 0.01]
    own = rows[rows["run"] == configs.identity(RUNS[0])[:16]]
    results = STUDY.kind.load(RUNS[0], STUDY.measures, finished)
    onsets = results["onsets"]
    np.testing.assert_array_equal(own["tau_test"], onsets["tau_test"].values)
    np.testing.assert_array_equal(own["tau_bias"], onsets["tau_neighbour"].values)
    np.testing.assert_array_equal(own["tau_level_2"], onsets["tau_level"].values[:, 2])
    np.testing.assert_array_equal(own["ratio"], own["tau_test"] / own["tau_bias"])
    assert own["split"].tolist() == [0, 0, 1, 1]
    assert own["member"].tolist() == [0, 1, 0, 1]
    # The member's value at the checkpoint nearest to its own minimum, in log time.
    loss, epochs = results["evaluation"]["loss"].values, results["evaluation"]["epoch"].values
    for member, row in enumerate(own):
        nearest = 1 + np.abs(np.log(epochs[1:] / row["tau_test"])).argmin()
        assert row["test_loss"] == loss[nearest, member, 1]


def test_a_folder_of_runs_gives_the_same_rows(finished):
    by_study, by_root = store.load(STUDY, finished), store.load(finished)
    assert by_root.dtype.names == by_study.dtype.names
    assert sorted(by_root.tolist()) == sorted(by_study.tolist())


def test_per_run_there_are_means_with_their_intervals(finished):
    members, runs = (store.load(STUDY, finished, per=per) for per in ("member", "run"))
    assert runs["networks"].tolist() == [4, 4]
    own = members[members["run"] == runs["run"][0]]
    assert runs["test_loss"][0] == pytest.approx(own["test_loss"].mean())
    assert runs["tau_test"][0] == pytest.approx(np.exp(np.log(own["tau_test"]).mean()))
    assert runs["tau_test_located"][0] == own["tau_test_located"].sum()
    assert np.isnan(runs["test_loss_low"][0])  # two training sets have no interval
    with pytest.raises(ValueError, match="per='network'"):
        store.load(STUDY, finished, per="network")


def test_a_study_without_results_has_no_rows(tmp_path):
    assert len(store.load(STUDY, tmp_path)) == 0
    assert len(table.per_run(table.study_table(STUDY, tmp_path)).rows) == 0


def test_intervals_are_over_training_sets():
    dtype = [("seed", int), ("split", int), ("x", float)]
    values = np.random.default_rng(0).normal(size=(6, 3))
    rows = np.array([(1, i, values[i, j]) for i in range(6) for j in range(3)], dtype)
    many = table.interval_of(rows, "x")
    assert many == pytest.approx(student_interval(values.mean(1)))
    few = table.interval_of(rows[:9], "x")  # three training sets have a mean, and no interval
    assert few.estimate == pytest.approx(values[:3].mean())
    assert np.isnan([few.low, few.high]).all()
    assert table.interval_of(rows[:0], "x") is None


def test_what_compares_own_with_other_has_pairs_for_units():
    dtype = [("seed", int), ("split", int), ("gap", float)]
    values = np.random.default_rng(0).normal(size=8)
    rows = np.array([(1, i, values[i]) for i in range(8)], dtype)
    expected = student_interval(values.reshape(4, 2).mean(1))
    assert table.interval_of(rows, "gap") == pytest.approx(expected)


def test_tables_are_written_and_read_whole(finished, tmp_path):
    made = table.study_table(STUDY, finished)
    names = table.save_table(made, tmp_path, "table")
    read = table.load_table(tmp_path / "table.npz")
    assert read.rows.dtype == made.rows.dtype
    assert read.rows.tolist() == made.rows.tolist()
    assert read.about == made.about
    assert all((tmp_path / name).exists() for name in names)
    head, *lines = (tmp_path / "table.csv").read_text().splitlines()
    assert head.split(",") == list(made.rows.dtype.names)
    assert len(lines) == len(made.rows)
    about = json.loads((tmp_path / "table.json").read_text())
    assert about["format"] == store.FORMAT
    assert all(what for what in about["columns"].values())


def test_other_format_versions_are_refused_by_name(tmp_path, finished):
    path = tmp_path / "table.npz"
    np.savez(path, __about__=np.array(json.dumps({"format": 99, "columns": {}})))
    with pytest.raises(ValueError, match=r"format=99 of .*table\.npz"):
        table.load_table(path)
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "config.json").write_text(json.dumps({"format": 99}))
    with pytest.raises(ValueError, match=r"format=99 of .*config\.json"):
        store.load(tmp_path)


def test_timings_and_configurations_of_before_are_read(tmp_path):
    """They held no version of their format."""
    run = store.RunFolder.open(tmp_path, "abc", {})
    run.timings_file.write_text(json.dumps({"train": 2.0}))
    run.config_file.write_text(json.dumps({"identity": "abc", "config": {}}))
    assert store.RunFolder.open(tmp_path, "abc", {}).timings() == {"train": 2.0}
