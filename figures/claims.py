"""Claims on one ensemble: what it has measured, and its statistics per training set or pair."""

import dataclasses
from collections.abc import Mapping

import numpy as np

from experiments.claim import Claim, Statistic, claim_of_units
from experiments.onsets import log_spacing, log_times, values_at
from experiments.stages.evaluation import split_pairs
from experiments.store import Measurements
from hiermodel.measures.units import by_training_set


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
        label: what claims on this run say first, to tell it from others; nothing for the main one.
        num_samples: sequences or images drawn per network; 0 if that is not known.
    """

    results: Mapping[str, Measurements]
    num_splits: int
    num_seeds: int
    size: str = "middle"
    split_size: int = 0
    steps_per_epoch: int = 1
    label: str = ""
    num_samples: int = 0

    @property
    def pairs(self) -> np.ndarray:
        """(pair, 2) members of disjoint splits, as measurements along "pair" have them."""
        return np.array(split_pairs(self.num_splits, self.num_seeds), dtype=int).reshape(-1, 2)

    def onset(self, name: str) -> np.ndarray:
        """Epochs per member or pair."""
        return self.results["onsets"][name].values

    def times(self, name: str, place: int | None = None) -> Statistic:
        """Ln of the times of minima per member or pair, −inf to inf where they are not located.

        Args:
            name: of the onset.
            place: along its second axis, if it has one.
        """
        of = np.s_[:] if place is None else np.s_[:, place]
        return log_times(self.results["onsets"], name).map(lambda part: part[of])

    def times_of_sets(self, name: str, place: int | None = None) -> Statistic:
        """The same per training set: means over its seeds."""
        return self.times(name, place).map(lambda part: by_training_set(part, self.num_splits))

    def times_of_pairs(self, name: str, place: int | None = None) -> Statistic:
        """The same per pair of networks on disjoint splits.

        An onset of networks gives the mean of both.
        """
        own = self.times(name, place)
        if self.results["onsets"][name].dims[0] == "member":
            return own.map(lambda part: part[self.pairs].mean(1))
        return own

    def spacing(self, *stages: str) -> float:
        """The widest step between neighbouring checkpoints of these stages, in ln of the epoch."""
        return log_spacing(*(self.results[stage] for stage in stages))


Minima = Mapping[str, Statistic]
"""Times of minima by symbol, per network, pair or unit, with bounds where they are not located."""


def per_network(run: Run, statistic: Statistic | np.ndarray, **claim) -> Claim:
    """A claim on one number per network; units are training sets.

    Args:
        run: whose networks they are.
        statistic: the numbers; without bounds of their own, known where all ``minima`` are.
        claim: fields of the claim, ``minima`` that it rests on among them.
    """
    return _claim(run, run.num_splits, "training set", statistic, **claim)


def per_pair(run: Run, statistic: Statistic | np.ndarray, **claim) -> Claim:
    """The same on one number per pair of networks of disjoint splits; units are pairs of splits."""
    return _claim(run, run.num_splits // 2, "pair of training sets", statistic, **claim)


def _claim(
    run: Run,
    num_units: int,
    unit: str,
    statistic: Statistic | np.ndarray,
    *,
    name: str,
    statement: str,
    about: str,
    minima: Minima | None = None,
    note: str | None = None,
    **further,
) -> Claim:
    minima = minima or {}
    if not isinstance(statistic, Statistic):
        statistic = Statistic.known(statistic, located(*minima.values()))
    if run.label:
        name, statement = f"{name}-{run.size}", f"{run.label}: {statement}"
    return claim_of_units(
        statistic.map(lambda part: by_training_set(part, num_units)),
        name=name,
        statement=statement,
        about=f"{about}, per {unit}",
        note=border_note(**minima) if note is None else note,
        run=run.size,
        **further,
    )


def border_note(**minima: Statistic | np.ndarray) -> str:
    """Say how many minima lie on the border of the measured range, if any do.

    Args:
        minima: by symbol, their times with bounds, or which of them were located.
    """
    located = {
        name: each.located if isinstance(each, Statistic) else np.asarray(each, bool)
        for name, each in minima.items()
    }
    parts = [f"{name} {int((~ok).sum())} of {ok.size}" for name, ok in located.items()]
    return "" if all(map(np.all, located.values())) else f"on the border: {', '.join(parts)}"


def at_times(measured: Measurements, name: str, times: Statistic) -> np.ndarray:
    """Each network's or pair's value at the checkpoint nearest to its own time."""
    return values_at(measured, name, np.exp(times.values))


def gap_at(run: Run, times: Statistic) -> np.ndarray:
    """Own–other gap of each training set at the checkpoint nearest to its own time."""
    return at_times(run.results["comparison"], "gap_of_sets", times)


def of_pairs_at(run: Run, values: np.ndarray, times: Statistic) -> np.ndarray:
    """A curve (checkpoint, member, …) of "comparison" as means over pairs, at their times."""
    comparison = run.results["comparison"]
    mean = values[:, run.pairs].mean(2)
    about = dataclasses.replace(
        comparison["gap"], values=mean, dims=tuple(f"axis {i}" for i in range(mean.ndim))
    )
    return at_times({**comparison, "mean": about}, "mean", times)


def of_other_units(times: Statistic, num_units: int) -> Statistic:
    """Each unit's time replaced by the mean over all other units.

    A noisy curve rises on both sides of its own lowest point by chance. The lowest point of the
    other units does not depend on this unit's noise. A single unit keeps its own time.
    """
    if num_units < 2:
        return times

    def others(part: np.ndarray) -> np.ndarray:
        units = by_training_set(part, num_units)
        rest = [np.delete(units, unit).mean() for unit in range(num_units)]
        return np.repeat(rest, len(part) // num_units)

    return times.map(others)


def located(*times: Statistic) -> np.ndarray:
    """Where all of these times are known."""
    return np.all([each.located for each in times], axis=0)
