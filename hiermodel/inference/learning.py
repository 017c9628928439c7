"""Rule weights learned from leaf sequences by maximum likelihood: the n-sample-optimal learner.

What any learner of n sequences must get wrong is what this one does (science.md#measures). The
rules of a grammar are given, their weights are not. Where no tuple of children has two rules, the
leaves fix
the tree and the weights are counts; elsewhere they come from expectation maximisation, exact
inference giving the expected counts.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key

from hiermodel.checks import check_integer, check_key, check_symbols, require
from hiermodel.grammar.rules import Grammar
from hiermodel.grammar.support import is_unambiguous
from hiermodel.inference import messages

ROWS = 1024
"""Sequences whose expected counts are taken at a time."""

Sequences = Int[Array | np.ndarray, "sequences leaves"]


class Counts(NamedTuple):
    """How often each rule and each root symbol was used, summed over all sequences.

    Attributes:
        rules: (levels, vocab_size, max_rules), laid out as ``Grammar.log_weights``.
        root: (vocab_size,).
        log_likelihood: of the sequences in nats, under the grammar that counted.
    """

    rules: Float[np.ndarray, "levels vocab max_rules"]
    root: Float[np.ndarray, " vocab"]
    log_likelihood: float


def fit_grammar(grammar: Grammar, sequences: Sequences) -> Grammar:
    """The weights of rules and root that make the sequences likeliest, the rules being given.

    Exact counts where the grammar is unambiguous; else :func:`fit_grammar_by_em` from the given
    weights, with its default settings. A rule or root symbol never used gets probability 0. A
    parent never seen keeps the weights that it has.

    Args:
        grammar: its rules of positive probability are the support, its weights the start.
        sequences: (n, num_leaves) symbols, n at least 1.

    Returns:
        A grammar with the same rules, so that all that was compiled for the given one serves it.

    Raises:
        ValueError: for sequences of another shape, symbols out of range, or a sequence that the
            grammar cannot produce, with its row.

    Example:
        >>> many = hm.sample_leaves(key, grammar, 1000)
        >>> fitted = hm.fit_grammar(hm.Grammar.from_rules(children, depth=2), many)
        >>> bool(hm.grammar.tree_divergence(grammar, fitted) < 0.02)
        True
    """
    if is_unambiguous(grammar):
        return _reweighted(grammar, _count_rules(grammar, _check_sequences(grammar, sequences)))
    return fit_grammar_by_em(grammar, sequences)[0]


def fit_grammar_by_em(
    grammar: Grammar,
    sequences: Sequences,
    *,
    num_iterations: int = 1000,
    tolerance: float = 1e-10,
    num_starts: int = 1,
    key: Key[Array, ""] | None = None,
) -> tuple[Grammar, Float[np.ndarray, " iterations"]]:
    """Expectation maximisation of rule weights and root, for any grammar, in float64.

    Each iteration takes the expected counts of :func:`hiermodel.family_log_marginals` as if they
    had been seen. The log-likelihood never falls (but for rounding) and ends at a stationary
    point, a local maximum as a rule; more starts make a global one likelier.

    Args:
        grammar: its rules of positive probability are the support, its weights the first start.
        sequences: (n, num_leaves) symbols, n at least 1.
        num_iterations: most updates of the weights per start.
        tolerance: a start ends when an update gains less than this, in nats per sequence.
        num_starts: starts after the first draw each parent's weights, and the root's, uniformly
            from all that the support allows; the likeliest end is returned.
        key: randomness of those starts; needed for more than one.

    Returns:
        The grammar, in the given dtype, and the log-likelihood of all sequences, in nats, at its
        start and after every update.

    Raises:
        ValueError: as :func:`fit_grammar`; for settings out of range; for no key where one is
            needed.

    Example:
        >>> fitted, *_ = hm.fit_grammar_by_em(grammar, np.asarray(leaves), num_iterations=3)
        >>> fitted.num_leaves
        4
    """
    num_iterations = check_integer("num_iterations", num_iterations, 1)
    num_starts = check_integer("num_starts", num_starts, 1)
    require(tolerance >= 0, "tolerance", tolerance, "at least 0")
    if num_starts > 1:
        check_key(key)
    rows = _check_sequences(grammar, sequences)
    distinct, first, repeats = np.unique(rows, axis=0, return_index=True, return_counts=True)
    best = None
    with jax.enable_x64(True):
        for start in _starts(grammar, num_starts, key):
            fitted, trace = _climb(start, distinct, first, repeats, num_iterations, tolerance)
            if best is None or trace[-1] > best[1][-1]:
                best = fitted, trace
    assert best is not None  # there is at least one start
    return _as_dtype(best[0], grammar), np.array(best[1])


def _climb(
    grammar: Grammar,
    distinct: Int[np.ndarray, "distinct leaves"],
    first: Int[np.ndarray, " distinct"],
    repeats: Int[np.ndarray, " distinct"],
    num_iterations: int,
    tolerance: float,
) -> tuple[Grammar, list[float]]:
    """Update until the gain is small; the log-likelihoods on the way."""
    counts = _expected_counts(grammar, distinct, first, repeats)
    trace = [counts.log_likelihood]
    for _ in range(num_iterations):
        grammar = _reweighted(grammar, counts)
        counts = _expected_counts(grammar, distinct, first, repeats)
        trace.append(counts.log_likelihood)
        if trace[-1] - trace[-2] <= tolerance * repeats.sum():
            break
    return grammar, trace


def _starts(grammar: Grammar, num_starts: int, key: Key[Array, ""] | None):
    """The given weights, then random ones, all in float64."""
    yield _as_dtype(grammar, None)
    possible = np.asarray(grammar.log_weights) > -np.inf
    can_start = np.asarray(grammar.root_log_probs) > -np.inf
    for index in range(1, num_starts):
        assert key is not None  # checked
        rule_key, root_key = jax.random.split(jax.random.fold_in(key, index))
        # Exponential numbers, normalised, are uniform on the simplex.
        rules = possible * np.asarray(jax.random.exponential(rule_key, possible.shape))
        root = can_start * np.asarray(jax.random.exponential(root_key, can_start.shape))
        yield _reweighted(_as_dtype(grammar, None), Counts(rules, root, 0.0))


def _expected_counts(
    grammar: Grammar,
    distinct: Int[np.ndarray, "distinct leaves"],
    first: Int[np.ndarray, " distinct"],
    repeats: Int[np.ndarray, " distinct"],
) -> Counts:
    """Posterior expectations of all counts, each distinct sequence as often as it occurs."""
    rules, root = np.zeros(grammar.log_weights.shape), np.zeros(grammar.vocab_size)
    log_likelihood = 0.0
    size = min(ROWS, len(distinct))
    for begin in range(0, len(distinct), size):
        block, weights = distinct[begin : begin + size], repeats[begin : begin + size]
        missing = size - len(block)  # padded, so that one program serves all blocks
        block = np.pad(block, ((0, missing), (0, 0)), mode="edge")
        weights = np.pad(weights, (0, missing)).astype(np.float64)
        log_evidence, block_rules, block_root = _count_block(grammar, block, weights)
        impossible = np.flatnonzero(np.asarray(log_evidence) == -np.inf)
        if impossible.size:
            named = impossible[np.argmin(first[begin + impossible])]
            _refuse_row(int(first[begin + named]), block[named])
        log_likelihood += float(np.dot(log_evidence, weights))
        rules, root = rules + np.asarray(block_rules), root + np.asarray(block_root)
    return Counts(rules, root, log_likelihood)


@jax.jit
def _count_block(
    grammar: Grammar, leaves: Int[Array, "rows leaves"], weights: Float[Array, " rows"]
) -> tuple[Float[Array, " rows"], Float[Array, "levels vocab max_rules"], Float[Array, " vocab"]]:
    """Log-evidence of each sequence, and weighted sums of the posteriors of families and root."""
    observed = leaves[..., None] == jnp.arange(grammar.vocab_size)
    evidence = jnp.where(observed, 0.0, -jnp.inf).astype(weights.dtype)
    upward = messages.pass_up(grammar, evidence, 0)
    log_evidence = messages.evidence(grammar, upward)
    usable = messages.ignore_impossible(upward, log_evidence)
    marginals = messages.pass_down(grammar, usable, 0)
    rules = jnp.zeros(grammar.log_weights.shape, weights.dtype)
    for level in range(grammar.depth):
        marginal, below = marginals[level], usable.by_level[level + 1]
        assert marginal is not None  # all levels exist in the full model
        assert below is not None
        family = jnp.exp(messages.rule_marginals(grammar, level, marginal, below)).sum(1)
        expected = jnp.tensordot(weights, family, 1, precision="highest")
        rules = rules.at[grammar.table_index(level)].add(expected)
    root_marginal = marginals[0]
    assert root_marginal is not None
    root = jnp.tensordot(weights, jnp.exp(root_marginal[:, 0]), 1, precision="highest")
    return log_evidence, rules, root


def _count_rules(grammar: Grammar, sequences: Int[np.ndarray, "sequences leaves"]) -> Counts:
    """Counts of an unambiguous grammar: each level is read off the one below it."""
    shape = grammar.log_weights.shape
    rules = np.zeros(shape, np.int64)
    symbols, possible = sequences, np.ones(len(sequences), bool)
    powers = grammar.vocab_size ** np.arange(grammar.branching - 1, -1, -1)
    for level in reversed(range(grammar.depth)):
        table = grammar.table_index(level)
        codes = sum(
            power * symbols[:, position :: grammar.branching].astype(np.int64)
            for position, power in enumerate(powers)
        )
        used = _rule_of_tuple(grammar, table)[codes]  # (sequences, nodes), −1 where there is none
        possible &= (used >= 0).all(1)
        counted = np.bincount(used[used >= 0], minlength=shape[1] * shape[2])
        rules[table] += counted.reshape(shape[1:])
        symbols = used // shape[2] % grammar.vocab_size
    possible &= np.asarray(grammar.root_log_probs)[symbols[:, 0]] > -np.inf
    if not possible.all():
        row = int(np.argmin(possible))
        _refuse_row(row, sequences[row])
    root = np.bincount(symbols[:, 0], minlength=grammar.vocab_size)
    weights = np.asarray(grammar.log_weights, np.float64)
    start = np.asarray(grammar.root_log_probs, np.float64)
    log_likelihood = _dot(rules, weights) + _dot(root, start)
    return Counts(rules.astype(np.float64), root.astype(np.float64), log_likelihood)


def _dot(counts: np.ndarray, log_probs: np.ndarray) -> float:
    """Σ counts · log p, leaving out what was never used."""
    return float(np.sum(counts * np.where(counts > 0, log_probs, 0)))


def _rule_of_tuple(grammar: Grammar, table: int) -> Int[np.ndarray, " tuples"]:
    """Per tuple of children, as a number in base q, its one rule parent · max_rules + r, or −1."""
    children = grammar.rules.children[table]
    powers = grammar.vocab_size ** np.arange(grammar.branching - 1, -1, -1)
    codes = (children * powers).sum(-1)
    parent, rule = np.nonzero(np.asarray(grammar.log_weights[table]) > -np.inf)
    found = np.full(grammar.vocab_size**grammar.branching, -1, np.int64)
    found[codes[parent, rule]] = parent * children.shape[1] + rule
    return found


def _reweighted(grammar: Grammar, counts: Counts) -> Grammar:
    """The grammar with counts as weights; parents without any keep theirs."""
    total = counts.rules.sum(-1, keepdims=True)
    seen = total > 0
    with np.errstate(divide="ignore"):
        shares = np.log(counts.rules / np.where(seen, total, 1))
        root = np.log(counts.root / counts.root.sum())
    log_weights = np.where(seen, shares, np.asarray(grammar.log_weights, np.float64))
    return Grammar(
        jnp.asarray(log_weights.astype(grammar.log_weights.dtype)),
        jnp.asarray(root.astype(grammar.root_log_probs.dtype)),
        grammar.rules,
        grammar.depth,
    )


def _as_dtype(grammar: Grammar, like: Grammar | None) -> Grammar:
    """The grammar with arrays in the dtypes of another; None for float64."""

    def cast(array: Array, dtype) -> Array:
        return jnp.asarray(np.asarray(array).astype(dtype))

    weights, root = (
        (np.float64, np.float64)
        if like is None
        else (like.log_weights.dtype, like.root_log_probs.dtype)
    )
    return Grammar(
        cast(grammar.log_weights, weights),
        cast(grammar.root_log_probs, root),
        grammar.rules,
        grammar.depth,
    )


def _check_sequences(grammar: Grammar, sequences: Sequences) -> Int[np.ndarray, "n leaves"]:
    shape = np.shape(sequences)
    fits = len(shape) == 2 and shape[0] > 0 and shape[1] == grammar.num_leaves
    if not fits:
        raise ValueError(
            f"sequences has shape {shape}, which is not allowed: it must be "
            f"(n, num_leaves) = (n, {grammar.num_leaves}), n at least 1"
        )
    check_symbols("sequences", sequences, grammar.vocab_size)
    return np.asarray(sequences)


def _refuse_row(row: int, sequence: np.ndarray) -> None:
    raise ValueError(
        f"sequences[{row}]={sequence.tolist()} is not allowed: "
        "the grammar must be able to produce every sequence"
    )
