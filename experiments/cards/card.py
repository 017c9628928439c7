"""What an evaluation card says, whatever was trained: numbers, curves and moments of one run.

``grammar.py`` and ``images.py`` fill it in; for other data, fill in the same fields.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from hiermodel.measures.uncertainty import student_interval

QUESTIONS = (
    "How biased is it?",
    "Since when?",
    "What can be extracted?",
    "What does an attacker gain?",
    "When should one stop?",
)


@dataclasses.dataclass(frozen=True)
class Number:
    """One line of the card.

    Attributes:
        question: which of ``QUESTIONS`` it belongs to.
        name: what was measured, in words.
        estimate: the value.
        low: lower end of its interval; None for no interval.
        high: upper end.
        chance: what no dependence on the training set would give; None if there is no such value.
        note: over what the interval is, or where the number is from.
    """

    question: str
    name: str
    estimate: float
    low: float | None = None
    high: float | None = None
    chance: float | None = None
    note: str = ""


@dataclasses.dataclass(frozen=True)
class Curve:
    """One line along training.

    Attributes:
        panel: title of the panel it is drawn in.
        name: its label.
        units: of its values.
        time: (points,) positive training times.
        values: (points, networks).
    """

    panel: str
    name: str
    units: str
    time: np.ndarray
    values: np.ndarray


@dataclasses.dataclass(frozen=True)
class Card:
    """One page on one run.

    Attributes:
        title: what was trained.
        facts: what the reader should know of the run, by name.
        time_units: of training times.
        numbers: in the order of the questions.
        curves: along training.
        moments: times to be marked, by name.
        missing: what could not be said, and what would be needed.
    """

    title: str
    facts: Mapping[str, str]
    time_units: str
    numbers: Sequence[Number]
    curves: Sequence[Curve]
    moments: Mapping[str, float]
    missing: Sequence[str]

    def to_json(self) -> dict[str, Any]:
        """The card as JSON values."""
        fields = dataclasses.asdict(self)
        for curve in fields["curves"]:
            curve |= {"time": curve["time"].tolist(), "values": curve["values"].tolist()}
        return {"format": 1, **fields}


def over_networks(
    question: str, name: str, values: np.ndarray, chance: float | None = None
) -> Number:
    """A mean over networks (or pairs) with its Student interval; none for a single one."""
    values = np.asarray(values, np.float64).ravel()
    if len(values) < 2:
        return Number(question, name, float(values[0]), chance=chance, note="one unit")
    mean, low, high, _ = student_interval(values)
    note = f"95 % over {len(values)} networks or pairs"
    return Number(question, name, float(mean), float(low), float(high), chance, note)
