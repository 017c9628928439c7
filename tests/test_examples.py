"""Every public name and constructor has an example in its docstring, and every one is right."""

import doctest
import inspect
from pathlib import Path

import pytest
from test_public_api import CONTRACT, find

import hiermodel as hm

SHARED = Path(__file__).parents[1] / "docs/examples.py"
NAMESPACES = (
    *("grammar", "inference", "diffusion", "networks", "training"),
    *("measures", "theory", "datasets"),
)
FINDER = doctest.DocTestFinder(recurse=True)


def public_things():
    """Dotted name and thing, each thing once, of what has a docstring."""
    seen = {}
    for name in (*NAMESPACES, ""):
        module = getattr(hm, name) if name else hm
        for one in getattr(module, "__all__", []):
            thing = getattr(module, one)
            if inspect.isclass(thing) or inspect.isfunction(thing):
                seen.setdefault(id(thing), (f"{name}.{one}".lstrip("."), thing))
    return dict(seen.values())


THINGS = public_things()


@pytest.fixture(scope="module")
def shared():
    values = {}
    exec(SHARED.read_text(), values)
    return values


def has_example(thing):
    return ">>>" in (inspect.getdoc(thing) or "")


def test_every_public_name_has_an_example():
    """Records need none of their own where a function with one returns them."""
    returned = " ".join(
        str(inspect.signature(thing).return_annotation)
        for thing in THINGS.values()
        if inspect.isfunction(thing) and has_example(thing)
    )
    without = [
        name
        for name, thing in THINGS.items()
        if not has_example(thing)
        and not (inspect.isclass(thing) and f"{thing.__module__}.{thing.__name__}" in returned)
    ]
    assert not without


def constructors():
    """Dotted name of every public class method: ways to make what is exported."""
    return [
        f"{name}.{method}"
        for name, thing in THINGS.items()
        if inspect.isclass(thing)
        for method, value in vars(thing).items()
        if isinstance(value, classmethod) and not method.startswith(("_", "tree_"))
    ]


@pytest.mark.parametrize("name", sorted({*CONTRACT, *constructors()}))
def test_everything_of_the_contract_has_an_example_and_so_has_every_constructor(name):
    assert has_example(find(name))


@pytest.mark.parametrize("name", [name for name, thing in THINGS.items() if has_example(thing)])
def test_the_example_is_right(name, shared):
    failures = []
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS)
    for case in FINDER.find(THINGS[name], name, globs=dict(shared)):
        case.globs = dict(shared)
        runner.run(case, out=failures.append)
    assert not failures, "".join(failures)
