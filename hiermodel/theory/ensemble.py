"""The sizes of a random hierarchy model, which are all that its averages depend on."""

from typing import NamedTuple

import numpy as np

from hiermodel.checks import check_integer
from hiermodel.grammar.rules import Grammar
from hiermodel.grammar.support import is_unambiguous


class Sizes(NamedTuple):
    """v, m and s of a random hierarchy model; ``sizes(grammar)._asdict()`` are keyword arguments.

    Attributes:
        vocab_size: v.
        rules_per_symbol: m.
        branching: s.
    """

    vocab_size: int
    rules_per_symbol: int
    branching: int


def sizes(grammar: Grammar) -> Sizes:
    """The v, m and s of a grammar drawn by ``Grammar.random_hierarchy``.

    Averages over such grammars have closed forms; no other grammar has them here.

    Raises:
        ValueError: for a grammar that no random hierarchy model gives: levels that share their
            rules, unequal numbers or probabilities of rules, a root that is not uniform, or
            tuples with two parents. The exact numbers of one such grammar come from
            ``rms_leaf_covariance``, ``speciation_steps``, ``information`` and the functions of
            ``hiermodel.grammar.statistics``.

    Example:
        >>> uniform = hm.Grammar.from_rules(np.stack([children] * 2), depth=2)
        >>> hm.theory.sizes(uniform)._asdict()
        {'vocab_size': 2, 'rules_per_symbol': 2, 'branching': 2}
    """
    vocab_size, rules_per_symbol = grammar.log_weights.shape[1:]
    faults = {
        "all levels share their rules": grammar.shared and grammar.depth > 1,
        "its rules are not equally likely": not np.allclose(
            grammar.log_weights, -np.log(rules_per_symbol), atol=1e-5
        ),
        "its root is not uniform": not np.allclose(
            grammar.root_log_probs, -np.log(vocab_size), atol=1e-5
        ),
        "a tuple has two parents": not is_unambiguous(grammar),
    }
    for fault, found in faults.items():
        if found:
            raise ValueError(
                f"grammar={grammar!r} is not allowed: {fault}, and closed forms exist for the "
                "random hierarchy model only; exact recursions for any grammar are "
                "rms_leaf_covariance, speciation_steps, information and grammar.statistics"
            )
    return Sizes(vocab_size, rules_per_symbol, grammar.branching)


def check_sizes(vocab_size: int, rules_per_symbol: int, branching: int) -> Sizes:
    """Refuse v < 2, s < 2, and m outside 1…v**(s − 1)."""
    vocab_size = check_integer("vocab_size", vocab_size, 2)
    branching = check_integer("branching", branching, 2)
    most = vocab_size ** (branching - 1)
    return Sizes(
        vocab_size, check_integer("rules_per_symbol", rules_per_symbol, 1, most), branching
    )
