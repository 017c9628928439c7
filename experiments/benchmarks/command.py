"""``python -m experiments bench``: print a table and write JSON."""

import dataclasses
import itertools
import os
from pathlib import Path

import jax

from experiments import store
from experiments.benchmarks import images, independent_engine, inference, scale, training
from experiments.benchmarks.timing import Row
from hiermodel.checks import require

SUITES = {
    "inference": inference.rows,
    "scale": scale.rows,
    "independent_engine": independent_engine.rows,
    "training": training.rows,
    "images": images.rows,
}


@dataclasses.dataclass(frozen=True)
class Arguments:
    """Time the library on this machine; run it alone.

    Attributes:
        suites: which groups of rows.
        root: where the JSON goes, as ROOT/benchmarks.json.
    """

    suites: tuple[str, ...] = tuple(SUITES)
    root: Path = Path("runs")


HEADER = (
    f"{'':<58} {'rate':>12} {'':<12} {'theirs':>9} {'compile':>9} {'memory':>9} {'GFLOP/s':>7} "
    f"{'spread':>6}"
)


def as_text(row: Row) -> str:
    """One line of the table."""
    rate = f"{row.rate:,.0f}" if row.rate >= 100 else f"{row.rate:.3g}"
    ratio = "" if row.ratio is None else f"{row.ratio:.1f}×"
    memory = "" if row.peak_memory is None else f"{row.peak_memory:,.0f} MiB"
    return (
        f"{row.name:<58} {rate:>12} {row.unit + '/s':<12} {ratio:>9} {row.compile:>7.1f} s "
        f"{memory:>9} {row.matmul:>7.0f} {row.spread:>6.2f}  {row.note}"
    )


def measure(arguments: Arguments) -> None:
    """Time what the command line names."""
    for name in arguments.suites:
        require(name in SUITES, "suites", name, f"out of {list(SUITES)}")
    # One device per core, as in runs (experiments.runtime).
    jax.config.update("jax_num_cpu_devices", os.cpu_count() or 1)
    print(HEADER)
    rows: list[Row] = []
    for row in itertools.chain.from_iterable(SUITES[name]() for name in arguments.suites):
        print(as_text(row), flush=True)
        rows.append(row)
    output = arguments.root / "benchmarks.json"
    output.parent.mkdir(parents=True, exist_ok=True)
    entries = [{**dataclasses.asdict(row), "ratio": row.ratio} for row in rows]
    store.write_json(output, {"provenance": store.provenance(), "rows": entries})
    print(f"benchmarks: {output}")
