"""The networks of runs, each by itself: what it depends on, where it is kept, how far it is.

    ROOT/members/<identity>/
        identity.json         what the network depends on
        params-<epoch>.npz    its parameters along training
        resume-<epoch>.npz    the newest two states to go on from
        holder.json           the process that trains it, if one does
        error.json            why it was given up, if it was
        timings.json          seconds that it has taken

A network depends on the law of its data, the size of a split, architecture, training, noise, seed,
its split and its place among the seeds; not on how many seeds a run has, nor on how it is measured,
and on the number of splits only as far as ``splits.make_splits`` does. Runs that agree in these
share their networks.
"""

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from pathlib import Path

from experiments import configs
from experiments.configs import RunConfig
from experiments.runs.data import epochs_of
from experiments.store import RunFolder, read_json
from experiments.worlds.registry import world_of
from hiermodel.checks import require
from hiermodel.training.checkpoints import Checkpoints, StackedCheckpoints
from hiermodel.training.epochs import agree_all

FOLDER = "members"
"""Where networks are, under the root."""


@dataclasses.dataclass(frozen=True)
class Member:
    """One network of a run.

    Attributes:
        config: what it shares with the others of its run; see ``member``.
        split: which training set it sees.
        seed: which of the networks on it.
    """

    config: RunConfig
    split: int
    seed: int

    @functools.cached_property
    def name(self) -> str:
        """Of its folder."""
        return configs.identity(self.config, self.split, self.seed)[:16]

    def folder(self, root: Path | str) -> RunFolder:
        """Where it is, or will be; creates nothing."""
        return RunFolder(Path(root) / FOLDER / self.name)

    def checkpoints(self, root: Path | str) -> Checkpoints:
        """Its parameters and states."""
        about = {"run": configs.to_json(self.config), "split": self.split, "seed": self.seed}
        return Checkpoints(self.folder(root).path, about)

    def finished(self, root: Path | str) -> bool:
        """Whether its training has come to its last checkpoint."""
        return self.checkpoints(root).complete(epochs_of(self.config))

    def error(self, root: Path | str) -> str | None:
        """Why it was given up; None if it was not."""
        file = self.folder(root).error_file
        return read_json(file)["message"] if file.exists() else None

    def __str__(self) -> str:
        return f"network {self.name} (split {self.split}, seed {self.seed})"


def member(config: RunConfig, split: int, seed: int) -> Member:
    """A network of a run, equal to that of any other run which has the same.

    Raises:
        ValueError: if the run has no such split or seed.
    """
    require(0 <= split < config.num_splits, "split", split, f"within 0…{config.num_splits - 1}")
    require(0 <= seed < config.num_seeds, "seed", seed, f"within 0…{config.num_seeds - 1}")
    shared = world_of(config).shared(config)
    return Member(dataclasses.replace(config, **shared), split, seed)


def members(
    config: RunConfig, splits: range | None = None, seeds: range | None = None
) -> list[Member]:
    """The networks of a run, in the order of its axis of members; or of some splits and seeds.

    Raises:
        ValueError: if the run has fewer.
    """
    return [
        member(config, split, seed)
        for split in (range(config.num_splits) if splits is None else splits)
        for seed in (range(config.num_seeds) if seeds is None else seeds)
    ]


def checkpoints_of(config: RunConfig, run: RunFolder) -> StackedCheckpoints:
    """The networks that a run has kept, on a leading axis of members."""
    return StackedCheckpoints([own.checkpoints(run.path.parent) for own in members(config)])


def available_splits(config: RunConfig, root: Path | str) -> int:
    """How many splits, counted from the first, have all their networks finished.

    The first splits are an ensemble of their own, if it has the same training sets.
    """
    for count in range(config.num_splits, 0, -1):
        fewer = dataclasses.replace(config, num_splits=count)
        if all(own.finished(root) for own in members(fewer)):
            return count
    return 0


def errors_of(wanted: Sequence[Member], root: Path | str) -> Mapping[Member, str]:
    """Why networks were given up, for those that were (as the first of several processes says)."""
    found = {own: own.error(root) for own in dict.fromkeys(wanted)}
    failed = agree_all([error is not None for error in found.values()])
    pairs = zip(found.items(), failed, strict=True)
    return {own: error or "see its error.json" for (own, error), is_failed in pairs if is_failed}
