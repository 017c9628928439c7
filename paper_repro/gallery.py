"""``python -m paper_repro.gallery``: show a finished report in the README.

Copies the figures and the summary of a report into figures/gallery, and writes the table of claims
into the README between its markers, so that no number there is typed by hand.
"""

import dataclasses
import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import tyro

BEGIN, END = "<!-- results:begin -->", "<!-- results:end -->"
FILES = ("figure_1b.png", "figure_1b.pdf", "figure_4a.png", "figure_4a.pdf", "report.json")


@dataclasses.dataclass(frozen=True)
class Arguments:
    """Copy a report's figures into the gallery and its claims into the README.

    Attributes:
        report: folder of the report.
    """

    report: Path = Path("runs/report-laptop")


def results_table(summary: Mapping[str, Any]) -> str:
    """The table of claims in Markdown, with a line on the run it comes from."""
    run = summary["settings"]["run"]
    minutes = sum(summary["seconds"].values()) / 60
    rows = [
        f"| {claim['statement']} | {claim['statistic']} | {claim['estimate']:.2g} "
        f"[{claim['low']:.2g}, {claim['high']:.2g}] | {claim['verdict']} |"
        for claim in summary["claims"]
    ]
    return "\n".join(
        [
            f"At {summary['scale']} scale: {run['num_splits']} splits of {run['split_size']} "
            f"sequences × {run['num_seeds']} seeds, {minutes:.1f} minutes on "
            f"{summary['provenance']['cores']} cores.",
            "",
            "| claim | statistic | estimate [95 %] | verdict |",
            "|---|---|---|---|",
            *rows,
        ]
    )


def fill(readme: str, table: str) -> str:
    """The README with the table between its markers."""
    before, rest = readme.split(BEGIN)
    _, after = rest.split(END)
    return f"{before}{BEGIN}\n{table}\n{END}{after}"


def main() -> None:
    """Parse the command line and copy."""
    arguments = tyro.cli(Arguments)
    project = Path(__file__).parent.parent
    gallery = project / "figures" / "gallery"
    gallery.mkdir(exist_ok=True)
    for name in FILES:
        shutil.copyfile(arguments.report / name, gallery / name)
    summary = json.loads((gallery / "report.json").read_text())
    readme = project / "README.md"
    readme.write_text(fill(readme.read_text(), results_table(summary)))


if __name__ == "__main__":
    main()
