"""Brute force: every tree of a small grammar listed in a table, in NumPy and float64.

Nothing here knows about messages, log-space tricks or the library. A tree is a row; its weight is
the product of the root prior, one production probability per inner node, and exp(field) per leaf.
"""

from typing import NamedTuple

import numpy as np
import scipy.special
import scipy.stats


class Trees(NamedTuple):
    """All trees of positive probability: prior (n,), and per level (n, nodes) symbols or None."""

    prior: np.ndarray
    levels: list
    vocab_size: int


def list_trees(tensors, root_probs, filter_level=0) -> Trees:
    """All trees of the grammar with one dense tensor (q,)*(s+1) per level.

    With a filter level k the nodes of level k are independent given the root, each with the
    product of single-child transition matrices along its path.
    """
    root_probs = np.asarray(root_probs, dtype=float)
    vocab_size, branching = len(root_probs), tensors[0].ndim - 1
    roots = np.flatnonzero(root_probs)
    prior, levels = root_probs[roots], [roots[:, None]]
    if filter_level:
        nodes = np.zeros((len(roots), 0), int)
        for transition in root_to_level(tensors, filter_level):
            row, child, prior = _choose(prior, transition[levels[0][:, 0]])
            levels, nodes = [levels[0][row]], np.column_stack([nodes[row], child])
        levels += [None] * (filter_level - 1) + [nodes]
    for tensor in tensors[filter_level:]:
        nodes = np.zeros((len(prior), 0), int)
        for parent in range(levels[-1].shape[1]):
            rules = tensor.reshape(vocab_size, -1)[levels[-1][:, parent]]
            row, rule, prior = _choose(prior, rules)
            children = np.stack(np.unravel_index(rule, (vocab_size,) * branching), -1)
            levels = [level if level is None else level[row] for level in levels]
            nodes = np.column_stack([nodes[row], children])
        levels.append(nodes)
    return Trees(prior, levels, vocab_size)


def _choose(prior, options):
    """Extend every row by each of its options of positive weight: row, option, new weight."""
    weights = prior[:, None] * options
    row, option = np.nonzero(weights)
    return row, option, weights[row, option]


def root_to_level(tensors, level):
    """Transition matrix (root, node) of every node of a level, nodes in order."""
    vocab_size, branching = len(tensors[0]), tensors[0].ndim - 1
    paths = [np.eye(vocab_size)]
    for tensor in tensors[:level]:
        others = [tuple(a for a in range(1, branching + 1) if a != c + 1) for c in range(branching)]
        paths = [path @ tensor.sum(axes) for path in paths for axes in others]
    return paths


def log_weights(trees: Trees, field):
    """Log of prior times exp(field at the leaves), per tree."""
    leaves = trees.levels[-1]
    scores = np.asarray(field, dtype=float)[np.arange(leaves.shape[1]), leaves]
    return np.log(trees.prior) + scores.sum(-1)


def log_evidence(trees: Trees, field):
    return scipy.special.logsumexp(log_weights(trees, field))


def posterior(trees: Trees, field):
    """Probability of every tree given the evidence; the prior if the evidence is impossible."""
    weights = log_weights(trees, field)
    if weights.max() == -np.inf:
        weights = np.log(trees.prior)
    return scipy.special.softmax(weights)


def marginals(trees: Trees, probs):
    """Per level the symbol probabilities (nodes, q) of every node, or None."""

    def of_level(nodes):
        one_hot = nodes[:, :, None] == np.arange(trees.vocab_size)
        return np.einsum("n,nia->ia", probs, one_hot)

    return [None if nodes is None else of_level(nodes) for nodes in trees.levels]


def family_joint(trees: Trees, probs, level):
    """Joint probability (nodes, q, q, …, q) of each node of a level together with its children."""
    parents, children = trees.levels[level], trees.levels[level + 1]
    vocab_size, branching = trees.vocab_size, children.shape[1] // parents.shape[1]
    joint = np.zeros((parents.shape[1],) + (vocab_size,) * (1 + branching))
    for node in range(parents.shape[1]):
        family = (parents[:, node], *children[:, node * branching : (node + 1) * branching].T)
        np.add.at(joint[node], family, probs)
    return joint


def law_of(codes, probs, size):
    """Total probability of each code."""
    return np.bincount(codes, probs, minlength=size)


def encode(symbols, vocab_size):
    """Rows of symbols as numbers in base q."""
    symbols = np.asarray(symbols)
    return symbols @ (vocab_size ** np.arange(symbols.shape[-1])[::-1])


def leaf_law(trees: Trees, probs=None):
    """Probability of every leaf sequence, indexed by its code."""
    leaves = trees.levels[-1]
    codes = encode(leaves, trees.vocab_size)
    probs = trees.prior if probs is None else probs
    return law_of(codes, probs, trees.vocab_size ** leaves.shape[1])


FALSE_ALARM = 1e-6
"""How often a statistical test of a correct program would fail, were its key not fixed."""


def agrees_with_law(codes, law) -> bool:
    """Chi-square test of sampled codes against their law, at false-alarm rate FALSE_ALARM.

    Nothing impossible may ever occur. Rare codes share one cell, as the chi-square
    approximation wants some ten counts in each.
    """
    counts = np.bincount(codes, minlength=len(law))
    if counts[law == 0].any():
        return False
    expected = law / law.sum() * counts.sum()
    rare = expected < 10
    cells = [np.append(values[~rare], values[rare].sum()) for values in (counts, expected)]
    observed, expected = (values[cells[1] > 0] for values in cells)
    return len(expected) < 2 or scipy.stats.chisquare(observed, expected).pvalue > FALSE_ALARM


def tree_law(trees: Trees, probs=None):
    """Probability of every tree, indexed by the code of all its nodes, level after level."""
    probs = trees.prior if probs is None else probs
    nodes = all_nodes(trees.levels)
    return law_of(encode(nodes, trees.vocab_size), probs, trees.vocab_size ** nodes.shape[1])


def all_nodes(levels):
    """The symbols of the levels that exist, side by side."""
    return np.concatenate([np.asarray(level) for level in levels if level is not None], axis=-1)
