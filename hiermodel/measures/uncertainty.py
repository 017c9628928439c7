"""Intervals and tests for what is estimated from finitely many samples, seeds and splits."""

from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import Array, Key, Shaped
from scipy.special import ndtri, stdtrit

from hiermodel.checks import check_integer, check_key, require

Values = Shaped[Array | np.ndarray, "..."]
"""Numbers (or truth values) of any shape, with units along the leading axis or axes."""

MAX_DRAWS = 2**22
"""How many random integers are held at a time; bounds memory without changing results."""


class Interval(NamedTuple):
    """An estimate and the interval around it.

    Attributes:
        estimate: the value measured.
        low: lower end.
        high: upper end.
        level: nominal coverage, for example 0.95.
    """

    estimate: float | np.ndarray
    low: float | np.ndarray
    high: float | np.ndarray
    level: float

    def contains(self, value: float) -> bool:
        """True if ``value`` lies within, ends included (everywhere, for arrays)."""
        return bool(np.all((self.low <= value) & (value <= self.high)))


def bootstrap_interval(
    key: Key[Array, ""], values: Values, *, level: float = 0.95, num_resamples: int = 2000
) -> Interval:
    """Percentile bootstrap of the mean over the first axis.

    Args:
        key: one typed key.
        values: (n, ...) independent units along the first axis.
        level: nominal coverage.
        num_resamples: at least 1.

    Returns:
        Interval, of the shape of the remaining axes.

    Raises:
        ValueError: for no units, values that are not finite, or a number out of range.
    """
    generator = generator_from_key(key)
    numbers = check_values("values", values)
    return percentile_interval(
        numbers.mean(0), resampled_means(generator, numbers, num_resamples), level
    )


def hierarchical_interval(
    key: Key[Array, ""],
    values: Values,
    *,
    num_levels: int = 2,
    level: float = 0.95,
    num_resamples: int = 2000,
) -> Interval:
    """Percentile bootstrap of a mean over nested units: splits (or pairs of them), seeds, samples.

    The outermost units are resampled with replacement, then, within each drawn one, the units it
    holds, and so on. With few outermost units it covers less than its nominal 0.95 (3 units: about
    0.8, 5 to 10: 0.9); :func:`student_interval` of their means is then the better choice.

    Args:
        key: one typed key.
        values: (n_1, …, n_num_levels, ...) units of each level along the leading axes.
        num_levels: how many leading axes are resampled, at least 1.
        level: nominal coverage.
        num_resamples: at least 1.

    Returns:
        Interval, of the shape of the remaining axes.

    Raises:
        ValueError: for no units, values that are not finite, or a number out of range.
    """
    generator = generator_from_key(key)
    num_levels = check_integer("num_levels", num_levels, 1)
    numbers = check_values("values", values, min_ndim=num_levels)
    num_resamples = check_integer("num_resamples", num_resamples, 1)
    sizes = numbers.shape[:num_levels]
    means = []
    for size in _blocks(num_resamples, numbers.size):
        index: list[np.ndarray] = []
        for depth in range(num_levels):
            index = [outer[..., None] for outer in index]
            index.append(generator.integers(sizes[depth], size=(size, *sizes[: depth + 1])))
        means.append(numbers[tuple(index)].mean(tuple(range(1, num_levels + 1))))
    estimate = numbers.mean(tuple(range(num_levels)))
    return percentile_interval(estimate, np.concatenate(means), level)


def pair_interval(
    key: Key[Array, ""], values: Values, *, level: float = 0.95, num_resamples: int = 2000
) -> Interval:
    """Percentile bootstrap of a mean over all ordered pairs of distinct splits.

    Pairs that share a split are not independent, so the splits are resampled and a resample's mean
    runs over its pairs of different splits; resamples of a single split are drawn again. With few
    splits it covers less than its nominal 0.95 (5 splits: about 0.8, 10 to 15: 0.9).

    Args:
        key: one typed key.
        values: (n, n, ...) the value of each pair of splits; the diagonal is not read.
        level: nominal coverage.
        num_resamples: at least 1.

    Returns:
        Interval, of the shape of the remaining axes.

    Raises:
        ValueError: for fewer than three splits, off-diagonal values that are not finite, or a
            number out of range.
    """
    generator = generator_from_key(key)
    num_resamples = check_integer("num_resamples", num_resamples, 1)
    shape = np.shape(values)
    square = len(shape) >= 2 and shape[0] == shape[1] and shape[0] >= 3
    require(square, "values", shape, "of shape (n, n, ...) with n at least 3")
    numbers = np.array(values, dtype=np.float64)
    num_splits = len(numbers)
    numbers[np.arange(num_splits), np.arange(num_splits)] = 0
    numbers = check_values("values", numbers)
    counts = _split_counts(generator, num_resamples, num_splits)
    # A pair is drawn as often as the product of its splits' counts; a split with itself never is.
    by_second = np.tensordot(counts, numbers, axes=(1, 1))
    sums = np.einsum("bi,bi...->b...", counts, by_second)
    num_pairs = num_splits**2 - np.square(counts).sum(1)
    means = sums / num_pairs.reshape(-1, *[1] * (numbers.ndim - 2))
    estimate = numbers.sum((0, 1)) / (num_splits * (num_splits - 1))
    return percentile_interval(estimate, means, level)


def student_interval(values: Values, *, level: float = 0.95) -> Interval:
    """Student-t interval of the mean over the first axis: for a few seeds, splits or members.

    Args:
        values: (n, ...) independent units along the first axis, n at least 2.
        level: nominal coverage.

    Returns:
        Interval, of the shape of the remaining axes.

    Raises:
        ValueError: for fewer than two units, values that are not finite, or a level outside (0, 1).

    Example:
        >>> found = hm.measures.student_interval(np.array([1.0, 2.0, 3.0]))
        >>> float(found.estimate), round(float(found.high), 3)
        (2.0, 4.484)
    """
    numbers = check_values("values", values)
    num_units = len(numbers)
    require(num_units >= 2, "values", numbers.shape, "of at least two units along the first axis")
    _check_level(level)
    mean = numbers.mean(0)
    quantile = float(stdtrit(num_units - 1, (1 + level) / 2))
    reach = quantile * numbers.std(0, ddof=1) / np.sqrt(num_units)
    return Interval(_plain(mean), _plain(mean - reach), _plain(mean + reach), level)


def proportion_interval(count: int | np.ndarray, total: int, *, level: float = 0.95) -> Interval:
    """Wilson's score interval of a proportion: of use where the count is 0 or all, too.

    Args:
        count: how many of the independent units (or arrays of such numbers).
        total: units; with none the estimate is 0 and the interval 0…1.
        level: nominal coverage.

    Raises:
        ValueError: for counts outside 0…total or a level outside (0, 1).

    Example:
        >>> found = hm.measures.proportion_interval(0, 10)
        >>> found.estimate, round(float(found.high), 3)
        (0.0, 0.278)
    """
    counts = np.asarray(count, np.float64)
    fits = bool(((counts >= 0) & (counts <= total)).all())
    require(fits, "count", count, f"in 0…{total}")
    _check_level(level)
    if total == 0:
        return Interval(_plain(counts), _plain(counts), _plain(counts + 1), level)
    share, z = counts / total, float(ndtri((1 + level) / 2))
    scale = 1 + z**2 / total
    centre = (share + z**2 / (2 * total)) / scale
    reach = z / scale * np.sqrt(share * (1 - share) / total + (z / (2 * total)) ** 2)
    # Rounding must not move the ends beyond what they enclose.
    low, high = np.minimum(centre - reach, share), np.maximum(centre + reach, share)
    return Interval(_plain(share), _plain(np.maximum(low, 0)), _plain(np.minimum(high, 1)), level)


def proportion_difference(
    count_a: int | np.ndarray,
    total_a: int,
    count_b: int | np.ndarray,
    total_b: int,
    *,
    level: float = 0.95,
) -> Interval:
    """Difference of two independent proportions, a − b, from their Wilson intervals.

    Newcombe's hybrid score interval (Statistics in Medicine 17:873, 1998, method 10).

    Args:
        count_a: how many of the ``total_a`` units (or arrays).
        total_a: at least 1.
        count_b: how many of the ``total_b`` units.
        total_b: at least 1.
        level: nominal coverage.

    Raises:
        ValueError: as :func:`proportion_interval`, or for no units.
    """
    total_a, total_b = check_integer("total_a", total_a, 1), check_integer("total_b", total_b, 1)
    a = proportion_interval(count_a, total_a, level=level)
    b = proportion_interval(count_b, total_b, level=level)
    difference = np.subtract(a.estimate, b.estimate)
    below = np.hypot(np.subtract(a.estimate, a.low), np.subtract(b.high, b.estimate))
    above = np.hypot(np.subtract(a.high, a.estimate), np.subtract(b.estimate, b.low))
    return Interval(
        _plain(difference), _plain(difference - below), _plain(difference + above), level
    )


def sign_flip_test(
    key: Key[Array, ""],
    values: Values,
    *,
    alternative: str = "two-sided",
    num_flips: int = 10_000,
) -> float:
    """p-value of the hypothesis that the units are symmetric about zero, from their mean.

    Compares the mean with its value under flips of the units' signs: all of them if there are no
    more than ``num_flips``, else that many drawn at random, in which case the observed one is
    counted too, so that the test keeps its level. Units must be independent: per split or pair of
    splits rather than per sample.

    Args:
        key: one typed key (not used where all flips are taken).
        values: (n,) one number per unit.
        alternative: "two-sided", "greater" (mean above zero) or "less".
        num_flips: at least 1.

    Raises:
        ValueError: for no units, values that are not finite, or an unknown alternative.
    """
    generator = generator_from_key(key)
    num_flips = check_integer("num_flips", num_flips, 1)
    numbers = check_values("values", values)
    require(numbers.ndim == 1, "values", numbers.shape, "one-dimensional")
    sides = {"two-sided": np.abs, "greater": lambda sums: sums, "less": lambda sums: -sums}
    require(alternative in sides, "alternative", alternative, f"one of {sorted(sides)}")
    side = sides[alternative]
    # Flips that give the same sum in exact arithmetic may differ in the last digits.
    observed = side(numbers.sum()) - 1e-12 * np.abs(numbers).sum()
    num_units = len(numbers)
    if num_units < 63 and 2**num_units <= num_flips:
        bits = (np.arange(2**num_units)[:, None] >> np.arange(num_units)) & 1
        return float(np.mean(side((2.0 * bits - 1) @ numbers) >= observed))
    extreme = 0
    for size in _blocks(num_flips, num_units):
        bits = generator.integers(2, size=(size, num_units), dtype=np.int8)
        extreme += int(np.sum(side((2.0 * bits - 1) @ numbers) >= observed))
    return (1 + extreme) / (1 + num_flips)


def generator_from_key(key: Key[Array, ""]) -> np.random.Generator:
    """A NumPy generator seeded by a typed key: host-side statistics draw from keys as well."""
    check_key(key)
    return np.random.default_rng(np.asarray(jax.random.key_data(key)).astype(np.uint32).tolist())


def percentile_interval(
    estimate: np.ndarray | float, replicates: np.ndarray, level: float
) -> Interval:
    """The interval between the quantiles (1 ± level) / 2 of replicates along the first axis."""
    _check_level(level)
    low, high = np.quantile(replicates, [(1 - level) / 2, (1 + level) / 2], axis=0)
    return Interval(_plain(estimate), _plain(low), _plain(high), level)


def resampled_means(
    generator: np.random.Generator, numbers: np.ndarray, num_resamples: int
) -> np.ndarray:
    """Means over the first axis of resamples with replacement: (num_resamples, ...)."""
    num_resamples = check_integer("num_resamples", num_resamples, 1)
    num_units = len(numbers)
    flat = numbers.reshape(num_units, -1)
    means = []
    for size in _blocks(num_resamples, num_units):
        means.append(resampled_counts(generator, size, num_units) @ flat / num_units)
    return np.concatenate(means).reshape(num_resamples, *numbers.shape[1:])


def resampled_counts(
    generator: np.random.Generator, num_resamples: int, num_units: int
) -> np.ndarray:
    """How often each resample with replacement holds each unit: (num_resamples, num_units)."""
    drawn = generator.integers(num_units, size=(num_resamples, num_units))
    drawn += num_units * np.arange(num_resamples)[:, None]
    counts = np.bincount(drawn.reshape(-1), minlength=num_resamples * num_units)
    return counts.reshape(num_resamples, num_units)


def check_values(argument: str, values: Values, min_ndim: int = 1) -> np.ndarray:
    """Return numbers in float64 after refusing empty or non-finite ones."""
    numbers = np.asarray(values, dtype=np.float64)
    require(numbers.ndim >= min_ndim, argument, numbers.shape, f"of at least {min_ndim} axes")
    require(numbers.size > 0, argument, numbers.shape, "of at least one unit")
    if not np.isfinite(numbers).all():
        wrong = numbers[~np.isfinite(numbers)][0]
        raise ValueError(f"{argument} holds {wrong}, which is not allowed: it must be finite")
    return numbers


def _split_counts(
    generator: np.random.Generator, num_resamples: int, num_splits: int
) -> np.ndarray:
    """How often each resample, of at least two different splits, holds each of them."""
    counts = np.zeros((num_resamples, num_splits))
    single = np.ones(num_resamples, dtype=bool)
    while single.any():
        uniform = np.full(num_splits, 1 / num_splits)
        counts[single] = generator.multinomial(num_splits, uniform, size=int(single.sum()))
        single = counts.max(1) == num_splits
    return counts


def _blocks(total: int, cost: int) -> list[int]:
    """Sizes that add up to ``total``, each small enough to hold ``size · cost`` numbers."""
    size = max(1, MAX_DRAWS // cost)
    return [min(size, total - start) for start in range(0, total, size)]


def _check_level(level: float) -> None:
    require(bool(0 < level < 1), "level", level, "above 0 and below 1")


def _plain(value: np.ndarray | float) -> float | np.ndarray:
    """A float for a single number, an array otherwise."""
    return float(value) if np.ndim(value) == 0 else np.asarray(value)
