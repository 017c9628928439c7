"""Folders as registries: what their modules define, whichever modules there are."""

import importlib
import pkgutil
from typing import Any


def defined_in(package: str, attribute: str, prefix: str = "") -> dict[str, Any]:
    """What modules of a package define under one name, by the rest of the modules' names.

    Args:
        package: its dotted name.
        attribute: modules without it are passed over.
        prefix: of the modules' names; no other module is imported.
    """
    path = importlib.import_module(package).__path__
    names = [each.name for each in pkgutil.iter_modules(path) if each.name.startswith(prefix)]
    modules = {name: importlib.import_module(f"{package}.{name}") for name in names}
    return {
        name.removeprefix(prefix): getattr(module, attribute)
        for name, module in modules.items()
        if hasattr(module, attribute)
    }
