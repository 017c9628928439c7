"""API pages: one per namespace, with its docstring and every public name."""

import importlib
import inspect
import re
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import hiermodel as hm

SHARED = ["What examples share:", "", ".. literalinclude:: ../examples.py", "   :lines: 3-", ""]
NAMESPACES = [name for name, source in hm.LAZY.items() if source is None]


def write(folder: Path) -> None:
    """Write a page per namespace, and one of the names that stand in ``hm`` itself."""
    folder.mkdir(exist_ok=True)
    homes: dict[int, str] = {}
    for name in NAMESPACES:
        module = importlib.import_module(f"hiermodel.{name}")
        names = getattr(module, "__all__", [])
        for one in names:
            homes.setdefault(id(getattr(module, one)), f"{name}.{one}")
        text = [*_title(f"hm.{name}"), inspect.getdoc(module) or "", ""]
        text += SHARED
        text += [line for one in names for line in _entry(module, one)]
        _write(folder / f"{name}.rst", text)
    lines = [*_title("hm"), "What one needs most, without the name of its namespace.", ""]
    for one in hm.__all__:
        if one.startswith("_") or one in NAMESPACES:
            continue
        thing = getattr(hm, one)
        home = homes.get(id(thing))
        summary = (inspect.getdoc(thing) or "").split("\n")[0]
        role = "class" if inspect.isclass(thing) else "func"
        if home:
            lines += [f":{role}:`hm.{one} <hiermodel.{home}>`", f"    {summary}", ""]
        else:
            lines += _entry(hm, one)
    _write(folder / "hm.rst", lines)


def _entry(module: ModuleType, name: str) -> list[str]:
    thing = getattr(module, name)
    path = f"{module.__name__}.{name}"
    if inspect.isclass(thing):
        members = [member for member, value in vars(thing).items() if _is_method(member, value)]
        options = [f"   :members: {', '.join(members)}"] if members else []
        return [f".. autoclass:: {path}", *options, ""]
    if callable(thing):
        return [f".. autofunction:: {path}", ""]
    # What a constant means stands below it, where it is assigned.
    home = next(
        other
        for other in list(sys.modules.values())
        if other.__name__.startswith(f"{module.__name__}.")
        and re.search(rf"^{name}\b.*=", inspect.getsource(other), re.MULTILINE)
    )
    return [f".. autodata:: {home.__name__}.{name}", "   :no-value:", ""]


def _is_method(name: str, value: Any) -> bool:
    """What its class defines and describes; not the fields of a tuple."""
    kinds = (staticmethod, classmethod, property)
    is_code = inspect.isfunction(value) or isinstance(value, kinds)
    return is_code and not name.startswith("_") and bool(inspect.getdoc(value))


def _title(title: str) -> list[str]:
    return [title, "=" * len(title), ""]


def _write(path: Path, lines: list[str]) -> None:
    """Leave a page alone that is right: so it need not be read again."""
    text = "\n".join(lines) + "\n"
    if not path.exists() or path.read_text() != text:
        path.write_text(text)
