"""Statistics from which studies answer their questions: effects with intervals, and words for them.

A unit is a training set, followed through all settings of the study: effects are estimated within
each network, since networks of one set and seed start from the same values whatever the settings,
and averaged over the networks of a set. What compares own with other sequences has pairs of
training sets for units.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import pandas as pd

from experiments.claim import Claim, Statistic, claim_of_units
from experiments.words import interval_text
from hiermodel.checks import InputError
from hiermodel.measures.uncertainty import Interval
from hiermodel.measures.units import CONTRADICTED, NOT_LOCATED, SHOWN, TOO_FEW


@dataclasses.dataclass(frozen=True)
class Answer:
    """What a study says.

    Attributes:
        paragraph: the answer in words, made from the claims and their numbers.
        claims: the statistics behind it.
        tables: further ones by their title, of words, for the page.
    """

    paragraph: str
    claims: Sequence[Claim]
    tables: Mapping[str, pd.DataFrame] = dataclasses.field(default_factory=dict)


def log_times(rows: pd.DataFrame, column: str) -> Statistic:
    """Ln of the times of minima, by row, with bounds where they are not located."""
    times = np.log(rows[column].to_numpy(np.float64))
    name, _, level = column.partition("_level_")
    flag = f"{name}_level_{{}}_{level}" if level else f"{column}_{{}}"
    return Statistic.bounded(times, rows[flag.format("at_start")], rows[flag.format("at_end")])


def effects(
    rows: pd.DataFrame,
    response: Statistic,
    predictors: Mapping[str, np.ndarray],
    *,
    pairs: bool = False,
) -> dict[str, Statistic]:
    """Change of a response with each predictor, the others held fixed, per training set.

    In every network, ordinary least squares of response = constant + Σ coefficient · predictor,
    then the mean over the networks of a training set. With logarithms of both, a coefficient is an
    exponent. Coefficients are linear in the response, so that bounds of it bound them.

    Args:
        rows: of a table, with the columns seed, split and member.
        response: by row; rows where it is not finite are left out.
        predictors: arrays by name, a number for each row.
        pairs: units are pairs of training sets, for what compares the two of a pair.

    Returns:
        One number per unit, by name.

    Raises:
        ValueError: if no network has settings enough to tell the effects apart.
    """
    design = np.stack([np.ones(len(rows)), *predictors.values()], 1).astype(np.float64)
    fits: dict[tuple[int, int], list[np.ndarray]] = {}
    for (seed, split, _), own in rows.groupby(["seed", "split", "member"]).indices.items():
        own = own[np.isfinite(response.values[own])]
        if np.linalg.matrix_rank(design[own]) == design.shape[1]:
            unit = (seed, split // 2 if pairs else split)
            fits.setdefault(unit, []).append(_fit(design[own], response, own))
    if not fits:
        raise InputError(f"effects of {list(predictors)} cannot be told apart: too few settings")
    units = np.stack([np.mean(its, 0) for its in fits.values()])  # (units, parts, coefficients)
    return {name: Statistic(*units[:, :, place].T) for place, name in enumerate(predictors)}


def _fit(design: np.ndarray, response: Statistic, own: np.ndarray) -> np.ndarray:
    """Coefficients but the constant, with their bounds: (value, lower, upper)."""
    weights = np.linalg.pinv(design)[1:, :]
    # Rounding must not turn a weight of nothing into no bound at all.
    weights = np.where(np.abs(weights) < 1e-12 * np.abs(weights).max(), 0, weights)
    values, least, most = (part[own] for part in (response.values, response.lower, response.upper))
    with np.errstate(invalid="ignore"):
        low = np.where(weights > 0, weights * least, weights * most)
        high = np.where(weights > 0, weights * most, weights * least)
    low, high = (np.where(weights == 0, 0, part).sum(1) for part in (low, high))
    fit = weights @ values
    # Summed in another order, bounds that meet differ in their last digits.
    bounded = ((weights != 0) & (least != most)).any(1)
    return np.stack([fit, np.where(bounded, low, fit), np.where(bounded, high, fit)])


def spacing_of(rows: pd.DataFrame, predictor: np.ndarray | None = None) -> float:
    """How finely a time is known: the spacing of checkpoints, in ln; over a predictor's range."""
    spacing = float(rows["log_spacing"].max())
    return spacing if predictor is None else spacing / float(np.ptp(predictor))


def per_unit(rows: pd.DataFrame, statistic: Statistic) -> Statistic:
    """Numbers by row of one setting, as means per training set."""
    units = rows.groupby(["seed", "split"]).indices.values()
    return statistic.map(lambda part: np.array([part[unit].mean() for unit in units]))


def in_steps(rows: pd.DataFrame, log_time: Statistic) -> Statistic:
    """Ln of a time in epochs as ln of optimiser steps, of which large sets have more an epoch."""
    return log_time - Statistic.known(-np.log(rows["steps_per_epoch"]))


def grows_with_n(
    study: str,
    name: str,
    statement: str,
    what: str,
    rows: pd.DataFrame,
    response: Statistic,
    times: Sequence[str],
) -> Claim:
    """The claim that the exponent of a quantity in the number of sequences is positive.

    Args:
        study: whose claim it is.
        name: of the claim.
        statement: what it says.
        what: the quantity.
        rows: of a table; the number of sequences is varied.
        response: ln of the quantity, by row.
        times: the minima that it is made of, such as "turn".
    """
    log_n = np.log(rows["split_size"])
    claim = make_claim(
        study,
        name,
        statement,
        f"exponent of {what} in n",
        effects(rows, response, {"n": log_n})["n"],
        resolution=spacing_of(rows, log_n),
    )
    return with_note(claim, rows, *(f"tau_{time}_located" for time in times))


def make_claim(
    study: str,
    name: str,
    statement: str,
    about: str,
    statistic: Statistic,
    *,
    pairs: bool = False,
    resolution: float = 0.0,
) -> Claim:
    """The claim that a statistic is positive, over training sets or pairs of them."""
    unit = "pair of training sets" if pairs else "training set"
    return claim_of_units(
        statistic,
        name=name,
        figure=study,
        statement=statement,
        about=f"{about}, per {unit}",
        resolution=resolution,
    )


def with_note(claim: Claim, rows: pd.DataFrame, *columns: str) -> Claim:
    """The claim, with a note on the minima in it that lie on the border of the measured range."""
    parts = []
    for column in columns:
        outside = int((~rows[column]).sum())
        if outside:
            parts.append(f"{column.replace('_located', '')} {outside} of {len(rows)}")
    note = f"on the border: {', '.join(parts)}" if parts else ""
    return dataclasses.replace(claim, note=note)


def choose(claim: Claim, positive: str, negative: str, unclear: str) -> str:
    """The word for a claim that is shown, one that is contradicted, or one that is neither."""
    if claim.verdict == SHOWN:
        return positive
    if claim.verdict in (NOT_LOCATED, TOO_FEW):
        return f"{unclear} ({claim.verdict})"
    return negative if claim.verdict == CONTRADICTED else unclear


def number(interval: Interval, transform: Callable[[float], float] = float) -> str:
    """An estimate with its interval, as 1.2 [0.8, 1.6]; alone if there is none."""
    return interval_text(*(transform(float(end)) for end in interval[:3]), digits=2)
