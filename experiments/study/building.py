"""Configurations from JSON and TOML values, the other way round from ``configs.to_json``."""

import dataclasses
import types
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hiermodel.checks import require


def build(cls: type, values: Mapping[str, Any], name: str = "") -> Any:
    """A dataclass from its fields by name; those that are missing keep their standard values.

    A field that may be of several types is given the one that ``type`` names. Lists become tuples,
    as frozen configurations have them; what is built is then checked by the dataclass itself.

    Args:
        cls: the dataclass.
        values: by field; may hold the class's name as ``type``.
        name: of what is built, for messages.

    Raises:
        ValueError: for a field that does not exist or is missing, or values that are refused.
    """
    name = name or cls.__name__
    require(isinstance(values, Mapping), name, values, f"a table with fields of {cls.__name__}")
    given = {field: value for field, value in values.items() if field != "type"}
    right = values.get("type", cls.__name__) == cls.__name__
    require(right, f"{name}.type", values.get("type"), f"{cls.__name__!r}")
    fields = {field.name: field for field in dataclasses.fields(cls)}
    unknown = sorted(set(given) - set(fields))
    require(not unknown, name, unknown, f"out of {list(fields)}")
    missing = [
        field.name
        for field in fields.values()
        if field.name not in given
        and field.default is dataclasses.MISSING
        and field.default_factory is dataclasses.MISSING
    ]
    require(not missing, name, sorted(given), f"with {missing} as well")
    hints = typing.get_type_hints(cls)
    made = {field: _convert(hints[field], given[field], f"{name}.{field}") for field in given}
    try:
        return cls(**made)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from error


def _convert(hint: Any, value: Any, name: str) -> Any:
    """A field's value: a configuration where the field holds one, otherwise as it is."""
    alternatives = [cls for cls in _alternatives(hint) if isinstance(cls, type)]
    names = {cls.__name__: cls for cls in alternatives if dataclasses.is_dataclass(cls)}
    if isinstance(value, Mapping) and names:
        wanted = value.get("type", next(iter(names)) if len(names) == 1 else None)
        require(wanted in names, f"{name}.type", wanted, f"one of {sorted(names)}")
        return build(names[wanted], value, name)
    return Path(value) if Path in alternatives and isinstance(value, str) else _frozen(value)


def _alternatives(hint: Any) -> tuple[Any, ...]:
    is_union = typing.get_origin(hint) in (typing.Union, types.UnionType)
    return typing.get_args(hint) if is_union else (hint,)


def _frozen(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _frozen(item) for name, item in value.items()}
    return tuple(_frozen(item) for item in value) if isinstance(value, list) else value
