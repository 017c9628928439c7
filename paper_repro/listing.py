"""``python -m paper_repro --list``: what each figure shows, needs and costs, and what is done."""

import dataclasses
from collections.abc import Collection, Mapping
from pathlib import Path

from experiments.benchmarks.timing import matmul_rate
from experiments.configs import Protocol
from experiments.costs import Cost, cost, device_name
from experiments.progress import Progress, progress_of
from experiments.runs.data import epochs_of
from experiments.stages.registry import complete_settings, needed
from experiments.worlds.registry import world_of
from figures.figure import all_figures, figure_named
from paper_repro.job import Job
from paper_repro.protocol import Scale, quick, scale_of


def figure_progress(scale: Scale, name: str, sizes: Collection[str], root: Path) -> Progress:
    """Of all that the figure needs at these sizes, checkpoints and stages alike."""
    parts = [
        progress_of(scale.sizes[size], stage, root)
        for size in all_figures()[name].sizes
        if size in sizes
        for stage in needed(scale.sizes[size], all_figures()[name].stages)
    ]
    return sum(parts, Progress(0, 0))


def as_text(job: Job) -> str:
    """The list for a terminal."""
    scale, sizes, root = scale_of(job), job.sizes, job.root
    names = list(dict.fromkeys(map(figure_named, job.figures)))
    rate = matmul_rate()
    blocks = [f"{scale.name}: {scale.purpose}"]
    blocks += [_size_text(size, scale.sizes[size]) for size in scale.sizes if size in sizes]
    blocks += [_figure_text(scale, name, sizes, root, rate) for name in names]
    together = {name: all_figures()[name].sizes for name in names}
    blocks.append(f"all of these together: {_cost_text(scale, together, sizes, root, rate)}")
    small = {name: all_figures()[name].sizes for name in quick()}
    blocks.append(
        f"the middle size alone, {', '.join(quick())}, which `make repro` makes at laptop scale: "
        f"{_cost_text(scale, small, ('middle',), root, rate)}"
    )
    return "\n\n".join(blocks)


def settings_of(own: Protocol) -> dict[str, str]:
    """The settings of one size in words, for the list and the report."""
    run, network, world = own.run, own.run.network, world_of(own.run)
    words = {
        "n": f"{run.split_size} {world.examples} per training set",
        "networks": f"{run.num_splits} splits × {run.num_seeds} seeds",
        "training": f"{run.training.num_epochs} epochs, batch {run.training.batch_size}, rate "
        f"{run.training.learning_rate:g}",
        "checkpoints": f"{len(epochs_of(run)) - 1}, log-spaced from epoch {run.first_checkpoint}",
        "data": f"{world.describe(run)}, test set of {run.test_size}, T = {run.num_steps}, "
        f"seed {run.seed}",
        "network": ", ".join(f"{k} {v}" for k, v in dataclasses.asdict(network).items()),
    }
    further = complete_settings(run, own.stages)
    return words | {
        stage: ", ".join(f"{k} {v}" for k, v in dataclasses.asdict(settings).items())
        for stage, settings in further.items()
    }


def _size_text(size: str, own: Protocol) -> str:
    lines = [f"  {name:<15}{value}" for name, value in settings_of(own).items()]
    return "\n".join([f"size {size}", *lines])


def _figure_text(scale: Scale, name: str, sizes: Collection[str], root: Path, rate: float) -> str:
    spec = all_figures()[name]
    lines = {
        "sizes": ", ".join(spec.sizes),
        "stages": ", ".join(needed(scale.sizes[spec.sizes[0]], spec.stages)),
        "command": f"python -m paper_repro {name} --scale {scale.name}",
        "cost": _cost_text(scale, {name: spec.sizes}, sizes, root, rate),
        "state": str(figure_progress(scale, name, spec.sizes, root)),
    }
    rows = [f"  {key:<9}{value}" for key, value in lines.items()]
    return "\n".join([f"{spec.title}: {spec.content}", *rows])


def _cost_text(
    scale: Scale,
    figures: Mapping[str, Collection[str]],
    sizes: Collection[str],
    root: Path,
    rate: float,
) -> str:
    """Cost of figures, counting once what they share."""
    total = Cost()
    for size, own in scale.sizes.items():
        stages = {
            s for name, its in figures.items() if size in its for s in all_figures()[name].stages
        }
        if stages and size in sizes:
            total += cost(own, needed(own, stages), root)
    return f"{total.text(rate)} on {device_name()}"
