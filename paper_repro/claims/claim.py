"""Claims on one ensemble: what it has measured, and its statistics per network or per pair."""

import dataclasses
from collections.abc import Mapping

import numpy as np

from experiments.claim import ENOUGH_SPLITS, LEVEL, Claim
from experiments.stages.evaluation import split_pairs
from experiments.store import Measurements, trained_checkpoints
from hiermodel.measures.uncertainty import student_interval


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
        label: what tells this run from others in statements; n, if left out.
    """

    results: Mapping[str, Measurements]
    num_splits: int
    num_seeds: int
    size: str = "middle"
    split_size: int = 0
    steps_per_epoch: int = 1
    label: str | None = None

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
    label = f"n = {run.split_size}" if run.label is None else run.label
    if label and run.size != "middle":
        name, statement = f"{name}-{run.size}", f"{label}: {statement}"
    interval = student_interval(values, level=LEVEL)
    about = f"{statistic}, per {unit}"
    return Claim(name, figure, statement, about, interval, values, note, low, high)


def border_note(**located: np.ndarray) -> str:
    """Say how many minima lie on the border of the measured range, if any do."""
    parts = [f"{name} {int((~ok).sum())} of {ok.size}" for name, ok in located.items()]
    return "" if all(map(np.all, located.values())) else f"on the border: {', '.join(parts)}"


def gap_of_pairs(run: Run, onset: str) -> np.ndarray:
    """Own–other gap at the checkpoint nearest to an onset, mean over both directions, per pair."""
    comparison = run.results["comparison"]
    when = nearest_checkpoint(comparison, run.onset(onset))
    return comparison["gap"].values[when][run.pairs].mean(1)


def nearest_checkpoint(measured: Measurements, taus: np.ndarray) -> int:
    """The checkpoint nearest, in log time, to the geometric mean of the given epochs."""
    trained, epochs = trained_checkpoints(measured)
    distance = np.abs(np.log(epochs) - np.log(taus).mean())
    return int(np.flatnonzero(trained)[distance.argmin()])
