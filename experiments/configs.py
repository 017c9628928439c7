"""What a run is: frozen dataclasses whose hash is the run's identity.

Nothing here depends on where or when a run happens, so equal settings share one run folder.
"""

import dataclasses
import hashlib
import json
import typing
from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import jax

from experiments.images.configs import OF_RUN, ImageRunConfig
from hiermodel.checks import check_integer, require
from hiermodel.diffusion.schedule import Schedule
from hiermodel.grammar.rules import Grammar, legacy_tensor
from hiermodel.networks.mlp import MLPConfig
from hiermodel.networks.transformer import TransformerConfig
from hiermodel.random_bits import THREEFRY
from hiermodel.training.state import OMIT_DEFAULT, TrainingConfig


@dataclasses.dataclass(frozen=True)
class GrammarConfig:
    """Which grammar makes the data (science.md#data).

    Attributes:
        kind: "paper" draws with NumPy's legacy generator in the authors' order, "random" is the
            same ensemble from a JAX key, "hierarchy" the random hierarchy model.
        seed: seed of the grammar itself.
        shared: whether all levels share their rules ("random" only).
    """

    kind: Literal["paper", "random", "hierarchy"] = "paper"
    vocab_size: int = 6
    depth: int = 4
    branching: int = 2
    rules_per_symbol: int = 4
    sigma: float = 1.0
    shared: bool = True
    seed: int = 0

    def build(self) -> Grammar:
        """The grammar itself.

        Raises:
            ValueError: for an unknown kind or settings that the kind does not have.
        """
        sizes = {
            "vocab_size": self.vocab_size,
            "depth": self.depth,
            "branching": self.branching,
            "rules_per_symbol": self.rules_per_symbol,
        }
        if self.kind == "random":
            key = jax.random.key(self.seed, impl=THREEFRY)
            return Grammar.random(key, **sizes, sigma=self.sigma, shared=self.shared)
        if self.kind == "hierarchy":
            return Grammar.random_hierarchy(jax.random.key(self.seed, impl=THREEFRY), **sizes)
        require(self.kind == "paper", "kind", self.kind, "'paper', 'random' or 'hierarchy'")
        require(self.branching == 2, "branching", self.branching, "2 for the paper's grammar")
        rho = legacy_tensor(self.seed, self.vocab_size, self.rules_per_symbol, self.sigma)
        return Grammar.from_tensor(rho, depth=self.depth)


def num_cells(num_splits: int) -> int:
    """The next power of two, all that a training set depends on (``splits.make_splits``)."""
    return 1 << (num_splits - 1).bit_length()


@dataclasses.dataclass(frozen=True)
class RunConfig:
    """One ensemble of networks: splits × seeds, trained alike (science.md#training).

    Attributes:
        grammar: the law of the data.
        filter_level: filter level of the data; 0 is the full model.
        num_splits: disjoint training sets.
        num_seeds: networks per training set.
        split_size: n, sequences per training set.
        test_size: sequences in the test set, draws from the law.
        num_steps: T, diffusion steps.
        network: architecture of every member.
        training: optimiser, rate, batch and number of epochs.
        first_checkpoint: epoch of the first checkpoint after the initial one.
        num_checkpoints: log-spaced checkpoints, both ends included.
        seed: of data, initialisation and noise.
        num_duplicated: so many sequences of each training set, the first, stand in it several times
            while training.
        num_copies: how many times.
        augmentation: variants of each sequence to train on, the first being itself; the others
            have their lowest families drawn again (``redraw_leaves``), which keeps the data's law.
            An epoch is a pass over all copies and variants.
    """

    grammar: GrammarConfig
    network: TransformerConfig | MLPConfig
    training: TrainingConfig
    filter_level: int = 0
    num_splits: int = dataclasses.field(default=2, metadata={"of_run": num_cells})
    num_seeds: int = dataclasses.field(default=2, metadata=OF_RUN)
    split_size: int = 12_000
    test_size: int = dataclasses.field(default=3000, metadata=OF_RUN)
    num_steps: int = 500
    first_checkpoint: int = 100
    num_checkpoints: int = 25
    seed: int = 0
    world: ClassVar[str] = "grammar"
    num_duplicated: int = dataclasses.field(default=0, metadata=OMIT_DEFAULT)
    num_copies: int = dataclasses.field(default=1, metadata=OMIT_DEFAULT)
    augmentation: int = dataclasses.field(default=1, metadata=OMIT_DEFAULT)

    def __post_init__(self):
        for name in ("num_splits", "num_seeds", "split_size", "test_size", "first_checkpoint"):
            check_integer(name, getattr(self, name), 1)
        check_integer("num_checkpoints", self.num_checkpoints, 2)
        check_integer("num_duplicated", self.num_duplicated, 0, self.split_size)
        for name in ("num_copies", "augmentation"):
            check_integer(name, getattr(self, name), 1)
            single = getattr(self, name) == 1 or self.training.privacy is None
            require(single, name, getattr(self, name), "1 with privacy, which counts single rows")

    @property
    def schedule(self) -> Schedule:
        """The noise schedule."""
        return Schedule.linear(self.num_steps)


AnyRunConfig = RunConfig | ImageRunConfig


@dataclasses.dataclass(frozen=True)
class Protocol:
    """A run and how it is measured: all that its measurements depend on.

    Attributes:
        run: data, networks and training.
        stages: settings of measuring stages by name; standard ones for all others.
    """

    run: AnyRunConfig
    stages: Mapping[str, Any]


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


def from_json(value: Any) -> Any:
    """What ``to_json`` gave, as the configuration again.

    Raises:
        ValueError: for a type that no configuration has, or settings that it refuses.
    """
    if isinstance(value, Mapping):
        known = {cls.__name__: cls for cls in _types(RunConfig) | _types(ImageRunConfig)}
        require(value.get("type") in known, "config", value, f"of the types {sorted(known)}")
        fields = {name: from_json(each) for name, each in value.items() if name != "type"}
        cls = known[value["type"]]
        names = [field.name for field in dataclasses.fields(cls)]
        unknown = sorted(set(fields) - set(names))
        require(not unknown, cls.__name__, unknown, f"out of {names}")
        return cls(**fields)
    return tuple(map(from_json, value)) if isinstance(value, list) else value


def _types(cls: type) -> set[type]:
    """A configuration's class and those of what it holds, to any depth."""
    hints = typing.get_type_hints(cls).values()
    parts = [part for hint in hints for part in (typing.get_args(hint) or (hint,))]
    held = [part for part in parts if dataclasses.is_dataclass(part) and isinstance(part, type)]
    return {cls}.union(*map(_types, held))
