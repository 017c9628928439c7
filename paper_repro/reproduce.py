"""From settings to report: plan, train, measure, test the claims, draw, write it up, each once."""

import dataclasses
import json
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from experiments import configs, store
from experiments.configs import Protocol
from experiments.measure import load_finished, measure_run
from experiments.runs.data import steps_per_epoch
from experiments.runs.members import available_splits
from experiments.runs.training import train_run
from experiments.stages.registry import complete_settings, context_of, stages_of
from experiments.store import Measurements
from experiments.worlds.registry import world_of
from figures import report, style, tables
from figures.claims import Run
from figures.figure import FigureSpec, all_figures, examine_runs, figure_named
from hiermodel.checks import require
from paper_repro.listing import settings_of
from paper_repro.protocol import ALL_SIZES, MAIN_SIZES, Scale, figures_of, protocol

Results = Mapping[str, Measurements]


@dataclasses.dataclass(frozen=True)
class Job:
    """What is to be reproduced, and where.

    Attributes:
        scale: settings of every size.
        measured: settings of the sizes that can be measured, with as many splits as are trained.
        root: where run folders and reports are.
        sizes: the sizes that may be trained and measured; of others, only what is finished counts.
        seed: in place of the protocol's own; None for that.
        images: in place of the protocol's own; None for those.
        network: in place of the scale's own; None for that.
        compute: whether to train and measure at all, or only draw what is finished.
        progress: show progress bars.
    """

    scale: Scale
    measured: Mapping[str, Protocol]
    root: Path
    sizes: Collection[str] = ALL_SIZES
    seed: int | None = None
    images: Path | None = None
    network: str | None = None
    compute: bool = True
    progress: bool = True

    @property
    def folder(self) -> Path:
        """Of the report."""
        network = "" if self.network is None else f"-{self.network}"
        seed = "" if self.seed is None else f"-seed-{self.seed}"
        return self.root / f"report-{self.scale.name}{network}{seed}"

    @property
    def options(self) -> str:
        """What makes this job on the command line, beside the figures."""
        seed = "" if self.seed is None else f" --seed {self.seed}"
        sizes = "" if set(self.sizes) == set(ALL_SIZES) else f" --sizes {' '.join(self.sizes)}"
        images = "" if self.images is None else f" --images {self.images}"
        network = "" if self.network is None else f" --network {self.network}"
        return f"{sizes} --scale {self.scale.name}{network}{seed}{images}".strip()


def reproduce(
    scale: str,
    root: Path | str = "runs",
    *,
    figures: Collection[str] = (),
    sizes: Collection[str] = ALL_SIZES,
    seed: int | None = None,
    images: Path | None = None,
    network: str | None = None,
    compute: bool = True,
    progress: bool = True,
) -> Path:
    """Train and measure what the figures need and is not finished, draw them, write the report.

    Figures that the report holds already, from the same settings, stay in it.

    Args:
        scale: "smoke", "laptop", "desk" or "paper".
        root: where run folders and reports are.
        figures: their ids, or ids of the paper's figures that are parts of them; all if none.
        sizes: training-set sizes to run; figures show others as far as they are finished.
        seed: in place of the protocol's own seed.
        images: a folder of pictures or an array file, in place of the protocol's images.
        network: as in :func:`paper_repro.protocol.protocol`.
        compute: False draws what is finished and runs nothing.
        progress: show progress bars.

    Returns:
        The folder with report.html, report.json, figures and measurements.

    Raises:
        ValueError: for an unknown scale, figure or size, or a negative seed.
    """
    wanted = {figure_named(name) for name in figures}
    for size in sizes:
        require(size in ALL_SIZES, "sizes", size, f"out of {list(ALL_SIZES)}")
    settings = protocol(scale, network).with_seed(seed)
    settings = settings.with_images(images, Path(root), progress=progress)
    _check_figures(settings, wanted)
    wanted = wanted or {*figures_of(settings)}
    measured = {}
    for size in settings.sizes:
        makes = compute and size in sizes
        own = settings.sizes[size] if makes else _trained(settings.sizes[size], Path(root))
        if own is not None:
            measured[size] = own
    given = (tuple(sizes), seed, images, network)
    job = Job(settings, measured, Path(root), *given, compute, progress)
    _make(job, [name for name in all_figures() if name in wanted])
    return job.folder


def _check_figures(settings: Scale, names: Collection[str]) -> None:
    """Refuse figures whose runs a scale has not."""
    shown = figures_of(settings)
    for name in names:
        require(name in shown, "figures", name, f"out of {[*shown]} at {settings.name} scale")


def _make(job: Job, names: Sequence[str]) -> None:
    """Train every run once, make every stage once, then draw all and write the report once."""
    results = {size: _results(job, size, _stages(job, size, names)) for size in job.measured}
    shown = {size: own for size, own in results.items() if own}
    if shown:
        _write_report(job, {name: _figure_entry(job, name, shown) for name in _drawn(shown, names)})


def _stages(job: Job, size: str, names: Sequence[str]) -> set[str]:
    """All stages that figures read of a size."""
    known = all_figures()
    return {stage for name in names if size in known[name].sizes for stage in known[name].stages}


def _drawn(shown: Mapping[str, Results], names: Sequence[str]) -> list[str]:
    """The figures for which anything is measured."""
    known = all_figures()
    return [
        name
        for name in names
        if any(set(known[name].stages) & set(shown.get(size, {})) for size in known[name].sizes)
    ]


def _trained(own: Protocol, root: Path) -> Protocol | None:
    """The settings of a size; with fewer splits if some are trained and others are not yet.

    None if there are not even the two splits that a comparison takes.
    """
    num_splits = available_splits(own.run, root)
    if num_splits in (0, own.run.num_splits):
        return own
    if num_splits < 2:
        return None
    return dataclasses.replace(own, run=dataclasses.replace(own.run, num_splits=num_splits))


def _results(job: Job, size: str, stages: Collection[str]) -> Results:
    """The stages of one size, made now if the job may do so."""
    own = job.measured[size]
    if stages and job.compute and size in job.sizes:
        train_run(own.run, job.root, progress=job.progress)
        return measure_run(own, job.root, wanted=stages, progress=job.progress)
    return load_finished(own, job.root, wanted=stages)


def _figure_entry(job: Job, name: str, results: Mapping[str, Results]) -> dict[str, Any]:
    """Draw a figure, save its data, and describe both for the report."""
    spec = all_figures()[name]
    kept = {*spec.stages, "onsets", "ensemble"}
    shown = {
        size: {
            stage: measured for stage, measured in results.get(size, {}).items() if stage in kept
        }
        for size in spec.sizes
        if (size in job.sizes and size in job.scale.sizes) or size in results
    }
    labelled = {_label_of(job.scale.sizes[size]): own for size, own in shown.items()}
    paths = style.save(spec.draw(labelled), job.folder, f"figure_{name}")
    data, numbers = [], []
    for size, own in shown.items():
        for stage, measured in own.items():
            if stage == "ensemble":  # in "settings" already
                continue
            data.append(f"{size}-{stage}.npz")
            store.save_measurements(job.folder / data[-1], measured)
            numbers.append(f"{size}-{stage}.csv")
            make = tables.table_of_onsets if stage == "onsets" else tables.table_of
            (job.folder / numbers[-1]).write_text(tables.as_csv(make(measured)))
    return {
        "title": spec.title,
        "content": spec.content,
        "caption": spec.caption,
        "state": _state(job, spec, shown),
        "pictures": [{"about": "", **{path.suffix[1:]: path.name for path in paths}}],
        "data": data,
        "tables": numbers,
        "settings": {s: settings_of(job.measured.get(s, job.scale.sizes[s])) for s in shown},
        "identities": _identities(job, spec.sizes),
        "command": f"python -m paper_repro {name} {job.options}",
    }


def _state(job: Job, spec: FigureSpec, shown: Mapping[str, Results]) -> str:
    """Whether the figure shows all that it should, and if not, how much of it."""
    wanted = len(shown) * len(spec.stages)
    made = sum(stage in own for own in shown.values() for stage in spec.stages)
    lacking = [] if made == wanted else [f"{made} of {wanted} stages"]
    for size in shown:
        there, all_splits = job.measured.get(size), job.scale.sizes[size].run.num_splits
        if there is not None and there.run.num_splits < all_splits:
            lacking.append(f"{there.run.num_splits} of {all_splits} splits ({size})")
    return f"partial: {', '.join(lacking)}" if lacking else "finished"


def _identities(job: Job, sizes: Collection[str]) -> dict[str, str]:
    """What a figure's numbers depend on: of each size, one hash over all its settings."""
    return {
        size: configs.identity(own.run, *complete_settings(own.run, own.stages).values())
        for size, own in job.measured.items()
        if size in sizes
    }


def _write_report(job: Job, entries: Mapping[str, Any]) -> None:
    """Write the report with these figures in it, and the claims of all figures that it shows."""
    file, specs = job.folder / "report.json", all_figures()
    known = store.read_json(file)["figures"] if file.exists() else {}
    current = {
        name: known[name]
        for name in known
        if name in specs  # an older report may hold others
        and known[name].get("identities") == _identities(job, specs[name].sizes)
    }
    shown = {name: {**current, **entries}[name] for name in specs if name in {*current, *entries}}
    runs = {size: _run(job, size) for size in job.measured}
    runs = {size: run for size, run in runs.items() if run.results}
    summary = {
        "scale": job.scale.name,
        "seed": job.seed,
        "purpose": job.scale.purpose,
        "command": f"python -m paper_repro {' '.join(shown)} {job.options}",
        "figures": shown,
        "claims": [claim.to_json() for claim in examine_runs(runs, tuple(shown))],
        "runs": {size: _run_json(job, size) for size in runs},
    }
    store.write_json(file, summary)
    report.write(job.folder)


def _label_of(own: Protocol) -> str:
    return world_of(own.run).label(own.run) if own.label is None else own.label


def _run(job: Job, size: str) -> Run:
    own = job.measured[size]
    run = own.run
    steps = steps_per_epoch(run)
    results = load_finished(own, job.root, wanted=stages_of(run))
    label = "" if size in MAIN_SIZES else _label_of(own)
    samples = complete_settings(run, own.stages)["samples"].num_samples
    return Run(results, run.num_splits, run.num_seeds, size, run.split_size, steps, label, samples)


def _test_set(job: Job, own: Protocol) -> str:
    """What the test set is, and how much of it was trained on, where that is known."""
    finished = load_finished(own, job.root, wanted=("evaluation",))
    found = finished.get("evaluation", {}).get("test_in_train")
    text = f"{own.run.test_size} {world_of(own.run).examples}"
    if found is None:
        return text
    count = int(found.values.sum())
    share = count / own.run.test_size
    return f"{text}, drawn from the law; {count} ({share:.1%}) are also in a training set"


def _run_json(job: Job, size: str) -> dict[str, Any]:
    own = job.measured[size]
    folder = context_of(own, job.root).run
    seeds = "1 seed" if own.run.num_seeds == 1 else f"{own.run.num_seeds} seeds"
    return {
        "identity": configs.identity(own.run),
        "settings": {
            "run": configs.to_json(own.run),
            **{
                stage: configs.to_json(settings)
                for stage, settings in complete_settings(own.run, own.stages).items()
            },
        },
        "networks": f"{_label_of(own)}: {own.run.num_splits} disjoint splits × {seeds}, "
        f"{own.run.split_size} {world_of(own.run).examples} each",
        "test set": _test_set(job, own),
        "provenance": json.loads(folder.provenance_file.read_text()),
        "seconds": folder.timings(),
    }
