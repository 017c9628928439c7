"""How far runs are: what is finished of a training and of its measuring stages."""

import dataclasses
from pathlib import Path

from experiments.blocks import Block
from experiments.configs import Protocol
from experiments.stages.registry import context_of
from experiments.store import RunFolder
from experiments.train import blocks_folder, epochs_of


@dataclasses.dataclass(frozen=True)
class Progress:
    """How far something is.

    Attributes:
        done: pieces that are there.
        total: pieces in all.
    """

    done: int
    total: int

    def __add__(self, other: "Progress") -> "Progress":
        return Progress(self.done + other.done, self.total + other.total)

    @property
    def finished(self) -> bool:
        """Whether all is there."""
        return self.done == self.total

    def __str__(self) -> str:
        if self.finished:
            return "finished"
        return f"partial, {self.done} of {self.total}" if self.done else "not started"


def progress_of(own: Protocol, stage: str, root: Path) -> Progress:
    """Checkpoints of a training that are there; or 1 of 1 for a stage that is finished."""
    context = context_of(own, root)
    if stage == "train":
        return _training_progress(own, context.run)
    return Progress(int(context.file(stage).exists()), 1)


def _training_progress(own: Protocol, run: RunFolder) -> Progress:
    """Checkpoints of the ensemble, or of its members if they are trained in blocks."""
    epochs = set(epochs_of(own.run))
    blocks = blocks_folder(own.run, run)
    if run.checkpoints.exists() or not blocks.exists():
        return Progress(len(epochs & _saved(run.checkpoints)), len(epochs))
    there: dict[tuple[int, int], set[int]] = {}
    for folder in blocks.iterdir():
        for split, seed in Block.from_name(folder.name).members():
            if split < own.run.num_splits and seed < own.run.num_seeds:
                known = there.setdefault((split, seed), set())
                known |= epochs & _saved(folder)
    total = own.run.num_splits * own.run.num_seeds * len(epochs)
    return Progress(sum(map(len, there.values())), total)


def _saved(checkpoints: Path) -> set[int]:
    folder = checkpoints / "params"
    names = (path.name for path in folder.iterdir()) if folder.exists() else ()
    return {int(name) for name in names if name.isdigit()}
