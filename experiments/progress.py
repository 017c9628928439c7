"""How far runs are: what is finished of a training and of its measuring stages."""

import dataclasses
from pathlib import Path

from experiments.configs import Protocol
from experiments.runs.data import epochs_of
from experiments.runs.members import members
from experiments.stages.registry import context_of, needed


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
        return _training_progress(own, root)
    return Progress(int(context.file(stage).exists()), 1)


def progress_of_run(own: Protocol, root: Path) -> dict[str, Progress]:
    """How far the training and all stages are that have settings of their own, "train" first."""
    return {stage: progress_of(own, stage, root) for stage in needed(own)}


def _training_progress(own: Protocol, root: Path) -> Progress:
    """Checkpoints of all networks."""
    epochs = set(epochs_of(own.run))
    saved = [epochs.intersection(one.checkpoints(root).saved_epochs()) for one in members(own.run)]
    return Progress(sum(map(len, saved)), len(epochs) * len(saved))
