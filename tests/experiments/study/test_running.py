"""Runs are made once, failures stay alone, and the folder tells how far everything is."""

import dataclasses
import os
import re
import socket
import sys
from types import SimpleNamespace

import pytest
from tiny import MEASURES, PARTLY_IMPOSSIBLE, STUDY

from experiments import store
from experiments.progress import Progress
from experiments.runs.failures import record_failure
from experiments.runs.members import members
from experiments.runs.training import folder_of
from experiments.study import Grid, runner, state
from experiments.study.runner import retry_failures, run_study
from experiments.study.state import State, standing
from experiments.study.summary import make_plan, status_text
from experiments.study.workers import run_workers, shares
from hiermodel.training.folders import FolderInUseError, hold


def states(study, root):
    return [standing(study, config, root).state for config in study.runs()]


@pytest.fixture
def fake(monkeypatch):
    """Runs that only note that they were made; those at a rate above 1 fail when together."""
    made = []

    def train(configs, root, **_):
        if len(configs) > 1 and any(config.training.learning_rate > 1 for config in configs):
            raise RuntimeError("a loss is not finite")
        for config in configs:
            folder = runner.open_run(config, root)
            if config.training.learning_rate > 1:
                raise RuntimeError("the loss is not finite")
            made.append(config.training.learning_rate)
            (folder.path / "made").touch()
        return len(configs)

    def progress(own, root):
        there = (folder_of(own.run, root).path / "made").exists()
        return {"train": Progress(int(there), 1)}

    monkeypatch.setattr(runner, "train_runs", train)
    monkeypatch.setattr(runner, "measure_run", lambda *_, **__: None)
    monkeypatch.setattr(state, "progress_of_run", progress)
    return SimpleNamespace(made=made)


def rates(*values):
    return dataclasses.replace(STUDY, axes=(Grid("training.learning_rate", values),))


def test_a_study_runs_to_its_end_and_then_has_nothing_to_do(finished, monkeypatch):
    assert states(STUDY, finished) == [State.DONE] * 2

    def never(*_, **__):
        raise AssertionError("a finished run was started again")

    monkeypatch.setattr(runner, "train_runs", never)
    monkeypatch.setattr(runner, "measure_run", never)
    run_study(STUDY, finished, progress=False)
    assert "2 done" in status_text(make_plan(STUDY, finished, lambda: 1.0), finished)


def test_studies_share_runs_that_are_alike(finished):
    other = dataclasses.replace(STUDY, axes=(Grid("training.learning_rate", (0.003, 0.1)),))
    assert states(other, finished) == [State.DONE, State.WAITING]


def test_a_failed_run_is_recorded_and_the_others_go_on(finished):
    assert states(PARTLY_IMPOSSIBLE, finished) == [State.FAILED, State.DONE, State.DONE]
    failed = standing(PARTLY_IMPOSSIBLE, PARTLY_IMPOSSIBLE.runs()[0], finished)
    error = store.read_json(failed.folder.error_file)
    assert (error["stage"], error["error"], error["format"]) == (
        "train",
        "InputError",
        store.FORMAT,
    )
    assert "rules_per_symbol" in error["message"]
    assert "Traceback" in error["traceback"]
    text = status_text(make_plan(PARTLY_IMPOSSIBLE, finished, lambda: 1.0), finished)
    assert "2 done, 0 running, 1 failed, 0 waiting" in text
    assert str(failed.folder.log_file) in text
    assert "rules_per_symbol" in text


def test_failed_runs_are_tried_again_only_when_asked(fake, tmp_path):
    study = rates(2.0, 0.5)
    run_study(study, tmp_path, progress=False)
    assert states(study, tmp_path) == [State.FAILED, State.DONE]
    error = folder_of(study.runs()[0], tmp_path).error_file
    before = error.stat().st_mtime_ns
    run_study(study, tmp_path, progress=False)
    assert error.stat().st_mtime_ns == before
    assert retry_failures(study, tmp_path) == 1
    assert states(study, tmp_path) == [State.WAITING, State.DONE]
    run_study(study, tmp_path, progress=False)
    assert error.stat().st_mtime_ns > before
    assert fake.made == [0.5]


def test_a_pack_with_one_bad_run_trains_the_others(fake, tmp_path):
    study = rates(0.1, 2.0, 0.5)
    run_study(study, tmp_path, progress=False)
    assert states(study, tmp_path) == [State.DONE, State.FAILED, State.DONE]
    assert fake.made == [0.1, 0.5]


def test_a_run_whose_network_fails_is_failed_and_the_others_are_done(tmp_path, monkeypatch):
    """Its rate is far too high for float32. Nothing is measured, which would take a while."""

    def progress(own, root):
        finished = [network.finished(root) for network in members(own.run)]
        return {"train": Progress(sum(finished), len(finished))}

    monkeypatch.setattr(runner, "measure_run", lambda *_, **__: None)
    monkeypatch.setattr(state, "progress_of_run", progress)
    study = rates(0.01, 1e38)
    run_study(study, tmp_path, progress=False)
    assert states(study, tmp_path) == [State.DONE, State.FAILED]
    about = standing(study, study.runs()[1], tmp_path).about
    assert re.search(r"train: MembersFailedError: network \w+ \(split 0, seed 0\)", about)
    assert "not finite" in about
    assert retry_failures(study, tmp_path) == 1
    assert members(study.runs()[1])[0].error(tmp_path) is None


def test_a_run_that_another_process_measures_is_left_to_it(fake, tmp_path, monkeypatch):
    study = dataclasses.replace(rates(0.1), measures={"evaluation": MEASURES["evaluation"]})
    measured = []
    monkeypatch.setattr(runner, "train_runs", lambda *_, **__: 0)
    monkeypatch.setattr(runner, "measure_run", lambda own, *_, **__: measured.append(own.run))
    monkeypatch.setattr(
        state,
        "progress_of_run",
        lambda *_: {"train": Progress(1, 1), "evaluation": Progress(len(measured), 1)},
    )

    def refuse(path):
        raise FolderInUseError(f"{path} is in use")

    with monkeypatch.context() as patch:
        patch.setattr(runner, "hold", refuse)
        run_study(study, tmp_path, progress=False)
    assert measured == []
    run_study(study, tmp_path, progress=False)
    assert measured == study.runs()


def test_who_works_on_a_run_is_named(fake, tmp_path):
    study = rates(0.1, 0.2, 0.3)
    training, measuring, _ = study.runs()
    with (
        members(training)[3].checkpoints(tmp_path).hold(),
        hold(folder_of(measuring, tmp_path).path),
    ):
        assert states(study, tmp_path) == [State.RUNNING, State.RUNNING, State.WAITING]
        text = status_text(make_plan(study, tmp_path, lambda: 1.0), tmp_path)
    assert f"process {os.getpid()} on {socket.gethostname()}" in text


def test_a_holder_that_has_ended_is_not_running(fake, tmp_path):
    study = rates(0.1)
    folder = folder_of(study.runs()[0], tmp_path)
    folder.path.mkdir()
    gone = {"host": socket.gethostname(), "process": 2**22 + 1, "since": "long ago"}
    store.write_json(folder.holder_file, gone)
    assert states(study, tmp_path) == [State.WAITING]
    store.write_json(folder.holder_file, {**gone, "host": "elsewhere"})
    assert states(study, tmp_path) == [State.RUNNING]


def test_what_is_finished_counts_whatever_failed_before(finished):
    folder = folder_of(STUDY.runs()[0], finished)
    try:
        record_failure(folder, "measure", RuntimeError("of another study"))
        assert states(STUDY, finished) == [State.DONE] * 2
    finally:
        folder.error_file.unlink()


def test_plan_counts_runs_time_and_what_is_over_budget(finished):
    more = dataclasses.replace(
        STUDY,
        axes=(Grid("training.learning_rate", (0.01, 0.003, 0.5)),),
        minutes=1e-5,
    )
    plan = make_plan(more, finished, lambda: 100.0)
    text = status_text(plan, finished)
    assert "2 done, 0 running, 0 failed, 1 waiting" in text
    assert "over budget" in text
    spent = sum(sum(folder_of(config, finished).timings().values()) for config in STUDY.runs())
    assert plan.cost.spent == pytest.approx(spent, rel=1e-6)
    assert plan.cost.operations > 0


def test_the_plan_of_another_study_is_within_its_budget(tmp_path):
    assert make_plan(STUDY, tmp_path, lambda: 1.0).over_budget == ""


DIES = """
import json, os, pathlib, signal, sys
for folder in map(pathlib.Path, sys.argv[1:]):
    if not (folder / "error.json").exists() and not (folder / "made").exists():
        break
else:
    sys.exit(0)
folder.mkdir(exist_ok=True, parents=True)
holder = {"host": "here", "process": os.getpid(), "since": "now"}
(folder / "holder.json").write_text(json.dumps(holder))
os.kill(os.getpid(), signal.SIGKILL) if folder.name == pathlib.Path(sys.argv[1]).name else None
(folder / "holder.json").unlink()
(folder / "made").touch()
"""


def test_a_worker_that_is_killed_loses_its_run_alone(fake, tmp_path):
    study = rates(0.1, 0.2)
    folders = [str(folder_of(config, tmp_path).path) for config in study.runs()]
    run_workers(study, tmp_path, ["-c", DIES, *folders], 1, tmp_path / "logs")
    assert states(study, tmp_path) == [State.FAILED, State.DONE]
    killed = standing(study, study.runs()[0], tmp_path)
    assert re.search(r"process \d+ was killed by signal 9", killed.about)


def test_a_worker_with_an_error_of_its_own_is_reported(tmp_path):
    with pytest.raises(RuntimeError, match=r"ended with code 2: see .*worker-0\.log"):
        run_workers(STUDY, tmp_path, ["-c", "import sys; sys.exit(2)"], 1, tmp_path)
    assert sys.executable


def test_workers_share_gpus_and_cores():
    four = shares(4, ["0", "1"], range(6))
    assert [share.gpu for share in four] == ["0", "1", "0", "1"]
    assert {share.environment()["XLA_PYTHON_CLIENT_MEM_FRACTION"] for share in four} == {"0.450"}
    assert sorted(core for share in four for core in share.cores) == list(range(6))
    assert shares(1, [], range(2))[0].environment() == {}
    with pytest.raises(ValueError, match="at most the number of cores"):
        shares(3, [], range(2))
