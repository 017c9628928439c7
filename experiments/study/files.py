"""Studies as files: a Python module that defines ``STUDY``."""

import importlib
import importlib.util
from pathlib import Path

from experiments.study.design import Study
from hiermodel.checks import InputError, require

SHIPPED = "experiments.studies"
"""Where studies that are known by their name alone are."""


def load_study(source: str | Path) -> Study:
    """The study of a file, or one that is shipped.

    Args:
        source: path of a ``.py`` file, or the name of a shipped study.

    Raises:
        ValueError: for a file that is not there, or is no study; the message says what is wrong.
    """
    path = Path(source)
    if path.suffix == ".py":
        require(path.exists(), "study", str(source), "a file that exists")
        spec = importlib.util.spec_from_file_location(path.stem, path)
        assert spec is not None  # for .py there is a loader
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    else:
        known = shipped()
        require(str(source) in known, "study", str(source), f"a .py file, or of {known}")
        module = importlib.import_module(f"{SHIPPED}.{source}")
    study = getattr(module, "STUDY", None)
    if not isinstance(study, Study):
        raise InputError(f"STUDY={study!r} is not allowed: {source} must define a Study")
    return study


def shipped() -> list[str]:
    """Names of the studies that come with the project."""
    folder = Path(__file__).parents[1] / "studies"
    return sorted(path.stem for path in folder.glob("*.py") if path.stem != "__init__")
