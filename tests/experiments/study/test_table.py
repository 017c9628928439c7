"""The table holds what the measurements hold."""

import json

import numpy as np
import pandas as pd
import pytest
from tiny import STUDY

from experiments import configs, store
from experiments.measure import load_finished
from experiments.study import table
from experiments.study.outcome import load
from hiermodel.measures.uncertainty import student_interval

RUNS = STUDY.runs()


def test_one_call_gives_a_row_per_network(finished):
    rows = load(STUDY, finished)
    assert len(rows) == 2 * 4
    assert sorted(set(rows["training.learning_rate"])) == [0.003, 0.01]
    own = rows[rows["run"] == configs.identity(RUNS[0])[:16]]
    assert rows.attrs["about"]["tau_test"].startswith("epochs; ")
    results = load_finished(STUDY.protocol_of(RUNS[0]), finished)
    onsets = results["onsets"]
    np.testing.assert_array_equal(own["tau_test"], onsets["tau_test"].values)
    np.testing.assert_array_equal(own["tau_bias"], onsets["tau_neighbour"].values)
    np.testing.assert_array_equal(own["tau_level_2"], onsets["tau_level"].values[:, 2])
    np.testing.assert_array_equal(own["ratio"], own["tau_test"] / own["tau_bias"])
    assert own["split"].tolist() == [0, 0, 1, 1]
    assert own["member"].tolist() == [0, 1, 0, 1]
    # The member's value at the checkpoint nearest to its own minimum, in log time.
    loss, epochs = results["evaluation"]["loss"].values, results["evaluation"]["epoch"].values
    for member, (_, row) in enumerate(own.iterrows()):
        nearest = 1 + np.abs(np.log(epochs[1:] / row["tau_test"])).argmin()
        assert row["test_loss"] == loss[nearest, member, 1]


def test_a_folder_of_runs_gives_the_same_rows(finished):
    by_study, by_root = load(STUDY, finished), load(finished)
    order = ["run", "split", "member"]
    ours, theirs = (rows.sort_values(order, ignore_index=True) for rows in (by_root, by_study))
    pd.testing.assert_frame_equal(ours, theirs)


def test_per_run_there_are_means_with_their_intervals(finished):
    members, runs = (load(STUDY, finished, per=per) for per in ("member", "run"))
    assert runs["networks"].tolist() == [4, 4]
    own = members[members["run"] == runs["run"][0]]
    assert runs["test_loss"][0] == pytest.approx(own["test_loss"].mean())
    assert runs["tau_test"][0] == pytest.approx(np.exp(np.log(own["tau_test"]).mean()))
    assert runs["tau_test_located"][0] == own["tau_test_located"].sum()
    assert np.isnan(runs["test_loss_low"][0])  # two training sets have no interval
    with pytest.raises(ValueError, match="per='network'"):
        load(STUDY, finished, per="network")


def test_a_study_without_results_has_no_rows(tmp_path):
    assert len(load(STUDY, tmp_path)) == 0
    assert len(load(STUDY, tmp_path, per="run")) == 0


def test_intervals_are_over_training_sets():
    values = np.random.default_rng(0).normal(size=(6, 3))
    rows = pd.DataFrame(
        {"seed": 1, "split": i, "x": values[i, j]} for i in range(6) for j in range(3)
    )
    many = table.interval_of(rows, "x")
    assert many == pytest.approx(student_interval(values.mean(1)))
    few = table.interval_of(rows[:9], "x")  # three training sets have a mean, and no interval
    assert few.estimate == pytest.approx(values[:3].mean())
    assert np.isnan([few.low, few.high]).all()
    assert table.interval_of(rows[:0], "x") is None


def test_what_compares_own_with_other_has_pairs_for_units():
    values = np.random.default_rng(0).normal(size=8)
    rows = pd.DataFrame({"seed": 1, "split": range(8), "gap": values})
    expected = student_interval(values.reshape(4, 2).mean(1))
    assert table.interval_of(rows, "gap") == pytest.approx(expected)


def test_tables_are_written_whole(finished, tmp_path):
    made = load(STUDY, finished)
    table.save_table(made, tmp_path, "table")
    read = pd.read_csv(tmp_path / "table.csv")
    pd.testing.assert_frame_equal(read, made, check_exact=True)
    about = json.loads((tmp_path / "table.json").read_text())
    assert about["format"] == store.FORMAT
    assert list(about["columns"]) == list(made.columns)
    assert all(what for what in about["columns"].values())


def test_other_format_versions_are_refused_by_name(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "config.json").write_text(json.dumps({"format": 99}))
    with pytest.raises(ValueError, match=r"format=99 of .*config\.json"):
        load(tmp_path)


def test_timings_and_configurations_of_before_are_read(tmp_path):
    """They held no version of their format."""
    run = store.RunFolder.open(tmp_path, "abc", {})
    run.timings_file.write_text(json.dumps({"train": 2.0}))
    run.config_file.write_text(json.dumps({"identity": "abc", "config": {}}))
    assert store.RunFolder.open(tmp_path, "abc", {}).timings() == {"train": 2.0}
