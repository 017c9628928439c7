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

FEWEST = 8
"""Looks before which nothing is said about a curve, since its roughness is not known."""

AVERAGED = 3
"""Looks that are averaged before a curve is said to have risen: one high one proves nothing."""


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
    """By how many standard deviations the last looks of a curve lie above its lowest so far.

    Two things move a curve that has no trend: finitely many units, and the training itself, which
    makes networks better and worse from one checkpoint to the next. The rows of chance have both:
    the sign of every unit's changes flipped at random, alike at all looks (exact for changes that
    are symmetric about zero, careful where curves fall), and normal noise as large as the
    :func:`roughness` of the curve so far. Each row's rise is divided by what its own roughness
    makes likely, as in Student's test, since a few looks tell the size of that noise but vaguely.

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
    observed, flipped = changes.mean(1, keepdims=True), changes @ signs.T / num_units
    statistics = np.full((len(signs) + 1, num_looks), -np.inf)
    for look in range(max(begin + AVERAGED, FEWEST - 1), num_looks):
        now = slice(look + 1)
        bends = second_differences(curves[now])
        sampling = np.mean(bends.var(1, ddof=1)) / num_units
        # Here sampling counts as roughness too: with few looks, none may seem to be left.
        rough = roughness(observed[now], 0.0)
        rows = np.concatenate([observed[now], flipped[now] + rough * jitter[now]], 1)
        variance = np.square(_rises(flipped[now], begin)).mean(1, keepdims=True)
        spread = np.sqrt(variance + 2 / AVERAGED * np.square(roughness(rows, sampling)))
        rise = _rises(rows, begin)
        known = spread > 0
        statistics[:, look] = np.where(known, rise / np.where(known, spread, 1), -np.inf).max(0)
    return statistics


def _rises(rows: Float[np.ndarray, "looks rows"], begin: int) -> Float[np.ndarray, "before rows"]:
    """How far the newest looks lie above each earlier few, on average, that do not overlap them."""
    sums = np.cumsum(np.pad(rows, ((1, 0), (0, 0))), 0)
    means = (sums[AVERAGED:] - sums[:-AVERAGED]) / AVERAGED
    first = min(begin, len(means) - AVERAGED - 1)
    return means[-1] - means[first:-AVERAGED]


def roughness(
    curves: Float[np.ndarray, "looks rows"], sampling: float
) -> Float[np.ndarray, " rows"]:
    """Standard deviation of what training adds to each curve, independently at every look.

    From second differences, which a straight line does not have. A bent curve counts as rough.

    Args:
        curves: mean curves.
        sampling: variance of their second differences that finitely many units explain.
    """
    size = np.square(second_differences(curves)).mean(0)
    return np.sqrt(np.maximum(size - sampling, 0) / 6)  # 1 + 4 + 1


def second_differences(
    curves: Float[np.ndarray, "looks rows"],
) -> Float[np.ndarray, "bends rows"]:
    """Of the later half of the looks, eight at least if there are so many: training calms down."""
    recent = curves[-max(8, len(curves) // 2 + 1) :]
    return recent[2:] - 2 * recent[1:-1] + recent[:-2]


def transient_end(mean: Float[np.ndarray, " looks"]) -> int:
    """The look at which a curve has fallen from its early maximum, by a tenth; else the last look.

    As in ``minimum_after_transient``, unsmoothed: what comes later does not change it.
    """
    fallen = mean < (1 - DROP) * np.maximum.accumulate(mean)
    return int(fallen.argmax()) if fallen.any() else len(mean) - 1
