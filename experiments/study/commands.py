"""``python -m experiments run|status STUDY``; see ``experiments.command`` for exit codes."""

import dataclasses
import os
import sys
from pathlib import Path

import jax
import tyro

from experiments import runtime
from experiments.study.files import load_study
from experiments.study.runner import retry_failures, run_study
from experiments.study.state import State
from experiments.study.summary import known_rate, make_plan, status_text, study_folder, write_study
from experiments.study.workers import bound_memory, run_workers, visible_gpus

OVER_BUDGET = 3


@dataclasses.dataclass(frozen=True)
class RunArguments:
    """Run a study, or one configuration; go on where it stopped.

    Attributes:
        study: the name of a shipped study, a .py file with a STUDY or a RUN, or the config.json of
            a run.
        root: where run folders are.
        seed: other data, initial values and noise than the study's own.
        processes: workers on this machine; one per GPU, or one if there is none.
        memory: bound on each process's memory on the host, in GiB.
        retry: try failed runs again.
        over_budget: run although it takes longer than the study may.
        shares: how many processes work on the study, on all machines together; networks of one
            shape are cut into that many parts.
        distributed: this is one of several processes, on several hosts, that train each run
            together (jax.distributed); the same command without it, on one, then measures.
        progress: show progress bars.
    """

    study: tyro.conf.Positional[str]
    root: Path = Path("runs")
    seed: int | None = None
    processes: int | None = None
    memory: float | None = None
    retry: bool = False
    over_budget: bool = False
    shares: int = 1
    distributed: bool = False
    progress: bool = True


@dataclasses.dataclass(frozen=True)
class StatusArguments:
    """Say what a study costs, and where its runs stand; before it is run, while it runs, or after.

    Attributes:
        study: as of `run`.
        root: where run folders are.
        seed: as of `run`.
    """

    study: tyro.conf.Positional[str]
    root: Path = Path("runs")
    seed: int | None = None


def run(arguments: RunArguments) -> int:
    """Go on until all is done; 1 if some runs failed, 3 if it would take longer than it may."""
    bound_memory(arguments.memory)
    processes = arguments.processes
    if processes is None:
        processes = 1 if arguments.distributed else max(1, len(visible_gpus()))
    return _run_here(arguments) if processes == 1 else _run_workers(arguments, processes)


def _run_here(arguments: RunArguments) -> int:
    if arguments.distributed:
        _join_others()
    runtime.prepare(arguments.root)
    study = load_study(arguments.study, arguments.seed)
    plan = make_plan(study, arguments.root)
    if plan.over_budget and not arguments.over_budget:
        print(
            f"over budget: {plan.over_budget}. Give --over-budget to run all the same",
            file=sys.stderr,
        )
        return OVER_BUDGET
    write_study(plan, arguments.root)
    if arguments.retry:
        retry_failures(study, arguments.root)
    run_study(study, arguments.root, shares=arguments.shares, progress=arguments.progress)
    return _show_status(arguments)


def _run_workers(arguments: RunArguments, processes: int) -> int:
    keep_off_accelerators()
    study = load_study(arguments.study, arguments.seed)
    if arguments.retry:
        retry_failures(study, arguments.root)
    shares = str(max(processes, arguments.shares))
    options = ["--root", str(arguments.root), "--processes", "1", "--no-progress"]
    options += ["--shares", shares]
    for name in ("seed", "memory"):
        if (value := getattr(arguments, name)) is not None:
            options += [f"--{name}", str(value)]
    if arguments.over_budget:
        options.append("--over-budget")
    command = ["-m", "experiments", "run", arguments.study, *options]
    folder = study_folder(study, arguments.root)
    try:
        run_workers(study, arguments.root, command, processes, folder)
    except RuntimeError as error:
        sys.exit(str(error))
    return _show_status(arguments)


def status(arguments: StatusArguments) -> None:
    """Print what it costs and where all runs stand."""
    keep_off_accelerators()
    _show_status(arguments)


def _show_status(arguments: RunArguments | StatusArguments) -> int:
    """Print where all runs stand; 1 if some failed."""
    study = load_study(arguments.study, arguments.seed)
    plan = make_plan(study, arguments.root, known_rate(study, arguments.root))
    print(status_text(plan, arguments.root))
    return int(any(stands.state == State.FAILED for stands in plan.standings))


def _join_others() -> None:
    """Meet the other processes; SLURM, TPUs and Open MPI say by themselves who they are."""
    number, own = os.environ.get("JAX_NUM_PROCESSES"), os.environ.get("JAX_PROCESS_ID")
    jax.distributed.initialize(
        num_processes=int(number) if number else None, process_id=int(own) if own else None
    )


def keep_off_accelerators() -> None:
    """For commands that only read: JAX would take a GPU's memory from those who train on it."""
    jax.config.update("jax_platforms", "cpu")
