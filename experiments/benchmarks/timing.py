"""Timing one function: compile time apart, then the median of warm repeats."""

import dataclasses
import multiprocessing
import resource
import statistics
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

from experiments.benchmarks.public_code import Reference

MATMUL_SIZE = 1024


@dataclasses.dataclass(frozen=True)
class Row:
    """One line of the table.

    Attributes:
        name: what was timed.
        unit: what is counted, such as "sequences".
        rate: units per second, from the median repeat.
        seconds: of the median repeat.
        spread: slowest repeat over fastest.
        compile: seconds that the first call took longer than the median repeat.
        matmul: GFLOP/s of a float32 1024³ product, measured just before.
        reference: units per second of a public implementation on such a machine.
        reference_taken: when and with which versions that rate was taken.
        peak_memory: MiB that the process held at most; None where it was not measured.
        note: what else a reader should know.
    """

    name: str
    unit: str
    rate: float
    seconds: float
    spread: float
    compile: float
    matmul: float
    reference: float | None = None
    reference_taken: str = ""
    peak_memory: float | None = None
    note: str = ""

    @property
    def ratio(self) -> float | None:
        """Times the reference's rate."""
        return None if self.reference is None else self.rate / self.reference


def measure(
    name: str,
    function: Callable[..., Any],
    *arguments: Any,
    count: int,
    unit: str,
    repeats: int = 7,
    reference: Reference | None = None,
    note: str = "",
) -> Row:
    """Time ``function(*arguments)``, which handles ``count`` units.

    Each repeat calls it often enough to last a twentieth of a second.
    """
    matmul = matmul_rate()
    first_call = _seconds(function, arguments, 1)
    once = _seconds(function, arguments, 1)
    calls = max(1, round(0.05 / max(once, 1e-9)))
    times = [_seconds(function, arguments, calls) / calls for _ in range(repeats)]
    median = statistics.median(times)
    return Row(
        name=name,
        unit=unit,
        rate=count / median,
        seconds=median,
        spread=max(times) / min(times),
        compile=max(first_call - median, 0.0),
        matmul=matmul,
        reference=None if reference is None else reference.rate,
        reference_taken="" if reference is None else reference.taken,
        note=note,
    )


def in_own_process(task: Callable[[], Row]) -> Row:
    """Run a task that times something in a fresh process, and add that process' peak memory."""
    fresh = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=fresh) as pool:
        return pool.submit(_with_peak_memory, task).result()


def median_of_processes(task: Callable[[], Row], count: int = 5) -> Row:
    """The row of median rate of several fresh processes; its spread is that between them.

    For what runs at different speeds in different processes, which repeats within one do not tell.
    """
    rows = sorted((in_own_process(task) for _ in range(count)), key=lambda row: row.rate)
    slowest, median, fastest = rows[0].rate, rows[count // 2], rows[-1].rate
    return dataclasses.replace(median, spread=fastest / slowest, peak_memory=None)


def _with_peak_memory(task: Callable[[], Row]) -> Row:
    row = task()
    return dataclasses.replace(row, peak_memory=_peak_memory())


def _peak_memory() -> float:
    """MiB that this process has held at most."""
    status = Path("/proc/self/status")
    if status.exists():  # Linux counts a child's rusage from its parent's peak, but not this
        (line,) = (line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20  # bytes, on macOS


def copy_rate(repeats: int = 7) -> float:
    """GB/s read and written while adding 1 to 64 MiB of float32, more than any cache holds."""
    values = jnp.zeros(2**24, jnp.float32)
    add = jax.jit(lambda x: x + 1)
    _seconds(add, (values,), 1)
    seconds = statistics.median(_seconds(add, (values,), 5) / 5 for _ in range(repeats))
    return 2 * values.nbytes / seconds / 1e9


def matmul_rate(repeats: int = 7) -> float:
    """GFLOP/s of a float32 1024³ matrix product, the machine's pace at this moment."""
    matrix = jax.random.normal(jax.random.key(0), (MATMUL_SIZE, MATMUL_SIZE), jnp.float32)
    product = jax.jit(jnp.matmul)
    _seconds(product, (matrix, matrix), 1)
    seconds = statistics.median(_seconds(product, (matrix, matrix), 5) / 5 for _ in range(repeats))
    return 2 * MATMUL_SIZE**3 / seconds / 1e9


def _seconds(function: Callable[..., Any], arguments: tuple[Any, ...], calls: int) -> float:
    start = time.perf_counter()
    for _ in range(calls):
        jax.block_until_ready(function(*arguments))
    return time.perf_counter() - start
