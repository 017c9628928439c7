"""``python -m paper_repro.gallery``: show a finished report in the README and the gallery's own.

Copies the figures and the summary of a report into figures/gallery, and writes between markers, so
that no number is typed by hand: the tables of claims into the gallery's README, how many
have which verdict into the project's. With ``--benchmarks`` it does the same with timings alone.
"""

import collections
import dataclasses
import shutil
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from experiments import command
from experiments.store import read_json, write_json
from figures.markdown import claims_table, fill

BEGIN, END = "<!-- results:begin -->", "<!-- results:end -->"
SPEED_BEGIN, SPEED_END = "<!-- speed:begin -->", "<!-- speed:end -->"
GALLERY = "figures/gallery"


@dataclasses.dataclass(frozen=True)
class Arguments:
    """Copy a report's figures into the gallery and its claims into both READMEs.

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
        claims = [claim for claim in summary["claims"] if claim["figure"] == name]
        state = "" if figure["state"] == "finished" else f" ({figure['state']})"
        pictures = " ".join(f"[{figure['title']}]({p['png']})" for p in figure["pictures"])
        parts.append(f"**{pictures}**{state}: {figure['content']}.")
        if claims:
            parts.append(claims_table(claims))
    return "\n\n".join(parts)


def summary_text(summary: Mapping[str, Any]) -> str:
    """What was run, and how many claims have which verdict, in a paragraph of Markdown."""
    claims = summary["claims"]
    counts = collections.Counter(claim["verdict"] for claim in claims)
    words = ", ".join(f"{number} {verdict}" for verdict, number in counts.most_common())
    return (
        f"{_what_was_run(summary)} Of {len(claims)} claims: {words} "
        f"([all of them, with their intervals]({GALLERY}/README.md))."
    )


def _what_was_run(summary: Mapping[str, Any]) -> str:
    """In words; and a note on it, if the summary has one."""
    runs = summary["runs"].values()
    minutes = sum(sum(run["seconds"].values()) for run in runs) / 60
    cores = " or ".join(sorted({str(run["provenance"]["cores"]) for run in runs}))
    networks = "; ".join(run["networks"] for run in runs)
    said = f"At {summary['scale']} scale: {networks}. {minutes:.1f} minutes on {cores} cores."
    return " ".join([said, *filter(None, [summary.get("note")])])


def speed_text(benchmarks: Mapping[str, Any], *, compared: bool = False) -> str:
    """The rows of a benchmark as a table in Markdown; with ``compared`` those with a ratio."""
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
        if compared and row["ratio"] is None:
            continue
        rate = _number(row["rate"])
        ratio = "" if row["ratio"] is None else _number(row["ratio"])
        memory = "" if row["peak_memory"] is None else f"{row['peak_memory']:.0f} MiB"
        lines.append(f"| {row['name']} | {rate} {row['unit']}/s | {ratio} | {memory} |")
    return "\n".join(lines)


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def copy_report(report: Path, gallery: Path) -> dict[str, Any]:
    """Copy the pictures and the summary of a report; other figures of the gallery stay.

    They stay if they were made at the same scale; those of another make way.

    Returns:
        The summary of all figures that the gallery then holds.
    """
    gallery.mkdir(parents=True, exist_ok=True)
    summary = _read("report", report / "report.json", ("scale", "figures", "claims", "runs"))
    known = gallery / "report.json"
    if known.exists():
        before = read_json(known)
        for name in _pictures(before):
            if before["scale"] != summary["scale"] or name in _pictures(summary):
                (gallery / name).unlink(missing_ok=True)
        if before["scale"] == summary["scale"]:
            summary = _joined(before, summary)
    write_json(known, summary)
    for name in _pictures(summary):
        if not (gallery / name).exists():
            shutil.copyfile(report / name, gallery / name)
    return summary


def _read(name: str, file: Path, fields: Collection[str]) -> dict[str, Any]:
    """The JSON file that an argument names, if it holds these fields."""
    from hiermodel.checks import require  # only here: it starts JAX

    require(file.is_file(), name, str(file), "a file that exists")
    value = read_json(file)
    lacking = [field for field in fields if field not in value]
    require(not lacking, name, f"{file} without {lacking}", f"a file with {list(fields)}")
    return value


def _joined(before: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    """The new report, with figures, claims and runs of the one before that it does not hold."""
    figures = {**before["figures"], **new["figures"]}
    stay = [claim for claim in before["claims"] if claim["figure"] not in new["figures"]]
    return {
        **new,
        "figures": figures,
        "claims": [*stay, *new["claims"]],
        "runs": {**before["runs"], **new["runs"]},
    }


def _pictures(summary: Mapping[str, Any]) -> list[str]:
    """Files of all pictures of a report."""
    return [
        picture[kind]
        for figure in summary["figures"].values()
        for picture in figure["pictures"]
        for kind in ("png", "pdf")
    ]


def main() -> None:
    """Do what the command line says."""
    command.run(Arguments, _do)


def _do(arguments: Arguments) -> None:
    project = Path(__file__).parent.parent
    gallery = project / GALLERY
    if arguments.benchmarks is not None:
        timings = _read("benchmarks", arguments.benchmarks, ("provenance", "rows"))
        shutil.copyfile(arguments.benchmarks, gallery / "benchmarks.json")
        _fill_file(project, speed_text(timings, compared=True), SPEED_BEGIN, SPEED_END)
        _fill_file(gallery, speed_text(timings), SPEED_BEGIN, SPEED_END)
        return
    summary = copy_report(arguments.report, gallery)
    _fill_file(project, summary_text(summary), BEGIN, END)
    _fill_file(gallery, results_text(summary), BEGIN, END)


def _fill_file(folder: Path, text: str, begin: str, end: str) -> None:
    readme = folder / "README.md"
    readme.write_text(fill(readme.read_text(), text, begin, end))


if __name__ == "__main__":
    main()
