"""Imports point only downwards, as the layout says."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LAYERS = {
    "_version": 0,
    "checks": 0,
    "log_space": 0,
    "random_bits": 0,
    "randomness": 1,
    "grammar": 2,
    "inference": 3,
    "theory": 4,
    "datasets": 4,
    "diffusion": 4,
    "networks": 5,
    "training": 6,
    "measures": 6,
}
OUTER = ("experiments", "figures", "paper_repro", "tests")


def sources(folder):
    return sorted((ROOT / folder).rglob("*.py"))


def imported_modules(path):
    """Dotted names that a file imports, relative ones resolved; wherever in the file it does."""
    package = path.relative_to(ROOT).with_suffix("").parts[:-1]
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else ()
            module = ".".join([*base, *([node.module] if node.module else [])])
            # "from hiermodel import measures" imports hiermodel.measures
            yield from (f"{module}.{alias.name}" for alias in node.names)


def library_parts(path):
    """First name below hiermodel of each library module imported."""
    names = (module.split(".") for module in imported_modules(path))
    return {name[1] for name in names if name[0] == "hiermodel" and len(name) > 1}


LIBRARY = [path for path in sources("hiermodel") if path != ROOT / "hiermodel/__init__.py"]


@pytest.mark.parametrize("path", LIBRARY, ids=lambda path: str(path.relative_to(ROOT)))
def test_the_library_imports_only_from_layers_below_or_its_own(path):
    own = path.relative_to(ROOT / "hiermodel").with_suffix("").parts[0]
    for other in library_parts(path):
        assert other in LAYERS, f"{path}: imports hiermodel.{other}, which has no layer"
        below = LAYERS[other] < LAYERS[own]
        assert below or other == own, f"{path}: {own} must not import {other}"


@pytest.mark.parametrize("path", sources("hiermodel"), ids=lambda path: str(path.relative_to(ROOT)))
def test_the_library_imports_nothing_built_on_it(path):
    assert not {module.split(".")[0] for module in imported_modules(path)} & set(OUTER)


def test_figures_read_results_and_never_train():
    for path in sources("figures"):
        assert not library_parts(path) & {"training", "networks"}, path
        assert not any(module == "experiments.runs.training" for module in imported_modules(path))


def test_no_module_of_a_user_is_named_in_a_string_but_by_the_commands():
    """Lazy imports by name are arrows too; ``experiments/__main__.py`` lists what can be typed."""
    for path in sources("experiments"):
        if path != ROOT / "experiments/__main__.py":
            assert not re.search(r"""["'](figures|paper_repro)\.""", path.read_text()), path


def test_experiments_and_figures_do_not_import_what_uses_them():
    for folder, users in {
        "experiments": {"figures", "paper_repro"},
        "figures": {"paper_repro"},
    }.items():
        for path in sources(folder):
            assert not {module.split(".")[0] for module in imported_modules(path)} & users, path


def test_the_check_sees_what_it_should(tmp_path, monkeypatch):
    """Imports of every form are found, even inside a function."""
    monkeypatch.setattr(f"{__name__}.ROOT", tmp_path)
    path = tmp_path / "hiermodel/grammar/rules.py"
    path.parent.mkdir(parents=True)
    path.write_text(
        "import hiermodel.training.loop\n"
        "from hiermodel import measures\n"
        "def f():\n    from ..networks import mlp\n"
    )
    assert library_parts(path) == {"training", "measures", "networks"}
