"""What a study must know of its runs: how they are completed, measured, and what came out."""

import dataclasses
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
from experiments.study.columns import rows_of, units_of
from experiments.worlds.registry import complete, world_of
from hiermodel.checks import require


@dataclasses.dataclass(frozen=True)
class Kind:
    """Runs like one of them, of its world."""

    base: RunConfig

    @property
    def units(self) -> Mapping[str, str]:
        """Of every column of results (less a number at its end): "unit; what it is"."""
        return units_of(world_of(self.base))

    def complete(self, config: RunConfig) -> RunConfig:
        """The configuration with all that must follow from other settings."""
        return complete(config)

    def check_measures(self, measures: Mapping[str, Any]) -> None:
        """Refuse stages that do not exist and settings of another type (ValueError)."""
        known = list(stages_of(self.base))
        require(bool(measures), "measures", measures, f"settings by stage, of {known}")
        complete_settings(self.base, measures)

    def measure(
        self, config: RunConfig, measures: Mapping[str, Any], root: Path, progress: bool
    ) -> None:
        """Make the stages of a trained run, going on from what there is."""
        own = Protocol(config, measures)
        measure_run(own, root, wanted=tuple(measures), progress=progress)

    def progress(
        self, config: RunConfig, measures: Mapping[str, Any], root: Path
    ) -> dict[str, Progress]:
        """How far training and every stage are, "train" first."""
        own, stages = Protocol(config, measures), ("train", *with_needs(config, measures))
        return {stage: progress_of(own, stage, root) for stage in stages}

    def cost(self, config: RunConfig, measures: Mapping[str, Any], root: Path) -> costs.Cost:
        """Time of training and stages, spent and expected."""
        own = Protocol(config, measures)
        return costs.cost(own, ["train", *with_needs(config, measures)], root)

    def load(
        self, config: RunConfig, measures: Mapping[str, Any] | None, root: Path
    ) -> dict[str, Measurements]:
        """Measurements by stage, as far as they are finished; creates nothing.

        Args:
            config: the run.
            measures: settings by stage; None for the stages that are there, whatever their
                settings.
            root: where run folders are.

        Raises:
            ValueError: without stages named, if one was made with several settings.
        """
        own = Protocol(config, measures or {})
        run = context_of(own, root).run
        if not run.path.exists():
            return {}
        if measures is not None:
            return load_finished(own, root, wanted=tuple(measures))
        shown = [stage for stage in stages_of(config) if stage not in UNSHOWN]
        found = {stage: run.only_measurements(stage) for stage in shown}
        results: dict[str, Measurements] = {
            stage: measured for stage, measured in found.items() if measured is not None
        }
        if "evaluation" in results:
            results["onsets"] = find_onsets(results["evaluation"], results.get("comparison", {}))
        if results:
            results["ensemble"] = ensemble(config.num_splits, config.num_seeds)
        return results

    def rows(self, config: RunConfig, results: Mapping[str, Measurements]) -> list[dict[str, Any]]:
        """What came out, per network: columns are those of ``units``."""
        return rows_of(config, world_of(config), results)


def kind_of(config: RunConfig) -> Kind:
    """The kind of a run."""
    return Kind(config)
