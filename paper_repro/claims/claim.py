"""What a claim is: a statistic with an interval, where it should lie, and the verdict."""

import dataclasses
from collections.abc import Mapping

import numpy as np

from experiments.evaluation import split_pairs
from experiments.store import Measurements, trained_checkpoints
from hiermodel.measures.uncertainty import Interval, student_interval

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


@dataclasses.dataclass(frozen=True)
class Run:
    """One ensemble, as far as it is measured.

    Attributes:
        results: measurements by stage, as ``measure_run`` returns them.
        num_splits: disjoint training sets.
        num_seeds: networks per training set.
        size: "small", "middle", "large", or the kind of images.
        split_size: n, for statements; 0 if it does not matter.
        steps_per_epoch: optimiser steps in an epoch.
        label: what tells this run from others in statements; empty for the middle size.
    """

    results: Mapping[str, Measurements]
    num_splits: int
    num_seeds: int
    size: str = "middle"
    split_size: int = 0
    steps_per_epoch: int = 1
    label: str = ""

    @property
    def pairs(self) -> np.ndarray:
        """(pair, 2) members of disjoint splits, as measurements along "pair" have them."""
        return np.array(split_pairs(self.num_splits, self.num_seeds), dtype=int).reshape(-1, 2)

    def onset(self, name: str) -> np.ndarray:
        """Epochs per member or pair."""
        return self.results["onsets"][name].values

    def located(self, **names: str) -> str:
        """A note on minima that lie on the border of the measured range; empty if none does.

        Args:
            names: symbol → name of the onset.
        """
        flags = {symbol: self.onset(f"{name}_located") for symbol, name in names.items()}
        return border_note(**flags)


def per_network(run: Run, **claim) -> Claim:
    """A claim on one number per network."""
    return _claim(run, run.num_splits, "network", "split", **claim)


def per_pair(run: Run, **claim) -> Claim:
    """A claim on one number per pair of networks of disjoint splits."""
    return _claim(run, run.num_splits // 2, "pair", "pair of splits", **claim)


def _claim(
    run: Run,
    num_outer: int,
    unit: str,
    outer_unit: str,
    *,
    name: str,
    figure: str,
    statement: str,
    statistic: str,
    values: np.ndarray,
    note: str = "",
    low: float = 0.0,
    high: float = np.inf,
) -> Claim:
    values = np.asarray(values, dtype=np.float64)
    if num_outer >= ENOUGH_SPLITS:
        values, unit = values.reshape(num_outer, run.num_seeds).mean(1), outer_unit
    if run.label:
        name, statement = f"{name}-{run.size}", f"{run.label}: {statement}"
    interval = student_interval(values, level=LEVEL)
    about = f"{statistic}, per {unit}"
    return Claim(name, figure, statement, about, interval, values, note, low, high)


def border_note(**located: np.ndarray) -> str:
    """Say how many minima lie on the border of the measured range, if any do."""
    parts = [f"{name} {int((~ok).sum())} of {ok.size}" for name, ok in located.items()]
    return "" if all(map(np.all, located.values())) else f"on the border: {', '.join(parts)}"


def nearest_checkpoint(measured: Measurements, taus: np.ndarray) -> int:
    """The checkpoint nearest, in log time, to the geometric mean of the given epochs."""
    trained, epochs = trained_checkpoints(measured)
    distance = np.abs(np.log(epochs) - np.log(taus).mean())
    return int(np.flatnonzero(trained)[distance.argmin()])
