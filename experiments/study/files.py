"""What ``run`` is given: a study, or one configuration, from a file or by name."""

import dataclasses
import importlib
import importlib.util
from pathlib import Path
from types import ModuleType
from typing import Any

from experiments import configs
from experiments.stages.registry import stages_of
from experiments.study.design import Study
from experiments.worlds.registry import read_run
from hiermodel.checks import InputError, require

SHIPPED = "experiments.studies"
"""The package of the studies that can be called by their names."""

STANDARD = ("evaluation", "samples", "comparison")
"""How one configuration is measured, with standard settings."""


def load_study(source: str | Path, seed: int | None = None) -> Study:
    """The study of a file, or one that is shipped; or one configuration as a study of itself.

    Args:
        source: the name of a shipped study; a ``.py`` file that defines ``STUDY``, or ``RUN``, a
            configuration; or the ``config.json`` of a run.
        seed: in place of the study's own; its folder is another one then.

    Raises:
        ValueError: for a file that is not there, or is no study; the message says what is wrong.
    """
    path = Path(source)
    if path.suffix == ".json":
        require(path.exists(), "study", str(source), "a file that exists")
        study = study_of(read_run(path), "run")
    elif path.suffix == ".py":
        require(path.exists(), "study", str(source), "a file that exists")
        study = _defined(_module(path), path)
    else:
        known = shipped()
        allowed = f"a .py file, a run's config.json, or of {known}"
        require(str(source) in known, "study", str(source), allowed)
        study = _defined(importlib.import_module(f"{SHIPPED}.{source}"), path)
    if seed is None:
        return study
    require(seed >= 0, "seed", seed, "at least 0")
    return dataclasses.replace(study, name=f"{study.name}-seed-{seed}", seeds=(seed,))


def study_of(config: Any, name: str) -> Study:
    """A study of one run, with standard measures."""
    standard = {stage: stages_of(config)[stage].settings() for stage in STANDARD}
    question = "What comes out of this one configuration?"
    name = f"{name}-{configs.identity(config)[:8]}"
    return Study(name, question, config, (), standard, seeds=(config.seed,))


def shipped() -> list[str]:
    """Names of the studies that come with the project."""
    folder = Path(__file__).parents[1] / "studies"
    return sorted(path.stem for path in folder.glob("*.py") if path.stem != "__init__")


def _module(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None  # for .py there is a loader
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _defined(module: ModuleType, path: Path) -> Study:
    study, config = getattr(module, "STUDY", None), getattr(module, "RUN", None)
    if study is None and config is not None:
        return study_of(config, path.stem)
    if not isinstance(study, Study):
        raise InputError(f"STUDY={study!r} is not allowed: {path} must define a Study, or a RUN")
    return study
