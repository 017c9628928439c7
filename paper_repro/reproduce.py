"""From settings to report: plan, train, measure, test the claims, draw, write it up, each once."""

import dataclasses
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
from paper_repro.job import ALL_SIZES, Job
from paper_repro.listing import settings_of
from paper_repro.protocol import MAIN_SIZES, Scale, figures_of, scale_of

Results = Mapping[str, Measurements]


@dataclasses.dataclass(frozen=True)
class Plan:
    """A job with its settings.

    Attributes:
        job: what is asked for.
        scale: settings of every size.
        measured: settings of the sizes that can be measured, with as many splits as are trained.
    """

    job: Job
    scale: Scale
    measured: Mapping[str, Protocol]


def reproduce(job: Job) -> Path:
    """Train and measure what the figures need and is not finished, draw them, write the report.

    Figures that the report holds already, from the same settings, stay in it.

    Returns:
        The folder with report.html, report.json, figures and measurements.

    Raises:
        ValueError: for an unknown scale, figure or size, or a negative seed.
    """
    wanted = {figure_named(name) for name in job.figures}
    for size in job.sizes:
        require(size in ALL_SIZES, "sizes", size, f"out of {list(ALL_SIZES)}")
    scale = scale_of(job)
    _check_figures(scale, wanted)
    wanted = wanted or {*figures_of(scale)}
    plan = Plan(job, scale, _measured(job, scale))
    _make(plan, [name for name in all_figures() if name in wanted])
    return job.folder


def _check_figures(settings: Scale, names: Collection[str]) -> None:
    """Refuse figures that need runs which a scale has not."""
    shown = figures_of(settings)
    for name in names:
        require(name in shown, "figures", name, f"out of {[*shown]} at {settings.name} scale")


def _make(plan: Plan, names: Sequence[str]) -> None:
    """Train every run once, make every stage once, then draw all and write the report once."""
    results = {size: _results(plan, size, _stages(plan, size, names)) for size in plan.measured}
    shown = {size: own for size, own in results.items() if own}
    if shown:
        drawn = {name: _figure_entry(plan, name, shown) for name in _drawn(shown, names)}
        _write_report(plan, drawn)


def _stages(plan: Plan, size: str, names: Sequence[str]) -> set[str]:
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


def _measured(job: Job, scale: Scale) -> dict[str, Protocol]:
    """Settings by size; with fewer splits where some are trained and no more will be.

    Sizes with fewer splits than a comparison takes, two, are left out.
    """
    found = {}
    for size, own in scale.sizes.items():
        there = available_splits(own.run, job.root)
        if job.makes(size) or there in (0, own.run.num_splits):
            found[size] = own
        elif there > 1:
            run = dataclasses.replace(own.run, num_splits=there)
            found[size] = dataclasses.replace(own, run=run)
    return found


def _results(plan: Plan, size: str, stages: Collection[str]) -> Results:
    """The stages of one size, made now if the job may do so."""
    own = plan.measured[size]
    if stages and plan.job.makes(size):
        train_run(own.run, plan.job.root, progress=plan.job.progress)
        return measure_run(own, plan.job.root, wanted=stages, progress=plan.job.progress)
    return load_finished(own, plan.job.root, wanted=stages)


def _figure_entry(plan: Plan, name: str, results: Mapping[str, Results]) -> dict[str, Any]:
    """Draw a figure, save its data, and describe both for the report."""
    spec = all_figures()[name]
    kept = {*spec.stages, "onsets", "ensemble"}
    shown = {
        size: {
            stage: measured for stage, measured in results.get(size, {}).items() if stage in kept
        }
        for size in spec.sizes
        if (size in plan.job.sizes and size in plan.scale.sizes) or size in results
    }
    labelled = {_label_of(plan.scale.sizes[size]): own for size, own in shown.items()}
    paths = style.save(spec.draw(labelled), plan.job.folder, f"figure_{name}")
    data, numbers = [], []
    for size, own in shown.items():
        for stage, measured in own.items():
            if stage == "ensemble":  # in "settings" already
                continue
            data.append(f"{size}-{stage}.npz")
            store.save_measurements(plan.job.folder / data[-1], measured)
            numbers.append(f"{size}-{stage}.csv")
            make = tables.table_of_onsets if stage == "onsets" else tables.table_of
            (plan.job.folder / numbers[-1]).write_text(tables.as_csv(make(measured)))
    return {
        "title": spec.title,
        "content": spec.content,
        "caption": spec.caption,
        "state": _state(plan, spec, shown),
        "pictures": [{"about": "", **{path.suffix[1:]: path.name for path in paths}}],
        "data": data,
        "tables": numbers,
        "settings": {s: settings_of(plan.measured.get(s, plan.scale.sizes[s])) for s in shown},
        "identities": _identities(plan, spec.sizes),
        "command": f"python -m paper_repro {name} {plan.job.options}",
    }


def _state(plan: Plan, spec: FigureSpec, shown: Mapping[str, Results]) -> str:
    """Whether the figure shows all that it should, and if not, how much of it."""
    wanted = len(shown) * len(spec.stages)
    made = sum(stage in own for own in shown.values() for stage in spec.stages)
    lacking = [] if made == wanted else [f"{made} of {wanted} stages"]
    for size in shown:
        there, all_splits = plan.measured.get(size), plan.scale.sizes[size].run.num_splits
        if there is not None and there.run.num_splits < all_splits:
            lacking.append(f"{there.run.num_splits} of {all_splits} splits ({size})")
    return f"partial: {', '.join(lacking)}" if lacking else "finished"


def _identities(plan: Plan, sizes: Collection[str]) -> dict[str, str]:
    """What a figure's numbers depend on: of each size, one hash over all its settings."""
    return {
        size: configs.identity(own.run, *complete_settings(own.run, own.stages).values())
        for size, own in plan.measured.items()
        if size in sizes
    }


def _write_report(plan: Plan, entries: Mapping[str, Any]) -> None:
    """Write the report with these figures in it, and the claims of all figures that it shows."""
    file, specs = plan.job.folder / "report.json", all_figures()
    known = store.read_json(file)["figures"] if file.exists() else {}
    current = {
        name: known[name]
        for name in known
        if name in specs  # an older report may hold others
        and known[name].get("identities") == _identities(plan, specs[name].sizes)
    }
    shown = {name: {**current, **entries}[name] for name in specs if name in {*current, *entries}}
    runs = {size: _run(plan, size) for size in plan.measured}
    runs = {size: run for size, run in runs.items() if run.results}
    summary = {
        "scale": plan.job.scale,
        "seed": plan.job.seed,
        "purpose": plan.scale.purpose,
        "command": f"python -m paper_repro {' '.join(shown)} {plan.job.options}",
        "figures": shown,
        "claims": [claim.to_json() for claim in examine_runs(runs, tuple(shown))],
        "runs": {size: _run_json(plan, size) for size in runs},
    }
    store.write_json(file, summary)
    report.write(plan.job.folder)


def _label_of(own: Protocol) -> str:
    return world_of(own.run).label(own.run) if own.label is None else own.label


def _run(plan: Plan, size: str) -> Run:
    own = plan.measured[size]
    run = own.run
    steps = steps_per_epoch(run)
    results = load_finished(own, plan.job.root, wanted=stages_of(run))
    label = "" if size in MAIN_SIZES else _label_of(own)
    samples = complete_settings(run, own.stages)["samples"].num_samples
    return Run(results, run.num_splits, run.num_seeds, size, run.split_size, steps, label, samples)


def _test_set(plan: Plan, own: Protocol) -> str:
    """What the test set is, and how much of it was trained on, where that is known."""
    finished = load_finished(own, plan.job.root, wanted=("evaluation",))
    found = finished.get("evaluation", {}).get("test_in_train")
    text = f"{own.run.test_size} {world_of(own.run).examples}"
    if found is None:
        return text
    count = int(found.values.sum())
    share = count / own.run.test_size
    return f"{text}, drawn from the law; {count} ({share:.1%}) are also in a training set"


def _run_json(plan: Plan, size: str) -> dict[str, Any]:
    own = plan.measured[size]
    folder = context_of(own, plan.job.root).run
    seeds = "1 seed" if own.run.num_seeds == 1 else f"{own.run.num_seeds} seeds"
    settings = {"run": own.run, **complete_settings(own.run, own.stages)}
    return {
        "identity": configs.identity(own.run),
        "settings": {name: configs.to_json(each) for name, each in settings.items()},
        "networks": f"{_label_of(own)}: {own.run.num_splits} disjoint splits × {seeds}, "
        f"{own.run.split_size} {world_of(own.run).examples} each",
        "test set": _test_set(plan, own),
        "provenance": store.read_json(folder.provenance_file),
        "seconds": folder.timings(),
    }
