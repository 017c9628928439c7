"""What runs cost: operations, time and disk, from the settings alone.

Counted are matrix products of the networks, two operations per multiplication and addition, a
backward pass as two forward ones; exact inference, neighbours and tests come on top and matter
only for tiny networks.
"""

import dataclasses
import functools
import math
from collections.abc import Callable, Collection, Iterable, Mapping
from pathlib import Path

import jax
import jax.numpy as jnp

from experiments.benchmarks.timing import matmul_rate
from experiments.configs import (
    AdviceConfig,
    AlongTimeConfig,
    AnyRunConfig,
    AttacksConfig,
    DecompositionConfig,
    EvaluationConfig,
    Protocol,
    RandomUTurnConfig,
    TradeoffConfig,
    UTurnConfig,
)
from experiments.images.configs import ImageEvaluationConfig
from experiments.progress import context_of, progress_of
from experiments.stages.evaluation import same_data_pairs, split_pairs
from experiments.stages.pipeline import READS
from experiments.train import epochs_of, num_training_rows
from hiermodel.networks.learned import apply, init_params
from hiermodel.networks.transformer import TransformerConfig
from hiermodel.networks.unet import UNetConfig

EFFICIENCY = 0.3
"""Share of the rate of a large matrix product that networks are taken to reach, before any run."""

COMPILATION = 5.0
"""Seconds that a stage is taken to compile for, before any run."""


@dataclasses.dataclass(frozen=True)
class Cost:
    """What some stages cost.

    Attributes:
        operations: by stage.
        disk: bytes, before compression.
    """

    operations: dict[str, float]
    disk: float

    @property
    def total(self) -> float:
        """Operations in all."""
        return sum(self.operations.values())


def cost(own: Protocol, stages: Collection[str]) -> Cost:
    """Cost of training at one size, and of the given measuring stages with those they read."""
    run = own.run
    rows = run.training.num_epochs * num_training_rows(run)
    passes = {"train": 3.0 * _num_members(run) * rows}
    passes |= {stage: _passes(own, stage) for stage in stages}
    per_pass = forward_operations(run.network)
    operations = {stage: number * per_pass for stage, number in passes.items()}
    return Cost(operations, _checkpoint_bytes(run) + _sample_bytes(own, stages))


def forward_operations(network) -> float:
    """Operations of one forward pass of one sequence or image."""
    if isinstance(network, UNetConfig):
        return _compiled_operations(network)
    if not isinstance(network, TransformerConfig):
        return 2.0 * _num_params(network)
    tokens, width = network.num_leaves, network.width
    block = 8 * width**2 + 4 * tokens * width + 4 * network.feedforward_factor * width**2
    ends = 4 * network.vocab_size * width
    return float(tokens * (network.num_layers * block + ends))


@functools.cache
def _compiled_operations(network: UNetConfig) -> float:
    """As XLA counts them, activations and norms included: its layers differ too much to add up."""
    params = jax.eval_shape(lambda key: init_params(key, network), jax.random.key(0))
    x_t = jax.ShapeDtypeStruct((16, *network.event_shape), jnp.float32)
    t = jax.ShapeDtypeStruct((16,), jnp.int32)
    lowered = jax.jit(lambda *inputs: apply(network, *inputs)).lower(params, x_t, t)
    counted = lowered.cost_analysis() or {}
    return float(counted.get("flops", 2.0 * _num_params(network))) / 16


def _passes(own: Protocol, stage: str) -> float:
    """Forward passes of a measuring stage, counted per sequence."""
    run, members = own.run, _num_members(own.run)
    settings = own.stages.get(stage)
    if isinstance(own.evaluation, EvaluationConfig) and stage == "evaluation":
        noises = own.evaluation.num_loss_noises + own.evaluation.num_noises
        pairs = split_pairs(run.num_splits, run.num_seeds)
        pairs = pairs + same_data_pairs(run.num_splits, run.num_seeds)
        per_row = members * noises + 2 * len(pairs) * own.evaluation.num_noises
        return len(epochs_of(run)) * per_row * _rows(own, own.evaluation.num_sequences)
    if isinstance(own.evaluation, ImageEvaluationConfig) and stage == "evaluation":
        noises = own.evaluation.num_noises * len(own.evaluation.relative_times)
        pairs = split_pairs(run.num_splits, run.num_seeds)
        per_row = members * own.evaluation.num_loss_noises + 2 * len(pairs) * noises
        return len(epochs_of(run)) * per_row * _rows(own, own.evaluation.num_images)
    if stage == "samples":
        return _num_sampled(own) * members * own.generation.num_samples * run.num_steps
    if isinstance(settings, DecompositionConfig):
        rows = _rows(own, settings.num_sequences)
        return 2.0 * len(epochs_of(run)) * members * settings.num_noises * rows
    if isinstance(settings, AlongTimeConfig):
        steps = run.num_steps / settings.stride
        return members * steps * settings.num_sequences * settings.num_noises
    if isinstance(settings, UTurnConfig):
        steps = sum(settings.relative_times) * run.num_steps
        rows = _rows(own, settings.num_sequences)
        return 2.0 * members * rows * settings.num_noises * steps
    if isinstance(settings, RandomUTurnConfig):
        return members * settings.num_sequences * sum(settings.relative_times) * run.num_steps
    if isinstance(settings, AttacksConfig | AdviceConfig | TradeoffConfig):
        return float(_num_sampled(own) * members * _rows_at_checkpoint(own, settings))
    return 0.0


def _rows_at_checkpoint(
    own: Protocol, settings: AttacksConfig | AdviceConfig | TradeoffConfig
) -> float:
    """Of one member, for attacks, advice or the trade-off; less the samples of averages."""
    run, test = own.run, min(settings.num_sequences, own.run.test_size)
    if isinstance(settings, AdviceConfig):
        return 2.0 * test * settings.num_noises
    if isinstance(settings, TradeoffConfig):
        rows = (run.split_size + test) * settings.num_loss_noises
        return rows + test * settings.num_noises
    train = run.num_splits * min(settings.num_sequences, run.split_size)
    turned = test * settings.num_cycles * settings.relative_time * run.num_steps
    return 2.0 * (train + test) * settings.num_noises + turned


def _rows(own: Protocol, num_sequences: int) -> int:
    """Training and test sequences of one member."""
    return min(num_sequences, own.run.split_size) + min(num_sequences, own.run.test_size)


def _num_members(run: AnyRunConfig) -> int:
    return run.num_splits * run.num_seeds


def _num_sampled(own: Protocol) -> int:
    return -(-len(epochs_of(own.run)) // own.generation.every)


def _num_params(network) -> int:
    shapes = jax.eval_shape(lambda key: init_params(key, network), jax.random.key(0))
    return sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(shapes))


def _checkpoint_bytes(run: AnyRunConfig) -> float:
    """Parameters at every checkpoint, and the last two states with Adam's moments."""
    copies = len(epochs_of(run)) + 2 * 3
    return 4.0 * _num_params(run.network) * _num_members(run) * copies


def _sample_bytes(own: Protocol, stages: Collection[str]) -> float:
    if "samples" not in stages:
        return 0.0
    network = own.run.network
    is_image = isinstance(network, UNetConfig)
    size = 4 * math.prod(network.event_shape) if is_image else network.num_leaves
    per_member = own.generation.num_samples * size
    return float(_num_sampled(own) * _num_members(own.run) * per_member)


@dataclasses.dataclass(frozen=True)
class Pace:
    """How fast a stage is expected to go.

    Attributes:
        rates: operations per second by stage, from finished runs.
        constant: mean seconds of stages in which no operations are counted, from finished runs.
        assumed: operations per second of the other stages.
    """

    rates: Mapping[str, float]
    constant: Mapping[str, float]
    assumed: float

    def seconds(self, operations: Mapping[str, float]) -> float:
        """Expected time of these operations."""
        return sum(self._stage_seconds(stage, number) for stage, number in operations.items())

    def _stage_seconds(self, stage: str, number: float) -> float:
        if stage in self.rates and number:
            return number / self.rates[stage]
        return self.constant.get(stage, COMPILATION + number / self.assumed)

    def source(self, operations: Iterable[str]) -> str:
        """Where the expectation comes from."""
        known = [stage for stage in operations if stage in {**self.rates, **self.constant}]
        assumed = f"a matrix product's rate × {EFFICIENCY} + {COMPILATION:g} s to compile a stage"
        return f"finished runs for {', '.join(known)}, else {assumed}" if known else assumed


def measured_pace(
    finished: Iterable[tuple[Mapping[str, float], Mapping[str, float]]],
    rate: Callable[[], float] = matmul_rate,
) -> Pace:
    """The pace of finished stages, and of a large matrix product.

    Args:
        finished: of every run, operations and seconds by finished stage.
        rate: gives GFLOP/s of a large matrix product.
    """
    operations: dict[str, float] = {}
    seconds: dict[str, list[float]] = {}
    for counted, timings in finished:
        for stage in counted.keys() & timings.keys():
            operations[stage] = operations.get(stage, 0.0) + counted[stage]
            seconds.setdefault(stage, []).append(max(timings[stage], 1e-3))
    rates = {stage: number / sum(seconds[stage]) for stage, number in operations.items() if number}
    constant = {stage: sum(its) / len(its) for stage, its in seconds.items() if stage not in rates}
    return Pace(rates, constant, rate() * 1e9 * EFFICIENCY)


def finished_stages(own: Protocol, root: Path) -> tuple[dict[str, float], dict[str, float]]:
    """Operations and seconds of the stages of a run that are finished, for ``measured_pace``."""
    timings = context_of(own, root).run.timings()
    seconds = {
        stage: spent for stage, spent in timings.items() if progress_of(own, stage, root).finished
    }
    return cost(own, [stage for stage in seconds if stage in READS]).operations, seconds


def duration(seconds: float) -> str:
    """A time in the largest unit that fits."""
    for size, unit in ((86400, "days"), (3600, "hours"), (60, "minutes")):
        if seconds >= size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.0f} seconds"


def device_name() -> str:
    """The devices of this process."""
    devices = jax.devices()
    return f"{len(devices)} × {devices[0].device_kind}"
