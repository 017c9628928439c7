"""``python -m experiments bench``: time the library here, or predict the reproduction elsewhere."""

import dataclasses
from collections.abc import Iterator

from experiments.benchmarks import command
from experiments.benchmarks.prediction import MACHINES, Prediction, as_text, predict
from experiments.stages.registry import with_needs
from figures.figure import all_figures
from hiermodel.checks import require
from paper_repro.protocol import SCALES, protocol


@dataclasses.dataclass(frozen=True)
class Arguments(command.Arguments):
    """Time the library on this machine; run it alone. Or predict runs on another one.

    Attributes:
        suites: which groups of rows.
        root: where the JSON goes, as ROOT/benchmarks.json.
        predict: a device by name (h100, a100, v5e, v5p): print what the runs of all scales would
            take on one, from the programs' own operations and its published peak rates. Nothing is
            timed.
        scales: which scales to predict.
        network: "tree" for tree U-Nets in place of the paper's transformer, at paper scale.
    """

    predict: str | None = None
    scales: tuple[str, ...] = tuple(SCALES)
    network: str | None = None


def bench(arguments: Arguments) -> None:
    """Do what the command line says."""
    if arguments.predict is None:
        command.measure(arguments)
        return
    require(arguments.predict in MACHINES, "predict", arguments.predict, f"one of {list(MACHINES)}")
    for scale in arguments.scales:
        print(f"\n{scale} on one {arguments.predict}, at its peak rates: no run takes less")
        network = arguments.network if scale == "paper" else None
        print(as_text(dict(predictions(scale, arguments.predict, network))), flush=True)


def predictions(
    scale: str, machine: str, network: str | None = None
) -> Iterator[tuple[str, Prediction]]:
    """By size: its networks, and the stages that figures need of it."""
    for size, own in protocol(scale, network).sizes.items():
        stages = {s for spec in all_figures().values() if size in spec.sizes for s in spec.stages}
        yield size, predict(own, with_needs(own.run, stages), MACHINES[machine])
