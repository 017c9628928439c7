"""Where curves rise above 0, between the points at which they are known."""

import numpy as np


def first_rise(steps: np.ndarray, curves: np.ndarray) -> np.ndarray:
    """Ln of the step where a curve first rises above 0, by straight lines in ln of the step.

    The first or last step looked at, if it is above at once, or never.
    """
    x, after = np.log(steps), (curves > 0).argmax(-1)
    before = np.maximum(after - 1, 0)
    low, high = (np.take_along_axis(curves, at[..., None], -1)[..., 0] for at in (before, after))
    share = np.where(after > 0, -low / np.where(high > low, high - low, 1), 0.0)
    found = x[before] + share * (x[after] - x[before])
    return np.where((curves > 0).any(-1), found, x[-1])


def places_before(values: np.ndarray) -> np.ndarray:
    """After how many places along the last axis a gain is there.

    The sum over places of 1 − best so far / best of all: if one place brings it all, its number.
    """
    best = np.maximum.accumulate(values, axis=-1)
    most = best[..., -1:]
    return (1 - best / np.where(most == 0, 1, most)).sum(-1)


def last_rise(x: np.ndarray, difference: np.ndarray) -> float:
    """Where a curve last rises above 0, by a straight line; an end of x if it does not."""
    above = difference > 0
    if not above[-1]:
        return float(x[-1])
    after = len(x) - int(np.argmin(above[::-1])) if not above.all() else 0
    if after == 0:
        return float(x[0])
    low, high = difference[after - 1], difference[after]
    return float(x[after - 1] - low / (high - low) * (x[after] - x[after - 1]))
