"""Results in Markdown: tables, and text between markers."""

from collections.abc import Mapping, Sequence
from typing import Any

from figures.pages import interval


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
