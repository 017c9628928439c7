"""The gallery of committed results: a folder and a page per scale, and a page for all studies.

figures/gallery/<scale>/
README.md           how many claims have which verdict, the primary ones, every figure, all claims
report.json         settings, versions, claims with all their numbers
figure_<id>.png     and .pdf
seed-<n>.json       claims of the same run on other data, initial values and noise
"""

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from experiments.store import read_json, write_json
from figures import markdown
from figures.pages import interval
from figures.report import verdicts_in_words

GALLERY = "figures/gallery"

SCALES = ("desk", "laptop")
"""Scales that the README speaks of, the main one first: its page has the primary claims of all."""

Summary = Mapping[str, Any]


def copy_report(report: Path, folder: Path) -> Summary:
    """Copy a report into the folder of its scale: pictures and summary, or the claims of a seed.

    Figures that the folder holds and the report does not, stay.

    Returns:
        The summary of all that the folder then holds, or of the seed.
    """
    folder.mkdir(parents=True, exist_ok=True)
    summary = read_json(report / "report.json")
    if summary.get("seed") is not None:
        own = {name: summary[name] for name in ("scale", "seed", "command", "claims", "runs")}
        write_json(folder / f"seed-{summary['seed']}.json", own)
        return own
    known = folder / "report.json"
    if known.exists():
        summary = _joined(read_json(known), summary)
    write_json(known, summary)
    for name in _pictures(summary):
        if (report / name).exists():  # the others are the folder's own
            shutil.copyfile(report / name, folder / name)
    return summary


def _joined(before: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    """The new report, with figures and claims of the one before that it does not hold.

    Of the runs before, those stay that a figure shows; all of them, if it does not say which.
    """
    figures = {**before["figures"], **new["figures"]}
    shown = {size for figure in figures.values() for size in figure.get("settings", before["runs"])}
    stay = [claim for claim in before["claims"] if claim["figure"] not in new["figures"]]
    return {
        **new,
        "figures": figures,
        "claims": [*stay, *new["claims"]],
        "runs": {s: r for s, r in before["runs"].items() if s in shown} | new["runs"],
    }


def _pictures(summary: Mapping[str, Any]) -> list[str]:
    """Files of all pictures of a report."""
    return [
        picture[kind]
        for figure in summary["figures"].values()
        for picture in figure["pictures"]
        for kind in ("png", "pdf")
    ]


def pages(gallery: Path) -> dict[Path, str]:
    """The page of every scale that the gallery has results of."""
    shown = _shown(gallery)
    folders = [report.parent for report in sorted(gallery.glob("*/report.json"))]
    beside = {folder: shown[1:] if folder in shown[:1] else [] for folder in folders}
    return {folder / "README.md": page_text(folder, beside[folder]) for folder in folders}


def _shown(gallery: Path) -> list[Path]:
    """Folders of the scales that the README speaks of, as far as there are results."""
    return [gallery / scale for scale in SCALES if (gallery / scale / "report.json").exists()]


def page_text(folder: Path, beside: Sequence[Path] = ()) -> str:
    """How many claims have which verdict, the primary ones on every seed, figures with theirs.

    Args:
        folder: of a scale.
        beside: of other scales, whose primary claims stand beside its own.
    """
    summary = read_json(folder / "report.json")
    made = {"commands": _commands(summary), "primary": primary_table([folder, *beside])}
    return markdown.render("results.md", **made, **summary) + "\n"


def _commands(summary: Summary) -> str:
    """What makes the figures, those together that one command makes."""
    names: dict[str, list[str]] = {}
    for name, figure in summary["figures"].items():
        names.setdefault(figure["command"].replace(f" {name} ", " {} ", 1), []).append(name)
    return ", ".join(f"`{command.format(' '.join(own))}`" for command, own in names.items())


def counts_text(gallery: Path) -> str:
    """How many claims have which verdict at the scales that the README speaks of, in a sentence."""
    parts = [
        f"[{folder.name} scale]({GALLERY}/{folder.name}/README.md), "
        + verdicts_in_words(read_json(folder / "report.json")["claims"])
        for folder in _shown(gallery)
    ]
    return f"At {'; at '.join(parts)}."


def primary_table(folders: Sequence[Path]) -> str:
    """The claims named before the run: a row for each, a column for every run of every folder.

    The same claim on training sets of another size is another column.

    Args:
        folders: of scales.
    """
    columns: dict[str, dict[str, Mapping[str, Any]]] = {}
    for folder in folders:
        for file in (folder / "report.json", *sorted(folder.glob("seed-*.json"))):
            for name, own in _primary_by_run(read_json(file)).items():
                columns.setdefault(name, {}).update(own)
    rows = {base: claim for column in reversed(columns.values()) for base, claim in column.items()}
    order = {base: None for column in columns.values() for base in column}
    head = ["primary claim", *columns]
    return markdown.table(
        head,
        [
            [_stated(rows[base]), *(_cell(own.get(base)) for own in columns.values())]
            for base in order
        ],
    )


def _primary_by_run(summary: Summary) -> dict[str, dict[str, Mapping[str, Any]]]:
    """Primary claims by run, smallest training sets first, and by what they claim."""
    found: dict[str, dict[str, Mapping[str, Any]]] = {}
    sizes = {name: run["settings"]["run"]["split_size"] for name, run in summary["runs"].items()}
    for claim in summary["claims"]:
        if claim.get("primary"):
            size = sizes[claim["run"]]
            seed = summary["runs"][claim["run"]]["settings"]["run"]["seed"]
            column = f"{summary['scale']}, n = {size}, seed {seed}"
            found.setdefault(column, {})[claim["name"].removesuffix(f"-{claim['run']}")] = claim
    return {name: found[name] for name in sorted(found, key=lambda name: int(name.split()[3][:-1]))}


def _stated(claim: Mapping[str, Any]) -> str:
    """What is claimed, without whose run it is about, and what was computed."""
    label, _, rest = claim["statement"].partition(": ")
    statement = rest if label.startswith("n = ") else claim["statement"]
    return f"{statement}: {claim['statistic']}"


def _cell(claim: Mapping[str, Any] | None) -> str:
    return "" if claim is None else f"{interval(claim, 2)} {claim['verdict']}"
