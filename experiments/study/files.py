"""Studies as files: a Python module that defines ``STUDY``, or a TOML file."""

import importlib
import importlib.util
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from experiments.study.axes import Axis, Grid, LogSpaced, Random, Range, Zipped
from experiments.study.building import build
from experiments.study.design import Budget, Study
from experiments.study.kinds import kind_named
from hiermodel.checks import require

SHIPPED = "experiments.studies"
"""Where studies that are known by their name alone are."""

AXES = {"grid": Grid, "zipped": Zipped, "log": LogSpaced, "random": Random}
"""Axis by its ``kind`` in a TOML file."""


def load_study(source: str | Path) -> Study:
    """The study of a file, or one that is shipped.

    Args:
        source: path of a ``.py`` or ``.toml`` file, or the name of a shipped study.

    Raises:
        ValueError: for a file that is not there, or is no study; the message says what is wrong.
    """
    path = Path(source)
    if path.suffix == ".toml":
        require(path.exists(), "study", str(source), "a file that exists")
        return from_toml(path.read_text(), default_name=path.stem)
    if path.suffix == ".py":
        require(path.exists(), "study", str(source), "a file that exists")
        spec = importlib.util.spec_from_file_location(path.stem, path)
        assert spec is not None  # for .py there is a loader
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    else:
        known = shipped()
        require(str(source) in known, "study", str(source), f"a .py or .toml file, or of {known}")
        module = importlib.import_module(f"{SHIPPED}.{source}")
    study = getattr(module, "STUDY", None)
    if not isinstance(study, Study):
        raise ValueError(f"STUDY={study!r} is not allowed: {source} must define a Study")
    return study


def shipped() -> list[str]:
    """Names of the studies that come with the project."""
    folder = Path(__file__).parents[1] / "studies"
    return sorted(path.stem for path in folder.glob("*.py") if path.stem != "__init__")


def from_toml(text: str, default_name: str = "study") -> Study:
    """The study that a TOML text describes; ``experiments/README.md`` shows one.

    Raises:
        ValueError: for text that is no TOML, or settings that do not exist or do not fit.
    """
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"the study is no TOML: {error}") from error
    allowed = (
        "name",
        "question",
        "base",
        "axes",
        "measures",
        "seeds",
        "budget",
        "against",
        "picture",
    )
    unknown = sorted(set(data) - set(allowed))
    require(not unknown, "study", unknown, f"out of {list(allowed)}")
    missing = [name for name in ("question", "base", "measures") if name not in data]
    require(not missing, "study", sorted(data), f"with {missing} as well")
    kind = kind_named(data["base"].get("type", "RunConfig"))
    for stage in data["measures"]:
        require(stage in kind.SETTINGS, "measures", stage, f"out of {list(kind.SETTINGS)}")
    more = {name: data[name] for name in ("picture",) if name in data}
    return Study(
        name=data.get("name", default_name),
        question=data["question"],
        base=build(kind.CONFIG, data["base"], "base"),
        axes=tuple(_axis(axis, index) for index, axis in enumerate(data.get("axes", []))),
        measures={
            stage: build(kind.SETTINGS[stage], settings, f"measures.{stage}")
            for stage, settings in data["measures"].items()
        },
        seeds=tuple(data.get("seeds", (1,))),
        budget=build(Budget, data.get("budget", {}), "budget"),
        against=tuple(data.get("against", ())),
        **more,
    )


def _axis(data: Mapping[str, Any], index: int) -> Axis:
    name = data.get("kind", "grid")
    require(name in AXES, f"axes[{index}].kind", name, f"one of {list(AXES)}")
    settings = {key: value for key, value in data.items() if key != "kind"}
    if name == "random" and "ranges" in settings:
        ranges = settings["ranges"].items()
        settings["ranges"] = {path: build(Range, its, f"ranges.{path}") for path, its in ranges}
        return build(Random, settings, f"axes[{index}]")
    return build(AXES[name], settings, f"axes[{index}]")
