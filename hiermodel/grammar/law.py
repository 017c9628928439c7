"""The law of a grammar's sequences listed in full, where it is small enough."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from hiermodel.checks import InputError, check_integer
from hiermodel.grammar.paths import root_transitions
from hiermodel.grammar.rules import Grammar, symbol_dtype
from hiermodel.grammar.statistics import symbol_log_marginals
from hiermodel.grammar.support import tree_count


class Law(NamedTuple):
    """Every sequence of positive probability.

    Attributes:
        sequences: (n, num_leaves), all different; int8, or int32 for more than 128 symbols.
        probs: (n,) their probabilities, float64, up to the rounding of the grammar's weights.
    """

    sequences: Int[np.ndarray, "n leaves"]
    probs: Float[np.ndarray, " n"]


def enumerate_law(grammar: Grammar, *, filter_level: int = 0, max_trees: int = 1_000_000) -> Law:
    """List all sequences with their probabilities, by combining lists from the leaves up.

    Args:
        grammar: the model; its weights must be known, not traced.
        filter_level: k in 0…depth.
        max_trees: how many trees may be listed; memory is some of their sequences.

    Raises:
        ValueError: for a filter level out of range, or more trees than allowed.

    Example:
        >>> law = hm.grammar.enumerate_law(grammar)
        >>> law.sequences.shape, round(float(law.probs.sum()), 6)
        ((16, 4), 1.0)
    """
    num_trees = tree_count(grammar, filter_level=filter_level)
    max_trees = check_integer("max_trees", max_trees, 1)
    if num_trees > max_trees:
        raise InputError(
            f"grammar={grammar!r} is not allowed: it has {num_trees} trees; at most {max_trees}, "
            "as max_trees says, can be listed"
        )
    dtype = symbol_dtype(grammar.vocab_size)
    occurs = [
        np.asarray(np.any(np.isfinite(each), axis=0)) for each in symbol_log_marginals(grammar)
    ]
    leaves = np.arange(grammar.vocab_size, dtype=dtype)[:, None, None]
    below = [Law(leaf, np.ones(1)) for leaf in leaves]
    nothing = Law(np.zeros((0, 0), dtype), np.zeros(0))
    for level in reversed(range(filter_level, grammar.depth)):
        table = grammar.table_index(level)
        weights = np.exp(np.asarray(grammar.log_weights[table], np.float64))
        below = [
            _mixture(
                [
                    (weight, _product([below[child] for child in rule]))
                    for rule, weight in zip(rules, of_parent, strict=True)
                    if weight > 0
                ]
            )
            if occurs[level][parent]
            else nothing
            for parent, (rules, of_parent) in enumerate(
                zip(grammar.rules.children[table], weights, strict=True)
            )
        ]
    roots = np.exp(np.asarray(grammar.root_log_probs, np.float64))
    if filter_level:
        given_root = np.exp(np.asarray(root_transitions(grammar, filter_level), np.float64))
        below = [
            _product([_mixture(_used(node[root], below)) for node in given_root])
            if roots[root] > 0
            else nothing
            for root in range(grammar.vocab_size)
        ]
    return _merged(_mixture(_used(roots, below)))


def _used(weights: Float[np.ndarray, " parts"], parts: list[Law]) -> list[tuple[float, Law]]:
    return [pair for pair in zip(weights.tolist(), parts, strict=True) if pair[0] > 0]


def _product(parts: list[Law]) -> Law:
    """Sequences side by side, each part drawn by itself."""
    sequences, probs = parts[0]
    for right in parts[1:]:
        count, more = len(sequences), len(right.sequences)
        left = np.repeat(sequences, more, axis=0)
        sequences = np.concatenate([left, np.tile(right.sequences, (count, 1))], axis=1)
        probs = np.outer(probs, right.probs).reshape(-1)
    return Law(sequences, probs)


def _mixture(weighted: list[tuple[float, Law]]) -> Law:
    """One of the parts, each with its weight."""
    return Law(
        np.concatenate([part.sequences for _, part in weighted]),
        np.concatenate([weight * part.probs for weight, part in weighted]),
    )


def _merged(law: Law) -> Law:
    """The same law with every sequence once."""
    sequences, inverse = np.unique(law.sequences, axis=0, return_inverse=True)
    return Law(sequences, np.bincount(inverse.reshape(-1), law.probs, len(sequences)))
