"""The stages there are: every file of this folder that has ``STAGES`` adds its own.

A new measure is a new file here, and nothing else: what it is called, what its settings are, what
it reads and how it is made stand in its ``Stage``.
"""

import dataclasses
import functools
import itertools
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from experiments.configs import Protocol, RunConfig
from experiments.folders import defined_in
from experiments.runs.training import folder_of, open_run
from experiments.stages.pipeline import Context, Plan
from experiments.worlds.registry import world_of
from experiments.worlds.world import World
from hiermodel.checks import require


@dataclasses.dataclass(frozen=True)
class Stage:
    """One measure of a trained run.

    Attributes:
        name: in file names, figures and settings.
        settings: the dataclass of its settings; all of them have standard values.
        plan: how it is made, piece by piece, in a context.
        reads: names of the stages whose files it reads.
        measures: which worlds' runs it can measure; those of grammars, if left out.
        passes: what it costs: forward passes of the networks, counted per example, from the run
            and the settings of all stages.
    """

    name: str
    settings: type
    plan: Callable[[Context], Plan]
    reads: tuple[str, ...] = ()
    measures: Callable[[World], bool] = lambda world: world.grammar is not None
    passes: Callable[[Any, Mapping[str, Any]], float] = lambda run, settings: 0.0


def any_world(world: World) -> bool:
    """For ``Stage.measures``: the stage measures runs of every world."""
    return True


def stages_of(run: RunConfig) -> Mapping[str, Stage]:
    """All stages that can measure a run by name, each after those that it reads."""
    return _stages_of(world_of(run))


@functools.cache
def _stages_of(world: World) -> Mapping[str, Stage]:
    stages = itertools.chain(*defined_in("experiments.stages", "STAGES").values())
    own = {stage.name: stage for stage in stages if stage.measures(world)}

    def depth(name: str) -> int:
        return 1 + max(map(depth, own[name].reads), default=0)

    return {name: own[name] for name in sorted(own, key=lambda name: (depth(name), name))}


def context_of(own: Protocol, root: Path | str, *, make: bool = False) -> Context:
    """Paths and settings of a run that is measured; its folder is made only if asked for."""
    known = stages_of(own.run)
    folder = open_run(own.run, root) if make else folder_of(own.run, root)
    settings = complete_settings(own.run, own.stages)
    reads = {name: stage.reads for name, stage in known.items()}
    return Context(own.run, settings, reads, folder)


def with_needs(run: RunConfig, names: Iterable[str]) -> list[str]:
    """Stages and all that they read, directly or not, in the order in which they are made.

    Raises:
        ValueError: for a stage that cannot measure the run.
    """
    known = stages_of(run)
    needed: set[str] = set()
    unseen = set(names)
    for name in unseen:
        require(name in known, "stage", name, f"one of {list(known)}")
    while unseen:
        needed |= unseen
        unseen = {other for name in unseen for other in known[name].reads} - needed
    return [name for name in known if name in needed]


def needed(own: Protocol, stages: Iterable[str] | None = None) -> list[str]:
    """All that must be made for some stages, or for all with settings of their own: "train" first.

    Raises:
        ValueError: for a stage that cannot measure the run.
    """
    return ["train", *with_needs(own.run, own.stages if stages is None else stages)]


def complete_settings(run: RunConfig, given: Mapping[str, Any]) -> dict[str, Any]:
    """Settings of every stage of a run: those given, and standard ones for the others.

    Raises:
        ValueError: for a stage that does not exist, or settings of another type.
    """
    known = stages_of(run)
    for name, settings in given.items():
        require(name in known, "stage", name, f"one of {list(known)}")
        own = known[name].settings
        require(type(settings) is own, f"stages[{name!r}]", settings, f"a {own.__name__}")
    return {name: given.get(name, stage.settings()) for name, stage in known.items()}
