"""What a family is: predictions, frozen in its file before it is run; a figure; a verdict."""

import dataclasses
import functools
import importlib
import pkgutil
import string
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from experiments.claim import Claim, Statistic, claim_of_units
from experiments.store import Measurements
from experiments.theory.study import Parts, measure_parts, time_spent, with_seed
from hiermodel.checks import require

SEED = 2411
"""Of the published run; settings and predictions were chosen on seeds from 1000 to 1999."""


@dataclasses.dataclass(frozen=True)
class Prediction:
    """A number that theory gives, or an order, and what exact inference has to say of it.

    Attributes:
        name: short and unique in its family.
        statement: what is predicted, in a sentence.
        source: where from: an arXiv number, or "derived here".
        about: the statistic that decides, with its unit; there is one per realisation.
        values: that statistic from what was measured, (realisations,).
        low: the statistic is predicted to lie above this,
        high: and below this.
        expected: the predicted number; None where an order is predicted.
    """

    name: str
    statement: str
    source: str
    about: str
    values: Callable[[Measurements], np.ndarray]
    low: float = 0.0
    high: float = np.inf
    expected: float | None = None

    @classmethod
    def near(cls, expected: float, tolerance: float, **rest: Any) -> "Prediction":
        """A number within a tolerance."""
        return cls(low=expected - tolerance, high=expected + tolerance, expected=expected, **rest)


@dataclasses.dataclass(frozen=True)
class Family:
    """Predictions that one figure shows.

    Attributes:
        title: of the figure.
        papers: arXiv numbers; the family tests their predictions.
        settings: what is known of the papers' own settings, and ours.
        caption: how to read the figure.
        study: its sizes and seed.
        parts: what is measured, from a study.
        predictions: frozen before the first run of the published size.
        draw: the figure, from what was measured.
    """

    title: str
    papers: tuple[str, ...]
    settings: str
    caption: str
    study: Any
    parts: Callable[[Any], Parts]
    predictions: tuple[Prediction, ...]
    draw: Callable[[Measurements], Figure]

    def measure(self, root: Path | str, seed: int | None = SEED) -> Measurements:
        """What is measured, made as far as it is missing."""
        study = with_seed(self.study, seed)
        return measure_parts(study, self.parts(study), root)

    def time_spent(self, root: Path | str, seed: int | None = SEED) -> dict[str, Any]:
        """What measuring took; families that share measurements each count them whole."""
        return time_spent(with_seed(self.study, seed), root)

    def claims(self, measured: Measurements, figure: str = "") -> list[Claim]:
        """Every prediction with its interval over realisations and its verdict."""
        return [
            claim_of_units(
                Statistic.known(prediction.values(measured)),
                name=prediction.name,
                statement=prediction.statement,
                about=f"{prediction.about}, per realisation",
                figure=figure,
                low=prediction.low,
                high=prediction.high,
            )
            for prediction in self.predictions
        ]


def by_number(name: str) -> tuple[int, str]:
    """Sorts names of files: f7, f7b, f9, f11."""
    return len(name.rstrip(string.ascii_lowercase)), name


@functools.cache
def all_families() -> Mapping[str, Family]:
    """Every family by the name of its file."""
    package = importlib.import_module("figures.theory")
    names = sorted(
        (found.name for found in pkgutil.iter_modules(package.__path__)),
        key=by_number,
    )
    modules = {name: importlib.import_module(f"figures.theory.{name}") for name in names}
    return {name: module.FAMILY for name, module in modules.items() if hasattr(module, "FAMILY")}


def families_of(names: tuple[str, ...]) -> Mapping[str, Family]:
    """Families by their own names, or those of the papers that they test.

    Raises:
        ValueError: for a name that is neither.
    """
    known = all_families()
    papers = sorted({paper for family in known.values() for paper in family.papers})
    for name in names:
        allowed = f'out of {papers}, a family {list(known)}, or "all"'
        require(name in known or name in papers or name == "all", "paper", name, allowed)
    return {
        name: family for name, family in known.items() if {name, "all", *family.papers} & set(names)
    }
