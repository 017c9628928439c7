"""``python -m paper_repro --list``: what each figure shows, needs and costs, and what is done."""

import dataclasses
from collections.abc import Callable, Collection, Iterable, Mapping
from pathlib import Path

import jax

from experiments import configs
from experiments.benchmarks.timing import matmul_rate
from experiments.blocks import Block
from experiments.images.configs import ImageRunConfig
from experiments.pipeline import READS, Context
from experiments.store import RunFolder
from experiments.train import AnyRunConfig, blocks_folder, epochs_of
from paper_repro.costs import COMPILATION, EFFICIENCY, cost
from paper_repro.protocol import FIGURES, QUICK, Scale
from paper_repro.scale import Protocol


@dataclasses.dataclass(frozen=True)
class Progress:
    """How far something is.

    Attributes:
        done: pieces that are there.
        total: pieces in all.
    """

    done: int
    total: int

    def __add__(self, other: "Progress") -> "Progress":
        return Progress(self.done + other.done, self.total + other.total)

    @property
    def finished(self) -> bool:
        """Whether all is there."""
        return self.done == self.total

    def __str__(self) -> str:
        if self.finished:
            return "finished"
        return f"partial, {self.done} of {self.total}" if self.done else "not started"


def stages_with_needs(stages: Iterable[str]) -> list[str]:
    """Measuring stages with those that they read, in the order in which they are made."""
    needed: set[str] = set()
    unseen = set(stages)
    while unseen:
        needed |= unseen
        unseen = {other for name in unseen for other in READS[name]} - needed
    return [name for name in READS if name in needed]


def context_of(own: Protocol, root: Path) -> Context:
    """Paths and settings of one size's run; unlike opening the run, this creates nothing."""
    folder = RunFolder(root / configs.identity(own.run)[:16])
    settings = {
        "evaluation": own.evaluation,
        "samples": own.generation,
        "comparison": own.generation,
    }
    return Context(own.run, {**settings, **own.stages}, folder)


def progress_of(own: Protocol, stage: str, root: Path) -> Progress:
    """Checkpoints of a training that are there; or 1 of 1 for a stage that is finished."""
    context = context_of(own, root)
    if stage == "train":
        return _training_progress(own, context.run)
    return Progress(int(context.file(stage).exists()), 1)


def figure_progress(scale: Scale, name: str, sizes: Collection[str], root: Path) -> Progress:
    """Of all that the figure needs at these sizes, checkpoints and stages alike."""
    stages = ("train", *stages_with_needs(FIGURES[name].stages))
    parts = [
        progress_of(scale.sizes[size], stage, root)
        for size in FIGURES[name].sizes
        if size in sizes
        for stage in stages
    ]
    return sum(parts, Progress(0, 0))


def _training_progress(own: Protocol, run: RunFolder) -> Progress:
    """Checkpoints of the ensemble, or of its members if they are trained in blocks."""
    epochs = set(epochs_of(own.run))
    blocks = blocks_folder(own.run, run)
    if run.checkpoints.exists() or not blocks.exists():
        return Progress(len(epochs & _saved(run.checkpoints)), len(epochs))
    there: dict[tuple[int, int], set[int]] = {}
    for folder in blocks.iterdir():
        for split, seed in Block.from_name(folder.name).members():
            if split < own.run.num_splits and seed < own.run.num_seeds:
                known = there.setdefault((split, seed), set())
                known |= epochs & _saved(folder)
    total = own.run.num_splits * own.run.num_seeds * len(epochs)
    return Progress(sum(map(len, there.values())), total)


def _saved(checkpoints: Path) -> set[int]:
    folder = checkpoints / "params"
    names = (path.name for path in folder.iterdir()) if folder.exists() else ()
    return {int(name) for name in names if name.isdigit()}


@dataclasses.dataclass(frozen=True)
class Pace:
    """How fast a stage is expected to go.

    Attributes:
        rates: operations per second by stage, from finished stages of this scale.
        assumed: for the other stages.
    """

    rates: Mapping[str, float]
    assumed: float

    def seconds(self, operations: Mapping[str, float]) -> float:
        """Expected time of these operations."""
        return sum(
            number / self.rates[stage]
            if stage in self.rates
            else COMPILATION + number / self.assumed
            for stage, number in operations.items()
        )

    def source(self, operations: Iterable[str]) -> str:
        """Where the expectation comes from."""
        known = [stage for stage in operations if stage in self.rates]
        assumed = f"a matrix product's rate × {EFFICIENCY} + {COMPILATION:g} s to compile a stage"
        return f"finished runs for {', '.join(known)}, else {assumed}" if known else assumed


def measured_pace(scale: Scale, root: Path, rate: Callable[[], float] = matmul_rate) -> Pace:
    """The pace of finished stages of this scale, and of a large matrix product."""
    operations: dict[str, float] = {}
    seconds: dict[str, float] = {}
    for own in scale.sizes.values():
        timings = context_of(own, root).run.timings()
        for stage, number in cost(own, [s for s in timings if s in READS]).operations.items():
            if stage in timings and progress_of(own, stage, root).finished and number:
                operations[stage] = operations.get(stage, 0.0) + number
                seconds[stage] = seconds.get(stage, 0.0) + timings[stage]
    rates = {stage: operations[stage] / max(seconds[stage], 1e-3) for stage in operations}
    return Pace(rates, rate() * 1e9 * EFFICIENCY)


def as_text(scale: Scale, names: Collection[str], sizes: Collection[str], root: Path) -> str:
    """The list for a terminal."""
    pace = measured_pace(scale, root)
    blocks = [f"{scale.name}: {scale.purpose}"]
    blocks += [_size_text(size, scale.sizes[size]) for size in scale.sizes if size in sizes]
    blocks += [_figure_text(scale, name, sizes, root, pace) for name in names]
    together = {name: FIGURES[name].sizes for name in names}
    blocks.append(f"all of these together: {_cost_text(scale, together, sizes, pace)}")
    quick = {name: FIGURES[name].sizes for name in QUICK}
    blocks.append(
        f"the middle size alone, {', '.join(QUICK)}, which `make repro` makes at laptop scale: "
        f"{_cost_text(scale, quick, ('middle',), pace)}"
    )
    return "\n\n".join(blocks)


def settings_of(own: Protocol) -> dict[str, str]:
    """The settings of one size in words, for the list and the report."""
    run, network = own.run, own.run.network
    words = {
        "n": f"{run.split_size} {examples(run)} per training set",
        "networks": f"{run.num_splits} splits × {run.num_seeds} seeds",
        "training": f"{run.training.num_epochs} epochs, batch {run.training.batch_size}, rate "
        f"{run.training.learning_rate:g}",
        "checkpoints": f"{len(epochs_of(run)) - 1}, log-spaced from epoch {run.first_checkpoint}",
        "data": f"{_data_words(run)}, T = {run.num_steps}, seed {run.seed}",
        "network": ", ".join(f"{k} {v}" for k, v in dataclasses.asdict(network).items()),
    }
    further = {"evaluation": own.evaluation, "samples": own.generation, **own.stages}
    return words | {
        stage: ", ".join(f"{k} {v}" for k, v in dataclasses.asdict(settings).items())
        for stage, settings in further.items()
    }


def examples(run: AnyRunConfig) -> str:
    """What the run's data are examples of."""
    return "images" if isinstance(run, ImageRunConfig) else "sequences"


def label_of(run: AnyRunConfig) -> str:
    """What tells a run from others in a figure or statement."""
    if not isinstance(run, ImageRunConfig):
        return f"n = {run.split_size}"
    level = run.data.filter_level
    coarse = f"blocks of {2**level} × {2**level}"
    return {"none": "whole", "haar": coarse, "pca": f"{level} components"}[run.data.filtering]


def _data_words(run: AnyRunConfig) -> str:
    if not isinstance(run, ImageRunConfig):
        return f"depth {run.grammar.depth}"
    return f"{run.data.source}, {label_of(run)}, test set of {run.test_size}"


def _size_text(size: str, own: Protocol) -> str:
    lines = [f"  {name:<15}{value}" for name, value in settings_of(own).items()]
    return "\n".join([f"size {size}", *lines])


def _figure_text(scale: Scale, name: str, sizes: Collection[str], root: Path, pace: Pace) -> str:
    spec = FIGURES[name]
    lines = {
        "sizes": ", ".join(spec.sizes),
        "stages": ", ".join(["train", *stages_with_needs(spec.stages)]),
        "command": f"python -m paper_repro {name} --scale {scale.name}",
        "cost": _cost_text(scale, {name: spec.sizes}, sizes, pace),
        "state": str(figure_progress(scale, name, spec.sizes, root)),
    }
    rows = [f"  {key:<9}{value}" for key, value in lines.items()]
    return "\n".join([f"{spec.title}: {spec.content}", *rows])


def _cost_text(
    scale: Scale, figures: Mapping[str, Collection[str]], sizes: Collection[str], pace: Pace
) -> str:
    """Cost of figures, counting once what they share."""
    operations, disk, seconds, sources = 0.0, 0.0, 0.0, set[str]()
    for size, own in scale.sizes.items():
        stages = {s for name, its in figures.items() if size in its for s in FIGURES[name].stages}
        if not stages or size not in sizes:
            continue
        expected = cost(own, stages_with_needs(stages))
        operations += expected.total
        disk += expected.disk
        seconds += pace.seconds(expected.operations)
        sources |= set(expected.operations)
    return (
        f"{operations:.1e} FLOP, {_duration(seconds)} on {_device()} (from "
        f"{pace.source(sorted(sources))}), {disk / 1e6:,.0f} MB"
    )


def _duration(seconds: float) -> str:
    for size, unit in ((86400, "days"), (3600, "hours"), (60, "minutes")):
        if seconds >= size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.0f} seconds"


def _device() -> str:
    devices = jax.devices()
    return f"{len(devices)} × {devices[0].device_kind}"
