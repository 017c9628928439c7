"""What a run is: frozen dataclasses whose hash is the run's identity.

Nothing here depends on where or when a run happens, so equal settings share one run folder. The
data are described by a dataclass of their world (``experiments.worlds``).
"""

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from typing import Any

from hiermodel.checks import check_integer, require
from hiermodel.diffusion.schedule import Schedule
from hiermodel.training.state import OMIT_DEFAULT, TrainingConfig


@dataclasses.dataclass(frozen=True)
class RunConfig:
    """One ensemble of networks: splits × seeds, trained alike (science.md#training).

    Attributes:
        data: the law of the data, or where they come from; its type says which world it is of.
        network: architecture of every member.
        training: optimiser, rate, batch and number of epochs.
        num_splits: disjoint training sets.
        num_seeds: networks per training set.
        split_size: n, examples per training set.
        test_size: examples in the test set.
        num_steps: T, diffusion steps.
        first_checkpoint: epoch of the first checkpoint after the initial one.
        num_checkpoints: log-spaced checkpoints, both ends included.
        seed: of data, initialisation and noise.
        num_duplicated: how many examples of each training set, its first, are repeated while
            training.
        num_copies: how many times each of these is seen in an epoch.
        augmentation: variants of each example to train on, the first being itself; the others are
            changed so that the law of the data is kept (``World.vary``). An epoch is a pass over
            all copies and variants.
        fresh: whether every step draws new examples from the law (n = ∞), ``split_size`` of them
            in an epoch. Samples are still compared with the training sets, which no network has
            then seen.
    """

    data: Any
    network: Any
    training: TrainingConfig
    num_splits: int = 2
    num_seeds: int = 2
    split_size: int = 12_000
    test_size: int = 3000
    num_steps: int = 500
    first_checkpoint: int = 100
    num_checkpoints: int = 25
    seed: int = 0
    num_duplicated: int = dataclasses.field(default=0, metadata=OMIT_DEFAULT)
    num_copies: int = dataclasses.field(default=1, metadata=OMIT_DEFAULT)
    augmentation: int = dataclasses.field(default=1, metadata=OMIT_DEFAULT)
    fresh: bool = dataclasses.field(default=False, metadata=OMIT_DEFAULT)

    def __post_init__(self):
        for name in ("num_splits", "num_seeds", "split_size", "test_size", "first_checkpoint"):
            check_integer(name, getattr(self, name), 1)
        check_integer("num_checkpoints", self.num_checkpoints, 2)
        check_integer("num_duplicated", self.num_duplicated, 0, self.split_size)
        for name in ("num_copies", "augmentation"):
            check_integer(name, getattr(self, name), 1)
            single = getattr(self, name) == 1 or self.training.privacy is None
            require(single, name, getattr(self, name), "1 with privacy, which counts single rows")
        as_they_are = self.num_duplicated == 0 and self.num_copies == self.augmentation == 1
        fits = not self.fresh or (as_they_are and self.training.privacy is None)
        require(fits, "fresh", self.fresh, "False with copies, variants or privacy")

    @property
    def schedule(self) -> Schedule:
        """The noise schedule."""
        return Schedule.linear(self.num_steps)


@dataclasses.dataclass(frozen=True)
class Protocol:
    """A run and how it is measured: all that its measurements depend on.

    Attributes:
        run: data, networks and training.
        stages: settings of measuring stages by name; standard ones for all others.
        label: what tells it from others in figures; None for the words of its world.
    """

    run: RunConfig
    stages: Mapping[str, Any]
    label: str | None = None


def to_json(config: Any) -> Any:
    """A dataclass as JSON values, each with the name of its type.

    Settings that came later are left out at their default, so that older runs stay what they were;
    fields that say where something lies are no part of what a run is.
    """
    if dataclasses.is_dataclass(config) and not isinstance(config, type):
        fields = {f.name: getattr(config, f.name) for f in dataclasses.fields(config)}
        for field in dataclasses.fields(config):
            is_default = "omit_default" in field.metadata and fields[field.name] == field.default
            if is_default or "place" in field.metadata:
                del fields[field.name]
        return {"type": type(config).__name__, **{n: to_json(v) for n, v in fields.items()}}
    if isinstance(config, list | tuple):
        return [to_json(item) for item in config]
    return config


def identity(*configs: Any) -> str:
    """SHA-256 of the configurations, in hexadecimal."""
    text = json.dumps(to_json(configs), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()
