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
    begin: int,
) -> Float[np.ndarray, "rows+1 looks"]:
    """By how many standard deviations a mean curve lies above its lowest point so far.

    The rows of chance are the same with the sign of every unit's changes flipped at random, alike
    at all looks: exact for changes that are symmetric about zero, and careful where curves fall.

    Args:
        curves: one curve per independent unit.
        signs: ±1, rows of chance.
        begin: the first look that may be the lowest; at it and before, the statistic is −inf.

    Returns:
        Row 0 observed, the others by chance.
    """
    num_looks, num_units = curves.shape
    # A unit's level cancels in differences; without it they keep their digits.
    changes = curves - curves.mean(0)
    rows = np.concatenate([changes.mean(1)[None], signs @ changes.T / num_units])
    statistics = np.full(rows.shape, -np.inf)
    for look in range(begin + 1, num_looks):
        rise = rows[:, look, None] - rows[:, begin:look]
        spread = np.sqrt(np.square(rise).mean(0))
        known = spread > 0
        if known.any():
            statistics[:, look] = (rise[:, known] / spread[known]).max(1)
    return statistics


def transient_end(mean: Float[np.ndarray, " looks"]) -> int:
    """The look at which a curve has fallen from its early maximum, by a tenth; else the last look.

    As in ``minimum_after_transient``, unsmoothed: what comes later does not change it.
    """
    fallen = mean < (1 - DROP) * np.maximum.accumulate(mean)
    return int(fallen.argmax()) if fallen.any() else len(mean) - 1
