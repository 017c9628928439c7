"""Sequences and their trees: looked up where there is one, drawn from the posterior else."""

from collections.abc import Iterator
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int, Key

from hiermodel.checks import check_key
from hiermodel.grammar.paths_on_host import host_probs
from hiermodel.grammar.rules import Grammar
from hiermodel.grammar.support import is_unambiguous
from hiermodel.inference.belief_propagation import log_prob, observe
from hiermodel.inference.posterior import sample_posterior
from hiermodel.measures.validity import level_validity

PIECE = 512
"""Sequences given to exact inference at a time."""


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


def tree_log_probs(grammar: Grammar, parsed: Parsed) -> np.ndarray:
    """Log-probability of each tree."""
    total = np.log(host_probs(grammar.root_log_probs)[parsed.symbols[0][:, 0]])
    for level, (symbols, used) in enumerate(zip(parsed.symbols, parsed.rules, strict=True)):
        weights = host_probs(grammar.log_weights[grammar.table_index(level)])
        total = total + np.log(weights[symbols, used]).sum(1)
    return total


def leaf_log_probs(grammar: Grammar, rows: np.ndarray) -> np.ndarray:
    """Log-probabilities of those sequences that the grammar can produce."""
    if is_unambiguous(grammar):
        return tree_log_probs(grammar, _look_up(grammar, rows))
    logs = [np.asarray(log_prob(grammar, piece), np.float64) for piece in _pieces(rows)]
    return np.concatenate(logs)


def _pieces(rows: np.ndarray) -> Iterator[np.ndarray]:
    return (rows[start : start + PIECE] for start in range(0, len(rows), PIECE))
