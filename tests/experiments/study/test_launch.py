"""Jobs of a cluster, on submitit's local executor: done, killed, preempted, submitted again."""

import dataclasses
import os
import signal
import time
from pathlib import Path

import pytest

from experiments import store
from experiments.runs.members import members
from experiments.runs.training import folder_of
from experiments.study import Grid, launch, runner, state
from experiments.study.state import State, holder_of, standing
from experiments.study.summary import make_plan, status_text

HERE = Path(__file__).parent
SOURCE = HERE / "slow.py"
EPOCHS = 25


@pytest.fixture
def slow(monkeypatch):
    """The study of slow runs; grammar runs are as before afterwards."""
    monkeypatch.setattr(state, "progress_of_run", state.progress_of_run)
    for name in ("measure_run", "train_runs"):
        monkeypatch.setattr(runner, name, getattr(runner, name))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(HERE.parents[2]), str(HERE)]))
    from experiments.study.files import load_study

    return load_study(SOURCE)


def wait_until(condition, what: str, seconds: float = 90.0):
    """What a condition gives, as soon as it gives anything."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if found := condition():
            return found
        time.sleep(0.05)
    pytest.fail(f"timed out: {what}")


def arguments(root) -> launch.Arguments:
    return launch.Arguments(study=str(SOURCE), root=root, cluster="local", minutes=3, tasks=2)


def states(study, root):
    return [standing(study, config, root).state for config in study.runs()]


@pytest.mark.long
def test_a_lost_job_loses_only_itself_and_a_preempted_one_goes_on(slow, tmp_path):
    """Both tasks do the same; which run each takes is settled by who comes first."""
    runs = slow.runs()

    def progressing(config):
        file = folder_of(config, tmp_path).path / "epochs"
        holder = holder_of(members(config)[0].folder(tmp_path))
        return holder if holder and file.exists() and file.stat().st_size > 2 else None

    jobs = launch.submit(arguments(tmp_path))
    assert len(jobs) == 2
    holders = [
        wait_until(lambda config=config: progressing(config), "both runs start") for config in runs
    ]
    assert holders[0]["process"] != holders[1]["process"]
    assert states(slow, tmp_path) == [State.RUNNING] * 2
    os.kill(holders[0]["process"], signal.SIGKILL)
    os.kill(holders[1]["process"], signal.SIGUSR2)  # what SLURM sends ahead of preemption
    # The task that was queued again does its own run, and that of the lost one.
    (requeued,) = [job for job in jobs if wait_until(job.done, "jobs end") and not job.exception()]
    assert requeued.result() == {State.DONE: 2}
    for config in runs:
        text = (folder_of(config, tmp_path).path / "epochs").read_text()
        assert len(text) == EPOCHS  # nothing was done twice
    assert "Requeued job" in "".join(
        file.read_text() for file in (tmp_path / "studies" / "slow" / "jobs").glob("*_log.*")
    )
    with pytest.raises(ValueError, match="no run that waits"):
        launch.submit(arguments(tmp_path))


def test_there_are_no_more_tasks_than_networks(slow, tmp_path):
    study = dataclasses.replace(slow, axes=(Grid("training.learning_rate", (0.1,)),))
    assert launch.number_of_tasks(study, tmp_path, 16) == 4
    assert launch.number_of_tasks(study, tmp_path, 2) == 2


def test_status_says_where_the_logs_of_jobs_are(slow, tmp_path):
    folder = folder_of(slow.runs()[0], tmp_path)
    folder.path.mkdir(parents=True)
    store.write_json(folder.error_file, {"stage": "train", "error": "E", "message": "broke"})
    (tmp_path / "studies" / "slow" / "jobs").mkdir(parents=True)
    text = status_text(make_plan(slow, tmp_path, lambda: 1.0), tmp_path)
    assert f"logs of cluster jobs: {tmp_path / 'studies' / 'slow' / 'jobs'}" in text
    assert "E: broke" in text


def test_what_slurm_is_asked_for():
    asked = launch._parameters(launch.Arguments("a", partition="gpu", tasks=3), "a")
    assert asked["slurm_array_parallelism"] == 3
    assert asked["slurm_partition"] == "gpu"
    assert asked["timeout_min"] == 240
    pytest.importorskip("submitit").AutoExecutor("unused", cluster="debug").update_parameters(
        **asked
    )
