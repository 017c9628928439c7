"""Run folders: what is written is whole, named and read back as it was."""

import errno
import json
import os
import shutil
import subprocess

import numpy as np
import pytest

from experiments import store
from experiments.configs import identity, to_json
from experiments.store import (
    Measurement,
    RunFolder,
    load_measurements,
    read_json,
    save_measurements,
    stack,
    write_json,
)
from experiments.worlds.grammar import GrammarConfig

MEASURED = Measurement(np.arange(6.0).reshape(2, 3), ("member", "level"), "nats", "a definition")


def test_measurements_come_back_with_dimensions_and_units(tmp_path):
    save_measurements(tmp_path / "stage.npz", {"value": MEASURED})
    read = load_measurements(tmp_path / "stage.npz")["value"]
    np.testing.assert_array_equal(read.values, MEASURED.values)
    assert (read.dims, read.units, read.definition) == (
        MEASURED.dims,
        MEASURED.units,
        MEASURED.definition,
    )


def test_dimensions_must_fit_the_values():
    with pytest.raises(ValueError, match="dims"):
        Measurement(np.zeros((2, 3)), ("member",), "nats", "one name for two axes")


def test_stacking_adds_a_dimension_in_front():
    stacked = stack([{"value": MEASURED}, {"value": MEASURED}], "checkpoint")["value"]
    assert stacked.dims == ("checkpoint", "member", "level")
    assert stacked.values.shape == (2, 2, 3)


def test_other_format_versions_are_refused(tmp_path):
    header = np.array(json.dumps({"format": 99, "measurements": {}}))
    np.savez(tmp_path / "old.npz", __about__=header)
    with pytest.raises(ValueError, match="format=99"):
        load_measurements(tmp_path / "old.npz")


def test_a_failed_write_leaves_the_old_file(tmp_path):
    path = tmp_path / "stage.npz"
    save_measurements(path, {"value": MEASURED})
    unwritable = Measurement(np.array([object()]), ("member",), "nats", "not an array of numbers")
    with pytest.raises(ValueError, match="Object arrays"):
        save_measurements(path, {"value": unwritable})
    np.testing.assert_array_equal(load_measurements(path)["value"].values, MEASURED.values)
    assert [file.name for file in tmp_path.iterdir()] == ["stage.npz"]


def test_json_has_no_infinity(tmp_path):
    write_json(tmp_path / "a.json", {"a": [1.0, np.inf, {"b": (float("nan"), "c", None)}]})
    text = (tmp_path / "a.json").read_text()
    assert json.loads(text, parse_constant=pytest.fail) == read_json(tmp_path / "a.json")
    assert read_json(tmp_path / "a.json")["a"] == [1.0, None, {"b": [None, "c", None]}]


def test_identity_depends_on_every_setting_and_on_nothing_else():
    config = GrammarConfig()
    assert identity(config) == identity(GrammarConfig())
    assert identity(config) != identity(GrammarConfig(sigma=0.5))
    assert identity(config) != identity(config, config)


def test_run_folder_refuses_another_configuration_by_field(tmp_path):
    config, other = GrammarConfig(), GrammarConfig(sigma=0.5)
    run = RunFolder.open(tmp_path, identity(config), to_json(config))
    run.path.rename(tmp_path / identity(other)[:16])  # as if copied there
    with pytest.raises(ValueError, match=r"identity=.*not allowed.*sigma: 1.0 there, 0.5 here"):
        RunFolder.open(tmp_path, identity(other), to_json(other))


@pytest.mark.skipif(shutil.which("git") is None, reason="needs git")
def test_it_is_written_down_which_commit_made_a_run(tmp_path, monkeypatch):
    monkeypatch.setattr(store, "CODE", tmp_path)
    assert store.commit() == "unknown"

    def git(*words):
        name = ["-c", "user.name=me", "-c", "user.email=me@here"]
        done = subprocess.run(["git", *name, *words], cwd=tmp_path, check=True, capture_output=True)
        return done.stdout.decode().strip()

    git("init")
    assert store.commit() == "unknown"  # nothing is committed yet
    git("commit", "--allow-empty", "--message", "first")
    head = git("rev-parse", "HEAD")
    assert store.provenance()["commit"] == head
    (tmp_path / "new.py").touch()
    assert store.commit() == f"{head}+changes"


def test_what_killed_writes_have_left_is_removed(tmp_path):
    run = RunFolder.open(tmp_path, identity(GrammarConfig()), {})
    parts = run.measurement_file("stage", "a").with_suffix("")
    parts.mkdir(parents=True)
    kept = parts / "epoch_1.npz"
    for file in (run.path / ".timings.json.7.tmp", parts / ".epoch_2.npz.7.tmp", kept):
        file.write_text("")
    run.remove_unfinished()
    assert [path for path in run.path.rglob("*") if ".tmp" in path.name] == []
    assert kept.exists()


def test_a_full_disk_is_said_with_the_path(tmp_path, monkeypatch):
    def no_space(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "replace", no_space)
    with pytest.raises(OSError, match=r"No space left.*make room.*stage\.npz"):
        save_measurements(tmp_path / "stage.npz", {"value": MEASURED})
    assert list(tmp_path.iterdir()) == []


def test_time_spent_adds_up_over_starts(tmp_path):
    run = RunFolder.open(tmp_path, identity(GrammarConfig()), {})
    for _ in range(2):
        with run.timed("train"):
            pass
    first = run.timings()["train"]
    with pytest.raises(KeyboardInterrupt), run.timed("train"):
        raise KeyboardInterrupt
    assert run.timings()["train"] > first > 0
