"""What a TPU's compiler makes of programs, without a TPU: memory, operations and traffic.

``jax.experimental.topologies`` describes chips that are not here, and libtpu, which the extra
``tpu`` brings, compiles for them. So the traffic that ``prediction`` can only bound, all fused or
nothing, is known: what is left after fusion. Compiling takes up to minutes a program.
"""

import dataclasses
import os
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
from jax.experimental import topologies
from jax.sharding import SingleDeviceSharding

import hiermodel as hm
from experiments.benchmarks.prediction import (
    MACHINES,
    ROWS,
    Machine,
    forward_program,
    side_by_side,
    step_program,
)
from experiments.configs import Protocol
from hiermodel.checks import InputError, require

TOPOLOGIES = {"v5e": ("v5e:2x2", "v5litepod-4"), "v5p": ("v5p:2x2x1", "v5p-8")}
"""By machine: the smallest topology, and what libtpu calls its kind of accelerator."""

Program = tuple[Callable[..., Any], tuple[Any, ...]]
"""A function, and descriptions of its arguments."""


@dataclasses.dataclass(frozen=True)
class Compiled:
    """A program, compiled for one chip.

    Attributes:
        name: what it does.
        operations: floating-point ones.
        traffic: bytes read and written, after fusion.
        arguments: bytes of what it is given.
        temporary: bytes of what it keeps meanwhile.
        code: bytes of the program itself.
        seconds: what it takes at least, at the chip's peak rates.
        bound: "compute" or "bandwidth", whichever says so.
    """

    name: str
    operations: float
    traffic: float
    arguments: int
    temporary: int
    code: int
    seconds: float
    bound: str


def chip(machine: str) -> SingleDeviceSharding:
    """Where programs for one chip are laid.

    Raises:
        ValueError: for a machine that is no TPU, and where libtpu is not installed.
    """
    require(machine in TOPOLOGIES, "predict", machine, f"one of {list(TOPOLOGIES)} with --compiled")
    name, accelerator = TOPOLOGIES[machine]
    # Or libtpu looks for the chips of this host, and for a server that knows of more.
    os.environ.setdefault("TPU_SKIP_MDS_QUERY", "1")
    os.environ.setdefault("TPU_WORKER_HOSTNAMES", "localhost")
    os.environ.setdefault("TPU_ACCELERATOR_TYPE", accelerator)
    try:
        described = topologies.get_topology_desc(platform="tpu", topology_name=name)
    except Exception as error:  # JAX names no type: that of libtpu's absence is the runtime's
        raise InputError(
            f"compiled=True is not allowed here: JAX cannot describe a {machine} ({error}); "
            "it can with libtpu, which the extra tpu installs"
        ) from error
    return SingleDeviceSharding(described.devices[0])


def compile_for(
    where: SingleDeviceSharding, machine: Machine, rate: float, name: str, program: Program
) -> Compiled:
    """Compile a program for a chip and read what its compiler says.

    Args:
        where: the chip.
        machine: its published rates.
        rate: operations per second of the program's products.
        name: what the program does.
        program: a function and descriptions of its arguments.
    """
    function, described = program
    placed = jax.tree.map(
        lambda own: jax.ShapeDtypeStruct(own.shape, own.dtype, sharding=where), described
    )
    (device,) = where.device_set
    lowered = jax.jit(function).trace(*placed).lower(lowering_platforms=(device.platform,))
    done = lowered.compile()
    memory, counted = done.memory_analysis(), done.cost_analysis() or {}
    assert memory is not None  # compilers of CPUs and TPUs say it
    operations = float(counted["flops"])
    traffic = float(counted["bytes accessed"])
    times = {"compute": operations / rate, "bandwidth": traffic / machine.bandwidth}
    bound = max(times, key=lambda kind: times[kind])
    return Compiled(
        name,
        operations,
        traffic,
        memory.argument_size_in_bytes,
        memory.temp_size_in_bytes,
        memory.generated_code_size_in_bytes,
        times[bound],
        bound,
    )


def of_inference(machine: str) -> Iterator[Compiled]:
    """Exact inference, of the paper's grammar and of a large one."""
    where, own = chip(machine), MACHINES[machine]
    schedule = hm.Schedule.linear(500)
    large = hm.Grammar.random_hierarchy(
        jax.random.key(0), vocab_size=32, depth=9, branching=2, rules_per_symbol=8
    )
    for name, grammar, batch in (
        ("paper's grammar", hm.paper_grammar(), 2048),
        ("RHM q = 32, m = 8, depth 9", large, 64),
    ):
        x_t = jax.ShapeDtypeStruct((batch, grammar.num_leaves, grammar.vocab_size), jnp.float32)
        program = _denoise, (hm.exact_denoiser(grammar, schedule), x_t)
        words = f"exact denoiser, {name}, {batch} sequences"
        yield compile_for(where, own, own.highest, words, program)


def _denoise(denoiser: hm.Denoiser, x_t: jax.Array) -> jax.Array:
    return denoiser(x_t, 75)


def of_runs(named: Iterable[tuple[str, Protocol]], machine: str) -> Iterator[Compiled]:
    """Training and forward passes of runs, once for those that share their programs."""
    where, own, seen = chip(machine), MACHINES[machine], set()
    for name, protocol in named:
        run = protocol.run
        at_once, _ = side_by_side(run, own)
        for words, rate, program in (
            ("step of one", own.rate(run.training), step_program(run, 1)),
            (f"step of {at_once} at once", own.rate(run.training), step_program(run, at_once)),
            (f"forward pass of {ROWS} rows", own.highest, forward_program(run.network)),
        ):
            shape = words, str(jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype), program[1]))
            if shape not in seen:
                seen.add(shape)
                yield compile_for(where, own, rate, f"{name}, {words}", program)


HEAD = ("program", "operations", "traffic", "arguments", "temporary", "code", "at least", "bound")


def cells(own: Compiled) -> list[str]:
    """A row of the table."""
    sizes = (f"{size / 2**20:,.1f} MiB" for size in (own.arguments, own.temporary, own.code))
    return [
        own.name,
        f"{own.operations / 1e9:,.3g} GFLOP",
        f"{own.traffic / 1e6:,.4g} MB",
        *sizes,
        f"{1e3 * own.seconds:.3g} ms",
        own.bound,
    ]
