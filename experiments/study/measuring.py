"""How runs of a study are measured, how far they are, what they cost, and what came out."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from experiments import costs
from experiments.configs import Protocol, RunConfig
from experiments.measure import UNSHOWN, load_finished, measure_run
from experiments.onsets import ensemble, find_onsets
from experiments.progress import Progress, progress_of
from experiments.stages.registry import complete_settings, context_of, stages_of, with_needs
from experiments.store import Measurements
from hiermodel.checks import require

Measures = Mapping[str, Any]
"""Settings by stage, such as {"evaluation": EvaluationConfig()}."""


def check_measures(config: RunConfig, measures: Measures) -> None:
    """Refuse stages that do not exist and settings of another type.

    Raises:
        ValueError: naming the stage.
    """
    known = list(stages_of(config))
    require(bool(measures), "measures", measures, f"settings by stage, of {known}")
    complete_settings(config, measures)


def measure(config: RunConfig, measures: Measures, root: Path, progress: bool) -> None:
    """Make the stages of a trained run, going on from what there is."""
    measure_run(Protocol(config, measures), root, wanted=tuple(measures), progress=progress)


def progress(config: RunConfig, measures: Measures, root: Path) -> dict[str, Progress]:
    """How far training and every stage are, "train" first."""
    own, stages = Protocol(config, measures), ("train", *with_needs(config, measures))
    return {stage: progress_of(own, stage, root) for stage in stages}


def cost(config: RunConfig, measures: Measures, root: Path) -> costs.Cost:
    """Time of training and stages, spent and expected."""
    return costs.cost(Protocol(config, measures), ["train", *with_needs(config, measures)], root)


def load(config: RunConfig, measures: Measures, root: Path) -> dict[str, Measurements]:
    """Measurements by stage, as far as they are finished; creates nothing."""
    own = Protocol(config, measures)
    if not context_of(own, root).run.path.exists():
        return {}
    return load_finished(own, root, wanted=tuple(measures))


def load_any(config: RunConfig, root: Path) -> dict[str, Measurements]:
    """Measurements of the stages that are there, whatever their settings; creates nothing.

    Raises:
        ValueError: if a stage was made with several settings.
    """
    run = context_of(Protocol(config, {}), root).run
    found = {s: run.only_measurements(s) for s in stages_of(config) if s not in UNSHOWN}
    results: dict[str, Measurements] = {
        stage: measured for stage, measured in found.items() if measured is not None
    }
    if "evaluation" in results:
        results["onsets"] = find_onsets(results["evaluation"], results.get("comparison", {}))
    if results:
        results["ensemble"] = ensemble(config.num_splits, config.num_seeds)
    return results
