"""``python -m paper_repro publish``: show a finished result in the project's READMEs and gallery.

A result is the report of a reproduction, the report of a study, or timings. Figures and numbers are
copied into figures/gallery, and text is written into its pages or between markers, so that no
number is typed by hand: claims into the page of their scale, how many have which verdict into the
project's README, question and answer of a study into the page of all studies.
"""

import dataclasses
import shutil
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import tyro

from experiments.benchmarks.compiled import HEAD, Compiled, cells
from experiments.store import read_json, write_json
from figures import markdown
from hiermodel.checks import require
from paper_repro.gallery import GALLERY, copy_report, counts_text, pages

PROJECT = Path(__file__).parents[1]
STUDIES = f"{GALLERY}/studies"
NOTES = "docs/notes.md"

KEPT = ("title", "study", "question", "answer", "purpose", "command", "tables", "claims", "runs")
"""What the gallery keeps of a study's report."""


@dataclasses.dataclass(frozen=True)
class Arguments:
    """Put a finished result into the project: figures into the gallery, text into the READMEs.

    Attributes:
        result: folder of the report of a reproduction or of a study, or the JSON of benchmarks or
            compiled programs.
    """

    result: tyro.conf.Positional[Path] = Path("runs/report-laptop")


def publish(result: Path, project: Path = PROJECT) -> list[Path]:
    """Publish a result; what it is, its fields say.

    Returns:
        The files written.

    Raises:
        ValueError: for a file that is not there or no result, or a study without an answer.
    """
    file = result if result.suffix == ".json" else result / "report.json"
    require(file.is_file(), "result", str(file), "a file that exists")
    summary = read_json(file)
    if "rows" in summary:
        return _publish_timings(file, project)
    if "programs" in summary:
        return [_fill(project / NOTES, compiled_text(summary), f"compiled {summary['machine']}")]
    if "study" in summary:
        return _publish_study(file, project)
    _check(file, summary, ("scale", "figures", "claims", "runs"))
    gallery = project / GALLERY
    copy_report(file.parent, gallery / summary["scale"])
    written = pages(gallery)
    for page, text in written.items():
        page.write_text(text)
    return [*written, _fill(project / "README.md", counts_text(gallery), "results")]


def _publish_timings(file: Path, project: Path) -> list[Path]:
    timings = read_json(file)
    _check(file, timings, ("provenance", "rows"))
    shutil.copyfile(file, project / GALLERY / "benchmarks.json")
    return [
        _fill(project / "README.md", speed_text(timings, compared=True), "speed"),
        _fill(project / GALLERY / "README.md", speed_text(timings), "speed"),
    ]


def _publish_study(file: Path, project: Path) -> list[Path]:
    summary = read_json(file)
    _check(file, summary, (*KEPT, "picture", "figures"))
    name, answer = summary["study"], summary["answer"]
    require(bool(answer), "answer", answer, f"there: {name} is not finished, or has none")
    gallery = project / STUDIES
    gallery.mkdir(parents=True, exist_ok=True)
    (picture,) = summary["figures"][summary["picture"]]["pictures"]
    written = []
    for own, ending in ((picture["png"], "png"), (picture["pdf"], "pdf"), ("runs.csv", "csv")):
        written.append(gallery / f"{name}.{ending}")
        shutil.copyfile(file.parent / own, written[-1])
    written.append(gallery / f"{name}.json")
    write_json(written[-1], {field: summary[field] for field in KEPT})
    written.append(gallery / "README.md")
    written[-1].write_text(studies_text(gallery))
    return written


def studies_text(gallery: Path) -> str:
    """The page of all studies that were published, a section for each."""
    found = [read_json(file) for file in sorted(gallery.glob("*.json"))]
    return markdown.render("studies.md", studies=found) + "\n"


def speed_text(benchmarks: Mapping[str, Any], *, compared: bool = False) -> str:
    """The rows of a benchmark as a table in Markdown; with ``compared`` those with a ratio."""
    return markdown.render("speed.md", compared=compared, **benchmarks)


def compiled_text(summary: Mapping[str, Any]) -> str:
    """Programs compiled for a chip that is not here, as a table in Markdown."""
    rows = [cells(Compiled(**own)) for own in summary["programs"]]
    return markdown.render("compiled.md", head=HEAD, rows=rows, **summary)


def _check(file: Path, value: Mapping[str, Any], fields: Collection[str]) -> None:
    lacking = [field for field in fields if field not in value]
    require(not lacking, "result", f"{file} without {lacking}", f"a file with {list(fields)}")


def _fill(readme: Path, text: str, name: str) -> Path:
    readme.write_text(markdown.fill(readme.read_text(), text, name))
    return readme


def publish_and_say(arguments: Arguments) -> None:
    """Do what the command line says."""
    for path in publish(arguments.result):
        print(path)
