"""The report of a study, from what is finished: table, pictures, claims, answer, one HTML file.

``publish`` puts its result into the project: picture and table into the gallery, question and
answer into the guide to experiments.
"""

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from experiments import configs, store
from experiments.claim import Claim
from experiments.costs import duration
from experiments.study.design import Study
from experiments.study.files import load_study
from experiments.study.state import Standing, State, standing
from experiments.study.summary import counts, settings_text, study_folder
from experiments.study.table import Table, per_run, save_table, study_table
from figures import report, study_curves, study_levels, study_phases, style
from figures.markdown import claims_table, fill
from hiermodel.checks import InputError

PROJECT = Path(__file__).parents[1]
GALLERY = "figures/gallery/studies"
GUIDE = "experiments/README.md"

CONTENT = {
    "phases": ("Phase diagram", "onset of bias, test-loss minimum and copies against what varies"),
    "levels": ("Levels", "when each filter level is learned, against what varies"),
    "curves": ("Along training", "every run's curves along training"),
}
"""Title and content of every picture."""


def write_report(source: str | Path, root: Path) -> Path:
    """Write table, pictures and HTML of what is finished of a study.

    Args:
        source: file or name of the study.
        root: where run folders are; the report goes to ``root/studies/<name>``.

    Returns:
        The HTML file.

    Raises:
        ValueError: if nothing is finished yet, or the source is no study.
    """
    study = load_study(source)
    folder = study_folder(study, root)
    table = study_table(study, root)
    if not len(table.rows):
        raise InputError(f"nothing of study {study.name!r} is measured yet in {root}: run it first")
    standings = [standing(study, config, root) for config in study.runs()]
    complete = all(stands.state == State.DONE for stands in standings)
    save_table(table, folder, "networks")
    save_table(per_run(table), folder, "runs")
    answered = study.answer(table) if complete and study.answer is not None else None
    pictures = _pictures(study, table, root, standings)
    state = "finished" if complete else f"partial: {counts(standings)}"
    summary = {
        "title": f"Study {study.name}",
        "study": study.name,
        "question": study.question,
        "answer": answered.paragraph if answered else None,
        "purpose": f"{len(standings)} runs: {counts(standings)}.",
        "command": f"python -m experiments run {source}",
        "figures": {
            name: _entry(study, name, figure, folder, state, str(source))
            for name, figure in pictures.items()
        },
        "claims": [_claim_json(claim, study) for claim in answered.claims] if answered else [],
        "runs": {
            settings_text(study, stands.config): _run_json(study, stands)
            for stands in standings
            if stands.state == State.DONE
        },
    }
    store.write_json(folder / "report.json", summary)
    return report.write(folder)


def publish(source: str | Path, root: Path, project: Path = PROJECT) -> list[Path]:
    """Put a finished study's result into the project.

    Returns:
        The files written.

    Raises:
        ValueError: if the study is not finished, has no answer, or the guide no place for it.
    """
    study = load_study(source)
    folder = write_report(source, root).parent
    summary = store.read_json(folder / "report.json")
    if not summary["answer"]:
        raise InputError(f"study {study.name!r} is not finished, or has no answer: run it first")
    gallery = project / GALLERY
    gallery.mkdir(parents=True, exist_ok=True)
    written = []
    (picture,) = summary["figures"][study.picture]["pictures"]
    for file, ending in ((picture["png"], "png"), (picture["pdf"], "pdf"), ("runs.csv", "csv")):
        written.append(gallery / f"{study.name}.{ending}")
        shutil.copyfile(folder / file, written[-1])
    kept = ("title", "study", "question", "answer", "purpose", "command", "claims", "runs")
    written.append(gallery / f"{study.name}.json")
    store.write_json(written[-1], {name: summary[name] for name in kept})
    guide = project / GUIDE
    text = guide.read_text()
    if markers(study.name)[0] in text:
        guide.write_text(fill(text, result_text(summary), *markers(study.name)))
        written.append(guide)
    return written


def markers(name: str) -> tuple[str, str]:
    """Between which a study's result stands in the guide."""
    return f"<!-- study {name}: begin -->", f"<!-- study {name}: end -->"


def result_text(summary: Mapping[str, Any]) -> str:
    """Question, answer, picture and claims, in Markdown."""
    name, runs = summary["study"], summary["runs"].values()
    cores = " or ".join(sorted({str(run["provenance"]["cores"]) for run in runs}))
    spent = duration(sum(sum(run["seconds"].values()) for run in runs))
    picture = f"../{GALLERY}/{name}"
    return "\n\n".join(
        [
            f"**{summary['question']}** {summary['answer']}",
            f"![{summary['question']}]({picture}.png)",
            f"{len(runs)} runs, {spent} on {cores} cores; `{summary['command']}`, numbers in "
            f"[{name}.csv]({picture}.csv), settings in [{name}.json]({picture}.json).",
            f"<details><summary>{len(summary['claims'])} claims</summary>",
            claims_table(summary["claims"]),
            "</details>",
        ]
    )


def _pictures(
    study: Study, table: Table, root: Path, standings: Sequence[Standing]
) -> dict[str, Figure]:
    """All pictures that the results allow, the study's own first."""
    rows, names = table.rows, table.rows.dtype.names or ()
    against = study.against or study.varied[:2] or ("seed",)
    figures = {}
    if "tau_test" in names:
        figures["phases"] = study_phases.draw(rows, against)
    if "tau_level_0" in names:
        figures["levels"] = study_levels.draw(rows, against)
    runs = {}
    for stands in standings:
        results = study.kind.load(stands.config, study.measures, root)
        name = settings_text(study, stands.config).split("  (")[0]
        if "evaluation" in results:
            runs[_short(name)] = results
    if runs:
        figures["curves"] = study_curves.draw(runs)
    if any(stands.state != State.DONE for stands in standings):
        for figure in figures.values():
            style.mark_partial(figure)
    return dict(sorted(figures.items(), key=lambda item: item[0] != study.picture))


def _short(name: str) -> str:
    """Settings without the folders that they lie in, a line for every two of them."""
    parts = [
        f"{path.rsplit('.', 1)[-1]} = {value}"
        for path, _, value in (part.partition(" = ") for part in name.split(", "))
    ]
    return "\n".join(", ".join(parts[i : i + 2]) for i in range(0, len(parts), 2))


def _entry(
    study: Study, name: str, figure: Figure, folder: Path, state: str, source: str
) -> dict[str, Any]:
    title, content = CONTENT[name]
    module = {"phases": study_phases, "levels": study_levels, "curves": study_curves}[name]
    paths = style.save(figure, folder, name)
    tables = {"phases": ["runs.csv"], "levels": [], "curves": ["networks.csv"]}[name]
    return {
        "title": title,
        "content": content,
        "caption": module.CAPTION,
        "state": state,
        "pictures": [{"about": "", **{path.suffix[1:]: path.name for path in paths}}],
        "data": [name.replace(".csv", ".npz") for name in tables],
        "tables": tables,
        "settings": {"all": {stage: str(its) for stage, its in study.measures.items()}},
        "command": f"python -m experiments report {source}",
    }


def _claim_json(claim: Claim, study: Study) -> dict[str, Any]:
    return {**claim.to_json(), "figure": study.picture}


def _run_json(study: Study, stands: Standing) -> dict[str, Any]:
    folder, timings = stands.folder, stands.folder.timings()
    return {
        "identity": configs.identity(stands.config),
        "settings": configs.to_json(stands.config),
        "networks": f"{len(study.kind.rows(stands.config, {}))}",
        "provenance": store.read_json(folder.provenance_file),
        "seconds": {stage: timings[stage] for stage in stands.stages if stage in timings},
    }
