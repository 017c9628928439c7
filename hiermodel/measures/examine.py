"""Is a generator's output distributed as the grammar says? A table of tests by level.

Source: science.md#measures.

If it is, its sequences are independent draws of the grammar, and so is the tree of each: the one
tree where the grammar is unambiguous, else one drawn from the exact posterior. Then every row of
the table has a known law:

- *derivable, level l*: no node is underivable. One that is decides by itself.
- *root symbols*, *rules, level l*: given how often each symbol occurs, the rules of all its nodes
  are independent draws. Chi-square, with rare rules put together.
- *pairs, distance d*: the joint symbols of two leaves whose last common ancestor lies d levels up.
  Chi-square over independent sequences.
- *dependence, distance d*: log P(x_i, x_j) / P(x_i) P(x_j), summed over pairs of leaves at that
  distance: its mean, the mutual information, is known exactly. Student's t.
- *log-probability, mean* and *law*: of the tree. Its mean, variance and characteristic function
  follow by recursion from the leaves up. The mean by a normal test, the law by the characteristic
  function at one frequency, chi-square of two degrees.
- *copies*: sequences that are in the training set, against the probability of that set. Binomial.

All tests but the first look at sequences that the grammar can produce. Chi-square, normal and
Student laws are limits for many sequences: from about 500 on they are good here.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from jaxtyping import Array, Int, Key
from scipy import stats

from hiermodel.checks import check_symbols, require
from hiermodel.grammar.log_prob_law import log_prob_characteristic, log_prob_moments
from hiermodel.grammar.pair_laws import leaf_pairs_at, pair_law
from hiermodel.grammar.paths_on_host import HostPaths, host_probs
from hiermodel.grammar.rules import Grammar
from hiermodel.measures.multiplicity import holm
from hiermodel.measures.parsing import Parsed, leaf_log_probs, parse, tree_log_probs

RARE = 5.0
"""Cells with a smaller expected count are put together: the usual limit for chi-square."""


class Row(NamedTuple):
    """One test.

    Attributes:
        name: what is compared, and at which level or distance.
        statistic: what is tested; a count, chi-square, t or z.
        p_value: chance, under the grammar's law, of a statistic at least as far out.
        corrected_p_value: the same, corrected for all rows together (Holm).
    """

    name: str
    statistic: float
    p_value: float
    corrected_p_value: float


class Examination(NamedTuple):
    """All tests of a set of samples.

    Attributes:
        rows: one per test.
        level: chance of a false alarm, over all rows together.
        num_samples: how many sequences were examined.
    """

    rows: tuple[Row, ...]
    level: float
    num_samples: int

    @property
    def passes(self) -> bool:
        """True if no corrected p-value is at or below the level."""
        return all(row.corrected_p_value > self.level for row in self.rows)

    def __str__(self) -> str:
        width = max(len(row.name) for row in self.rows)
        lines = [f"{'test':{width}}  {'statistic':>11}  {'p':>8}  {'corrected':>9}"]
        for name, statistic, p_value, corrected in self.rows:
            mark = "" if corrected > self.level else "  fails"
            lines.append(
                f"{name:{width}}  {statistic:11.4g}  {p_value:8.2g}  {corrected:9.2g}{mark}"
            )
        verdict = "passes" if self.passes else "fails"
        return "\n".join([*lines, f"{self.num_samples} samples: {verdict} at level {self.level}"])


def examine_sampler(
    samples: Int[Array | np.ndarray, "..."],
    grammar: Grammar,
    *,
    train: Int[Array | np.ndarray, "..."] | None = None,
    level: float = 0.05,
    key: Key[Array, ""] | None = None,
) -> Examination:
    """Test whether samples are independent draws of a grammar, by level, in one table.

    See above for the tests. Samples of the grammar itself give a false alarm with a chance of at
    most about ``level``. Where most changed sequences are underivable, a few among thousands are
    found; a grammar in which every tuple has a rule leaves only the tests of frequencies.

    Args:
        samples: (n, num_leaves) symbols, n at least 2.
        grammar: the law that they should have.
        train: (m, num_leaves) training sequences, if copies are to be counted too.
        level: chance of a false alarm, over all rows.
        key: for the trees of an ambiguous grammar, which leaves do not determine; else not used.

    Raises:
        ValueError: for a wrong shape or symbol, a level outside (0, 1), or an ambiguous grammar
            without a key.

    Example:
        >>> hm.measures.examine_sampler(hm.sample_leaves(key, grammar, 500), grammar).passes
        True
    """
    rows = _check_sequences("samples", samples, grammar)
    require(len(rows) >= 2, "samples", rows.shape, "at least two sequences")
    require(bool(0 < level < 1), "level", level, "above 0 and below 1")
    known = None if train is None else _check_sequences("train", train, grammar)
    parsed = parse(key, grammar, rows)
    tests = [
        (f"derivable, level {at}", float(wrong), float(wrong == 0))
        for at, wrong in enumerate(parsed.underivable)
    ]
    if len(parsed.leaves) >= 2:
        tests += _rule_tests(grammar, parsed)
        tests += _pair_tests(grammar, parsed.leaves)
        tests += _log_prob_tests(grammar, parsed)
    if known is not None:
        tests.append(_copy_test(grammar, rows, known))
    corrected = holm(np.array([p for _, _, p in tests])).tolist()
    table = tuple(Row(*test, p) for test, p in zip(tests, corrected, strict=True))
    return Examination(table, level, len(rows))


Test = tuple[str, float, float]
"""Name, statistic, p-value."""


def _check_sequences(argument: str, rows: Array | np.ndarray, grammar: Grammar) -> np.ndarray:
    shape = np.shape(rows)
    fits = len(shape) == 2 and shape[0] > 0 and shape[1] == grammar.num_leaves
    require(fits, argument, shape, f"of shape (n, num_leaves = {grammar.num_leaves}), n > 0")
    check_symbols(argument, rows, grammar.vocab_size)
    return np.asarray(rows).astype(np.int32)


def _rule_tests(grammar: Grammar, parsed: Parsed) -> Iterator[Test]:
    """Root symbols, and the rules of every level given their symbols."""
    vocab_size, max_rules = grammar.log_weights.shape[1:]
    prior = host_probs(grammar.root_log_probs)
    counts = np.bincount(parsed.symbols[0].reshape(-1), minlength=vocab_size)
    yield "root symbols", *_chi_square(counts[None], prior[None])
    for level, (symbols, used) in enumerate(zip(parsed.symbols, parsed.rules, strict=True)):
        codes = symbols.reshape(-1).astype(np.int64) * max_rules + used.reshape(-1)
        counts = np.bincount(codes, minlength=vocab_size * max_rules)
        weights = host_probs(grammar.log_weights[grammar.table_index(level)])
        yield f"rules, level {level}", *_chi_square(counts.reshape(vocab_size, max_rules), weights)


def _chi_square(counts: np.ndarray, probs: np.ndarray) -> tuple[float, float]:
    """Pearson's test of independent rows of counts, each multinomial given its total."""
    statistic, degrees = 0.0, 0
    for observed, law in zip(counts, probs, strict=True):
        possible = law > 0
        seen, expected = _merge_rare(observed[possible], observed.sum() * law[possible] / law.sum())
        if len(seen) >= 2:
            statistic += float((np.square(seen - expected) / expected).sum())
            degrees += len(seen) - 1
    return statistic, float(stats.chi2.sf(statistic, degrees)) if degrees else 1.0


def _merge_rare(observed: np.ndarray, expected: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Put the cells of small expected count into one; if it is small itself, the next ones too."""
    order = np.argsort(expected, kind="stable")
    observed, expected = observed[order].astype(np.float64), expected[order]
    joined = int((expected < RARE).sum())
    if joined == 0:
        return observed, expected
    while joined < len(expected) and expected[:joined].sum() < RARE:
        joined += 1
    merged = (np.append(part[:joined].sum(), part[joined:]) for part in (observed, expected))
    return next(merged), next(merged)


def _pair_tests(grammar: Grammar, rows: np.ndarray) -> Iterator[Test]:
    """Joint laws of pairs of leaves, and their dependence, by distance."""
    paths = HostPaths.of(grammar)
    for distance in range(1, grammar.depth + 1):
        pairs = leaf_pairs_at(grammar, distance)
        scores, expected = np.zeros(len(rows)), 0.0
        for index, (i, j) in enumerate(pairs):
            law = pair_law(grammar, paths, i, j)
            if index == 0:
                codes = rows[:, i].astype(np.int64) * grammar.vocab_size + rows[:, j]
                counts = np.bincount(codes, minlength=law.size)
                yield f"pairs, distance {distance}", *_chi_square(counts[None], law.reshape(1, -1))
            ratio = _log_ratio(law)
            scores += ratio[rows[:, i], rows[:, j]]
            expected += float((law * ratio).sum())
        yield f"dependence, distance {distance}", *_t_test(scores, expected)


def _log_ratio(law: np.ndarray) -> np.ndarray:
    """Log P(a, b) / P(a) P(b); 0 for pairs that do not occur."""
    product = law.sum(1)[:, None] * law.sum(0)[None, :]
    possible = law > 0
    return np.where(
        possible, np.log(np.where(possible, law, 1) / np.where(possible, product, 1)), 0
    )


def _t_test(values: np.ndarray, expected: float) -> tuple[float, float]:
    spread = values.std(ddof=1) / np.sqrt(len(values))
    scale = max(abs(expected), float(np.abs(values).max()), 1.0)
    if spread <= 1e-9 * scale:  # the same for every sequence
        return 0.0, float(abs(values.mean() - expected) <= 1e-6 * scale)
    statistic = float((values.mean() - expected) / spread)
    return statistic, float(2 * stats.t.sf(abs(statistic), len(values) - 1))


def _log_prob_tests(grammar: Grammar, parsed: Parsed) -> Iterator[Test]:
    """Mean and law of the log-probability of trees; nothing if all have the same."""
    mean, variance = log_prob_moments(grammar)
    if variance <= (1e-6 * max(abs(mean), 1.0)) ** 2:
        return
    values = tree_log_probs(grammar, parsed)
    scale = float(np.sqrt(variance))
    z = float((values.mean() - mean) / scale * np.sqrt(len(values)))
    yield "log-probability, mean", z, float(2 * stats.norm.sf(abs(z)))
    yield "log-probability, law", *_characteristic_test(grammar, (values - mean) / scale)


def _characteristic_test(grammar: Grammar, values: np.ndarray) -> tuple[float, float]:
    """Means of cos and sin of the standardised log-probability, against their exact law."""
    mean, variance = log_prob_moments(grammar)
    unit = 1 / np.sqrt(variance)
    once, twice = (
        log_prob_characteristic(grammar, k * unit) * np.exp(-1j * k * unit * mean) for k in (1, 2)
    )
    square = np.array([[1 + twice.real, twice.imag], [twice.imag, 1 - twice.real]]) / 2
    expected = np.array([once.real, once.imag])
    covariance = square - np.outer(expected, expected)
    off = np.array([np.cos(values).mean(), np.sin(values).mean()]) - expected
    size, axes = np.linalg.eigh(covariance)
    kept = size > 1e-9  # a law on two points moves cos and sin together
    statistic = float((np.square(axes.T @ off)[kept] / size[kept]).sum() * len(values))
    return statistic, float(stats.chi2.sf(statistic, int(kept.sum()))) if kept.any() else 1.0


def _copy_test(grammar: Grammar, rows: np.ndarray, train: np.ndarray) -> Test:
    """Copies of training sequences against the probability of the set of them."""
    distinct = np.unique(train, axis=0)
    share = min(float(np.exp(leaf_log_probs(grammar, distinct)).sum()), 1.0)
    known = {row.tobytes() for row in distinct}
    copies = sum(row.tobytes() in known for row in rows)
    return "copies", float(copies), float(stats.binomtest(copies, len(rows), share).pvalue)
