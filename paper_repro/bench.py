"""``python -m experiments bench``: time the library here, or predict the reproduction elsewhere."""

import dataclasses
import importlib.metadata
import itertools
from collections.abc import Iterator

from experiments import store
from experiments.benchmarks import command
from experiments.benchmarks.compiled import cells, chip, of_inference, of_runs
from experiments.benchmarks.prediction import MACHINES, Prediction, as_text, predict
from experiments.stages.registry import with_needs
from figures.figure import all_figures
from hiermodel.checks import require
from paper_repro.protocol import SCALES, Scale, protocol


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
        compiled: for a TPU that is predicted, compile exact inference and the steps of those runs
            for it, and write what its compiler says to ROOT/compiled-NAME.json. Needs libtpu (the
            extra tpu), no TPU, and up to minutes a program.
    """

    predict: str | None = None
    scales: tuple[str, ...] = tuple(SCALES)
    network: str | None = None
    compiled: bool = False


def bench(arguments: Arguments) -> None:
    """Do what the command line says."""
    if arguments.predict is None:
        require(not arguments.compiled, "compiled", True, "False without --predict")
        command.measure(arguments)
        return
    require(arguments.predict in MACHINES, "predict", arguments.predict, f"one of {list(MACHINES)}")
    if arguments.compiled:
        _compile(arguments, arguments.predict)
        return
    for scale in arguments.scales:
        print(f"\n{scale} on one {arguments.predict}, at its peak rates: no run takes less")
        print(as_text(dict(predictions(_scale(arguments, scale), arguments.predict))), flush=True)


def _compile(arguments: Arguments, machine: str) -> None:
    """Compile for a machine that is not here, and write what came of it."""
    named = (
        (f"{scale}, {size}", own)
        for scale in arguments.scales
        for size, own in _scale(arguments, scale).sizes.items()
    )
    chip(machine)  # or an error that says what is missing
    output = arguments.root / f"compiled-{machine}.json"
    output.parent.mkdir(parents=True, exist_ok=True)
    versions = {"libtpu": importlib.metadata.version("libtpu"), **store.provenance()["packages"]}
    programs = []
    for own in itertools.chain(of_inference(machine), of_runs(named, machine)):
        print(" | ".join(cells(own)), flush=True)
        programs.append(dataclasses.asdict(own))
        # After every program: some take minutes.
        store.write_json(output, {"machine": machine, "packages": versions, "programs": programs})
    print(f"compiled programs: {output}")


def _scale(arguments: Arguments, name: str) -> Scale:
    return protocol(name, arguments.network if name == "paper" else None)


def predictions(scale: Scale, machine: str) -> Iterator[tuple[str, Prediction]]:
    """By size: its networks, and the stages that figures need of it."""
    for size, own in scale.sizes.items():
        stages = {s for spec in all_figures().values() if size in spec.sizes for s in spec.stages}
        yield size, predict(own, with_needs(own.run, stages), MACHINES[machine])
