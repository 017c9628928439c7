"""Data collapse: curves at several depths as one function of (x − centre) λ^depth."""

import itertools

import numpy as np
from jaxtyping import Float
from scipy.interpolate import PchipInterpolator
from scipy.optimize import minimize

STARTS = (-0.02, 0.0, 0.02)
"""From the guess of the centre."""


def collapse(
    x: Float[np.ndarray, " points"],
    curves: Float[np.ndarray, "points depths"],
    depths: tuple[int, ...],
    *,
    centre: float,
    growth: float,
) -> tuple[float, float]:
    """The centre and the λ with which curves of all these depths agree best, by least squares.

    Every curve is compared, where both have points, with every other one interpolated.

    Args:
        x: increasing.
        curves: one column per depth.
        depths: of the columns.
        centre: a guess.
        growth: a guess of λ.

    Returns:
        The centre, and λ.
    """
    known = [PchipInterpolator(x, curve, extrapolate=False) for curve in curves.T]

    def spread(guess: np.ndarray) -> float:
        squares, count = 0.0, 0
        for one, other in itertools.permutations(range(len(depths)), 2):
            stretch = np.exp(guess[1] * (depths[one] - depths[other]))
            off = known[other](guess[0] + (x - guess[0]) * stretch) - curves[:, one]
            inside = np.isfinite(off)
            if inside.sum() < 2:
                return 1e3
            squares += float(np.square(off[inside]).sum())
            count += int(inside.sum())
        return squares / count

    options = {"xatol": 1e-4, "fatol": 1e-9}
    tries = (
        minimize(spread, (centre + off, np.log(growth)), method="Nelder-Mead", options=options)
        for off in STARTS
    )
    best = min(tries, key=lambda found: found.fun)
    return float(best.x[0]), float(np.exp(best.x[1]))
