"""``python -m experiments.launch STUDY``: a study's runs as jobs of a cluster, through submitit.

SLURM hands out the work: one array job, whose tasks each take some of the waiting runs. A task that
is preempted or comes to the end of its time is queued again, and goes on from its newest
checkpoints. Every run keeps its own folder, so a task that is lost loses nothing but its own time;
the same command then submits what is still to be done.
"""

import dataclasses
import sys
from pathlib import Path
from typing import Any, Literal

import tyro

from experiments import configs, signals, store


@dataclasses.dataclass(frozen=True)
class Arguments:
    """Submit a study's waiting runs to a cluster; `python -m experiments.study status` follows.

    Attributes:
        study: a .py file, or the name of a shipped study, as seen from the jobs too.
        root: where run folders are, on a file system that all machines share.
        cluster: slurm; or local, to try it on this machine.
        runs_per_job: runs that one task trains, together where their shapes agree.
        at_once: tasks that run at the same time, at most.
        minutes: that a task may take before it is queued again.
        max_requeues: how often a task that came to the end of its time is queued again.
        partition: of the cluster; its standard one for None.
        gpus: per task.
        cpus: per task.
        memory: per task, in GiB.
        retry: submit failed runs again, too.
    """

    study: tyro.conf.Positional[str]
    root: Path = Path("runs")
    cluster: Literal["slurm", "local"] = "slurm"
    runs_per_job: int = 1
    at_once: int = 16
    minutes: float = 240.0
    max_requeues: int = 20
    partition: str | None = None
    gpus: int = 1
    cpus: int = 8
    memory: float = 32.0
    retry: bool = False


@dataclasses.dataclass(frozen=True)
class Task:
    """What one task does; sent to it as it stands, so it holds nothing but words.

    Attributes:
        study: file or name.
        root: where run folders are.
        runs: identities of its runs.
    """

    study: str
    root: str
    runs: tuple[str, ...]

    def __call__(self) -> dict[str, str]:
        """Train and measure; returns the state of every run at the end."""
        from experiments.runtime import prepare

        prepare(self.root)
        from experiments.study.files import load_study
        from experiments.study.runner import run_study
        from experiments.study.state import standing

        study, root = load_study(self.study), Path(self.root)
        run_study(study, root, only=self.runs, progress=False)
        runs = {configs.identity(config): config for config in study.runs()}
        return {name: standing(study, runs[name], root).state for name in self.runs}

    def checkpoint(self) -> Any:
        """What submitit queues in its place when it is preempted: the same, which goes on."""
        import submitit

        return submitit.helpers.DelayedSubmission(self)


def waiting_tasks(source: str, root: Path, runs_per_job: int) -> list[Task]:
    """The waiting runs of a study, shared out to tasks; runs of the same shapes stay together."""
    from experiments.study.files import load_study
    from experiments.study.state import State, standing

    study = load_study(source)
    waiting = [run for run in study.runs() if standing(study, run, root).state == State.WAITING]
    names = [configs.identity(run) for pack in study.kind.pack(waiting) for run in pack]
    return [
        Task(source, str(root), tuple(names[start : start + runs_per_job]))
        for start in range(0, len(names), runs_per_job)
    ]


def submit(arguments: Arguments) -> list[Any]:
    """Submit the waiting runs, and note where their logs will be.

    Returns:
        The submitted jobs, of submitit.

    Raises:
        ValueError: if submitit is not installed, or nothing waits.
    """
    try:
        import submitit
    except ImportError as error:
        raise ValueError("submitit is needed: pip install 'hiermodel[cluster]'") from error
    from experiments.study.files import load_study
    from experiments.study.runner import forget_failures
    from experiments.study.summary import jobs_of, study_folder

    root = arguments.root.absolute()
    study = load_study(arguments.study)
    source = arguments.study
    if Path(source).suffix:
        source = str(Path(source).absolute())
    if arguments.retry:
        forget_failures(study, root)
    tasks = waiting_tasks(source, root, arguments.runs_per_job)
    if not tasks:
        raise ValueError(f"study {study.name!r} has no run that waits in {root}")
    folder = study_folder(study, root)
    executor = submitit.AutoExecutor(
        folder / "jobs", cluster=arguments.cluster, **_requeues(arguments)
    )
    executor.update_parameters(**_parameters(arguments, study.name))
    with executor.batch():  # what is submitted in one batch becomes one array
        jobs = [executor.submit(task) for task in tasks]
    logs = {
        run[:16]: _logs(job) for task, job in zip(tasks, jobs, strict=True) for run in task.runs
    }
    store.write_json(folder / "jobs.json", {"logs": jobs_of(study, root) | logs})
    return jobs


def _requeues(arguments: Arguments) -> dict[str, Any]:
    return {f"{arguments.cluster}_max_num_timeout": arguments.max_requeues}


def _parameters(arguments: Arguments, name: str) -> dict[str, Any]:
    """What is asked of the cluster for every task."""
    parameters: dict[str, Any] = {
        "name": f"hiermodel-{name}",
        "timeout_min": max(1, round(arguments.minutes)),
        "gpus_per_node": arguments.gpus,
        "cpus_per_task": arguments.cpus,
        "mem_gb": arguments.memory,
    }
    if arguments.cluster == "slurm":
        # Two minutes before its end a task is told, which is ample to be queued again.
        parameters |= {
            "slurm_array_parallelism": arguments.at_once,
            "slurm_signal_delay_s": 120,
            "slurm_additional_parameters": {"requeue": True},  # after a node has failed, too
        }
        if arguments.partition is not None:
            parameters["slurm_partition"] = arguments.partition
    return parameters


def _logs(job: Any) -> list[str]:
    return [str(job.paths.stdout), str(job.paths.stderr)]


def main() -> None:
    """Parse the command line and submit."""
    arguments = tyro.cli(Arguments)
    signals.install()
    try:
        jobs = submit(arguments)
    except ValueError as error:
        sys.exit(str(error))
    print(f"submitted {len(jobs)} tasks: {', '.join(job.job_id for job in jobs)}")
    print(f"python -m experiments.study status {arguments.study} --root {arguments.root}")


if __name__ == "__main__":
    from experiments import launch  # tasks are of that module, which jobs can import

    launch.main()
