"""Kinds of runs: what a study must know of a type of configuration, and nothing more.

A kind is a module with the functions of :class:`Kind`; ``KINDS`` says which one serves which type.
Studies themselves know no grammar and no network.
"""

import importlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol, cast

from experiments.costs import Cost
from experiments.progress import Progress
from hiermodel.checks import require

KINDS = {
    "RunConfig": "experiments.study.grammar_runs",
    "ImageRunConfig": "experiments.study.image_runs",
}
"""Module by name of the configuration's type."""


class Kind(Protocol):
    """What a kind's module provides."""

    CONFIG: type
    """Type of its configurations."""

    UNITS: Mapping[str, str]
    """Of every column of results (less a number at its end): "unit; what it is"."""

    def complete(self, config: Any) -> Any:
        """The configuration with all that must follow from other settings."""
        ...

    def check_measures(self, measures: Mapping[str, Any]) -> None:
        """Refuse stages that do not exist and settings of another type (ValueError)."""
        ...

    def measure(self, config: Any, measures: Mapping[str, Any], root: Path, progress: bool) -> None:
        """Make the stages of a trained run, going on from what there is."""
        ...

    def progress(self, config: Any, measures: Mapping[str, Any], root: Path) -> dict[str, Progress]:
        """How far each stage is, "train" first."""
        ...

    def cost(self, config: Any, measures: Mapping[str, Any], root: Path) -> Cost:
        """Time of training and stages, spent and expected."""
        ...

    def load(self, config: Any, measures: Mapping[str, Any] | None, root: Path) -> dict[str, Any]:
        """Measurements by stage, as far as they are finished; without measures, what is there."""
        ...

    def rows(self, config: Any, results: Mapping[str, Any]) -> list[dict[str, Any]]:
        """What came out, per member: columns are those of ``UNITS``."""
        ...


def kind_named(name: str) -> Kind:
    """The kind of a configuration type, by the type's name.

    Raises:
        ValueError: for a type of which no runs can be made.
    """
    require(name in KINDS, "type", name, f"one of {sorted(KINDS)}")
    return cast(Kind, importlib.import_module(KINDS[name]))


def kind_of(config: Any) -> Kind:
    """The kind of a configuration."""
    return kind_named(type(config).__name__)
