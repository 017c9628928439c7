"""What a run is: frozen dataclasses whose hash is the run's identity.

Nothing here depends on where or when a run happens, so equal settings share one run folder.
"""

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from typing import Any, Literal

import jax

from experiments.images.configs import (
    ImageEvaluationConfig,
    ImageGenerationConfig,
    ImageRunConfig,
)
from experiments.practice import (
    AdviceConfig,
    AttacksConfig,
    TradeoffConfig,
    check_counts,
    check_relative_times,
)
from hiermodel.checks import check_integer, require
from hiermodel.diffusion.schedule import Schedule
from hiermodel.grammar.rules import Grammar, legacy_tensor
from hiermodel.networks.mlp import MLPConfig
from hiermodel.networks.transformer import TransformerConfig
from hiermodel.training.state import OMIT_DEFAULT, TrainingConfig


@dataclasses.dataclass(frozen=True)
class GrammarConfig:
    """Which grammar makes the data (SPEC section 1).

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
            key = jax.random.key(self.seed)
            return Grammar.random(key, **sizes, sigma=self.sigma, shared=self.shared)
        if self.kind == "hierarchy":
            return Grammar.random_hierarchy(jax.random.key(self.seed), **sizes)
        require(self.kind == "paper", "kind", self.kind, "'paper', 'random' or 'hierarchy'")
        require(self.branching == 2, "branching", self.branching, "2 for the paper's grammar")
        rho = legacy_tensor(self.seed, self.vocab_size, self.rules_per_symbol, self.sigma)
        return Grammar.from_tensor(rho, depth=self.depth)


@dataclasses.dataclass(frozen=True)
class RunConfig:
    """One ensemble of networks: splits × seeds, trained alike (SPEC section 5).

    Attributes:
        grammar: the law of the data.
        filter_level: filter level of the data; 0 is the full model.
        num_splits: disjoint training sets.
        num_seeds: networks per training set.
        split_size: n, sequences per training set.
        test_size: sequences in the test set.
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


@dataclasses.dataclass(frozen=True)
class EvaluationConfig:
    """How losses and divergences are measured at a checkpoint (SPEC section 6).

    Attributes:
        num_sequences: clean sequences per set (all of the training split, if it is smaller).
        num_noises: noises per sequence.
        relative_time: t/T at which the divergences are taken.
        num_loss_noises: noises per sequence for the loss, at stratified t.
    """

    num_sequences: int = 3000
    num_noises: int = 5
    relative_time: float = 0.15
    num_loss_noises: int = 5


@dataclasses.dataclass(frozen=True)
class GenerationConfig:
    """How samples are drawn at a checkpoint, and compared with fresh data.

    Attributes:
        num_samples: sequences per member and checkpoint; x_T and step noise are shared by all.
        every: one out of so many checkpoints is sampled, counted back from the last.
        num_floor_repeats: repetitions of the finite-sample floor.
        copy_radius: Hamming distance up to which a sample counts as a near-copy.
    """

    num_samples: int = 50_000
    every: int = 1
    num_floor_repeats: int = 20
    copy_radius: int = 1


@dataclasses.dataclass(frozen=True)
class DecompositionConfig:
    """How the loss decomposition is measured at a checkpoint (SPEC section 6).

    Attributes:
        num_sequences: clean sequences per set (all of the training split, if it is smaller).
        num_noises: noises per sequence at the fixed step, and as many at stratified steps.
        relative_time: t/T of the fixed step.
    """

    num_sequences: int = 3000
    num_noises: int = 5
    relative_time: float = 0.3

    def __post_init__(self):
        check_counts(self, "num_sequences", "num_noises")
        check_relative_times(self.relative_time)


@dataclasses.dataclass(frozen=True)
class AlongTimeConfig:
    """How divergences are measured along the noise (SPEC section 6).

    Attributes:
        num_sequences: clean test sequences.
        num_noises: noises per sequence.
        stride: every so many steps t are taken.
    """

    num_sequences: int = 3000
    num_noises: int = 1
    stride: int = 1

    def __post_init__(self):
        check_counts(self, "num_sequences", "num_noises", "stride")


@dataclasses.dataclass(frozen=True)
class UTurnConfig:
    """How U-turns from data are measured (SPEC section 6).

    Attributes:
        num_sequences: starts per set (all of the training split, if it is smaller).
        num_noises: U-turns per start.
        relative_times: t/T of the turning points.
    """

    num_sequences: int = 1000
    num_noises: int = 100
    relative_times: tuple[float, ...] = (0.01, 0.03, 0.05, 0.085, 0.12)

    def __post_init__(self):
        check_counts(self, "num_sequences", "num_noises")
        check_relative_times(*self.relative_times)


@dataclasses.dataclass(frozen=True)
class RandomUTurnConfig:
    """How U-turns from random strings are measured (SPEC section 6).

    Attributes:
        num_sequences: uniform strings, each turned once.
        relative_times: t/T of the turning points.
    """

    num_sequences: int = 1000
    relative_times: tuple[float, ...] = (0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.6, 0.8, 1.0)

    def __post_init__(self):
        check_counts(self, "num_sequences")
        check_relative_times(*self.relative_times)


@dataclasses.dataclass(frozen=True)
class LevelsConfig:
    """How the start of data-dependence is tested, level by level (SPEC section 6).

    Attributes:
        num_permutations: reassignments of the training sequences to their splits.
        significance: corrected p-value at and below which dependence has begun.
    """

    num_permutations: int = 2000
    significance: float = 0.05

    def __post_init__(self):
        check_counts(self, "num_permutations")
        require(0 < self.significance < 1, "significance", self.significance, "in (0, 1)")


AnyRunConfig = RunConfig | ImageRunConfig
AnyEvaluationConfig = EvaluationConfig | ImageEvaluationConfig
AnyGenerationConfig = GenerationConfig | ImageGenerationConfig

StageConfig = (
    DecompositionConfig
    | AlongTimeConfig
    | UTurnConfig
    | RandomUTurnConfig
    | LevelsConfig
    | AttacksConfig
    | AdviceConfig
    | TradeoffConfig
)
"""Settings of a stage beyond evaluation and generation."""


@dataclasses.dataclass(frozen=True)
class Protocol:
    """A run and how it is measured: all that its measurements depend on.

    Attributes:
        run: data, networks and training.
        evaluation: losses and divergences at checkpoints.
        generation: samples at checkpoints.
        stages: the further stages, by name.
    """

    run: AnyRunConfig
    evaluation: AnyEvaluationConfig
    generation: AnyGenerationConfig
    stages: Mapping[str, StageConfig]


def step_at(relative_time: float, schedule: Schedule) -> int:
    """The step t nearest to t/T, at least 1."""
    return max(1, round(relative_time * schedule.num_steps))


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
