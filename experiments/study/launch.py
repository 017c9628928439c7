"""``python -m experiments submit STUDY``: a study as jobs of a cluster, through submitit.

One array job, all of whose tasks do the same: run the study, each taking what no other one holds.
A task that is preempted or comes to the end of its time is queued again, and goes on from the
newest checkpoints. What a lost task worked on is left to the others, or to those that the same
command submits afterwards.
"""

import collections
import dataclasses
from pathlib import Path
from typing import Any, Literal

import tyro

from experiments import runtime
from experiments.runs.members import members
from experiments.study.design import Study
from experiments.study.files import load_study
from experiments.study.runner import retry_failures, run_study
from experiments.study.state import State, standing
from experiments.study.summary import study_folder
from hiermodel.checks import InputError, check_integer, require


@dataclasses.dataclass(frozen=True)
class Arguments:
    """Submit a study's waiting runs to a cluster; `python -m experiments status` follows.

    Attributes:
        study: as of `run`; a file must be seen from the jobs too.
        root: where run folders are, on a file system that all machines share.
        seed: as of `run`.
        cluster: slurm; or local, to try it on this machine.
        tasks: how many, if there are as many networks; they run at the same time if the cluster has
            room.
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
    seed: int | None = None
    cluster: Literal["slurm", "local"] = "slurm"
    tasks: int = 16
    minutes: float = 240.0
    max_requeues: int = 20
    partition: str | None = None
    gpus: int = 1
    cpus: int = 8
    memory: float = 32.0
    retry: bool = False


@dataclasses.dataclass(frozen=True)
class Task:
    """What every task does: the study, as any process would run it, beside the others.

    Attributes:
        study: file or name.
        seed: in place of its own.
        root: where run folders are.
        shares: tasks that share the work.
    """

    study: str
    seed: int | None
    root: str
    shares: int

    def __call__(self) -> dict[str, int]:
        """Train and measure until nothing is left that no other process holds; counts by state."""
        runtime.prepare(self.root)
        study, root = load_study(self.study, self.seed), Path(self.root)
        run_study(study, root, shares=self.shares, progress=False)
        return collections.Counter(standing(study, run, root).state for run in study.runs())

    def checkpoint(self) -> Any:
        """What submitit queues in its place when it is preempted: the same, which goes on."""
        import submitit

        return submitit.helpers.DelayedSubmission(self)


def number_of_tasks(study: Study, root: Path, most: int) -> int:
    """One per network to train, or per run to measure if these are more; at most ``most``.

    Raises:
        ValueError: if nothing waits.
    """
    waiting = [run for run in study.runs() if standing(study, run, root).state == State.WAITING]
    if not waiting:
        raise InputError(f"study {study.name!r} has no run that waits in {root}")
    left = {own for run in waiting for own in members(run) if not own.finished(root)}
    return min(most, max(len(left), len(waiting)))


def submit(arguments: Arguments) -> list[Any]:
    """Submit what waits.

    Returns:
        The submitted jobs, of submitit.

    Raises:
        ValueError: for numbers out of range, if submitit is not installed, or nothing waits.
    """
    for name in ("tasks", "cpus"):
        check_integer(name, getattr(arguments, name), 1)
    for name in ("max_requeues", "gpus"):
        check_integer(name, getattr(arguments, name), 0)
    for name in ("minutes", "memory"):
        require(getattr(arguments, name) > 0, name, getattr(arguments, name), "above 0")
    try:
        import submitit
    except ImportError as error:
        raise InputError("submitit is needed: pip install 'hiermodel[cluster]'") from error
    root = arguments.root.absolute()
    study = load_study(arguments.study, arguments.seed)
    source = arguments.study
    if Path(source).suffix:
        source = str(Path(source).absolute())
    if arguments.retry:
        retry_failures(study, root)
    number = number_of_tasks(study, root, arguments.tasks)
    executor = submitit.AutoExecutor(
        study_folder(study, root) / "jobs",
        cluster=arguments.cluster,
        **{f"{arguments.cluster}_max_num_timeout": arguments.max_requeues},
    )
    executor.update_parameters(**_parameters(arguments, study.name))
    with executor.batch():  # what is submitted in one batch becomes one array
        return [
            executor.submit(Task(source, arguments.seed, str(root), number)) for _ in range(number)
        ]


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
            "slurm_array_parallelism": arguments.tasks,
            "slurm_signal_delay_s": 120,
            "slurm_additional_parameters": {"requeue": True},  # after a node has failed, too
        }
        if arguments.partition is not None:
            parameters["slurm_partition"] = arguments.partition
    return parameters


def submit_and_say(arguments: Arguments) -> None:
    """Submit, and say what follows it."""
    jobs = submit(arguments)
    print(f"submitted {len(jobs)} tasks: {', '.join(job.job_id for job in jobs)}")
    seed = "" if arguments.seed is None else f" --seed {arguments.seed}"
    print(f"python -m experiments status {arguments.study} --root {arguments.root}{seed}")
