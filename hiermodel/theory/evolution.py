"""The law of the belief in the true symbol, level by level, where leaves differ (science.md#f1).

The belief map holds if every leaf has the same belief. Erased, redrawn or Gaussian leaves differ:
some are known, others not. The argument behind the map needs no more than the beliefs p_1 … p_s of
the children: averaged over rules, what the children hold against their true symbols counts by its
sum alone, so the parent's belief is the map's with x = p_1 ⋯ p_s in place of p^s. So the *law* of
the belief obeys a closed recursion: draw s children, multiply, map. It is iterated here on a grid
of −ln p, without random numbers: products are convolutions.

Assumes, as the map does, the annealed average over rules. Beyond the map it keeps that nodes
differ. With one belief for all leaves it is the map. Where beliefs rest on few symbols the annealed
average is too pessimistic, by up to 0.1 at (v, m) = (16, 4); :mod:`hiermodel.theory.population`
does without it, at the price of randomness. Thresholds there, of erased, redrawn and Gaussian
leaves: 0.500, 0.332, 0.229 here, 0.50, 0.29, 0.21 without it.

Source: derived here; the map is that of Sclocchi, Favero, Wyart, arXiv:2402.16991.
"""

import functools
import math
from typing import Literal, get_args

import numpy as np
from jaxtyping import Float

from hiermodel.checks import check_integer, require
from hiermodel.theory.belief_map import map_weight, tolerates_noise
from hiermodel.theory.ensemble import Sizes, check_sizes

LeafNoise = Literal["equal", "erased", "redrawn", "gaussian"]
"""How leaves are known at noise ε.

equal: every leaf has belief 1 − ε + ε/v in its true symbol, ε/v in each other (science.md#f1).
erased: a leaf is hidden with probability ε, else known (masked corruption, ε = 1 − abar_t).
redrawn: a leaf's symbol is drawn anew with probability ε (uniform corruption, ε = 1 − abar_t).
gaussian: x_t = sqrt(1 − ε) one_hot + sqrt(ε) noise (science.md#diffusion, ε = 1 − abar_t).
"""

STEP = 0.01
BINS = 4096
"""The grid of −ln p: 0 … 41. Probabilities are split between neighbours, which keeps means."""

MAX_LEVELS = 2000


def expected_beliefs(
    noise: float,
    *,
    corruption: LeafNoise,
    depth: int,
    vocab_size: int,
    rules_per_symbol: int,
    branching: int = 2,
) -> Float[np.ndarray, " levels"]:
    """Mean belief in the true symbol of the nodes of each level, of leaves under some noise.

    Beliefs given the leaves below a node; for the root these are all. This is also the probability
    that a symbol drawn from that posterior is the true one. Assumptions and derivation above; the
    mean is over trees, noise and rules.

    Args:
        noise: ε in 0…1, see ``LeafNoise``.
        corruption: "equal", "erased", "redrawn" or "gaussian".
        depth: L, at least 1.
        vocab_size: v, at least 2.
        rules_per_symbol: m, in 1…v**(s − 1).
        branching: s, at least 2.

    Returns:
        (depth + 1,) for levels 0, the root, to depth, the leaves.

    Raises:
        ValueError: if an argument is out of its range.

    Example:
        >>> hm.theory.expected_beliefs(0.2, corruption="equal", depth=3, **rhm).shape
        (4,)
    """
    found = check_sizes(vocab_size, rules_per_symbol, branching)
    depth = check_integer("depth", depth, 1)
    check_noise(noise, corruption)
    law = leaf_law(noise, corruption, found.vocab_size)
    means = [_mean(law)]
    for _ in range(depth):
        law = pass_up(law, found)
        means.append(_mean(law))
    return np.array(means[::-1])


def recovery_threshold(
    *,
    corruption: LeafNoise,
    vocab_size: int,
    rules_per_symbol: int,
    branching: int = 2,
    tolerance: float = 1e-4,
) -> float | None:
    """The noise up to which the root of a deep tree can be recovered; None if there is none.

    Found by bisection: below it the mean belief tends to 1 on the way up, above it to 1/v. Small
    noise is corrected under the same condition for all corruptions, that of ``noise_threshold``,
    whose number this is for corruption "equal". 1 means that every noise below 1 can be undone.

    Args:
        corruption: "equal", "erased", "redrawn" or "gaussian".
        vocab_size: v, at least 2.
        rules_per_symbol: m, in 1…v**(s − 1).
        branching: s, at least 2.
        tolerance: how far the answer may be from the recursion's own threshold.

    Raises:
        ValueError: if an argument is out of its range.

    Example:
        >>> 0 < hm.theory.recovery_threshold(corruption="erased", tolerance=0.05, **rhm) <= 1
        True
    """
    found = check_sizes(vocab_size, rules_per_symbol, branching)
    require(0 < tolerance < 1, "tolerance", tolerance, "above 0 and below 1")
    check_noise(0.0, corruption)
    if not tolerates_noise(found):
        return None
    low, high = 0.0, 1.0
    while high - low > tolerance:
        middle = (low + high) / 2
        if _is_recovered(leaf_law(middle, corruption, found.vocab_size), found):
            low = middle
        else:
            high = middle
    return 1.0 if high == 1 else (low + high) / 2


def pass_up(law: Float[np.ndarray, " bins"], sizes: Sizes) -> Float[np.ndarray, " bins"]:
    """The law of a parent's belief from that of its children's, on the grid of −ln p."""
    length = 1 << (sizes.branching * len(law)).bit_length()
    products = np.fft.irfft(np.fft.rfft(law, length) ** sizes.branching, length)
    places, shares = _mapped_places(sizes, length)
    return _spread(places, shares, np.maximum(products, 0))


def leaf_law(noise: float, corruption: LeafNoise, vocab_size: int) -> Float[np.ndarray, " bins"]:
    """The law of a leaf's belief in its true symbol, on the grid of −ln p."""
    stays = 1 - noise + noise / vocab_size
    if corruption == "equal":
        return _on_grid([stays], [1.0])
    if corruption == "erased":
        return _on_grid([1.0, 1 / vocab_size], [1 - noise, noise])
    if corruption == "redrawn":
        return _on_grid([stays, noise / vocab_size], [stays, 1 - stays])
    return _gaussian_leaves(noise, vocab_size)


def check_noise(noise: float, corruption: str) -> None:
    """Refuse a noise outside 0…1 and an unknown corruption."""
    require(0 <= noise <= 1, "noise", noise, "in 0…1")
    require(corruption in get_args(LeafNoise), "corruption", corruption, str(get_args(LeafNoise)))


def _is_recovered(law: np.ndarray, sizes: Sizes) -> bool:
    lowest = 1 / sizes.vocab_size
    share = (_mean(law) - lowest) / (1 - lowest)
    for _ in range(MAX_LEVELS):
        law = pass_up(law, sizes)
        last, share = share, (_mean(law) - lowest) / (1 - lowest)
        if share > 0.99 or share < 0.001 or abs(share - last) < 1e-9:
            break
    return share > 0.5


def _mean(law: np.ndarray) -> float:
    return float(law @ np.exp(-STEP * np.arange(len(law))))


def _on_grid(beliefs: list[float], probs: list[float]) -> np.ndarray:
    with np.errstate(divide="ignore"):
        exponents = np.minimum(-np.log(beliefs), STEP * (BINS - 1))
    return _spread(*_place(exponents), np.asarray(probs))


def _place(exponents: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The bin below each value of −ln p, and the share that goes to the next one."""
    position = np.clip(exponents / STEP, 0, BINS - 1)
    lower = np.minimum(position.astype(np.int64), BINS - 2)
    return lower, position - lower


def _spread(lower: np.ndarray, share: np.ndarray, probs: np.ndarray) -> np.ndarray:
    law = np.bincount(lower, probs * (1 - share), BINS) + np.bincount(
        lower + 1, probs * share, BINS
    )
    return law / law.sum()


@functools.lru_cache(maxsize=16)
def _mapped_places(sizes: Sizes, length: int) -> tuple[np.ndarray, np.ndarray]:
    """Where the map sends every value of the sum of the children's −ln p."""
    weights = np.exp(-STEP * np.arange(length))
    with np.errstate(divide="ignore"):
        return _place(-np.log(np.asarray(map_weight(weights, sizes))))


def _gaussian_leaves(noise: float, vocab_size: int) -> np.ndarray:
    """Beliefs of leaves with field r [a = true] + sqrt(r) z_a, r = (1 − ε) / ε.

    Source: science.md#diffusion.

    −ln p = ln(1 + e^(−r − sqrt(r) z_true) S), S the sum of v − 1 independent e^(sqrt(r) z). Its law
    is built on a grid of ln S by doubling, like a power by repeated squaring.
    """
    if noise == 0:
        return _on_grid([1.0], [1.0])
    if noise == 1:
        return _on_grid([1 / vocab_size], [1.0])
    signal = (1 - noise) / noise
    z, probs = _normal_points(401)
    log_sums, weights = _log_sum_law(math.sqrt(signal) * z, probs, vocab_size - 1)
    against = np.add.outer(log_sums, -signal - math.sqrt(signal) * z)
    exponents = np.logaddexp(0, against).reshape(-1)
    return _spread(*_place(exponents), np.outer(weights, probs).reshape(-1))


def _normal_points(number: int) -> tuple[np.ndarray, np.ndarray]:
    z = np.linspace(-7, 7, number)
    probs = np.exp(-(z**2) / 2)
    return z, probs / probs.sum()


def _log_sum_law(
    values: np.ndarray, probs: np.ndarray, count: int
) -> tuple[np.ndarray, np.ndarray]:
    """The law of ln Σ e^x over ``count`` independent x of this law."""
    total = None
    power = (values, probs)
    while count:
        if count & 1:
            total = power if total is None else _log_add(total, power)
        count >>= 1
        if count:
            power = _log_add(power, power)
    assert total is not None  # v is at least 2
    return total


def _log_add(
    a: tuple[np.ndarray, np.ndarray], b: tuple[np.ndarray, np.ndarray], number: int = 401
) -> tuple[np.ndarray, np.ndarray]:
    values = np.logaddexp.outer(a[0], b[0]).reshape(-1)
    probs = np.outer(a[1], b[1]).reshape(-1)
    likely = probs > 1e-16
    values, probs = values[likely], probs[likely]
    grid = np.linspace(values.min(), values.max(), number)
    position = (values - grid[0]) / (grid[1] - grid[0])
    lower = np.clip(position.astype(np.int64), 0, number - 2)
    share = position - lower
    law = np.bincount(lower, probs * (1 - share), number)
    law += np.bincount(lower + 1, probs * share, number)
    return grid, law / law.sum()
