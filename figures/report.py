"""The report: one HTML file that opens anywhere, with everything needed to read the results.

It is written from ``report.json`` and the files beside it alone, so that adding one figure only has
to change its entry there.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from experiments.claim import RULES
from figures.pages import interval, render

Summary = Mapping[str, Any]

QUESTION = (
    "Does a diffusion model that still improves its test loss already lean to its own training "
    "samples? Networks trained on disjoint sets, measured along training against the exact "
    "denoiser of the data."
)


def claims_as_text(claims: Sequence[Summary]) -> str:
    """The table of claims for a terminal."""
    rows = [
        (claim["verdict"], interval(claim), f"[{claim['figure']}] {claim['statement']}")
        for claim in claims
    ]
    lines = [f"{verdict:<22} {interval:>24}  {what}" for verdict, interval, what in rows]
    return "\n".join([f"{'verdict':<22} {'estimate [95 %]':>24}  claim", *lines])


def write(folder: Path) -> Path:
    """Write ``report.html`` from the ``report.json`` and the files of a folder.

    Beside figures, claims and runs, ``report.json`` may hold a ``title``, a ``question`` and the
    ``answer`` to it; without, the report is the reproduction's, of a ``scale``.

    Returns:
        The HTML file.
    """
    summary = json.loads((folder / "report.json").read_text())
    title = f"Biased generalisation on a tree grammar: {summary.get('scale')} scale"
    about = {"title": title, "question": QUESTION, "answer": None, "verdicts": RULES}
    path = folder / "report.html"
    path.write_text(render("report.html", folder, **{**about, **summary}))
    return path
