"""Results in Markdown: templates, tables, and text between markers."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from experiments.words import duration
from figures.pages import environment, interval
from figures.report import verdicts_in_words

Runs = Mapping[str, Mapping[str, Any]]
"""Runs by name, as reports hold them in JSON."""


def render(template: str, further: Mapping[str, Any] | None = None, **values: Any) -> str:
    """A text from its template, without a newline at its end.

    Args:
        template: its name in ``templates``.
        further: filters that it uses beside those here.
        values: what it speaks of.
    """
    filters = {
        "table": lambda rows, head: table(head, rows),
        "claims_table": claims_table,
        "verdicts": verdicts_in_words,
        "duration": duration,
        "seconds": _seconds,
        "cores": _cores,
        "commits": commits,
        "rate": _rate,
    }
    made = environment(filters | dict(further or {}), escape=False)
    return made.get_template(template).render(values).strip()


def table(head: Sequence[Any], rows: Sequence[Sequence[Any]]) -> str:
    """A table, a line for each row."""
    lines = ["|" + "---|" * len(head), *(f"| {' | '.join(map(str, row))} |" for row in rows)]
    return "\n".join([f"| {' | '.join(map(str, head))} |", *lines])


def claims_table(claims: Sequence[Mapping[str, Any]]) -> str:
    """A row per claim, as reports hold them in JSON."""
    head = ("claim", "statistic", "estimate [95 %]", "verdict")
    rows = [
        (claim["statement"], claim["statistic"], interval(claim, 2), claim["verdict"])
        for claim in claims
    ]
    return table(head, rows)


def fill(document: str, text: str, name: str) -> str:
    """The document with the text between the markers of this name."""
    begin, end = f"<!-- {name}:begin -->", f"<!-- {name}:end -->"
    before, rest = document.split(begin)
    _, after = rest.split(end)
    return f"{before}{begin}\n{text}\n{end}{after}"


def commits(runs: Runs) -> dict[str, list[str]]:
    """Names of runs by the commit that made them, in short; by nothing where none is recorded."""
    found: dict[str, list[str]] = {}
    for name, run in runs.items():
        commit = run["provenance"].get("commit", "unknown")
        short = re.sub(r"^(\w{12})\w*", r"\1", commit.removesuffix("unknown"))
        found.setdefault(short, []).append(name)
    return found


def _seconds(runs: Runs) -> float:
    """What all of them took."""
    return sum(sum(run["seconds"].values()) for run in runs.values())


def _cores(runs: Runs) -> str:
    return " or ".join(sorted({str(run["provenance"]["cores"]) for run in runs.values()}))


def _rate(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
