"""Several claims at once: the p-value of each, and Holm's correction for all of them."""

import numpy as np
from jaxtyping import Array, Float, Real

from hiermodel.checks import require
from hiermodel.measures.uncertainty import check_values
from hiermodel.measures.units import CONTRADICTED, SHOWN, decide


def p_value_of_units(values: Real[Array | np.ndarray, " units"], **claim) -> float:
    """The least 1 − level at which the units decide a claim, either way; 1 if none does.

    Args:
        values: one number per training set or pair of them.
        claim: as in :func:`hiermodel.measures.units.decide`, without the level.

    Raises:
        ValueError: as ``decide``.
    """

    def decided(p: float) -> bool:
        return decide(values, level=1 - p, **claim) in (SHOWN, CONTRADICTED)

    low, high = 1e-12, 1 - 1e-12
    if not decided(high):
        return 1.0
    if decided(low):
        return low
    for _ in range(50):  # an interval that grows with its level decides ever less
        middle = float(np.sqrt(low * high))
        low, high = (low, middle) if decided(middle) else (middle, high)
    return high


def holm(p_values: Real[Array | np.ndarray, " claims"]) -> Float[np.ndarray, " claims"]:
    """P-values corrected by Holm's step-down method.

    Claims whose corrected value is at most α have among them a false one with a chance of at most
    α, however the claims depend on each other (Holm, Scand. J. Statist. 6, 1979).

    Args:
        p_values: (num_claims,) in 0…1.

    Raises:
        ValueError: for values that are not such.
    """
    values = check_values("p_values", p_values)
    fits = values.ndim == 1 and bool(((values >= 0) & (values <= 1)).all())
    require(fits, "p_values", values, "one-dimensional, in 0…1")
    order = np.argsort(values, kind="stable")
    raised = np.minimum(values[order] * np.arange(len(values), 0, -1), 1)
    corrected = np.empty_like(values)
    corrected[order] = np.maximum.accumulate(raised)
    return corrected
