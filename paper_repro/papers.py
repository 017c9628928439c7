"""``python -m paper_repro --paper 2402.16991``: predictions of other papers beside exact numbers.

``python -m paper_repro theory`` puts what is finished into the gallery and writes docs/theory.md.
"""

import dataclasses
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from experiments.store import read_json, write_json
from figures.markdown import render
from figures.pages import interval

GALLERY = Path("figures/gallery/theory")
PAGE = Path("docs/theory.md")


def make(names: tuple[str, ...], root: Path, seed: int | None) -> str:
    """Measure, judge and draw the families of these papers; returns a table for a terminal.

    Args:
        names: arXiv numbers, names of families, or "all".
        root: where run folders and the folder ``theory`` go.
        seed: another than the published one.

    Raises:
        ValueError: for a paper without a family, naming those that have one.
    """
    from figures import style  # after the process has been prepared
    from figures.theory.family import SEED, families_of

    lines = []
    for name, family in families_of(names).items():
        own_seed = SEED if seed is None else seed
        measured = family.measure(root, own_seed)
        claims = [claim.to_json() for claim in family.claims(measured, figure=name)]
        folder = root / "theory"
        style.save(family.draw(measured), folder, name)
        found = summary(family, claims, own_seed, family.time_spent(root, own_seed))
        write_json(folder / f"{name}.json", found)
        lines += [family.title, *map(as_line, claims), f"figure: {folder / f'{name}.pdf'}", ""]
    return "\n".join(lines)


def listing(names: tuple[str, ...]) -> str:
    """What the families of these papers predict, for a terminal; runs nothing.

    Raises:
        ValueError: as ``make``.
    """
    from figures.theory.family import families_of

    lines = []
    for name, family in families_of(names).items():
        lines += [f"{name}: {family.title} ({', '.join(family.papers)})"]
        lines += [f"  {each.statement}  [{each.source}]" for each in family.predictions] + [""]
    return "\n".join(lines)


def summary(
    family: Any, claims: list[dict[str, Any]], seed: int, time: Mapping[str, Any]
) -> dict[str, Any]:
    """What the page and the gallery need of a family; ``time`` is what its measuring took."""
    sources = {each.name: (each.source, each.expected) for each in family.predictions}
    for claim in claims:
        claim["source"], claim["expected"] = sources[claim["name"]]
    return words(family) | {
        "time": time,
        "study": dataclasses.asdict(family.study) | {"seed": seed},
        "claims": claims,
    }


def words(family: Any) -> dict[str, Any]:
    """What a family says whatever was found."""
    return {
        "title": family.title,
        "papers": list(family.papers),
        "settings": family.settings,
        "caption": family.caption,
    }


def as_line(claim: Mapping[str, Any]) -> str:
    """A claim for a terminal."""
    return f"  {claim['verdict']:<12} {claim['statement']}: {interval(claim)}"


def page(summaries: Mapping[str, Mapping[str, Any]]) -> str:
    """docs/theory.md, from what every family has found."""
    claims = [claim for found in summaries.values() for claim in found["claims"]]
    filters = {"link": link, "range": _range, "time": _time}
    values = {"families": summaries, "claims": claims, "gallery": GALLERY}
    return render("theory.md", filters, **values) + "\n"


def _time(found: Mapping[str, Any]) -> str:
    """What its measuring took, if that was recorded."""
    if "time" not in found:
        return ""
    minutes, cores = found["time"]["seconds"] / 60, found["time"]["cores"]
    return f" Measured in {minutes:.1f} minutes on {cores} cores."


def link(source: str) -> str:
    """A source with its arXiv numbers as links."""
    address = r"[arXiv:\1](https://arxiv.org/abs/\1)"
    return re.sub(r"(\d{4}\.\d{5})", address, source)


def _range(claim: Mapping[str, Any]) -> str:
    low, high = claim["claimed"]
    if high is None:
        return f"above {low:.3g}"
    return f"below {high:.3g}" if low is None else f"{low:.3g} to {high:.3g}"


@dataclasses.dataclass(frozen=True)
class Arguments:
    """Put finished families into the gallery, and write the page from all that are there.

    Attributes:
        finished: folder with the families' figures and summaries.
    """

    finished: Path = Path("runs/theory")


def publish(finished: Path, gallery: Path = GALLERY, to: Path = PAGE) -> None:
    """Copy what is finished into the gallery, and write the page from all that is there.

    The words beside a figure are those of its file today.
    """
    from figures.theory.family import all_families, by_number  # after the process is prepared

    gallery.mkdir(parents=True, exist_ok=True)
    for file in sorted(finished.glob("*.json")):
        shutil.copy(file, gallery / file.name)
        shutil.copy(file.with_suffix(".png"), gallery / f"{file.stem}.png")
    found = {}
    for file in sorted(gallery.glob("*.json"), key=lambda file: by_number(file.stem)):
        found[file.stem] = read_json(file) | words(all_families()[file.stem])
        write_json(file, found[file.stem])
    to.write_text(page(found))


def publish_and_say(arguments: Arguments) -> None:
    """Do what the command line says."""
    publish(arguments.finished)
    print(f"written: {PAGE}")
