"""What runs would take on machines that are not here: predictions, from the programs themselves.

A step of training is lowered for the machine's platform, without compiling, and its operations are
counted by XLA (``cost_analysis``). Its traffic lies between two counts. At least, every product
reads its operands and writes its result, and the optimiser's state is read and written once, all
else being fused into these. At most, every operation of the program reads and writes memory by
itself, as XLA counts it before fusion. A step takes no less than its operations at the machine's
peak rate, nor than its traffic at peak bandwidth. Stages that measure are forward passes, counted
as in ``experiments.costs``. Nothing is taken off for what compilers and small arrays lose, nor
added for exact inference, compilation or files: a prediction is a bound, and marked as one.
"""

import dataclasses
import functools
import math
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import jax
import jax.numpy as jnp

from experiments.configs import Protocol, RunConfig
from experiments.costs import forward_passes
from experiments.runs.data import num_training_rows, steps_per_epoch
from experiments.runs.training import FREE_SHARE, MOST_ELSEWHERE
from experiments.words import duration
from hiermodel.diffusion.schedule import Schedule
from hiermodel.networks.network import apply
from hiermodel.training.memory import member_memory
from hiermodel.training.state import Ensemble, TrainingConfig, init_member
from hiermodel.training.step import train_step

ROWS = 64
"""Rows of the forward pass that is counted."""


@dataclasses.dataclass(frozen=True)
class Machine:
    """Published peak rates of one device.

    Attributes:
        platform: as JAX calls it.
        highest: operations per second in products of float32 numbers at the highest precision.
        high: the same at "high": TF32 on CUDA, three bfloat16 passes on TPU.
        bfloat16: the same of bfloat16 numbers.
        bandwidth: bytes per second, of its memory.
        memory: bytes.
    """

    platform: str
    highest: float
    high: float
    bfloat16: float
    bandwidth: float
    memory: float

    def rate(self, training: TrainingConfig) -> float:
        """Operations per second of nearly all products, as the settings ask for them."""
        if training.compute_dtype == "bfloat16":
            return self.bfloat16
        return self.highest if training.matmul_precision == "highest" else self.high


def _tpu(bfloat16: float, bandwidth: float, memory: float) -> Machine:
    """Float32 is made of bfloat16 passes: six at the highest precision, three at "high"."""
    return Machine("tpu", bfloat16 / 6, bfloat16 / 3, bfloat16, bandwidth, memory)


MACHINES = {
    "h100": Machine("cuda", 67e12, 494.7e12, 989.4e12, 3.35e12, 80e9),
    "a100": Machine("cuda", 19.5e12, 156e12, 312e12, 2.039e12, 80e9),
    "v5e": _tpu(197e12, 819e9, 16e9),
    "v5p": _tpu(459e12, 2765e9, 95e9),
}
"""By name. H100 SXM5 80 GB and A100 SXM4 80 GB: NVIDIA's data sheets of these ("NVIDIA H100 Tensor
Core GPU", "NVIDIA A100 Tensor Core GPU"), float32 outside the tensor cores, TF32 and bfloat16 on
them, dense (half of what is printed for sparse matrices). TPU v5e and v5p: Google's pages "TPU v5e"
and "TPU v5p" (cloud.google.com/tpu/docs), peak bfloat16 rate, memory and its bandwidth per chip."""


@dataclasses.dataclass(frozen=True)
class Work:
    """What a program does.

    Attributes:
        operations: floating-point ones.
        fewest_bytes: read and written if all but products is fused.
        most_bytes: read and written if nothing is.
    """

    operations: float
    fewest_bytes: float
    most_bytes: float

    def __add__(self, other: "Work") -> "Work":
        pairs = zip(dataclasses.astuple(self), dataclasses.astuple(other), strict=True)
        return Work(*(one + another for one, another in pairs))

    def __mul__(self, times: float) -> "Work":
        return Work(*(times * own for own in dataclasses.astuple(self)))

    def seconds(self, rate: float, bandwidth: float) -> tuple[float, float]:
        """At least: with everything fused, and with nothing."""
        compute = self.operations / rate
        fused, unfused = self.fewest_bytes / bandwidth, self.most_bytes / bandwidth
        return max(compute, fused), max(compute, unfused)


@dataclasses.dataclass(frozen=True)
class Prediction:
    """Of one run on one device.

    Attributes:
        training: seconds at least, with everything fused and with nothing.
        measuring: the same for stages that measure.
        bound: "compute" or "bandwidth", of a step of training with everything fused.
        memory: bytes of the networks trained at a time, whose steps run side by side.
        at_once: how many these are.
        num_members: of how many.
        step: work of one step of one of them.
    """

    training: tuple[float, float]
    measuring: tuple[float, float]
    bound: str
    memory: float
    at_once: int
    num_members: int
    step: Work


def predict(own: Protocol, stages: Iterable[str], machine: Machine) -> Prediction:
    """Time, memory and bound of a run's training and of stages that measure it, on one device."""
    run, training = own.run, own.run.training
    step, forward = step_work(run, machine.platform), forward_work(run.network, machine.platform)
    num_members = run.num_splits * run.num_seeds
    num_steps = num_members * training.num_epochs * steps_per_epoch(run)
    rate = machine.rate(training)
    compute_bound = step.operations / rate >= step.fewest_bytes / machine.bandwidth
    at_once, memory = side_by_side(run, machine)
    passes = sum(forward_passes(own, stage) for stage in stages)
    return Prediction(
        training=(step * num_steps).seconds(rate, machine.bandwidth),
        measuring=(forward * passes).seconds(machine.highest, machine.bandwidth),
        bound="compute" if compute_bound else "bandwidth",
        memory=memory,
        at_once=at_once,
        num_members=num_members,
        step=step,
    )


def side_by_side(run: RunConfig, machine: Machine) -> tuple[int, float]:
    """How many of a run's networks are trained at a time, and the bytes that they take."""
    num_members = run.num_splits * run.num_seeds
    each = member_memory(Ensemble(run.network, run.training, run.schedule)).side_by_side
    fit = max(1, min(int(FREE_SHARE * machine.memory / each), MOST_ELSEWHERE))
    at_once = -(-num_members // -(-num_members // fit))  # parts as equal as may be
    return at_once, at_once * each


def step_work(run: RunConfig, platform: str) -> Work:
    """Work of one step of training of one network."""
    # Equal for runs that differ in their length or rate alone. A step in micro-batches does the
    # same work, in a loop whose length XLA does not count.
    alike = {"num_epochs": 1, "learning_rate": 1.0, "micro_batch_size": None}
    training = dataclasses.replace(_with_own_rows(run), **alike)
    return _step_work(run.network, training, run.num_steps, platform)


@functools.cache
def _step_work(network: Any, training: TrainingConfig, num_steps: int, platform: str) -> Work:
    step, arguments = _step(network, training, num_steps)
    work = work_of(step, *arguments, platform=platform)
    params, opt_state, *_ = arguments
    kept_between = jax.tree.leaves((params, opt_state))
    kept = 2 * sum(leaf.size * leaf.dtype.itemsize for leaf in kept_between)
    return dataclasses.replace(work, fewest_bytes=work.fewest_bytes + kept)


def step_program(run: RunConfig, num_members: int) -> tuple[Callable[..., Any], tuple[Any, ...]]:
    """A step of training of several networks side by side, and descriptions of its arguments."""
    step, (*members, rate) = _step(run.network, _with_own_rows(run), run.num_steps)
    stacked = jax.tree.map(
        lambda own: jax.ShapeDtypeStruct((num_members, *own.shape), own.dtype), members
    )
    return jax.vmap(step, in_axes=(0, 0, 0, 0, None)), (*stacked, rate)


def _with_own_rows(run: RunConfig) -> TrainingConfig:
    """A run's training, with batches no larger than its training sets."""
    rows = min(run.training.batch_size, num_training_rows(run))
    return dataclasses.replace(run.training, batch_size=rows)


def _step(network: Any, training: TrainingConfig, num_steps: int):
    """A step of training of one network, and descriptions of its arguments."""
    schedule = Schedule.linear(num_steps)
    rows, target, key = training.batch_size, network.target, jax.random.key(0)
    state = jax.eval_shape(lambda: init_member(key, network))
    batch = (
        jax.ShapeDtypeStruct((rows, *target.shape), target.dtype),
        jax.ShapeDtypeStruct((rows,), jnp.float32),
    )
    rate = jax.ShapeDtypeStruct((), jnp.float32)

    def step(params, opt_state, batch, key, rate):
        return train_step(params, opt_state, network, training, schedule, batch, key, rate)

    return step, (state.params, state.opt_state, batch, jax.eval_shape(lambda: key), rate)


@functools.cache
def forward_work(network: Any, platform: str) -> Work:
    """Work of one forward pass of one example, as one of many."""
    forward, arguments = forward_program(network)
    return work_of(forward, *arguments, platform=platform) * (1 / ROWS)


def forward_program(network: Any) -> tuple[Callable[..., Any], tuple[Any, ...]]:
    """A forward pass of ``ROWS`` rows, and descriptions of its arguments."""
    params = jax.eval_shape(network.init, jax.random.key(0))
    x_t = jax.ShapeDtypeStruct((ROWS, *network.target.event_shape), jnp.float32)
    t = jax.ShapeDtypeStruct((ROWS,), jnp.int32)
    return functools.partial(apply, network), (params, x_t, t)


def work_of(function: Callable[..., Any], *arguments: Any, platform: str) -> Work:
    """Work of a function's program, lowered for a platform."""
    lowered = jax.jit(function).trace(*arguments).lower(lowering_platforms=(platform,))
    counted = lowered.cost_analysis() or {}
    traffic = product_bytes(lowered.as_text())
    return Work(float(counted["flops"]), traffic, float(counted["bytes accessed"]))


_PRODUCT = re.compile(r"stablehlo\.(?:dot_general|convolution)\b.* : \((.*)\) -> (.*)")
_ARRAY = re.compile(r"tensor<((?:\d+x)*)([a-z]+)(\d+)>")


def product_bytes(text: str) -> float:
    """Bytes of the operands and results of all products in a program in StableHLO."""
    found = (array for match in _PRODUCT.finditer(text) for array in _ARRAY.findall(match[0]))
    return float(
        sum(math.prod(map(int, axes.split("x")[:-1])) * int(bits) // 8 for axes, _, bits in found)
    )


def as_text(named: Mapping[str, Prediction]) -> str:
    """A table, a line per run."""
    head = f"{'PREDICTED':<15}{'training':>29}{'bound':>11}{'members':>10}{'memory':>11}"
    lines = [f"{head}{'step':>16}{'measuring':>30}"]
    for name, own in named.items():
        lines.append(
            f"{name:<15}{_range(own.training):>29}{own.bound:>11}"
            f"{own.at_once:>5} of{own.num_members:>2}{own.memory / 2**30:>7.1f} GiB"
            f"{own.step.operations / 1e9:>9.3g} GFLOP{_range(own.measuring):>30}"
        )
    return "\n".join(lines)


def _range(seconds: tuple[float, float]) -> str:
    low, high = ("under 1 second" if each < 1 else duration(each) for each in seconds)
    return low if low == high else f"{low} – {high}"
