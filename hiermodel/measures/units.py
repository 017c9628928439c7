"""The unit of every claim is the training set: averages over seeds, pairs, intervals, verdicts.

Networks of several seeds on one training set share its accidents. So seeds are averaged within each
training set first, and training sets, or pairs of them that share none, are what intervals and
tests count (science.md#units).
"""

from typing import Literal

import numpy as np
from jaxtyping import Array, Float, Real
from scipy.stats import binom

from hiermodel.checks import check_integer, require
from hiermodel.measures.uncertainty import Interval, check_values, student_interval

MIN_UNITS = 4
"""With fewer training sets, or pairs of them, nothing is claimed and no band is drawn."""

Verdict = Literal["shown", "contradicted", "not shown", "not located", "too few training sets"]

SHOWN: Verdict = "shown"
CONTRADICTED: Verdict = "contradicted"
NOT_SHOWN: Verdict = "not shown"
NOT_LOCATED: Verdict = "not located"
TOO_FEW: Verdict = "too few training sets"


def by_training_set(
    values: Real[Array | np.ndarray, "..."], num_sets: int, *, axis: int = 0
) -> Float[np.ndarray, "..."]:
    """Mean over what belongs to each training set, or to each pair of them.

    Args:
        values: an axis of networks (or pairs of networks), those of the first set first.
        num_sets: training sets, or pairs of them, along that axis.
        axis: which axis it is; ``num_sets`` long in the result.

    Raises:
        ValueError: if the axis cannot be shared out evenly.
    """
    num_sets = check_integer("num_sets", num_sets, 1)
    numbers = np.moveaxis(np.asarray(values, np.float64), axis, 0)
    fits = len(numbers) > 0 and len(numbers) % num_sets == 0
    require(fits, "values", np.shape(values), f"a multiple of {num_sets} along axis {axis}")
    return np.moveaxis(numbers.reshape(num_sets, -1, *numbers.shape[1:]).mean(1), 0, axis)


def disjoint_pairs(num_splits: int) -> list[tuple[int, int]]:
    """Pairs of splits that share none: 0 with 1, 2 with 3, …; a last odd one is left out."""
    num_splits = check_integer("num_splits", num_splits, 1)
    return [(first, first + 1) for first in range(0, num_splits - 1, 2)]


def partner_split(split: int, num_splits: int) -> int | None:
    """The other split of the pair, whose partner this one is; None for a last odd one.

    With both directions of a pair, what makes one split closer to everything cancels.
    """
    split = check_integer("split", split, 0, num_splits - 1)
    partner = split + 1 if split % 2 == 0 else split - 1
    return partner if partner < num_splits else None


def other_split(split: int, num_splits: int) -> int:
    """The partner of a split; of a last odd one the first: for what is measured one way only.

    A network for reference, or sequences that were not trained on, may be any other split's.
    """
    partner = partner_split(split, num_splits)
    return 0 if partner is None else partner


def by_pair_of_sets(
    values: Real[Array | np.ndarray, "..."], num_splits: int, *, axis: int = 0
) -> Float[np.ndarray, "..."]:
    """Mean over the networks on both splits of each pair: (num_splits // 2) along the axis.

    Args:
        values: an axis of networks, those of the first split first; those of a last odd split,
            which has no partner, are not read.
        num_splits: training sets, at least 2.
        axis: which axis it is.

    Raises:
        ValueError: if the axis cannot be shared out evenly, or for fewer than two splits.
    """
    num_splits = check_integer("num_splits", num_splits, 2)
    numbers = np.moveaxis(np.asarray(values, np.float64), axis, 0)
    fits = len(numbers) % num_splits == 0
    require(fits, "values", np.shape(values), f"a multiple of {num_splits} along axis {axis}")
    paired = numbers[: len(numbers) // num_splits * (num_splits // 2 * 2)]
    return np.moveaxis(by_training_set(paired, num_splits // 2), 0, axis)


def interval_of_units(
    values: Real[Array | np.ndarray, " units"], *, level: float = 0.95
) -> Interval:
    """Mean over units with its Student interval; one unit alone has an interval without ends.

    Raises:
        ValueError: for no units or values that are not finite.
    """
    numbers = check_values("values", values)
    if len(numbers) == 1:
        return Interval(float(numbers[0]), -np.inf, np.inf, level)
    return student_interval(numbers, level=level)


def band_of_units(
    values: Real[Array | np.ndarray, "units ..."], *, level: float = 0.95
) -> Interval | None:
    """Mean over units with its Student interval, as figures draw it; None for too few units."""
    return None if len(values) < MIN_UNITS else student_interval(values, level=level)


def mean_of_units(
    values: Real[Array | np.ndarray, " units"], *, of_logs: bool = False
) -> tuple[float, float, float]:
    """Mean over units and the ends of its 95 % Student interval, NaN with too few units.

    Args:
        values: one number per training set or pair of them.
        of_logs: these are logarithms, and their exponentials are returned: a geometric mean.
    """
    numbers = np.asarray(values, np.float64)
    band = band_of_units(numbers)
    found = [numbers.mean(), np.nan, np.nan] if band is None else band[:3]
    estimate, low, high = (float(np.exp(end) if of_logs else end) for end in found)
    return estimate, low, high


def decide(
    values: Real[Array | np.ndarray, " units"],
    *,
    low: float = 0.0,
    high: float = np.inf,
    lower: Real[Array | np.ndarray, " units"] | None = None,
    upper: Real[Array | np.ndarray, " units"] | None = None,
    resolution: float = 0.0,
    level: float = 0.95,
) -> Verdict:
    """What the units say of the claim that a statistic lies between ``low`` and ``high``.

    Where every unit's value is known, the Student interval of their mean decides: "shown" if all of
    it lies between the ends, "contradicted" if all of it lies outside, otherwise "not shown".

    Where some are known only up to bounds, as a time beyond the last checkpoint is, a sign test
    does: "shown" if more units than chance would have it (two-sided, 1 − ``level``) lie between
    the ends whatever their values within the bounds, "contradicted" likewise. A unit whose bounds
    leave it open counts for neither. If neither is so and a unit has no bound on a side, the
    verdict is "not located". The sign test also decides where all values are the same, since an
    interval without width says nothing; it needs at least 6 units.

    Args:
        values: one number per training set or pair of them.
        low: the claim is that the statistic lies above this.
        high: and below this.
        lower: bounds from below per unit, −inf for none; the values where left out.
        upper: bounds from above, inf for none.
        resolution: how finely the statistic is measured; by so much it must clear the ends.
        level: nominal coverage.

    Raises:
        ValueError: for no units, values that are not finite, or bounds that do not hold them.
    """
    numbers = check_values("values", values)
    least = numbers if lower is None else np.asarray(lower, np.float64)
    most = numbers if upper is None else np.asarray(upper, np.float64)
    _check_bounds(numbers, least, most)
    if len(numbers) < MIN_UNITS:
        return TOO_FEW
    by_interval = bool((least == most).all()) and np.ptp(numbers) > 0
    if by_interval:
        interval = student_interval(numbers, level=level)
        least, most = np.array([interval.low]), np.array([interval.high])
    above = np.isneginf(low) | (least > low + resolution)
    below = np.isposinf(high) | (most < high - resolution)
    beneath = np.isfinite(low) & (most < low - resolution)
    beyond = np.isfinite(high) & (least > high + resolution)
    if by_interval:
        if (above & below).all():
            return SHOWN
        return CONTRADICTED if (beneath | beyond).all() else NOT_SHOWN
    if _most(above & below, level):
        return SHOWN
    if _most(beneath, level) or _most(beyond, level):
        return CONTRADICTED
    return NOT_LOCATED if np.isinf([*least, *most]).any() else NOT_SHOWN


def _most(units: np.ndarray, level: float) -> bool:
    """Whether so many units would be rare if each had an even chance."""
    chance = binom.sf(int(units.sum()) - 1, len(units), 0.5)
    return bool(chance <= (1 - level) / 2)


def _check_bounds(numbers: np.ndarray, lower: np.ndarray, upper: np.ndarray) -> None:
    for name, bounds in (("lower", lower), ("upper", upper)):
        fits = bounds.shape == numbers.shape and not np.isnan(bounds).any()
        require(fits, name, bounds, f"{len(numbers)} bounds, one per unit, none of them NaN")
    slack = 1e-9 * (1 + np.abs(numbers))
    holds = bool(((lower <= numbers + slack) & (numbers - slack <= upper)).all())
    require(holds, "values", numbers, f"within their bounds {lower} and {upper}")
