"""A run folder from a stranger cannot execute code: nothing is unpickled or evaluated, anywhere."""

import ast
import json
import pickle
from pathlib import Path

import numpy as np
import pytest

from experiments.store import load_measurements
from hiermodel.training.checkpoints import Checkpoints

PROJECT = Path(__file__).parents[2]
SOURCES = [
    path
    for folder in ("hiermodel", "experiments", "figures", "paper_repro")
    for path in sorted((PROJECT / folder).rglob("*.py"))
]
FORBIDDEN_MODULES = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}
FORBIDDEN_CALLS = {"eval", "exec", "compile", "__import__"}
# What reads a pickle unless it is told not to, and how it is told.
REQUIRED_ARGUMENTS = {"np.load": ("allow_pickle", False), "torch.load": ("weights_only", True)}


class Explosive:
    """Unpickling it says so."""

    def __reduce__(self):
        return (pytest.fail, ("code from a file was executed",))


def offences(source: str) -> list[str]:
    """What in a source could execute code that a file brings."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found += [a.name for a in node.names if a.name.split(".")[0] in FORBIDDEN_MODULES]
        elif isinstance(node, ast.ImportFrom):
            found += [node.module] * ((node.module or "").split(".")[0] in FORBIDDEN_MODULES)
        elif isinstance(node, ast.Call):
            name = ast.unparse(node.func).replace("numpy.", "np.")
            arguments = {k.arg: k.value for k in node.keywords}
            if name in FORBIDDEN_CALLS or arguments.get("allow_pickle", False) is True:
                found.append(name)
            if name in REQUIRED_ARGUMENTS:
                argument, value = REQUIRED_ARGUMENTS[name]
                given = arguments.get(argument)
                if not (isinstance(given, ast.Constant) and given.value is value):
                    found.append(name)
    return found


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(PROJECT)))
def test_no_source_unpickles_or_evaluates(path):
    assert offences(path.read_text()) == []


@pytest.mark.parametrize(
    "source",
    [
        "import pickle",
        "from joblib import load",
        "np.load(path)",
        "numpy.load(path, allow_pickle=True)",
        "np.load(path, allow_pickle=flag)",
        "torch.load(path)",
        "eval(text)",
        "def f():\n    import dill.source",
    ],
)
def test_the_check_sees_what_it_should(source):
    assert offences(source)


def test_pickled_measurements_are_refused(tmp_path):
    path = tmp_path / "stage.npz"
    objects = np.array([Explosive()], object)
    header = np.array(json.dumps({"format": 1, "measurements": {}}))
    np.savez(path, __about__=header, value=objects, allow_pickle=True)
    with pytest.raises(ValueError, match=r"stage.npz is damaged.*Object arrays cannot be loaded"):
        load_measurements(path)
    path.write_bytes(pickle.dumps(Explosive()))
    with pytest.raises(ValueError, match=r"stage.npz is damaged"):
        load_measurements(path)


@pytest.mark.parametrize("cut", [0, 0.5, 0.9])
def test_truncated_measurements_are_named(tmp_path, cut):
    path = tmp_path / "stage.npz"
    np.savez(path, __about__=np.array(json.dumps({"format": 1, "measurements": {}})))
    path.write_bytes(path.read_bytes()[: int(cut * path.stat().st_size)])
    with pytest.raises(ValueError, match=r"stage.npz is damaged; remove it"):
        load_measurements(path)


def test_a_pickle_in_place_of_a_checkpoint_is_refused(tmp_path):
    checkpoints = Checkpoints(tmp_path, "a")
    with checkpoints.hold():
        checkpoints.save({"epoch": np.array(1), "params/weight": np.arange(6.0)})
    (file,) = tmp_path.glob("params-*.npz")
    file.write_bytes(pickle.dumps(Explosive()))
    with pytest.raises(ValueError, match=r"params-000000001.npz is damaged"):
        checkpoints.load_params(1)
    objects = np.empty(1, object)
    objects[0] = Explosive()
    np.savez(file, about=np.array("{}"), **{"params/weight": objects}, allow_pickle=True)
    with pytest.raises(ValueError, match="Object arrays cannot be loaded"):
        checkpoints.load_params(1)
