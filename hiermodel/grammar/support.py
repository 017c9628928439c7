"""Which sequences and trees a grammar can yield, and how many."""

import numpy as np

from hiermodel.checks import InputError, check_integer
from hiermodel.grammar.paths import root_transitions
from hiermodel.grammar.rules import Grammar


def is_unambiguous(grammar: Grammar) -> bool:
    """True if no tuple of children has two rules at a level, so that leaves determine the tree.

    Example:
        >>> hm.grammar.is_unambiguous(grammar)
        True
    """
    return first_determined_level(grammar) == 0


def first_determined_level(grammar: Grammar) -> int:
    """The first level from which on no tuple has two rules, so that the leaves determine it."""
    weights = np.asarray(grammar.log_weights)
    for level in reversed(range(grammar.depth)):
        table = grammar.table_index(level)
        used = grammar.rules.children[table][weights[table] > -np.inf]
        if len(np.unique(used, axis=0)) < len(used):
            return level + 1
    return 0


def support_size(grammar: Grammar) -> int:
    """Number of sequences with positive probability, exactly, as a Python integer.

    Raises:
        ValueError: for an ambiguous grammar, where trees are no measure of sequences.

    Example:
        >>> hm.grammar.support_size(hm.paper_grammar()) == 6 * 4**15
        True
    """
    if not is_unambiguous(grammar):
        raise InputError(f"grammar={grammar!r} is not allowed: it must be unambiguous")
    counts = [1] * grammar.vocab_size
    for level in reversed(range(grammar.depth)):
        table = grammar.table_index(level)
        possible = np.asarray(grammar.log_weights[table]) > -np.inf
        children = grammar.rules.children[table]
        counts = [
            sum(
                int(np.prod([counts[symbol] for symbol in rule], dtype=object))
                for rule in children[parent][possible[parent]]
            )
            for parent in range(grammar.vocab_size)
        ]
    can_start = np.asarray(grammar.root_log_probs) > -np.inf
    return sum(count for count, possible in zip(counts, can_start, strict=True) if possible)


def tree_count(grammar: Grammar, *, filter_level: int = 0) -> int:
    """Number of trees of positive probability, exactly; at least the number of sequences.

    Raises:
        ValueError: for a filter level out of range.

    Example:
        >>> hm.grammar.tree_count(grammar)
        16
    """
    filter_level = check_integer("filter_level", filter_level, 0, grammar.depth)
    counts = np.ones(grammar.vocab_size, dtype=object)  # below a node, by its symbol
    for level in reversed(range(filter_level, grammar.depth)):
        table = grammar.table_index(level)
        possible = np.asarray(grammar.log_weights[table]) > -np.inf
        counts = (counts[grammar.rules.children[table]].prod(-1) * possible).sum(-1)
    roots = np.flatnonzero(np.asarray(grammar.root_log_probs) > -np.inf)
    if filter_level:
        allowed = np.asarray(root_transitions(grammar, filter_level)) > -np.inf
        counts = (allowed * counts).sum(-1).prod(0)  # by root symbol, as the nodes are independent
    return sum(int(counts[root]) for root in roots)
