"""``python -m paper_repro.gallery``: show a finished report in the README.

Copies the figures and the summary of a report into figures/gallery, and writes what was run and the
tables of claims into the README between its markers, so that no number there is typed by hand.
"""

import dataclasses
import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import tyro

BEGIN, END = "<!-- results:begin -->", "<!-- results:end -->"
GALLERY = "figures/gallery"


@dataclasses.dataclass(frozen=True)
class Arguments:
    """Copy a report's figures into the gallery and its claims into the README.

    Attributes:
        report: folder of the report.
    """

    report: Path = Path("runs/report-laptop")


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


def fill(readme: str, text: str) -> str:
    """The README with the text between its markers."""
    before, rest = readme.split(BEGIN)
    _, after = rest.split(END)
    return f"{before}{BEGIN}\n{text}\n{END}{after}"


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
    summary = copy_report(arguments.report, project / GALLERY)
    readme = project / "README.md"
    readme.write_text(fill(readme.read_text(), results_text(summary)))


if __name__ == "__main__":
    main()
