"""``python -m experiments plan|run|status|report|publish STUDY``.

Exit codes: 0 done; 1 an error, said on stderr, or some runs failed; 2 unknown arguments; 3 over
budget; 75 stopped by SIGTERM, 130 by SIGINT, with all that is done kept: the same command goes on.
"""

import dataclasses
import importlib
import os
import sys
from pathlib import Path
from types import ModuleType

import tyro

OVER_BUDGET = 3


@dataclasses.dataclass(frozen=True)
class Arguments:
    """Plan a parameter study, run it, see how far it is, and report what came out.

    Attributes:
        study: a .py file, or the name of a shipped study.
        root: where run folders are.
        processes: workers on this machine; one per GPU, or one if there is none.
        memory: bound on each process's memory on the host, in GiB.
        retry: try failed runs again.
        over_budget: run although the plan is over the study's budget.
        shares: processes that are started on other machines, too: networks of one shape are cut
            into so many parts, or as many as there are processes here.
        distributed: this is one of several processes, on several hosts, that train each run
            together (jax.distributed); the same command without it, on one, then measures.
        progress: show progress bars.
    """

    study: tyro.conf.Positional[str]
    root: Path = Path("runs")
    processes: int | None = None
    memory: float | None = None
    retry: bool = False
    over_budget: bool = False
    shares: int = 1
    distributed: bool = False
    progress: bool = True


def plan(arguments: Arguments) -> int:
    """Print what the study costs."""
    _prepare(arguments)
    from experiments.study.files import load_study
    from experiments.study.summary import make_plan, plan_text

    print(plan_text(make_plan(load_study(arguments.study), arguments.root)))
    return 0


def run(arguments: Arguments) -> int:
    """Go on until all is done; 1 if some runs failed, 3 if it costs more than its budget."""
    from experiments.study.workers import bound_memory, visible_gpus

    bound_memory(arguments.memory)
    processes = arguments.processes
    if processes is None:
        processes = 1 if arguments.distributed else max(1, len(visible_gpus()))
    return _run_here(arguments) if processes == 1 else _run_workers(arguments, processes)


def _run_here(arguments: Arguments) -> int:
    _prepare(arguments)
    from experiments.study.files import load_study
    from experiments.study.runner import retry_failures, run_study
    from experiments.study.summary import make_plan, write_study

    study = load_study(arguments.study)
    plan = make_plan(study, arguments.root)
    if plan.over_budget and not arguments.over_budget:
        print(
            f"over budget: {plan.over_budget}. Give --over-budget to run all the same",
            file=sys.stderr,
        )
        return OVER_BUDGET
    write_study(study, arguments.root, plan)
    if arguments.retry:
        retry_failures(study, arguments.root)
    run_study(study, arguments.root, shares=arguments.shares, progress=arguments.progress)
    return _show_status(arguments)


def _run_workers(arguments: Arguments, processes: int) -> int:
    _keep_off_accelerators()
    from experiments.study.files import load_study
    from experiments.study.runner import retry_failures
    from experiments.study.summary import study_folder
    from experiments.study.workers import run_workers

    study = load_study(arguments.study)
    if arguments.retry:
        retry_failures(study, arguments.root)
    shares = str(max(processes, arguments.shares))
    options = ["--root", str(arguments.root), "--processes", "1", "--no-progress"]
    options += ["--shares", shares]
    if arguments.memory is not None:
        options += ["--memory", str(arguments.memory)]
    if arguments.over_budget:
        options.append("--over-budget")
    command = ["-m", "experiments", "run", arguments.study, *options]
    folder = study_folder(study, arguments.root)
    try:
        run_workers(study, arguments.root, command, processes, folder)
    except RuntimeError as error:
        sys.exit(str(error))
    return _show_status(arguments)


def status(arguments: Arguments) -> int:
    """Print where all runs stand."""
    _keep_off_accelerators()
    _show_status(arguments)
    return 0


def _show_status(arguments: Arguments) -> int:
    """Print where all runs stand; 1 if some failed."""
    from experiments.study.files import load_study
    from experiments.study.state import State
    from experiments.study.summary import known_rate, make_plan, status_text

    study = load_study(arguments.study)
    plan = make_plan(study, arguments.root, known_rate(study, arguments.root))
    print(status_text(plan, arguments.root))
    return int(any(stands.state == State.FAILED for stands in plan.standings))


def report(arguments: Arguments) -> int:
    """Write table and page from what is done."""
    _keep_off_accelerators()
    path = _figures().write_report(arguments.study, arguments.root)
    print(f"report: {path}")
    return 0


def publish(arguments: Arguments) -> int:
    """Put picture, table and answer into the project."""
    _keep_off_accelerators()
    for path in _figures().publish(arguments.study, arguments.root):
        print(path)
    return 0


def _figures() -> ModuleType:
    """What draws: found by its name, since figures are built on experiments."""
    return importlib.import_module("figures.study_report")


def _prepare(arguments: Arguments) -> None:
    from experiments.runtime import prepare

    if arguments.distributed:
        _join_others()
    prepare(arguments.root)


def _join_others() -> None:
    """Meet the other processes; SLURM, TPUs and Open MPI say by themselves who they are."""
    import jax

    number, own = os.environ.get("JAX_NUM_PROCESSES"), os.environ.get("JAX_PROCESS_ID")
    jax.distributed.initialize(
        num_processes=int(number) if number else None, process_id=int(own) if own else None
    )


def _keep_off_accelerators() -> None:
    """For commands that only read: JAX would take a GPU's memory from those who train on it."""
    import jax

    jax.config.update("jax_platforms", "cpu")
