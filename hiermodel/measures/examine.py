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

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key
from scipy import stats

from hiermodel.checks import check_integer, check_key, check_symbols, require
from hiermodel.grammar.paths_on_host import HostPaths, host_probs
from hiermodel.grammar.rules import Grammar
from hiermodel.grammar.statistics import is_unambiguous
from hiermodel.inference.belief_propagation import log_prob, observe
from hiermodel.inference.posterior import sample_posterior
from hiermodel.measures.validity import level_validity

RARE = 5.0
"""Cells with a smaller expected count are put together: the usual limit for chi-square."""

MOST_PAIRS = 64
"""Pairs of leaves looked at per distance; evenly spread over the sequence if there are more."""

PIECE = 512
"""Sequences given to exact inference at a time."""


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
    corrected = holm([p for _, _, p in tests])
    table = tuple(Row(*test, p) for test, p in zip(tests, corrected, strict=True))
    return Examination(table, level, len(rows))


def holm(p_values: list[float]) -> list[float]:
    """Holm's correction: the chance that any true hypothesis gets p ≤ α is at most α.

    The i-th smallest of k is multiplied by k − i + 1, never falls below the one before it, and is
    at most 1. Any dependence is allowed.
    """
    order = np.argsort(p_values, kind="stable")
    factors = np.arange(len(p_values), 0, -1)
    raised = np.minimum(np.maximum.accumulate(np.asarray(p_values)[order] * factors), 1.0)
    corrected = np.empty(len(p_values))
    corrected[order] = raised
    return corrected.tolist()


Test = tuple[str, float, float]
"""Name, statistic, p-value."""


def _check_sequences(argument: str, rows: Array | np.ndarray, grammar: Grammar) -> np.ndarray:
    shape = np.shape(rows)
    fits = len(shape) == 2 and shape[0] > 0 and shape[1] == grammar.num_leaves
    require(fits, argument, shape, f"of shape (n, num_leaves = {grammar.num_leaves}), n > 0")
    check_symbols(argument, rows, grammar.vocab_size)
    return np.asarray(rows).astype(np.int32)


def _pieces(rows: np.ndarray) -> Iterator[np.ndarray]:
    return (rows[start : start + PIECE] for start in range(0, len(rows), PIECE))


class Parsed(NamedTuple):
    """Sequences and their trees.

    Attributes:
        underivable: (depth,) nodes of each level that no symbol can produce, over all sequences.
        leaves: (k, num_leaves) the sequences that the grammar can produce.
        symbols: per level 0…depth − 1, (k, nodes) of their trees.
        rules: likewise, which rule of its symbol each node uses.
    """

    underivable: Int[np.ndarray, " depth"]
    leaves: Int[np.ndarray, "k leaves"]
    symbols: list[np.ndarray]
    rules: list[np.ndarray]


def parse(key: Key[Array, ""] | None, grammar: Grammar, rows: np.ndarray) -> Parsed:
    """The tree of each sequence, looked up where there is one, drawn from the posterior else."""
    if is_unambiguous(grammar):
        return _look_up(grammar, rows)
    if key is None:
        raise ValueError("key=None is not allowed: key must be a key, as grammar is ambiguous")
    check_key(key)
    checked = [level_validity(grammar, piece) for piece in _pieces(rows)]
    valid = np.concatenate([np.asarray(part.by_level) for part in checked])[:, :-1]
    num_nodes = grammar.branching ** np.arange(grammar.depth)
    underivable = np.rint(((1 - valid) * num_nodes).sum(0)).astype(np.int64)
    possible = np.concatenate([np.asarray(part.log_prob) > -np.inf for part in checked])
    symbols = _draw_trees(key, grammar, rows[possible])
    rules = _used_rules(grammar, symbols)
    return Parsed(underivable, rows[possible], symbols[:-1], rules)


def _look_up(grammar: Grammar, rows: np.ndarray) -> Parsed:
    """Trees of an unambiguous grammar: each tuple of children has at most one parent and rule."""
    below, levels, used = rows.astype(np.int64), [], []
    underivable = np.zeros(grammar.depth, np.int64)
    for level in reversed(range(grammar.depth)):
        table = grammar.table_index(level)
        possible = np.asarray(grammar.log_weights[table]) > -np.inf
        if level == 0:
            possible = possible & (np.asarray(grammar.root_log_probs) > -np.inf)[:, None]
        parents, numbers = np.nonzero(possible)
        codes = _codes(grammar, grammar.rules.children[table][possible].astype(np.int64))
        order = np.argsort(codes)
        tuples = below.reshape(len(rows), -1, grammar.branching)
        wanted = _codes(grammar, tuples)
        place = order[np.minimum(np.searchsorted(codes[order], wanted), len(codes) - 1)]
        fits = (codes[place] == wanted) & (tuples >= 0).all(-1)
        underivable[level] = (~fits).sum()
        below = np.where(fits, parents[place], -1)
        levels.append(below)
        used.append(numbers[place])
    whole = below[:, 0] >= 0
    symbols, rules = ([nodes[whole] for nodes in part[::-1]] for part in (levels, used))
    return Parsed(underivable, rows[whole], symbols, rules)


def _codes(grammar: Grammar, tuples: np.ndarray) -> np.ndarray:
    """One number per tuple of children."""
    return tuples @ grammar.vocab_size ** np.arange(grammar.branching, dtype=np.int64)


def _draw_trees(key: Key[Array, ""], grammar: Grammar, rows: np.ndarray) -> list[np.ndarray]:
    """A tree of each sequence from its posterior, per level (n, nodes)."""
    parts = []
    for index, piece in enumerate(_pieces(rows)):
        own_key = jax.random.fold_in(key, index)
        drawn = sample_posterior(own_key, grammar, observe(grammar, jnp.asarray(piece)), 1)
        parts.append([np.asarray(nodes)[0] for nodes in drawn if nodes is not None])
    if not parts:
        return [np.zeros((0, grammar.branching**level), int) for level in range(grammar.depth + 1)]
    return [np.concatenate(nodes) for nodes in zip(*parts, strict=True)]


def _used_rules(grammar: Grammar, tree: list[np.ndarray]) -> list[np.ndarray]:
    """Per level 0…depth − 1, (n, nodes): which rule each node uses."""
    used = []
    for level, symbols in enumerate(tree[:-1]):
        table = grammar.table_index(level)
        children = tree[level + 1].reshape(*symbols.shape, grammar.branching)
        same = (grammar.rules.children[table][symbols] == children[..., None, :]).all(-1)
        possible = np.asarray(grammar.log_weights[table])[symbols] > -np.inf
        used.append((same & possible).argmax(-1))
    return used


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


def leaf_pairs_at(grammar: Grammar, distance: int) -> list[tuple[int, int]]:
    """At most ``MOST_PAIRS`` pairs of leaves at a distance, evenly spread, the first pair first."""
    distance = check_integer("distance", distance, 1, grammar.depth)
    branching = grammar.branching
    block, part = branching**distance, branching ** (distance - 1)
    num_blocks = grammar.num_leaves // block
    inside = [(a, b) for a in range(block) for b in range(a + 1, block) if a // part != b // part]
    total = num_blocks * len(inside)
    chosen = np.unique(np.linspace(0, total - 1, min(total, MOST_PAIRS)).astype(np.int64))
    starts, offsets = chosen // len(inside) * block, chosen % len(inside)
    return [
        (int(start + inside[offset][0]), int(start + inside[offset][1]))
        for start, offset in zip(starts, offsets, strict=True)
    ]


def pair_law(
    grammar: Grammar, paths: HostPaths, i: int, j: int
) -> Float[np.ndarray, "vocab vocab"]:
    """Exact joint law of the symbols of leaves i < j, by the path from their common ancestor."""
    branching, level = grammar.branching, grammar.depth - 1
    first, second = i // branching, j // branching
    while first != second:
        first, second, level = first // branching, second // branching, level - 1
    size = branching ** (grammar.depth - level - 1)  # leaves below each child of the ancestor
    left, right = i // size % branching, j // size % branching
    table = grammar.table_index(level)
    children = grammar.rules.children[table]
    weights = paths.marginals[level][first][:, None] * host_probs(grammar.log_weights[table])
    law = np.zeros((grammar.vocab_size,) * 2)
    np.add.at(law, (children[..., left], children[..., right]), weights)
    for below in range(level + 1, grammar.depth):
        size //= branching
        steps = paths.steps[below]
        law = steps[i // size % branching].T @ law @ steps[j // size % branching]
    return law


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
    values = _tree_log_probs(grammar, parsed)
    scale = float(np.sqrt(variance))
    z = float((values.mean() - mean) / scale * np.sqrt(len(values)))
    yield "log-probability, mean", z, float(2 * stats.norm.sf(abs(z)))
    yield "log-probability, law", *_characteristic_test(grammar, (values - mean) / scale)


def _tree_log_probs(grammar: Grammar, parsed: Parsed) -> np.ndarray:
    total = np.log(host_probs(grammar.root_log_probs)[parsed.symbols[0][:, 0]])
    for level, (symbols, used) in enumerate(zip(parsed.symbols, parsed.rules, strict=True)):
        weights = host_probs(grammar.log_weights[grammar.table_index(level)])
        total = total + np.log(weights[symbols, used]).sum(1)
    return total


def log_prob_moments(grammar: Grammar) -> tuple[float, float]:
    """Exact mean and variance, in nats, of the log-probability of a tree, by recursion upwards."""
    mean = variance = np.zeros(grammar.vocab_size)
    for level in reversed(range(grammar.depth)):
        table = grammar.table_index(level)
        children, weights = grammar.rules.children[table], host_probs(grammar.log_weights[table])
        by_rule = _log(weights) + mean[children].sum(-1)
        spread = variance[children].sum(-1)
        mean = (weights * by_rule).sum(-1)
        variance = (weights * (spread + np.square(by_rule - mean[:, None]))).sum(-1)
    prior = host_probs(grammar.root_log_probs)
    by_root = _log(prior) + mean
    total = float((prior * by_root).sum())
    return total, float((prior * (variance + np.square(by_root - total))).sum())


def log_prob_characteristic(grammar: Grammar, frequency: float) -> complex:
    """Exact E e^(i u X), X the log-probability of a tree: a product over the children of a rule."""
    below = np.ones(grammar.vocab_size, complex)
    for level in reversed(range(grammar.depth)):
        table = grammar.table_index(level)
        weights = host_probs(grammar.log_weights[table])
        turned = weights * np.exp(1j * frequency * _log(weights))
        below = (turned * below[grammar.rules.children[table]].prod(-1)).sum(-1)
    prior = host_probs(grammar.root_log_probs)
    return complex((prior * np.exp(1j * frequency * _log(prior)) * below).sum())


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


def _log(probs: np.ndarray) -> np.ndarray:
    """Log of what is possible; 0, which nothing weighs, of what is not."""
    return np.log(np.where(probs > 0, probs, 1))


def _copy_test(grammar: Grammar, rows: np.ndarray, train: np.ndarray) -> Test:
    """Copies of training sequences against the probability of the set of them."""
    distinct = np.unique(train, axis=0)
    share = min(float(np.exp(_leaf_log_probs(grammar, distinct)).sum()), 1.0)
    known = {row.tobytes() for row in distinct}
    copies = sum(row.tobytes() in known for row in rows)
    return "copies", float(copies), float(stats.binomtest(copies, len(rows), share).pvalue)


def _leaf_log_probs(grammar: Grammar, rows: np.ndarray) -> np.ndarray:
    """Log-probabilities of those sequences that the grammar can produce."""
    if is_unambiguous(grammar):
        return _tree_log_probs(grammar, _look_up(grammar, rows))
    logs = [np.asarray(log_prob(grammar, piece), np.float64) for piece in _pieces(rows)]
    return np.concatenate(logs)
