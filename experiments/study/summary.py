"""What a terminal is told of a study: what it costs, and where its runs stand."""

import collections
import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from experiments import configs, store
from experiments.benchmarks.timing import matmul_rate
from experiments.costs import Cost, cost, device_name
from experiments.stages.registry import needed
from experiments.study.design import Study
from experiments.study.state import Standing, State, standing
from experiments.words import duration

MAX_LISTED = 40
"""Runs that are listed one by one."""

LISTED = (State.RUNNING, State.FAILED, State.WAITING, State.DONE)
"""Their order."""


@dataclasses.dataclass(frozen=True)
class Plan:
    """What a study costs, and how far it is.

    Attributes:
        study: the study.
        standings: of every run.
        costs: of every run.
        rate: GFLOP/s of a large matrix product, for what is not finished.
    """

    study: Study
    standings: Sequence[Standing]
    costs: Sequence[Cost]
    rate: float

    @property
    def cost(self) -> Cost:
        """Of all runs."""
        return sum(self.costs, Cost())

    @property
    def over_budget(self) -> str:
        """By how much it takes longer than it may; empty if it does not."""
        seconds = self.cost.spent + self.cost.seconds_left(self.rate)
        most = self.study.minutes
        if most is None or seconds <= 60 * most:
            return ""
        return f"{duration(seconds)} of {duration(60 * most)}"


def make_plan(study: Study, root: Path, rate: Callable[[], float] = matmul_rate) -> Plan:
    """The plan of a study: measured times of what is finished, estimates of the rest."""
    standings = [standing(study, config, root) for config in study.runs()]
    runs = [study.protocol_of(stands.config) for stands in standings]
    costs = [cost(own, needed(own), root) for own in runs]
    return Plan(study, standings, costs, rate())


def status_text(plan: Plan, root: Path) -> str:
    """What is done, running, failed and waiting, what it costs, and where to read more."""
    study = plan.study
    lines = [
        f"{study.name}: {study.question}",
        f"  {len(plan.standings)} runs: {counts(plan.standings)}",
        f"  {plan.cost.text(plan.rate)} on {device_name()}",
        *([f"  over budget: {plan.over_budget}"] if plan.over_budget else []),
    ]
    each = zip(plan.standings, plan.costs, strict=True)
    listed = sorted(each, key=lambda own: LISTED.index(own[0].state))
    for stands, spent in listed[:MAX_LISTED]:
        words = settings_text(study, stands.config)
        lines.append(f"  {stands.state:<8} {spent.text(plan.rate):>28}  {words}")
        if stands.state in (State.RUNNING, State.FAILED):
            at = [f"{stage} {its}" for stage, its in stands.stages.items() if not its.finished]
            lines.append(f"           {stands.about}" + (f"; {at[0]}" if at else ""))
            lines.append(f"           log: {stands.folder.log_file}")
    if len(listed) > MAX_LISTED:
        lines.append(f"  … and {len(listed) - MAX_LISTED} more")
    if any(stands.state == State.FAILED for stands in plan.standings):
        lines.append("  failed runs are tried again by `run --retry`; error.json beside the log")
    logs = sorted(study_folder(study, root).glob("worker-*.log"))
    if logs:
        lines.append(f"  workers: {', '.join(map(str, logs))}")
    if (jobs := study_folder(study, root) / "jobs").exists():
        lines.append(f"  logs of cluster jobs: {jobs}")
    return "\n".join(lines)


def counts(standings: Sequence[Standing]) -> str:
    """How many runs are in which state."""
    number = collections.Counter(stands.state for stands in standings)
    return ", ".join(f"{number[state]} {state}" for state in State)


def settings_text(study: Study, config: Any) -> str:
    """What sets a run apart, and the folder that it is in."""
    return f"{study.name_of(config)}  ({configs.identity(config)[:16]})"


def study_folder(study: Study, root: Path) -> Path:
    """Where a study's table, report and logs are."""
    return root / "studies" / study.name


def known_rate(study: Study, root: Path) -> Callable[[], float]:
    """The rate of matrix products on the device that the study last ran on, or else on this one."""
    file = study_folder(study, root) / "study.json"
    rate = store.read_json(file)["matmul_rate"] if file.exists() else None
    return matmul_rate if rate is None else lambda: rate


def write_study(plan: Plan, root: Path) -> None:
    """Write down what a study is and costs, for those who find its folder."""
    study = plan.study
    folder = study_folder(study, root)
    folder.mkdir(parents=True, exist_ok=True)
    described = {
        "name": study.name,
        "question": study.question,
        "varied": list(study.varied),
        "measures": {
            stage: configs.to_json(its) for stage, its in study.measures_of(study.base).items()
        },
        "runs": [configs.identity(stands.config) for stands in plan.standings],
        "matmul_rate": plan.rate,
    }
    store.write_json(folder / "study.json", described)
