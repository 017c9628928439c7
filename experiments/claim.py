"""What a claim is: a statistic with an interval, where it should lie, and the verdict."""

import dataclasses
from typing import Any

import numpy as np

from hiermodel.measures.uncertainty import Interval

LEVEL = 0.95
"""Nominal coverage of every interval."""

ENOUGH_SPLITS = 5
"""From so many splits on, or pairs of them, seeds are averaged and splits are the units."""


@dataclasses.dataclass(frozen=True)
class Claim:
    """One claim and what the runs say of it.

    Attributes:
        name: short and unique.
        figure: id of the figure it belongs to.
        statement: what is claimed, in a sentence.
        statistic: what was computed, with its unit.
        interval: estimate and interval of the statistic.
        values: one number per unit.
        note: which minima were not located, if any.
        low: the claim is that the statistic lies above this.
        high: and below this. With both ends finite it says that something is the same, or lies
            where expected, up to a margin: the interval must fit in between (two one-sided tests).
    """

    name: str
    figure: str
    statement: str
    statistic: str
    interval: Interval
    values: np.ndarray
    note: str = ""
    low: float = 0.0
    high: float = np.inf

    @property
    def verdict(self) -> str:
        """Shown if the whole interval is where claimed, contradicted if outside, else not shown.

        A claim about minima that were not all located is never contradicted: a minimum outside the
        range, or none at all, says nothing of the order.
        """
        low, high = self.interval.low, self.interval.high
        if self.low < low and high < self.high:
            return "shown"
        outside = high < self.low or low > self.high
        return "contradicted" if outside and not self.note else "not shown"

    def to_json(self) -> dict[str, Any]:
        """All of it in JSON values, for a report."""
        estimate, low, high, level = self.interval
        fields = ("name", "figure", "statement", "statistic", "verdict", "note")
        # JSON has no infinity: a claim without an upper end has null there.
        ends = [end if abs(end) < float("inf") else None for end in (self.low, self.high)]
        return {
            **{field: getattr(self, field) for field in fields},
            "estimate": float(estimate),
            "low": float(low),
            "high": float(high),
            "level": level,
            "claimed": ends,
            "values": self.values.tolist(),
        }
