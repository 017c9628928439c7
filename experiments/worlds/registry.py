"""The data worlds there are: every file of this folder that has a ``WORLD`` adds its own."""

import dataclasses
import functools
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from experiments.configs import RunConfig
from experiments.folders import defined_in
from experiments.store import read_json
from experiments.worlds.world import World
from hiermodel import networks
from hiermodel.checks import require

NETWORKS = [getattr(networks, name) for name in networks.__all__ if name.endswith("Config")]
"""The library's networks, which are known by their names when a run is read."""


@functools.cache
def all_worlds() -> Mapping[type, World]:
    """Every world by the type of its data's configuration."""
    worlds = defined_in("experiments.worlds", "WORLD").values()
    return {world.config: world for world in worlds}


def world_of(run: RunConfig) -> World:
    """The world that a run's data are of.

    Raises:
        ValueError: for data of no world.
    """
    known = [config.__name__ for config in all_worlds()]
    require(type(run.data) in all_worlds(), "data", run.data, f"one of {known}")
    return all_worlds()[type(run.data)]


def complete(run: RunConfig) -> RunConfig:
    """The run with a network that fits its data, as far as the network has settings for that."""
    known = {field.name for field in dataclasses.fields(run.network)}
    shape = {name: size for name, size in world_of(run).shape(run.data).items() if name in known}
    return dataclasses.replace(run, network=dataclasses.replace(run.network, **shape))


def from_json(value: Any) -> Any:
    """What ``configs.to_json`` gave, as the configuration again.

    Raises:
        ValueError: for a type that no configuration has, or settings that it refuses.
    """
    if isinstance(value, Mapping):
        known, name = _types(), value.get("type")
        allowed = f"of the types {sorted(known)}: no others come back from JSON"
        require(name in known, "config", f"one of type {name}", allowed)
        cls = known[value["type"]]
        names = [field.name for field in dataclasses.fields(cls)]
        fields = {name: from_json(each) for name, each in value.items() if name != "type"}
        unknown = sorted(set(fields) - set(names))
        require(not unknown, cls.__name__, unknown, f"out of {names}")
        return cls(**fields)
    return tuple(map(from_json, value)) if isinstance(value, list) else value


def read_run(file: Path) -> RunConfig:
    """The configuration in a run's ``config.json``.

    Raises:
        ValueError: if the file is not that of a run.
    """
    stored = read_json(file).get("config") or {}
    config, name = from_json(stored), stored.get("type")
    require(name == RunConfig.__name__, "config", name, f"that of a run, in {file}")
    return config


@functools.cache
def _types() -> Mapping[str, type]:
    """Every dataclass that a run can hold, to any depth, by name."""
    found: dict[str, type] = {}

    def add(cls: type) -> None:
        if cls.__name__ not in found:
            found[cls.__name__] = cls
            for hint in typing.get_type_hints(cls).values():
                for part in typing.get_args(hint) or (hint,):
                    if isinstance(part, type) and dataclasses.is_dataclass(part):
                        add(part)

    for cls in (RunConfig, *all_worlds(), *NETWORKS):
        add(cls)
    return found
