"""Jobs of a cluster, on submitit's local executor: done, killed, preempted, submitted again."""

import os
import signal
import time
from pathlib import Path

import pytest

from experiments import configs, launch, store
from experiments.study import grammar_runs
from experiments.study.state import State, folder_of, holder_of, standing
from experiments.study.summary import jobs_of, make_plan, status_text

HERE = Path(__file__).parent
SOURCE = HERE / "slow.py"


@pytest.fixture
def slow(monkeypatch):
    """The study of slow runs; grammar runs are as before afterwards."""
    for name in ("train", "measure", "pack", "progress"):
        monkeypatch.setattr(grammar_runs, name, getattr(grammar_runs, name))
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
    return launch.Arguments(study=str(SOURCE), root=root, cluster="local", minutes=3)


def states(study, root):
    return [standing(study, config, root).state for config in study.runs()]


def test_a_lost_job_loses_only_itself_and_a_preempted_one_goes_on(slow, tmp_path):
    lost, preempted = (folder_of(config, tmp_path) for config in slow.runs())

    def progressing(folder):
        file, holder = folder.path / "epochs", holder_of(folder)
        return holder if holder and file.exists() and file.stat().st_size > 2 else None

    jobs = launch.submit(arguments(tmp_path))
    assert len(jobs) == 2
    holder = wait_until(lambda: progressing(lost), "the first run starts")
    os.kill(holder["process"], signal.SIGKILL)
    before = wait_until(lambda: progressing(preempted), "the second run starts")
    os.kill(before["process"], signal.SIGUSR2)  # what SLURM sends ahead of preemption
    assert jobs[1].result() == {configs.identity(slow.runs()[1]): State.DONE}
    wait_until(jobs[0].done, "the lost job ends")
    assert states(slow, tmp_path) == [State.WAITING, State.DONE]
    assert len((preempted.path / "epochs").read_text()) == 25  # nothing was done twice
    logs = jobs_of(slow, tmp_path)[preempted.path.name]
    assert "Requeued job" in "".join(Path(log).read_text() for log in logs)

    again = launch.submit(arguments(tmp_path))
    assert len(again) == 1
    assert again[0].result() == {configs.identity(slow.runs()[0]): State.DONE}
    assert states(slow, tmp_path) == [State.DONE, State.DONE]
    with pytest.raises(ValueError, match="no run that waits"):
        launch.submit(arguments(tmp_path))


def test_status_says_where_the_logs_of_a_job_are(slow, tmp_path):
    folder = folder_of(slow.runs()[0], tmp_path)
    folder.path.mkdir(parents=True)
    store.write_json(folder.error_file, {"stage": "train", "error": "E", "message": "broke"})
    file = tmp_path / "studies" / "slow" / "jobs.json"
    file.parent.mkdir(parents=True)
    store.write_json(file, {"logs": {folder.path.name: ["jobs/12_0.out"]}})
    text = status_text(make_plan(slow, tmp_path, lambda: 1.0), tmp_path)
    assert "jobs/12_0.out" in text
    assert "E: broke" in text


def test_runs_are_shared_out_to_tasks(slow, tmp_path):
    tasks = launch.waiting_tasks(str(SOURCE), tmp_path, 1)
    names = [configs.identity(config) for config in slow.runs()]
    assert [task.runs for task in tasks] == [(name,) for name in names]
    (task,) = launch.waiting_tasks(str(SOURCE), tmp_path, 5)
    assert task.runs == tuple(names)


def test_what_slurm_is_asked_for():
    asked = launch._parameters(launch.Arguments("a", partition="gpu", at_once=3), "a")
    assert asked["slurm_array_parallelism"] == 3
    assert asked["slurm_partition"] == "gpu"
    assert asked["timeout_min"] == 240
    pytest.importorskip("submitit").AutoExecutor("unused", cluster="debug").update_parameters(
        **asked
    )
