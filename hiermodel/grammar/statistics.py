"""Exact ground truth of the model itself, without sampling (science.md#data).

Everything here follows from products of single-child transition matrices along paths of the tree.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from hiermodel.checks import InputError, check_integer, is_concrete
from hiermodel.grammar.paths import child_transitions, push_down, root_transitions
from hiermodel.grammar.rules import Grammar
from hiermodel.grammar.support import first_determined_level, is_unambiguous

HIGHEST = jax.lax.Precision.HIGHEST


class PairStatistics(NamedTuple):
    """How two leaves depend on each other.

    Attributes:
        joint: (num_leaves, num_leaves, vocab_size, vocab_size) probability of both symbols; on the
            diagonal, of the one symbol with itself.
        covariance: the same less the product of the marginals.
        information: (num_leaves, num_leaves) mutual information in nats; the entropy of the leaf on
            the diagonal.
    """

    joint: Float[Array, "leaves leaves vocab vocab"]
    covariance: Float[Array, "leaves leaves vocab vocab"]
    information: Float[Array, "leaves leaves"]


@jax.jit
def symbol_log_marginals(grammar: Grammar) -> tuple[Float[Array, "nodes vocab"], ...]:
    """Log-probability of the symbols of every node, per level 0…depth, (branching**level, q).

    The same at every filter level, for the levels that it has.

    Example:
        >>> bool(np.allclose(np.exp(hm.grammar.symbol_log_marginals(grammar)[-1]).sum(-1), 1))
        True
    """
    marginals = [grammar.root_log_probs[None]]
    for level in range(grammar.depth):
        marginals.append(push_down(grammar, level, marginals[-1]))
    return tuple(marginals)


def leaf_pairs(grammar: Grammar, *, filter_level: int = 0) -> PairStatistics:
    """Exact joint law of every pair of leaves, of the full or of a filtered model.

    Memory is num_leaves² · vocab_size² numbers.

    Args:
        grammar: the model.
        filter_level: k; pairs whose last common ancestor lies above level k are correlated
            through the root alone.

    Raises:
        ValueError: for a filter level out of range.

    Example:
        >>> hm.grammar.leaf_pairs(grammar).information.shape
        (4, 4)
    """
    return _leaf_pairs(grammar, check_integer("filter_level", filter_level, 0, grammar.depth))


@functools.partial(jax.jit, static_argnames="filter_level")
def _leaf_pairs(grammar: Grammar, filter_level: int) -> PairStatistics:
    # joint[i, j, a, b] of the nodes of one level, pushed down level by level
    root = jnp.diag(jnp.exp(grammar.root_log_probs))[None, None]
    joint = root if filter_level == 0 else _through_root(grammar, filter_level)
    for level in range(filter_level, grammar.depth):
        joint = _push_down(grammar, level, joint)
    marginal = jnp.einsum("iiaa->ia", joint)
    product = marginal[:, None, :, None] * marginal[None, :, None, :]
    possible = joint > 0
    ratio = jnp.where(possible, joint, 1) / jnp.where(possible, product, 1)
    information = jnp.where(possible, joint * jnp.log(ratio), 0).sum((-2, -1))
    return PairStatistics(joint, joint - product, information)


def _through_root(grammar: Grammar, level: int) -> Float[Array, "nodes nodes vocab vocab"]:
    """Joint law of the nodes of the filter level: independent given the root."""
    prior = jnp.exp(grammar.root_log_probs)
    given_root = jnp.exp(root_transitions(grammar, level))
    joint = jnp.einsum("r,ira,jrb->ijab", prior, given_root, given_root, precision=HIGHEST)
    marginal = jnp.einsum("r,ira->ia", prior, given_root, precision=HIGHEST)
    same = jnp.eye(len(given_root), dtype=bool)[..., None, None]
    diagonal = marginal[:, None, :, None] * jnp.eye(grammar.vocab_size, dtype=marginal.dtype)
    return jnp.where(same, diagonal, joint)


def _push_down(
    grammar: Grammar, level: int, joint: Float[Array, "nodes nodes vocab vocab"]
) -> Float[Array, "children children vocab vocab"]:
    """From the pairs of nodes of one level to those of the next."""
    branching, vocab_size = grammar.branching, grammar.vocab_size
    num_nodes = len(joint)
    step = jnp.exp(child_transitions(grammar, level))
    apart = jnp.einsum("ijab,sac,tbd->isjtcd", joint, step, step, precision=HIGHEST)
    marginal = jnp.einsum("iiaa->ia", joint)
    pairs = _sibling_pairs(grammar, level)
    siblings = jnp.einsum("ia,astcd->istcd", marginal, pairs, precision=HIGHEST)
    nodes = np.arange(num_nodes)
    apart = apart.at[nodes, :, nodes].set(siblings)
    size = num_nodes * branching
    return apart.reshape(size, size, vocab_size, vocab_size)


def _sibling_pairs(
    grammar: Grammar, level: int
) -> Float[Array, "vocab branching branching vocab vocab"]:
    """P(child s = c, child t = d | parent = a), the symbol with itself where s = t."""
    table = grammar.table_index(level)
    children = grammar.rules.children[table]
    weights = jnp.exp(grammar.log_weights[table])
    is_symbol = (children[..., None] == np.arange(grammar.vocab_size)).astype(np.float32)
    return jnp.einsum("ar,arsc,artd->astcd", weights, is_symbol, is_symbol, precision=HIGHEST)


@jax.jit
def rule_entropy(grammar: Grammar) -> Float[Array, " depth"]:
    """Expected entropy, in nats, of all rule choices made at the nodes of each level.

    The same at every filter level, for the levels from it on.

    Example:
        >>> [round(float(nats), 4) for nats in hm.grammar.rule_entropy(grammar)]
        [0.5091, 0.9446]
    """
    marginals = symbol_log_marginals(grammar)
    entropies = []
    for level in range(grammar.depth):
        choices = _entropy(grammar.log_weights[grammar.table_index(level)])
        expected = jnp.exp(marginals[level]).sum(0)  # how often each symbol occurs at this level
        entropies.append((expected * choices).sum())
    return jnp.stack(entropies)


def tree_entropy(grammar: Grammar, *, filter_level: int = 0) -> Float[Array, ""]:
    """Entropy of a whole tree in nats: of the root and of every choice below it.

    In a filtered model, whose trees lack levels 1…k − 1, the choices are the nodes of level k given
    the root and the rules from there on.

    Args:
        grammar: the model.
        filter_level: k in 0…depth.

    Raises:
        ValueError: for a filter level out of range.

    Example:
        >>> round(float(hm.grammar.tree_entropy(grammar)), 4)
        2.1469
    """
    filter_level = check_integer("filter_level", filter_level, 0, grammar.depth)
    return _entropy(grammar.root_log_probs) + _entropy_given_root(grammar, filter_level)


def tree_divergence(grammar: Grammar, other: Grammar) -> Float[Array, ""]:
    """KL(law of trees of ``grammar`` ‖ that of ``other``) in nats, exactly; +inf where it is.

    By the chain rule: that of the roots, and at every node the expected one of its rule. Of
    unambiguous grammars it is the divergence of their sequences, of others an upper bound of it.

    Args:
        grammar: gives the trees.
        other: the same rules with other weights.

    Raises:
        ValueError: if the two have other rules or depths.

    Example:
        >>> uniform = hm.Grammar.from_rules(children, depth=2)
        >>> round(float(hm.grammar.tree_divergence(grammar, uniform)), 4)
        0.6257
    """
    same = (grammar.rules.shape, grammar.depth) == (other.rules.shape, other.depth)
    if is_concrete(grammar.rules, other.rules):
        same = same and grammar.rules == other.rules
    if not same:
        raise InputError(f"other={other!r} is not allowed: it must have the rules of {grammar!r}")
    total = _divergence(grammar.root_log_probs, other.root_log_probs)
    for level, marginal in enumerate(symbol_log_marginals(grammar)[:-1]):
        table = grammar.table_index(level)
        choices = _divergence(grammar.log_weights[table], other.log_weights[table])
        expected = jnp.exp(marginal).sum(0)  # a parent that never occurs adds nothing, even of inf
        total = total + jnp.where(expected > 0, expected * choices, 0).sum()
    return total


def _divergence(
    log_probs: Float[Array, "*batch choices"], other: Float[Array, "*batch choices"]
) -> Float[Array, "*batch"]:
    """Σ p (log p − log q) over the last axis, with 0 log 0 = 0."""
    possible = log_probs > -jnp.inf
    difference = jnp.where(possible, log_probs, 0) - jnp.where(possible, other, 0)
    return (jnp.exp(log_probs) * difference).sum(-1)


def leaf_entropy(grammar: Grammar) -> Float[Array, ""]:
    """Entropy of the leaf sequence in nats, exactly, of an unambiguous grammar.

    Its leaves determine the tree, so this is the tree's: by recursion down the levels,
    H(root) + Σ expected entropy of every rule choice. The weights must be known, not traced.

    Raises:
        ValueError: for an ambiguous grammar; :func:`leaf_entropy_bounds` bounds its entropy, and
            ``hiermodel.measures.estimate_leaf_entropy`` estimates it.

    Example:
        >>> round(float(hm.grammar.leaf_entropy(grammar)), 4)
        2.1469
    """
    if not is_unambiguous(grammar):
        raise InputError(
            f"grammar={grammar!r} is not allowed: it must be unambiguous; use leaf_entropy_bounds "
            "or hiermodel.measures.estimate_leaf_entropy"
        )
    return tree_entropy(grammar)


class EntropyBounds(NamedTuple):
    """What an entropy, in nats, is at least and at most."""

    lower: Float[Array, ""]
    upper: Float[Array, ""]


def leaf_entropy_bounds(grammar: Grammar, *, filter_level: int = 0) -> EntropyBounds:
    """Exact bounds of the entropy of the leaf sequence, of any grammar or filtered model.

    Let level j be the first from which on no tuple of children has two rules. The leaves determine
    the nodes of level j, so H(leaves) = H(nodes of j) + Σ rule entropies from j on, and
    H(nodes of j) ≥ H(nodes of j | level above). From above, H(leaves) is at most the entropy of the
    tree and at most the sum of the symbols' entropies. For an unambiguous grammar at filter level 0
    both bounds are the entropy; for its filtered models they differ by at most H(root). The weights
    must be known, not traced.

    Args:
        grammar: the model; the rules of a parent are distinct.
        filter_level: k in 0…depth.

    Raises:
        ValueError: for a filter level out of range.

    Example:
        >>> bounds = hm.grammar.leaf_entropy_bounds(grammar)
        >>> bool(bounds.lower <= bounds.upper)
        True
    """
    filter_level = check_integer("filter_level", filter_level, 0, grammar.depth)
    whole = tree_entropy(grammar, filter_level=filter_level)
    symbols = _entropy(symbol_log_marginals(grammar)[-1]).sum()
    first = first_determined_level(grammar)
    if first > filter_level:
        lower = rule_entropy(grammar)[first - 1 :].sum()
    elif filter_level > 0:
        lower = _entropy_given_root(grammar, filter_level)
    else:
        lower = whole
    return EntropyBounds(lower, jnp.minimum(whole, symbols))


@functools.partial(jax.jit, static_argnames="filter_level")
def _entropy_given_root(grammar: Grammar, filter_level: int) -> Float[Array, ""]:
    """Entropy of the whole tree given its root."""
    below = rule_entropy(grammar)[filter_level:].sum()
    if filter_level == 0:
        return below
    nodes = _entropy(root_transitions(grammar, filter_level)).sum(0)  # by root symbol
    return below + (jnp.exp(grammar.root_log_probs) * nodes).sum()


@jax.jit
def _entropy(log_probs: Float[Array, "*batch choices"]) -> Float[Array, "*batch"]:
    """−Σ p log p over the last axis, with 0 log 0 = 0."""
    return -(jnp.exp(log_probs) * jnp.where(log_probs > -jnp.inf, log_probs, 0)).sum(-1)
