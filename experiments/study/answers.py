"""Statistics from which studies answer their questions: effects with intervals, and words for them.

A unit is a network: one training set and one seed, followed through all settings of the study.
Networks of one set and seed start from the same values whatever the settings, so effects are
estimated within each unit, and their spread over units gives the interval.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from experiments.claim import ENOUGH_SPLITS, LEVEL, Claim
from experiments.study.table import Rows
from hiermodel.measures.uncertainty import Interval, student_interval


@dataclasses.dataclass(frozen=True)
class Answer:
    """What a study says.

    Attributes:
        paragraph: the answer in words, made from the claims and their numbers.
        claims: the statistics behind it.
    """

    paragraph: str
    claims: Sequence[Claim]


def effects(
    rows: Rows, response: np.ndarray, predictors: Mapping[str, np.ndarray]
) -> dict[str, np.ndarray]:
    """Change of a response with each predictor, the others held fixed, per independent unit.

    In every unit, ordinary least squares of response = constant + Σ coefficient · predictor. With
    logarithms of both, a coefficient is an exponent. From ``ENOUGH_SPLITS`` training sets on,
    networks are averaged within each.

    Args:
        rows: of a table, with the columns seed, split and member.
        response: (rows,) of any unit; rows where it is not finite are left out.
        predictors: (rows,) by name.

    Returns:
        (units,) by name.

    Raises:
        ValueError: if no unit has settings enough to tell the effects apart.
    """
    design = np.stack([np.ones(len(rows)), *predictors.values()], 1).astype(np.float64)
    fits: dict[tuple[int, int], list[np.ndarray]] = {}
    for unit in dict.fromkeys(zip(rows["seed"], rows["split"], rows["member"], strict=True)):
        own = (rows["seed"] == unit[0]) & (rows["split"] == unit[1]) & (rows["member"] == unit[2])
        own &= np.isfinite(response)
        if np.linalg.matrix_rank(design[own]) == design.shape[1]:
            fit = np.linalg.lstsq(design[own], response[own], rcond=None)[0][1:]
            fits.setdefault((int(unit[0]), int(unit[1])), []).append(fit)
    if not fits:
        raise ValueError(f"effects of {list(predictors)} cannot be told apart: too few settings")
    per_set = list(fits.values())
    if len(per_set) >= ENOUGH_SPLITS:
        units = np.stack([np.mean(its, 0) for its in per_set])
    else:
        units = np.concatenate(per_set)
    return dict(zip(predictors, units.T, strict=True))


def per_unit(rows: Rows, column: str) -> np.ndarray:
    """A column of one setting, per independent unit."""
    return unit_means(rows, rows[column].astype(np.float64))


def unit_means(rows: Rows, values: np.ndarray) -> np.ndarray:
    """Values of one setting's rows, averaged within training sets where there are many."""
    sets = [(int(row["seed"]), int(row["split"])) for row in rows]
    if len(set(sets)) < ENOUGH_SPLITS:
        return values
    return np.array(
        [
            values[[place for place, its in enumerate(sets) if its == one]].mean()
            for one in sorted(set(sets))
        ]
    )


def make_claim(study: str, name: str, statement: str, statistic: str, values: np.ndarray) -> Claim:
    """The claim that a statistic is positive, over units; two at least."""
    interval = student_interval(values, level=LEVEL)
    return Claim(name, study, statement, f"{statistic}, per unit", interval, values)


def with_note(claim: Claim, rows: Rows, *columns: str) -> Claim:
    """The claim, with a note on the minima in it that lie on the border of the measured range."""
    parts = []
    for column in columns:
        outside = int((~rows[column]).sum())
        if outside:
            parts.append(f"{column.replace('_located', '')} {outside} of {len(rows)}")
    note = f"on the border: {', '.join(parts)}" if parts else ""
    return dataclasses.replace(claim, note=note)


def choose(interval: Interval, positive: str, negative: str, unclear: str) -> str:
    """The word for an interval above zero, below zero, or around it."""
    if interval.low > 0:
        return positive
    return negative if interval.high < 0 else unclear


def number(interval: Interval, transform: Callable[[float], float] = float) -> str:
    """An estimate with its interval, as 1.2 [0.8, 1.6]."""
    ends = (interval.estimate, interval.low, interval.high)
    estimate, low, high = (f"{transform(float(end)):.2g}" for end in ends)
    return f"{estimate} [{low}, {high}]"
