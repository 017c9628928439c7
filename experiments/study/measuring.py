"""What every kind of run has in common: stages with settings, their progress, cost and results."""

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from experiments import costs
from experiments import progress as progress_
from experiments.configs import Protocol
from experiments.measure import load_finished, measure_run
from experiments.onsets import find_onsets
from experiments.progress import Progress, stages_with_needs
from experiments.store import Measurements
from hiermodel.checks import require


def check_measures(allowed: Mapping[str, type], measures: Mapping[str, Any]) -> None:
    """Refuse stages that do not exist, and settings of another type.

    Raises:
        ValueError: naming the stage.
    """
    require(bool(measures), "measures", measures, f"settings by stage, out of {list(allowed)}")
    for stage, settings in measures.items():
        require(stage in allowed, "measures", stage, f"out of {list(allowed)}")
        right = f"a {allowed[stage].__name__}"
        require(isinstance(settings, allowed[stage]), f"measures[{stage!r}]", settings, right)


def measure(own: Protocol, wanted: Collection[str], root: Path, progress: bool) -> None:
    """Make the stages of a trained run."""
    measure_run(
        own.run,
        own.evaluation,
        own.generation,
        root,
        stages=own.stages,
        wanted=tuple(wanted),
        progress=progress,
    )


def progress(own: Protocol, wanted: Collection[str], root: Path) -> dict[str, Progress]:
    """How far training and every stage are."""
    stages = ("train", *stages_with_needs(wanted))
    return {stage: progress_.progress_of(own, stage, root) for stage in stages}


def cost(own: Protocol, wanted: Collection[str]) -> tuple[dict[str, float], float]:
    """Operations by stage, and bytes on disk."""
    counted = costs.cost(own, stages_with_needs(wanted))
    return counted.operations, counted.disk


def load(
    own: Protocol, stages: Collection[str], wanted: Collection[str] | None, root: Path
) -> dict[str, Measurements]:
    """Measurements by stage, as far as they are finished; creates nothing.

    Args:
        own: the run and settings.
        stages: that runs of its kind may have.
        wanted: stages; None for those that are there, whatever their settings.
        root: where run folders are.

    Raises:
        ValueError: without stages named, if one was made with several settings.
    """
    run = progress_.context_of(own, root).run
    if not run.path.exists():
        return {}
    if wanted is not None:
        return load_finished(
            own.run, own.evaluation, own.generation, root, stages=own.stages, wanted=tuple(wanted)
        )
    found = {stage: run.only_measurements(stage) for stage in stages}
    results: dict[str, Measurements] = {
        stage: measured for stage, measured in found.items() if measured is not None
    }
    if "evaluation" in results:
        results["onsets"] = find_onsets(results["evaluation"], results.get("comparison", {}))
    return results
