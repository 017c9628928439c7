"""Tests that are looked at again and again while training goes on.

Each test compares what was observed with rows of what chance would have given (permutations, or
curves with their signs flipped). Looking at every checkpoint gives chance many opportunities, so
the allowed false-alarm rate is spent in equal parts over the planned looks (Lan and DeMets,
Biometrika 70:659, 1983): at each look so many rows are allowed to have crossed, the highest of
those that have not yet. The observed row is treated as any other. Under the hypothesis it is
exchangeable with them, so it crosses, at whatever look, with at most the allowed rate; and what is
said at a look depends on nothing that comes later.
"""

import numpy as np
from jaxtyping import Float

from hiermodel.checks import check_integer, require
from hiermodel.measures.onset import DROP

FEWEST = 6
"""Looks before which nothing is said about a curve, since its roughness is not known."""

NORMAL_MEDIAN = 0.6745
"""Median size of a standard normal."""


def first_alarm(
    statistics: Float[np.ndarray, "rows looks"], false_alarm: float, num_looks: int
) -> int | None:
    """The look at which the first row, the observed one, crosses; None if it has not so far.

    Args:
        statistics: row 0 observed, the others by chance; −inf where there is nothing to test yet.
            Only positive ones cross.
        false_alarm: rate allowed over all planned looks, in (0, 1).
        num_looks: planned looks, at least as many as there are columns.

    Raises:
        ValueError: for a number out of range.
    """
    require(bool(0 < false_alarm < 1), "false_alarm", false_alarm, "above 0 and below 1")
    num_rows, num_done = statistics.shape
    num_looks = check_integer("num_looks", num_looks, num_done)
    waiting = np.ones(num_rows, dtype=bool)
    for look, values in enumerate(statistics.T):
        allowed = int(false_alarm * (look + 1) / num_looks * num_rows * (1 + 1e-12))
        budget = allowed - int(num_rows - waiting.sum())
        if budget < 1:
            continue
        bound = max(np.sort(values[waiting])[::-1][budget], 0.0)
        crosses = waiting & (values > bound)
        if crosses[0]:
            return look
        waiting &= ~crosses
    return None


def rise_statistics(
    curves: Float[np.ndarray, "looks units"],
    signs: Float[np.ndarray, "rows units"],
    jitter: Float[np.ndarray, "looks rows"],
    begin: int,
) -> Float[np.ndarray, "rows+1 looks"]:
    """By how many standard deviations a mean curve lies above its lowest point so far.

    Two things move a curve that has no trend: finitely many units, and the training itself, which
    makes networks better and worse from one checkpoint to the next. The rows of chance have both:
    the sign of every unit's changes flipped at random, alike at all looks (exact for changes that
    are symmetric about zero, careful where curves fall), and normal noise as large as the
    :func:`roughness` of the curve so far.

    Args:
        curves: one curve per independent unit.
        signs: ±1, rows of chance.
        jitter: standard normals, of the same rows.
        begin: the first look that may be the lowest; at it and before, and at the first few looks,
            the statistic is −inf.

    Returns:
        Row 0 observed, the others by chance.
    """
    num_looks, num_units = curves.shape
    # A unit's level cancels in differences; without it they keep their digits.
    changes = curves - curves.mean(0)
    observed, flipped = changes.mean(1), changes @ signs.T / num_units
    statistics = np.full((len(signs) + 1, num_looks), -np.inf)
    for look in range(max(begin + 1, FEWEST - 1), num_looks):
        rough = roughness(curves[: look + 1])
        by_chance = flipped[: look + 1] + rough * jitter[: look + 1]
        rows = np.concatenate([observed[: look + 1, None], by_chance], 1)
        rise = rows[look] - rows[begin:look]
        spread = np.sqrt(np.square(rise).mean(1, keepdims=True))
        known = spread[:, 0] > 0
        if known.any():
            statistics[:, look] = (rise[known] / spread[known]).max(0)
    return statistics


def roughness(curves: Float[np.ndarray, "looks units"]) -> float:
    """Standard deviation of what training adds to a mean curve, independently at every look.

    From second differences, which a straight line does not have: their median size, less what
    finitely many units explain. A bent curve counts as a rough one.
    """
    bends = curves[2:] - 2 * curves[1:-1] + curves[:-2]
    size = np.median(np.abs(bends.mean(1))) / NORMAL_MEDIAN
    sampling = np.mean(bends.var(1, ddof=1)) / curves.shape[1]
    return float(np.sqrt(max(np.square(size) - sampling, 0.0) / 6))  # 1 + 4 + 1


def transient_end(mean: Float[np.ndarray, " looks"]) -> int:
    """The look at which a curve has fallen from its early maximum, by a tenth; else the last look.

    As in ``minimum_after_transient``, unsmoothed: what comes later does not change it.
    """
    fallen = mean < (1 - DROP) * np.maximum.accumulate(mean)
    return int(fallen.argmax()) if fallen.any() else len(mean) - 1
