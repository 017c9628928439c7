"""The report of a study, from what is finished: table, pictures, claims, answer, one HTML file."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import tyro
from matplotlib.figure import Figure

from experiments import configs, store
from experiments.study.commands import keep_off_accelerators
from experiments.study.design import Study
from experiments.study.files import load_study
from experiments.study.outcome import Outcome, outcome
from experiments.study.state import Standing, State, standing
from experiments.study.summary import counts, settings_text, study_folder
from experiments.study.table import per_run, save_table
from figures import report as pages
from figures import style
from figures.figure import study_pictures
from hiermodel.checks import InputError


@dataclasses.dataclass(frozen=True)
class Arguments:
    """Write answer, figures and tables of a study as one page, from what is done of it.

    Attributes:
        study: as of `run`.
        root: where run folders are; the page is ROOT/studies/NAME/report.html.
        seed: as of `run`.
    """

    study: tyro.conf.Positional[str]
    root: Path = Path("runs")
    seed: int | None = None


def report(arguments: Arguments) -> None:
    """Do what the command line says."""
    keep_off_accelerators()
    print(f"report: {write_report(arguments.study, arguments.root, arguments.seed)}")


def write_report(source: str | Path, root: Path, seed: int | None = None) -> Path:
    """Write table, pictures and HTML of what is finished of a study.

    Args:
        source: file or name of the study.
        root: where run folders are; the report goes to ``root/studies/<name>``.
        seed: in place of the study's own.

    Returns:
        The HTML file.

    Raises:
        ValueError: if nothing is finished yet, or the source is no study.
    """
    study = load_study(source, seed)
    folder, found = study_folder(study, root), outcome(study, root)
    if not len(found.table):
        raise InputError(f"nothing of study {study.name!r} is measured yet in {root}: run it first")
    standings = [standing(study, config, root) for config in study.runs()]
    complete = all(stands.state == State.DONE for stands in standings)
    save_table(found.table, folder, "networks")
    save_table(per_run(found.table), folder, "runs")
    answered = study.answer(found) if complete and study.answer is not None else None
    state = "finished" if complete else f"partial: {counts(standings)}"
    asked = f"{source}" if seed is None else f"{source} --seed {seed}"
    summary = {
        "title": f"Study {study.name}",
        "study": study.name,
        "question": study.question,
        "answer": answered.paragraph if answered else None,
        "purpose": f"{len(standings)} runs: {counts(standings)}.",
        "command": f"python -m experiments run {asked}",
        "picture": study.picture,
        "figures": {
            name: _entry(study, name, figure, folder, state, asked)
            for name, figure in _pictures(found, complete).items()
        },
        "claims": [
            {**claim.to_json(), "figure": study.picture}
            for claim in (answered.claims if answered else ())
        ],
        "tables": {
            title: table.to_dict("split", index=False)
            for title, table in (answered.tables if answered else {}).items()
        },
        "runs": {
            settings_text(study, stands.config): _run_json(study, stands)
            for stands in standings
            if stands.state == State.DONE
        },
    }
    store.write_json(folder / "report.json", summary)
    return pages.write(folder)


def _pictures(found: Outcome, complete: bool) -> dict[str, Figure]:
    """All pictures that the results allow, the study's own first."""
    own = found.study.picture
    names: Sequence[str] = sorted(study_pictures(), key=lambda name: (name != own, name))
    drawn = {name: study_pictures()[name].draw(found) for name in names}
    figures = {name: figure for name, figure in drawn.items() if figure is not None}
    if not complete:
        for figure in figures.values():
            style.mark_partial(figure)
    return figures


def _entry(
    study: Study, name: str, figure: Figure, folder: Path, state: str, asked: str
) -> dict[str, Any]:
    picture = study_pictures()[name]
    paths = style.save(figure, folder, name)
    measures = study.measures_of(study.base)
    return {
        "title": picture.title,
        "content": picture.content,
        "caption": picture.caption,
        "state": state,
        "pictures": [{"about": "", **{path.suffix[1:]: path.name for path in paths}}],
        "data": [],
        "tables": list(picture.tables),
        "settings": {"all": {stage: str(its) for stage, its in measures.items()}},
        "command": f"python -m experiments report {asked}",
    }


def _run_json(study: Study, stands: Standing) -> dict[str, Any]:
    folder, timings = stands.folder, stands.folder.timings()
    return {
        "identity": configs.identity(stands.config),
        "settings": configs.to_json(stands.config),
        "networks": f"{stands.config.num_splits * stands.config.num_seeds}",
        "provenance": store.read_json(folder.provenance_file),
        "seconds": {stage: timings[stage] for stage in stands.stages if stage in timings},
    }
