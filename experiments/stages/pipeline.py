"""Stages as functions from files to one file: what each reads, and how it is made piece by piece.

A stage's file is named by a hash of all it depends on. A finished one is not made again; one that
was interrupted goes on after its last piece.
"""

import dataclasses
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from experiments import configs, runtime, signals, store
from experiments.onsets import find_onsets
from experiments.store import Measurement, Measurements


@dataclasses.dataclass(frozen=True)
class Context:
    """The run that is measured, and how.

    Attributes:
        config: the run.
        own: settings of each stage, by its name.
        reads: the stages that each stage reads.
        run: the run's folder.
    """

    config: Any
    own: Mapping[str, Any]
    reads: Mapping[str, tuple[str, ...]]
    run: store.RunFolder

    def settings(self, name: str) -> list[Any]:
        """All settings that a stage's result depends on: its own, then those of what it reads."""
        found = [self.own[name]]
        for other in self.reads[name]:
            found += [each for each in self.settings(other) if each not in found]
        return found

    def file(self, name: str) -> Path:
        """Where the stage's result is."""
        identity = configs.identity(self.config, *self.settings(name))
        return self.run.measurement_file(name, identity)

    def load(self, name: str) -> dict[str, Measurement]:
        """Result of a finished stage."""
        return store.load_measurements(self.file(name))

    def onsets(self) -> dict[str, Measurement]:
        """When things happen, from what is finished of evaluation and comparison."""
        compared = self.load("comparison") if self.file("comparison").exists() else {}
        return find_onsets(self.load("evaluation"), compared)


@dataclasses.dataclass(frozen=True)
class Recipe:
    """How to make a stage once its inputs are prepared.

    Attributes:
        piece: what measures one piece, given its number.
        constant: measurements that are the same for all pieces.
        finish: from the joined pieces to what is kept.
    """

    piece: Callable[[int], Measurements]
    constant: Measurements = dataclasses.field(default_factory=dict)
    finish: Callable[[Measurements], Measurements] = lambda joined: joined


@dataclasses.dataclass(frozen=True)
class Plan:
    """How a stage is divided into pieces.

    Attributes:
        numbers: of the pieces; epochs, where pieces are checkpoints.
        along: the measurement that says where each piece lies, by its name; its one dimension is
            the one along which pieces are joined.
        prepare: makes the inputs; not called when the stage is finished.
        axis: where the joined dimension goes, 0 or −1.
    """

    numbers: Sequence[int]
    along: Mapping[str, Measurement]
    prepare: Callable[[], Recipe]
    axis: int = 0


def along_checkpoints(epochs: Sequence[int], prepare: Callable[[], Recipe]) -> Plan:
    """A piece for each checkpoint."""
    epoch = Measurement(np.array(epochs), ("checkpoint",), "epochs", "epoch")
    return Plan(epochs, {"epoch": epoch}, prepare)


def along_noise(steps: Sequence[int], num_steps: int, prepare: Callable[[], Recipe]) -> Plan:
    """A piece, numbered from 0, for each step t of the noise."""
    time = np.array(steps) / num_steps
    along = {"relative_time": Measurement(time, ("time",), "t/T", "step of the noise over T")}
    return Plan(range(len(steps)), along, prepare, axis=-1)


def make(context: Context, name: str, plan: Plan, progress: bool) -> None:
    """Make a stage unless its file is there; until it is finished, each piece has a file."""
    file = context.file(name)
    folder = file.with_suffix("")
    if file.exists():
        shutil.rmtree(folder, ignore_errors=True)  # left if the process ended just before removing
        return
    parts = [folder / f"piece_{number:09d}.npz" for number in plan.numbers]
    with runtime.stage(context.run, name):
        recipe = plan.prepare()
        bar = tqdm(plan.numbers, desc=f"{name:>14}", disable=None if progress else True)
        for number, part in zip(bar, parts, strict=True):
            signals.leave_if_asked()
            if not part.exists():
                store.save_measurements(part, recipe.piece(number))
        ((dim,),) = (along.dims for along in plan.along.values())
        joined = store.stack([store.load_measurements(part) for part in parts], dim, plan.axis)
        finished = recipe.finish({**plan.along, **recipe.constant, **joined})
        store.save_measurements(file, finished)
        shutil.rmtree(folder)
