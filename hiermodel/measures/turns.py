"""Turns and onsets over units: minima that other units confirm, and bias that lasts.

Source: science.md#onsets, #estimators. The lowest point of a noisy curve looks like a turn whether
there is one or not. Where it lies is therefore taken from other units than those whose rise is
tested, so that the rise owes nothing to the search.
"""

from collections.abc import Callable

import numpy as np
from jaxtyping import Array, Float, Int, Real

from hiermodel.checks import check_integer, require
from hiermodel.measures.onset import Minimum, locate_minimum
from hiermodel.measures.uncertainty import check_values


def rise_after_turn(
    times: Real[Array | np.ndarray, "..."],
    curves: Real[Array | np.ndarray, "units times"],
    *,
    num_last: int = 3,
    locate: Callable[..., Minimum] = locate_minimum,
) -> Float[np.ndarray, " units"]:
    """How far each unit's curve rises after the turn that the other half of the units has.

    Units of even number and units of odd number are the halves. Each half's mean curve has a
    lowest checkpoint; each unit of the *other* half gives the mean of its last checkpoints less its
    value there. Without a turn its expectation is at most zero for a falling curve, and zero for
    one that is level.

    Args:
        times: (num_times,) training times, positive and increasing.
        curves: (num_units, num_times) one curve per training set, or per pair of them.
        num_last: checkpoints at the end that are averaged; those before the turn are left out.
        locate: finds the minimum of a curve.

    Raises:
        ValueError: for fewer than two units, or curves that do not fit the times.
    """
    points, units = check_values("times", times), check_values("curves", curves)
    fits = units.ndim == 2 and len(units) >= 2 and units.shape[1] == len(points)
    require(fits, "curves", units.shape, f"of at least 2 units and {len(points)} times")
    num_last = check_integer("num_last", num_last, 1, len(points))
    rises = np.empty(len(units))
    for half in (0, 1):
        turn = int(locate(points, units[1 - half :: 2].mean(0)).checkpoint)
        end = units[half::2, max(turn, len(points) - num_last) :].mean(1)
        rises[half::2] = end - units[half::2, turn]
    return rises


def lasting_onset(
    p_values: Real[Array | np.ndarray, "..."], significance: float = 0.05
) -> Int[np.ndarray, "..."]:
    """First checkpoint from which on every p-value is small: bias has set in, and stays.

    Args:
        p_values: (..., num_checkpoints), corrected for the number of checkpoints.
        significance: what counts as small.

    Returns:
        (...) number of that checkpoint, from 0; num_checkpoints if there is none.

    Raises:
        ValueError: for values outside 0…1.
    """
    values = check_values("p_values", p_values)
    require(bool(((values >= 0) & (values <= 1)).all()), "p_values", values, "in 0…1")
    require(0 < significance < 1, "significance", significance, "in (0, 1)")
    small = values <= significance
    stays = np.logical_and.accumulate(small[..., ::-1], axis=-1)[..., ::-1]
    return np.where(stays.any(-1), stays.argmax(-1), values.shape[-1])
