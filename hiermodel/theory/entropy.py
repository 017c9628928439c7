"""Entropy and support of the random hierarchy model: no average is needed, all grammars agree."""

import math

from hiermodel.checks import check_integer
from hiermodel.theory.ensemble import check_sizes


def expected_entropy(
    *, vocab_size: int, rules_per_symbol: int, depth: int, branching: int = 2
) -> float:
    """Entropy of a sequence in nats: ln v + (s^L − 1) / (s − 1) · ln m.

    The root is one of v symbols, each of the (s^L − 1) / (s − 1) nodes above the leaves takes one
    of m rules, all equally likely and independent, and no tuple has two parents, so the sequence
    determines them (arXiv:2307.02129). Exact for every grammar of ``Grammar.random_hierarchy``.

    Args:
        vocab_size: v, at least 2.
        rules_per_symbol: m, in 1…v**(s − 1).
        depth: L, at least 1.
        branching: s, at least 2.

    Raises:
        ValueError: if an argument is out of its range.

    Example:
        >>> round(hm.theory.expected_entropy(depth=3, **rhm), 4)
        12.4766
    """
    vocab_size, rules, branching = check_sizes(vocab_size, rules_per_symbol, branching)
    return math.log(vocab_size) + _num_choices(depth, branching) * math.log(rules)


def expected_support(
    *, vocab_size: int, rules_per_symbol: int, depth: int, branching: int = 2
) -> int:
    """Number of sequences: v · m^((s^L − 1) / (s − 1)), exactly, all equally likely.

    Args and errors as :func:`expected_entropy`, whose exponential this is.

    Example:
        >>> hm.theory.expected_support(depth=2, **rhm) == 16 * 4**3
        True
    """
    vocab_size, rules, branching = check_sizes(vocab_size, rules_per_symbol, branching)
    return vocab_size * rules ** _num_choices(depth, branching)


def _num_choices(depth: int, branching: int) -> int:
    depth = check_integer("depth", depth, 1)
    return (branching**depth - 1) // (branching - 1)
