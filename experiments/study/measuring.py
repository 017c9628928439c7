"""What every kind of run has in common: stages with settings, their progress, cost and results."""

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from experiments import costs
from experiments import progress as progress_
from experiments.configs import Protocol
from experiments.measure import UNSHOWN, load_finished, measure_run
from experiments.onsets import ensemble, find_onsets
from experiments.progress import Progress
from experiments.stages.registry import complete_settings, context_of, stages_of, with_needs
from experiments.store import Measurements, trained_checkpoints
from hiermodel.checks import require

BORDER = {
    "located": "lies within the measured range",
    "at_start": "may lie before its time",
    "at_end": "may lie after its time",
}
"""Ends of the names of flags beside the times of minima, and what they say."""

SPACING = "1; widest step between neighbouring checkpoints, in ln of the epoch"


def border_units(column: str) -> dict[str, str]:
    """What the flags of a column of times are."""
    return {
        f"{column}_{end}": f"true or false; whether that minimum {BORDER[end]}" for end in BORDER
    }


def border_columns(onsets: Measurements, name: str, column: str) -> dict[str, np.ndarray]:
    """The flags of an onset, for the column that it goes to."""
    return {f"{column}_{end}": onsets[f"{name}_{end}"].values for end in BORDER}


def log_spacing(results: Mapping[str, Measurements]) -> float:
    """How far apart, in ln of the epoch, checkpoints of the coarsest measured stage are."""
    stages = [results[name] for name in ("evaluation", "comparison") if name in results]
    return max(float(np.diff(np.log(trained_checkpoints(its)[1])).max()) for its in stages)


def check_measures(world: str, measures: Mapping[str, Any]) -> None:
    """Refuse stages that do not exist, and settings of another type.

    Raises:
        ValueError: naming the stage.
    """
    require(bool(measures), "measures", measures, f"settings by stage, of {list(stages_of(world))}")
    complete_settings(world, measures)


def measure(own: Protocol, wanted: Collection[str], root: Path, progress: bool) -> None:
    """Make the stages of a trained run."""
    measure_run(own, root, wanted=tuple(wanted), progress=progress)


def progress(own: Protocol, wanted: Collection[str], root: Path) -> dict[str, Progress]:
    """How far training and every stage are."""
    stages = ("train", *with_needs(own.run.world, wanted))
    return {stage: progress_.progress_of(own, stage, root) for stage in stages}


def cost(own: Protocol, wanted: Collection[str], root: Path) -> costs.Cost:
    """Time of training and stages, spent and expected."""
    return costs.cost(own, ["train", *with_needs(own.run.world, wanted)], root)


def load(own: Protocol, wanted: Collection[str] | None, root: Path) -> dict[str, Measurements]:
    """Measurements by stage, as far as they are finished; creates nothing.

    Args:
        own: the run and settings.
        wanted: stages; None for those that are there, whatever their settings.
        root: where run folders are.

    Raises:
        ValueError: without stages named, if one was made with several settings.
    """
    run = context_of(own, root).run
    if not run.path.exists():
        return {}
    if wanted is not None:
        return load_finished(own, root, wanted=tuple(wanted))
    shown = [stage for stage in stages_of(own.run.world) if stage not in UNSHOWN]
    found = {stage: run.only_measurements(stage) for stage in shown}
    results: dict[str, Measurements] = {
        stage: measured for stage, measured in found.items() if measured is not None
    }
    if "evaluation" in results:
        results["onsets"] = find_onsets(results["evaluation"], results.get("comparison", {}))
    if results:
        results["ensemble"] = ensemble(own.run.num_splits, own.run.num_seeds)
    return results
