"""How the belief in the true symbol passes from a node's children to the node (science.md#f1).

Random hierarchy model: v symbols, m equally likely rules per symbol, tuples of s, a tuple has at
most one parent. Let every child's belief in its true symbol be p. The true tuple then has weight
x = p^s. The others of the m v tuples that have a parent are drawn from all v^s − 1 other tuples,
which share the weight 1 − x: on average they hold f (1 − x), f = (m v − 1) / (v^s − 1), of which
those with the true parent hold c (1 − x), c = (m − 1) / (v^s − 1). Averaging numerator and
denominator apart (the *annealed* average) gives the belief of the parent in its true symbol,

    F(p) = (x + c (1 − x)) / (x + f (1 − x)).

The average of a ratio is not the ratio of averages: F is exact where many rules contribute (large
v and m). Its slopes at both ends are right more generally: at 1 the errors of one child decide, and
at 1/v it is s / m for large v, the condition of Kesten and Stigum.

Source: Sclocchi, Favero, Wyart, arXiv:2402.16991; derived anew here.
"""

import math

import numpy as np
from jaxtyping import Array, Float
from scipy.optimize import brentq

from hiermodel.checks import require
from hiermodel.theory.ensemble import Sizes, check_sizes

Probabilities = float | Float[Array | np.ndarray, "..."]


def belief_map(
    p: Probabilities, *, vocab_size: int, rules_per_symbol: int, branching: int = 2
) -> Probabilities:
    """F(p): a parent's belief in its true symbol, if its children have belief p in theirs.

    Assumes independent children of the same belief and averages over rules, numerator and
    denominator apart (science.md#f1; arXiv:2402.16991; derivation above). 1 and 1/v are fixed
    points.

    Args:
        p: probabilities, a number or an array.
        vocab_size: v, at least 2.
        rules_per_symbol: m, in 1…v**(s − 1).
        branching: s, at least 2.

    Returns:
        A number, or an array like ``p``.

    Raises:
        ValueError: if an argument is out of its range.

    Example:
        >>> round(hm.theory.belief_map(0.9, **rhm), 4)
        0.9478
    """
    sizes = check_sizes(vocab_size, rules_per_symbol, branching)
    belief = np.asarray(p, np.float64)
    require(bool(((belief >= 0) & (belief <= 1)).all()), "p", p, "probabilities")
    mapped = map_weight(belief**sizes.branching, sizes)
    return float(mapped) if np.ndim(p) == 0 else np.asarray(mapped)


def belief_slope(
    p: Probabilities, *, vocab_size: int, rules_per_symbol: int, branching: int = 2
) -> Probabilities:
    """F'(p), the derivative of :func:`belief_map`, of the same arguments and errors.

    F'(1) = s m (v − 1) / (v^s − 1) says how errors near the leaves multiply on the way up: below
    1, small noise is corrected. F'(1/v) is s / m for large v: above 1, the smallest signal grows.

    Example:
        >>> round(hm.theory.belief_slope(1.0, **rhm), 4)
        0.4706
    """
    sizes = check_sizes(vocab_size, rules_per_symbol, branching)
    belief = np.asarray(p, np.float64)
    require(bool(((belief >= 0) & (belief <= 1)).all()), "p", p, "probabilities")
    f, c = _shares(sizes)
    weight = belief**sizes.branching
    # d/dx of (x + c (1 − x)) / (x + f (1 − x)) is (f − c) / (x + f (1 − x))²
    outer = (f - c) / (weight + f * (1 - weight)) ** 2
    slope = outer * sizes.branching * belief ** (sizes.branching - 1)
    return float(slope) if np.ndim(p) == 0 else slope


def fixed_points(
    *, vocab_size: int, rules_per_symbol: int, branching: int = 2
) -> Float[np.ndarray, " number"]:
    """The fixed points of the belief map in [1/v, 1], from low to high.

    Always 1/v (nothing is known) and 1 (all is), and at most one more: F(p) = p is
    (1 − f) p^(s+1) − (1 − c) p^s + f p − c = 0, whose coefficients change sign three times, so it
    has at most three positive roots (Descartes). For s = 2 the third is (m − 1) / (v − m). Where it
    lies between the two, it is unstable and separates them.

    Args and errors as :func:`belief_map`.

    Example:
        >>> hm.theory.fixed_points(**rhm).round(4).tolist()
        [0.0625, 0.25, 1.0]
    """
    sizes = check_sizes(vocab_size, rules_per_symbol, branching)
    lowest = 1 / sizes.vocab_size
    between = _between(sizes)
    inner = [] if between is None else [between]
    return np.array([lowest, *inner, 1.0])


def noise_threshold(*, vocab_size: int, rules_per_symbol: int, branching: int = 2) -> float | None:
    """ε*: the noise up to which the root of a deep tree can be recovered (science.md#f1).

    Every leaf has belief 1 − ε + ε/v in its true symbol and ε/v in each other. Below
    ε* = (1 − p*) / (1 − 1/v), p* the unstable fixed point, the beliefs tend to 1 on the way up,
    above it to 1/v. If the slope at 1, s m (v − 1) / (v^s − 1), is at least 1, the smallest noise
    grows on the way up and there is no threshold: None. For s = 2 this is the condition s f ≥ 1 of
    arXiv:2402.16991, f = (m v − 1) / (v^s − 1), for all integers v and m; for larger s they differ
    by terms of order s / v^(s − 1). If instead the slope at 1/v is at least 1 (about m ≤ s; m = 1
    always), every noise below 1 leaves the root recoverable, and ε* is 1.

    Args and errors as :func:`belief_map`.

    Example:
        >>> round(hm.theory.noise_threshold(**rhm), 4)
        0.8
    """
    found = check_sizes(vocab_size, rules_per_symbol, branching)
    if not tolerates_noise(found):
        return None
    between = _between(found)
    return 1.0 if between is None else (1 - between) / (1 - 1 / found.vocab_size)


def correlation_exponent(
    *, vocab_size: int, rules_per_symbol: int, branching: int = 2
) -> float | None:
    """ν = ln s / ln F'(p*) in ξ ~ |ε − ε*|^(−ν), p* the unstable fixed point; None without one.

    At distance δ from p* the beliefs have left it after ln(1/δ) / ln F'(p*) levels, which is a
    length of s to that power: the size of the blocks that change together in a U-turn
    (science.md#f2; arXiv:2410.13770). Assumes the belief map.

    Args and errors as :func:`belief_map`.

    Example:
        >>> hm.theory.correlation_exponent(**rhm) > 0
        True
    """
    found = check_sizes(vocab_size, rules_per_symbol, branching)
    between = _between(found)
    if between is None or not tolerates_noise(found):
        return None
    slope = belief_slope(between, **found._asdict())
    return math.log(found.branching) / math.log(float(slope))


def change_exponent(*, vocab_size: int, rules_per_symbol: int, branching: int = 2) -> float | None:
    """2 (1 − 1/ν): at ε*, the covariance of two leaves' change in a U-turn falls so with distance.

    C(r) ~ r^(−2 (1 − 1/ν)), r = s^h for leaves whose last common ancestor is h levels up. Given
    that an ancestor stays, its child stays with a = (x + c (1 − x) q) / (x + c (1 − x)), x = p^s,
    q = (p − x) / (1 − x) the chance that it is right in another tuple; given that the ancestor
    changes, with b = q. Down the tree the difference shrinks by λ = a − b per level and leaf, so
    C falls by λ² per level; at p* λ is F'(p*) / s for s = 2 (the identity is a test of it), which
    gives the exponent. The sum of C over all pairs, the susceptibility, grows with the tree without
    bound where F'(p*)² > s, that is ν < 2.

    None without a threshold inside 0…1. Assumes the belief map and that nodes change as a chain
    down the tree. Derived here; arXiv:2410.13770 has the power law.

    Args and errors as :func:`belief_map`.

    Example:
        >>> hm.theory.change_exponent(**rhm) < 2
        True
    """
    nu = correlation_exponent(
        vocab_size=vocab_size, rules_per_symbol=rules_per_symbol, branching=branching
    )
    return None if nu is None else 2 * (1 - 1 / nu)


def map_weight(weight: float | np.ndarray, sizes: Sizes) -> float | np.ndarray:
    """The map as a function of x, the weight of the true tuple (its children's beliefs, times)."""
    f, c = _shares(sizes)
    return (weight + c * (1 - weight)) / (weight + f * (1 - weight))


def tolerates_noise(sizes: Sizes) -> bool:
    """Whether small noise is corrected on the way up: F'(1) < 1."""
    vocab_size, rules, branching = sizes
    return branching * rules * (vocab_size - 1) < vocab_size**branching - 1  # in integers, exactly


def _shares(sizes: Sizes) -> tuple[float, float]:
    """F and c: shares of the other tuples that have any parent, and that have the true one."""
    vocab_size, rules, branching = sizes
    others = vocab_size**branching - 1
    return (rules * vocab_size - 1) / others, (rules - 1) / others


def _between(sizes: Sizes) -> float | None:
    """The fixed point strictly between 1/v and 1, if there is one."""
    vocab_size, rules, branching = sizes
    lowest = 1 / vocab_size
    if branching == 2:
        if rules == vocab_size:
            return None
        root = (rules - 1) / (vocab_size - rules)
        return root if lowest < root < 1 else None
    low, high = (float(belief_slope(p, **sizes._asdict())) for p in (lowest, 1.0))
    if (low < 1) != (high < 1):
        return None  # one end attracts all

    def excess(p: float) -> float:
        return float(map_weight(p**branching, sizes)) - p

    margin = 1e-9 * (1 - lowest)
    if excess(lowest + margin) * excess(1 - margin) >= 0:
        return None
    root = brentq(excess, lowest + margin, 1 - margin, xtol=1e-15)
    return float(np.asarray(root))
