"""``python -m paper_repro.gallery``: show a finished report in the README.

Copies the figures and the summary of a report into figures/gallery, and writes what was run and the
tables of claims into the README between its markers, so that no number there is typed by hand. With
``--benchmarks`` it does the same with timings alone.
"""

import dataclasses
import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import tyro

BEGIN, END = "<!-- results:begin -->", "<!-- results:end -->"
SPEED_BEGIN, SPEED_END = "<!-- speed:begin -->", "<!-- speed:end -->"
GALLERY = "figures/gallery"


@dataclasses.dataclass(frozen=True)
class Arguments:
    """Copy a report's figures into the gallery and its claims into the README.

    Attributes:
        report: folder of the report.
        benchmarks: JSON of experiments.benchmarks, to show in place of a report.
    """

    report: Path = Path("runs/report-laptop")
    benchmarks: Path | None = None


def results_text(summary: Mapping[str, Any]) -> str:
    """What was run, a link to every figure, and the claims, in Markdown."""
    figures = summary["figures"]
    parts = [_what_was_run(summary)]
    for name, figure in figures.items():
        rows = [_row(claim) for claim in summary["claims"] if claim["figure"] == name]
        state = "" if figure["state"] == "finished" else f" ({figure['state']})"
        pictures = " ".join(
            f"[{figure['title']}]({GALLERY}/{picture['png']})" for picture in figure["pictures"]
        )
        parts.append(f"**{pictures}**{state}: {figure['content']}.")
        if rows:
            head = ["| claim | statistic | estimate [95 %] | verdict |", "|---|---|---|---|"]
            parts.append("\n".join([*head, *rows]))
    return "\n\n".join(parts)


def _what_was_run(summary: Mapping[str, Any]) -> str:
    runs = summary["runs"].values()
    minutes = sum(sum(run["seconds"].values()) for run in runs) / 60
    cores = " or ".join(sorted({str(run["provenance"]["cores"]) for run in runs}))
    networks = "; ".join(run["networks"] for run in runs)
    return f"At {summary['scale']} scale: {networks}. {minutes:.1f} minutes on {cores} cores."


def _row(claim: Mapping[str, Any]) -> str:
    return (
        f"| {claim['statement']} | {claim['statistic']} | {claim['estimate']:.2g} "
        f"[{claim['low']:.2g}, {claim['high']:.2g}] | {claim['verdict']} |"
    )


def speed_text(benchmarks: Mapping[str, Any]) -> str:
    """The rows of a benchmark as a table in Markdown."""
    provenance = benchmarks["provenance"]
    rates = [row["matmul"] for row in benchmarks["rows"]]
    lines = [
        f"On {provenance['cores']} cores, whose float32 product of two 1024² matrices ran at "
        f"{min(rates):.0f} to {max(rates):.0f} GFLOP/s:",
        "",
        "| what | rate | times the paper's public implementation | peak memory |",
        "|---|---|---|---|",
    ]
    for row in benchmarks["rows"]:
        rate = _number(row["rate"])
        ratio = "" if row["ratio"] is None else _number(row["ratio"])
        memory = "" if row["peak_memory"] is None else f"{row['peak_memory']:.0f} MiB"
        lines.append(f"| {row['name']} | {rate} {row['unit']}/s | {ratio} | {memory} |")
    return "\n".join(lines)


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def fill(readme: str, text: str, begin: str = BEGIN, end: str = END) -> str:
    """The README with the text between its markers."""
    before, rest = readme.split(begin)
    _, after = rest.split(end)
    return f"{before}{begin}\n{text}\n{end}{after}"


def copy_report(report: Path, gallery: Path) -> dict[str, Any]:
    """Copy the pictures and the summary of a report, in place of those of the one before.

    Returns:
        The summary.
    """
    gallery.mkdir(parents=True, exist_ok=True)
    summary = json.loads((report / "report.json").read_text())
    if (gallery / "report.json").exists():
        for name in _pictures(json.loads((gallery / "report.json").read_text())):
            (gallery / name).unlink(missing_ok=True)
    for name in ["report.json", *_pictures(summary)]:
        shutil.copyfile(report / name, gallery / name)
    return summary


def _pictures(summary: Mapping[str, Any]) -> list[str]:
    """Files of all pictures of a report."""
    return [
        picture[kind]
        for figure in summary["figures"].values()
        for picture in figure["pictures"]
        for kind in ("png", "pdf")
    ]


def main() -> None:
    """Parse the command line and copy."""
    arguments = tyro.cli(Arguments)
    project = Path(__file__).parent.parent
    readme = project / "README.md"
    if arguments.benchmarks is not None:
        shutil.copyfile(arguments.benchmarks, project / GALLERY / "benchmarks.json")
        text = speed_text(json.loads(arguments.benchmarks.read_text()))
        readme.write_text(fill(readme.read_text(), text, SPEED_BEGIN, SPEED_END))
        return
    summary = copy_report(arguments.report, project / GALLERY)
    readme.write_text(fill(readme.read_text(), results_text(summary)))


if __name__ == "__main__":
    main()
