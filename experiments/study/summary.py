"""What a terminal is told of a study: its plan beforehand, its status at any time."""

import collections
import dataclasses
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from experiments import configs, store
from experiments.benchmarks.timing import matmul_rate
from experiments.costs import EFFICIENCY, Pace, device_name, duration, measured_pace
from experiments.study.axes import value_at
from experiments.study.design import Study
from experiments.study.runner import packs_of
from experiments.study.state import Standing, State, standing
from experiments.study.table import label

MAX_LISTED = 40
"""Runs that are listed one by one."""


@dataclasses.dataclass(frozen=True)
class Plan:
    """What a study costs, and how far it is.

    Attributes:
        study: the study.
        standings: of every run.
        pack_sizes: runs per pack.
        operations: by run's identity and stage; of all stages, finished or not.
        disk: bytes in all.
        pace: how fast stages are expected to go.
    """

    study: Study
    standings: Sequence[Standing]
    pack_sizes: Sequence[int]
    operations: Mapping[str, Mapping[str, float]]
    disk: float
    pace: Pace

    def seconds(self, *, left: bool = False) -> float:
        """Expected time of everything, or of what is left."""
        return sum(self.run_seconds(stands, left=left) for stands in self.standings)

    def run_seconds(self, stands: Standing, *, left: bool = False) -> float:
        """Expected time of one run."""
        operations = self.operations[configs.identity(stands.config)]
        stages = stands.unfinished if left else list(operations)
        return self.pace.seconds({stage: operations[stage] for stage in stages})

    @property
    def total(self) -> float:
        """Operations in all."""
        return sum(sum(stages.values()) for stages in self.operations.values())

    @property
    def over_budget(self) -> list[str]:
        """In which respects it costs more than its budget allows."""
        budget, found = self.study.budget, []
        if budget.seconds is not None and self.seconds() > budget.seconds:
            found.append(f"{duration(self.seconds())} of {duration(budget.seconds)}")
        if budget.operations is not None and self.total > budget.operations:
            found.append(f"{self.total:.1e} of {budget.operations:.1e} FLOP")
        return found


def make_plan(study: Study, root: Path, rate: Callable[[], float] = matmul_rate) -> Plan:
    """The plan of a study, with the pace of what it has finished."""
    standings = [standing(study, config, root) for config in study.runs()]
    operations, finished, disk = {}, [], 0.0
    for stands in standings:
        counted, size = study.kind.cost(stands.config, study.measures)
        operations[configs.identity(stands.config)] = counted
        disk += size
        done = stands.stages.keys() - stands.unfinished
        timings = stands.folder.timings()
        seconds = {stage: timings[stage] for stage in done if stage in timings}
        finished.append(({stage: counted[stage] for stage in seconds}, seconds))
    sizes = [len(pack) for pack in packs_of(study)]
    return Plan(study, standings, sizes, operations, disk, measured_pace(finished, rate))


def plan_text(plan: Plan) -> str:
    """Runs, packs, operations, time and disk, before anything starts."""
    study, pace = plan.study, plan.pace
    stages = sorted({stage for its in plan.operations.values() for stage in its})
    largest = max(plan.pack_sizes)
    lines = [
        f"{study.name}: {study.question}",
        f"  {len(plan.standings)} runs in {len(plan.pack_sizes)} packs of up to {largest}; "
        f"{counts(plan.standings)}",
        f"  {plan.total:.1e} FLOP, {duration(plan.seconds())} on {device_name()}, "
        f"{plan.disk / 1e6:,.0f} MB; still to do: {duration(plan.seconds(left=True))}",
        f"  pace from {pace.source(stages)}",
        f"  varied: {', '.join(study.varied)}",
        *(f"  over budget: {excess}" for excess in plan.over_budget),
        "",
    ]
    for stands in plan.standings[:MAX_LISTED]:
        seconds = duration(plan.run_seconds(stands))
        lines.append(f"  {stands.state:<8} {seconds:>12}  {settings_text(study, stands.config)}")
    if len(plan.standings) > MAX_LISTED:
        lines.append(f"  … and {len(plan.standings) - MAX_LISTED} more")
    return "\n".join(lines)


def status_text(plan: Plan, root: Path) -> str:
    """What is done, running, failed and waiting, the time left, and where to read more."""
    study = plan.study
    left = duration(plan.seconds(left=True))
    lines = [f"{study.name}: {counts(plan.standings)}; {left} of work left"]
    jobs = jobs_of(study, root)
    for stands in sorted(plan.standings, key=lambda stands: list(State).index(stands.state)):
        lines.append(f"  {stands.state:<8} {settings_text(study, stands.config)}")
        if stands.state in (State.RUNNING, State.FAILED):
            at = [f"{stage} {its}" for stage, its in stands.stages.items() if not its.finished]
            lines.append(f"           {stands.about}" + (f"; {at[0]}" if at else ""))
            logs = [str(stands.folder.log_file), *jobs.get(stands.folder.path.name, ())]
            lines.append(f"           logs: {', '.join(logs)}")
    if any(stands.state == State.FAILED for stands in plan.standings):
        lines.append("  failed runs are tried again by `run --retry`; error.json beside the log")
    logs = sorted(study_folder(study, root).glob("worker-*.log"))
    if logs:
        lines.append(f"  workers: {', '.join(map(str, logs))}")
    return "\n".join(lines)


def counts(standings: Sequence[Standing]) -> str:
    """How many runs are in which state."""
    number = collections.Counter(stands.state for stands in standings)
    return ", ".join(f"{number[state]} {state}" for state in State)


def settings_text(study: Study, config: Any) -> str:
    """What sets a run apart, and the folder that it is in."""
    paths = [*study.varied, *(["seed"] if len(study.seeds) > 1 else [])]
    words = [f"{path} = {label(value_at(config, path))}" for path in paths]
    return f"{', '.join(words) or 'the only run'}  ({configs.identity(config)[:16]})"


def study_folder(study: Study, root: Path) -> Path:
    """Where a study's table, report and logs are."""
    return root / "studies" / study.name


def jobs_of(study: Study, root: Path) -> dict[str, list[str]]:
    """Logs of the cluster jobs that a run was last given to, by the name of its folder."""
    file = study_folder(study, root) / "jobs.json"
    return store.read_json(file)["logs"] if file.exists() else {}


def known_rate(study: Study, root: Path) -> Callable[[], float]:
    """The rate of matrix products on the device that the study last ran on, or else on this one."""
    file = study_folder(study, root) / "study.json"
    rate = store.read_json(file)["matmul_rate"] if file.exists() else None
    return matmul_rate if rate is None else lambda: rate


def write_study(study: Study, root: Path, plan: Plan) -> None:
    """Write down what a study is and costs, for those who find its folder."""
    folder = study_folder(study, root)
    folder.mkdir(parents=True, exist_ok=True)
    described = {
        "name": study.name,
        "question": study.question,
        "varied": list(study.varied),
        "measures": {stage: configs.to_json(its) for stage, its in study.measures.items()},
        "runs": [configs.identity(stands.config) for stands in plan.standings],
        "operations": plan.total,
        "seconds": plan.seconds(),
        "matmul_rate": plan.pace.assumed / EFFICIENCY / 1e9,
    }
    store.write_json(folder / "study.json", described)
