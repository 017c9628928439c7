"""What an evaluation card says, whatever was trained: numbers, curves and moments of one run."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from hiermodel.measures.units import MIN_UNITS, band_of_units

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
        good: which way is good, such as "↓ better".
        time: (points,) positive training times.
        values: (points, units), a unit being a training set or a pair of them.
    """

    panel: str
    name: str
    units: str
    good: str
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
        moments: times to be marked, by name, where all minima were located.
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


def over_units(
    question: str, name: str, values: np.ndarray, unit: str, chance: float | None = None
) -> Number:
    """A mean over training sets (or pairs of them) with its Student interval, if there are enough.

    Args:
        question: which of ``QUESTIONS`` it belongs to.
        name: what was measured, in words.
        values: one per unit.
        unit: what a unit is, such as "training sets".
        chance: as in :class:`Number`.
    """
    values = np.asarray(values, np.float64).ravel()
    interval = band_of_units(values)
    if interval is None:
        note = f"{len(values)} {unit}, fewer than {MIN_UNITS}: no interval"
        return Number(question, name, float(values.mean()), chance=chance, note=note)
    mean, low, high, _ = interval
    note = f"95 % over {len(values)} {unit}"
    return Number(question, name, float(mean), float(low), float(high), chance, note)
