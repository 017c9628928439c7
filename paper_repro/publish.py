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
from experiments.words import duration
from figures.markdown import claims_table, fill, table
from hiermodel.checks import require
from paper_repro.gallery import GALLERY, copy_report, counts_text, pages

PROJECT = Path(__file__).parents[1]
STUDIES = f"{GALLERY}/studies"
NOTES = "docs/notes.md"

STUDIES_HEAD = """
# What came out of the studies

Written by `python -m paper_repro publish runs/studies/NAME`; nothing here is typed. How the studies
were made: [the guide](../../../experiments/README.md#shipped-studies).
"""

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
    for page, text in pages(gallery).items():
        page.write_text(text)
    return [*pages(gallery), _fill(project / "README.md", counts_text(gallery), "results")]


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
    sections = [f"## {summary['study']}\n\n{study_text(summary)}" for summary in found]
    return "\n\n".join([STUDIES_HEAD.strip(), *sections]) + "\n"


def study_text(summary: Mapping[str, Any]) -> str:
    """Question, answer, picture, tables and claims, in Markdown."""
    name, runs = summary["study"], summary["runs"].values()
    cores = " or ".join(sorted({str(run["provenance"]["cores"]) for run in runs}))
    spent = duration(sum(sum(run["seconds"].values()) for run in runs))
    further = [
        text
        for title, own in summary.get("tables", {}).items()
        for text in (f"{title}:", table(own["columns"], own["data"]))
    ]
    claims = [
        f"<details><summary>{len(summary['claims'])} claims</summary>",
        claims_table(summary["claims"]),
        "</details>",
    ]
    said = (
        f"{len(runs)} runs, {spent} on {cores} cores; `{summary['command']}`, numbers in "
        f"[{name}.csv]({name}.csv), settings in [{name}.json]({name}.json)."
    )
    return "\n\n".join(
        [
            f"**{summary['question']}** {summary['answer']}",
            f"![{summary['question']}]({name}.png)",
            said,
            *further,
            *(claims if summary["claims"] else []),
        ]
    )


def speed_text(benchmarks: Mapping[str, Any], *, compared: bool = False) -> str:
    """The rows of a benchmark as a table in Markdown; with ``compared`` those with a ratio."""
    provenance = benchmarks["provenance"]
    rates = [row["matmul"] for row in benchmarks["rows"]]
    rows = []
    for row in benchmarks["rows"]:
        if compared and row["ratio"] is None:
            continue
        ratio = "" if row["ratio"] is None else _number(row["ratio"])
        memory = "" if row["peak_memory"] is None else f"{row['peak_memory']:.0f} MiB"
        taken = row.get("reference_taken", "")
        rows.append([row["name"], f"{_number(row['rate'])} {row['unit']}/s", ratio, taken, memory])
    head = ("what", "rate", "times a public implementation", "which was timed on", "peak memory")
    return (
        f"On {provenance['cores']} cores, whose float32 product of two 1024² matrices ran at "
        f"{min(rates):.0f} to {max(rates):.0f} GFLOP/s:\n\n{table(head, rows)}"
    )


def compiled_text(summary: Mapping[str, Any]) -> str:
    """Programs compiled for a chip that is not here, as a table in Markdown."""
    versions = summary["packages"]
    programs = [cells(Compiled(**own)) for own in summary["programs"]]
    return (
        f"Of one {summary['machine']} chip, JAX {versions['jax']}, libtpu {versions['libtpu']}; at "
        f"least: at the chip's published peak rates.\n\n{table(HEAD, programs)}"
    )


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _check(file: Path, value: Mapping[str, Any], fields: Collection[str]) -> None:
    lacking = [field for field in fields if field not in value]
    require(not lacking, "result", f"{file} without {lacking}", f"a file with {list(fields)}")


def _fill(readme: Path, text: str, name: str) -> Path:
    readme.write_text(fill(readme.read_text(), text, name))
    return readme


def publish_and_say(arguments: Arguments) -> None:
    """Do what the command line says."""
    for path in publish(arguments.result):
        print(path)
