"""The report: one HTML file that opens anywhere, with everything needed to read the results.

It is written from ``report.json`` and the files beside it; a new figure is a new entry there.
"""

import collections
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from experiments.claim import RULES
from figures.pages import interval, render
from hiermodel.measures.units import CONTRADICTED, NOT_LOCATED, NOT_SHOWN

Summary = Mapping[str, Any]

QUESTION = (
    "Does a diffusion model that still improves its test loss already lean to its own training "
    "samples? Networks trained on disjoint sets, measured along training against the exact "
    "denoiser of the data."
)


EXCEPTIONS = (CONTRADICTED, NOT_SHOWN, NOT_LOCATED)
"""Verdicts that are listed first: of claims with enough data that were nevertheless not shown."""


def verdicts_in_words(claims: Sequence[Summary], noun: str = "claims") -> str:
    """How many claims have which verdict."""
    counts = collections.Counter(claim["verdict"] for claim in claims)
    words = ", ".join(f"{number} {verdict}" for verdict, number in counts.most_common())
    return f"{len(claims)} {noun}: {words}" if claims else f"no {noun}"


def exceptions(claims: Sequence[Summary]) -> list[Summary]:
    """The claims that were not shown, those that are contradicted first."""
    found = [claim for claim in claims if claim["verdict"] in EXCEPTIONS]
    return sorted(found, key=lambda claim: EXCEPTIONS.index(claim["verdict"]))


def claims_as_text(claims: Sequence[Summary]) -> str:
    """For a terminal: how many have which verdict, then exceptions, then the others."""
    first = exceptions(claims)
    last = [claim for claim in claims if claim not in first]
    lines = [
        f"{claim['verdict']:<22} {interval(claim):>24}  [{claim['figure']}] {claim['statement']}"
        for claim in (*first, *last)
    ]
    head = f"{'verdict':<22} {'estimate [95 %]':>24}  claim"
    return "\n".join([verdicts_in_words(claims), head, *lines])


def write(folder: Path) -> Path:
    """Write ``report.html`` from the ``report.json`` and the files of a folder.

    Beside figures, claims and runs, ``report.json`` may hold a ``title``, a ``question``, the
    ``answer`` to it and its ``tables``; without, the report is the reproduction's, of a ``scale``.

    Returns:
        The HTML file.
    """
    summary = json.loads((folder / "report.json").read_text())
    title = f"Biased generalisation on a tree grammar: {summary.get('scale')} scale"
    about = {"title": title, "question": QUESTION, "answer": None, "rules": RULES, "tables": {}}
    about["counts"] = verdicts_in_words(summary["claims"])
    about["exceptions"] = exceptions(summary["claims"])
    path = folder / "report.html"
    path.write_text(render("report.html", folder, **{**about, **summary}))
    return path
