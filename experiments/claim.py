"""What a claim is: a statistic with an interval, where it should lie, and the verdict."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from experiments.store import plain
from hiermodel.checks import require
from hiermodel.measures.multiplicity import holm, p_value_of_units
from hiermodel.measures.uncertainty import Interval
from hiermodel.measures.units import (
    CONTRADICTED,
    NOT_SHOWN,
    SHOWN,
    Verdict,
    decide,
    interval_of_units,
)

LEVEL = 0.95
"""Nominal coverage of every interval."""

RULES = (
    "A claim says that its statistic is positive, or lies where named. Units are training sets, or "
    "pairs of them that share none; seeds are averaged within a training set first. A claim is "
    "shown if the whole 95 % Student interval over units lies where claimed, contradicted if the "
    "whole interval lies outside, and otherwise not shown. Times must differ by more than the "
    "spacing of checkpoints. Where a minimum lies on the border of what was measured, or all units "
    "are the same, a sign test over the units decides in place of the interval; a claim on minima "
    "that it cannot settle is not located. With fewer than 4 units there are too few training sets "
    "for any verdict. Primary claims were named before the run; of them it is also asked that "
    "their p-values, corrected together by Holm's method, be at most 0.05. All others are "
    "exploratory."
)
"""How verdicts come about, for all who show them."""


@dataclasses.dataclass(frozen=True)
class Statistic:
    """One number per network, pair or unit, with bounds where a minimum was not located.

    Attributes:
        values: the numbers.
        lower: bounds from below, −inf for none; equal to the values where they are known.
        upper: bounds from above, inf for none.
    """

    values: np.ndarray
    lower: np.ndarray
    upper: np.ndarray

    @classmethod
    def known(cls, values: np.ndarray, where: np.ndarray | bool = True) -> "Statistic":
        """Numbers that are known where ``where`` is true, and without bounds elsewhere."""
        numbers = np.asarray(values, np.float64)
        return cls.bounded(numbers, np.logical_not(where), np.logical_not(where))

    @classmethod
    def bounded(
        cls, values: np.ndarray, no_lower: np.ndarray | bool, no_upper: np.ndarray | bool
    ) -> "Statistic":
        """Numbers that are known, except those without a bound on one side or on both."""
        return cls(values, np.where(no_lower, -np.inf, values), np.where(no_upper, np.inf, values))

    @property
    def located(self) -> np.ndarray:
        """Which of the numbers are known."""
        return self.lower == self.upper

    def map(self, change: Callable[[np.ndarray], np.ndarray]) -> "Statistic":
        """An increasing function, such as a mean or a choice, of the numbers and their bounds."""
        return Statistic(*map(change, (self.values, self.lower, self.upper)))

    def __sub__(self, other: "Statistic") -> "Statistic":
        return Statistic(
            self.values - other.values, self.lower - other.upper, self.upper - other.lower
        )


@dataclasses.dataclass(frozen=True)
class Claim:
    """One claim and what the runs say of it.

    Attributes:
        name: short and unique.
        figure: id of the figure it belongs to.
        statement: what is claimed, in a sentence.
        statistic: what was computed, with its unit.
        interval: estimate and interval of the statistic.
        values: one number per unit, a training set or a pair of them.
        note: which minima were not located, if any.
        low: the claim is that the statistic lies above this.
        high: and below this. With both ends finite it says that something is the same, or lies
            where expected, up to a margin: the interval must fit in between (two one-sided tests).
        lower: bounds from below of the values, where they are not known; None if all are.
        upper: bounds from above.
        resolution: how finely the statistic is measured: differences within it count as none.
        over_sets: whether units are training sets; if they are not (but sequences, say), the
            interval decides without a test.
        primary: named before the run, and corrected together with the other primary claims; all
            others are exploratory.
        corrected_p: Holm's p-value among the primary claims; None before it is known.
        run: whose it is: the size of the training sets, or the kind of run.
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
    lower: np.ndarray | None = None
    upper: np.ndarray | None = None
    resolution: float = 0.0
    over_sets: bool = True
    primary: bool = False
    corrected_p: float | None = None
    run: str = ""

    @property
    def verdict(self) -> Verdict:
        """By the rules of ``RULES``, which ``hiermodel.measures.units.decide`` follows."""
        alone = self._verdict_alone()
        decided = alone in (SHOWN, CONTRADICTED)
        given_up = self.corrected_p is not None and self.corrected_p > 1 - self.interval.level
        return NOT_SHOWN if decided and given_up else alone

    @property
    def p_value(self) -> float:
        """The least 1 − level at which the claim is decided by itself, either way."""
        require(self.over_sets, "over_sets", self.over_sets, "True: units are training sets")
        return p_value_of_units(self.values, **self._rule())

    def _rule(self) -> dict[str, Any]:
        names = ("low", "high", "lower", "upper", "resolution")
        return {name: getattr(self, name) for name in names}

    def _verdict_alone(self) -> Verdict:
        if self.over_sets:
            return decide(self.values, level=self.interval.level, **self._rule())
        low, high = self.interval.low, self.interval.high
        if self.low < low and high < self.high:
            return SHOWN
        return CONTRADICTED if high < self.low or low > self.high else NOT_SHOWN

    def to_json(self) -> dict[str, Any]:
        """All of it in JSON values, for a report; null where there is no end."""
        estimate, low, high, level = self.interval
        fields = ("name", "figure", "run", "statement", "statistic", "verdict", "note")
        own = {
            **{field: getattr(self, field) for field in fields},
            "estimate": float(estimate),
            "low": float(low),
            "high": float(high),
            "level": level,
            "resolution": self.resolution,
            "claimed": [self.low, self.high],
            "values": self.values.tolist(),
            "primary": self.primary,
            "corrected_p": self.corrected_p,
        }
        return plain(own)


def claim_of_units(
    statistic: Statistic,
    *,
    name: str,
    statement: str,
    about: str,
    figure: str = "",
    note: str = "",
    low: float = 0.0,
    high: float = np.inf,
    resolution: float = 0.0,
    primary: bool = False,
    run: str = "",
) -> Claim:
    """A claim on one number per unit, a training set or a pair of them."""
    return Claim(
        name,
        figure,
        statement,
        about,
        interval_of_units(statistic.values, level=LEVEL),
        statistic.values,
        note,
        low,
        high,
        statistic.lower,
        statistic.upper,
        resolution,
        primary=primary,
        run=run,
    )


def correct_together(claims: Sequence[Claim]) -> list[Claim]:
    """The same claims, the primary ones with Holm's p-values among themselves."""
    primary = [claim for claim in claims if claim.primary]
    corrected = iter(holm(np.array([claim.p_value for claim in primary])) if primary else ())
    return [
        dataclasses.replace(claim, corrected_p=float(next(corrected))) if claim.primary else claim
        for claim in claims
    ]
