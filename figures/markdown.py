"""Results in Markdown: tables of claims, and text between markers."""

from collections.abc import Mapping, Sequence
from typing import Any

from figures.pages import interval


def claims_table(claims: Sequence[Mapping[str, Any]]) -> str:
    """A row per claim, as reports hold them in JSON."""
    head = ["| claim | statistic | estimate [95 %] | verdict |", "|---|---|---|---|"]
    return "\n".join([*head, *map(_row, claims)])


def _row(claim: Mapping[str, Any]) -> str:
    return (
        f"| {claim['statement']} | {claim['statistic']} | {interval(claim, 2)} | "
        f"{claim['verdict']} |"
    )


def fill(document: str, text: str, begin: str, end: str) -> str:
    """The document with the text between its markers."""
    before, rest = document.split(begin)
    _, after = rest.split(end)
    return f"{before}{begin}\n{text}\n{end}{after}"
