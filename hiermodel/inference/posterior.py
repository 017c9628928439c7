"""Trees given evidence at their leaves: posterior samples, and the most probable one."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key

from hiermodel.checks import check_integer, check_key
from hiermodel.grammar.rules import Grammar
from hiermodel.grammar.sampling import choose, cumulative
from hiermodel.inference.belief_propagation import check_evidence, log_messages
from hiermodel.inference.messages import root_scores, rule_scores
from hiermodel.log_space import log_sum_exp, subtract
from hiermodel.random_bits import row_key, symmetric_uniform
from hiermodel.randomness import sample_keys

Tree = tuple[Int[Array, "... nodes"] | None, ...]
"""Symbols per level 0…depth; None for the levels that a filtered model does not have."""


def sample_posterior(
    key: Key[Array, ""],
    grammar: Grammar,
    leaf_evidence: Float[Array | np.ndarray, "... leaves vocab"],
    num_samples: int,
    *,
    filter_level: int = 0,
) -> Tree:
    """Draw whole trees from their exact posterior: upward messages, then rules from the root down.

    Args:
        key: one typed key; asking for more samples leaves the first ones as they were.
        grammar: the model.
        leaf_evidence: (..., num_leaves, vocab_size) log-field, as in run_bp.
        num_samples: trees per evidence.
        filter_level: as in run_bp.

    Returns:
        Per level 0…depth, int32 (num_samples, ..., branching**level); None for the levels that the
        filtered model does not have. Where the evidence is
        impossible, no tree is: all its symbols are −1.

    Raises:
        ValueError: as run_bp, and for a wrong key or a negative number.

    Example:
        >>> [level.shape for level in hm.sample_posterior(key, grammar, field, 10)]
        [(10, 1), (10, 2), (10, 4)]
    """
    check_key(key)
    filter_level = check_integer("filter_level", filter_level, 0, grammar.depth)
    leaf_evidence = check_evidence(grammar, leaf_evidence)
    num_samples = check_integer("num_samples", num_samples, 0)
    return _sample_posterior(key, grammar, leaf_evidence, num_samples, filter_level)


def draw_leaves(
    keys: Key[Array, " rows"],
    grammar: Grammar,
    leaf_evidence: Float[Array, "rows leaves vocab"],
    filter_level: int,
) -> Int[Array, "rows leaves"]:
    """The leaves of one posterior tree per row, each row from its own key.

    Where the evidence is impossible they are drawn without evidence, as run_bp's marginals are.
    """
    messages = log_messages(grammar, leaf_evidence, filter_level)
    root = messages[0]
    assert root is not None  # there is a root at every filter level
    possible = (grammar.root_log_probs + root > -jnp.inf).any((-2, -1))[:, None, None]
    usable = tuple(None if each is None else jnp.where(possible, each, 0) for each in messages)

    def draw(key: Key[Array, ""], messages) -> Int[Array, " leaves"]:
        leaves = _draw_tree(key, grammar, messages, filter_level)[-1]
        assert leaves is not None  # the leaves exist at every filter level
        return leaves

    return jax.vmap(draw)(keys, usable)


def most_probable_tree(
    grammar: Grammar,
    leaf_evidence: Float[Array | np.ndarray, "... leaves vocab"],
    *,
    filter_level: int = 0,
) -> tuple[Tree, Float[Array, "..."]]:
    """The tree that maximises P(tree) · exp(field at its leaves), by a max in place of each sum.

    Ties go to the symbol, and then the rule, that comes first in the grammar's lists. The trees of
    a filtered model lack levels 1…k − 1: these are summed over, as part of the model.

    Args:
        grammar: the model.
        leaf_evidence: (..., num_leaves, vocab_size) log-field, as in run_bp.
        filter_level: as in run_bp.

    Returns:
        The tree, per level int32 (..., branching**level) or None, and the natural log of what it
        maximises, (...). Impossible evidence gives −inf and symbols −1.

    Raises:
        ValueError: as run_bp.

    Example:
        >>> tree, log_probability = hm.most_probable_tree(grammar, field)
        >>> [level.tolist() for level in tree], round(float(np.exp(log_probability)), 4)
        ([[0], [0, 1], [0, 1, 0, 0]], 0.2025)
    """
    filter_level = check_integer("filter_level", filter_level, 0, grammar.depth)
    return _most_probable_tree(grammar, check_evidence(grammar, leaf_evidence), filter_level)


@functools.partial(jax.jit, static_argnames=("num_samples", "filter_level"))
def _sample_posterior(
    key: Key[Array, ""],
    grammar: Grammar,
    leaf_evidence: Float[Array, "... leaves vocab"],
    num_samples: int,
    filter_level: int,
) -> Tree:
    messages = log_messages(grammar, leaf_evidence, filter_level)
    keys = sample_keys(key, num_samples)
    return jax.vmap(lambda one: _draw_tree(one, grammar, messages, filter_level))(keys)


def _draw_tree(key: Key[Array, ""], grammar: Grammar, messages, filter_level: int) -> Tree:
    def draw(level: int, log_weights: Float[Array, "... choices"]) -> Int[Array, "..."]:
        return _sample_choice(jax.random.fold_in(key, level), log_weights)

    return _choose_down(grammar, messages, draw, filter_level)


@functools.partial(jax.jit, static_argnames="filter_level")
def _most_probable_tree(
    grammar: Grammar, leaf_evidence: Float[Array, "... leaves vocab"], filter_level: int
) -> tuple[Tree, Float[Array, "..."]]:
    messages = [leaf_evidence]
    for level in reversed(range(filter_level, grammar.depth)):
        messages.insert(0, rule_scores(grammar, level, messages[0]).max(-1))
    if filter_level > 0:
        given_root = root_scores(grammar, filter_level, messages[0]).max(-1)
        messages = [given_root.sum(-2, keepdims=True), *[None] * (filter_level - 1), *messages]
    root = grammar.root_log_probs.astype(leaf_evidence.dtype) + messages[0][..., 0, :]

    def take_best(_: int, log_weights: Float[Array, "... choices"]) -> Int[Array, "..."]:
        return log_weights.argmax(-1).astype(jnp.int32)

    return _choose_down(grammar, messages, take_best, filter_level), root.max(-1)


def _choose_down(grammar: Grammar, messages, pick, filter_level: int) -> Tree:
    """Choose the root, then a rule for every node, from what the messages say lies below.

    With a filter level, the symbols of its nodes are chosen given the root, then the rules below.
    """
    root = grammar.root_log_probs.astype(messages[0].dtype) + messages[0]
    possible = (root > -jnp.inf).any(-1)  # (..., 1)
    symbols = pick(0, root)
    tree: list[Array | None] = [symbols]
    if filter_level > 0:
        scores = root_scores(grammar, filter_level, messages[filter_level])
        own = jnp.take_along_axis(scores, symbols[..., None, None], axis=-2)[..., 0, :]
        symbols = pick(filter_level, own)
        tree += [None] * (filter_level - 1) + [symbols]
    for level in range(filter_level, grammar.depth):
        children = jnp.asarray(grammar.rules.children)[grammar.table_index(level)][symbols]
        rule = pick(level + 1, _own_scores(grammar, level, messages[level + 1], symbols))
        symbols = jnp.take_along_axis(children, rule[..., None, None], -2)
        symbols = symbols.reshape(*rule.shape[:-1], grammar.branching ** (level + 1))
        tree.append(symbols)
    return tuple(None if level is None else jnp.where(possible, level, -1) for level in tree)


def _own_scores(
    grammar: Grammar,
    level: int,
    child_message: Float[Array, "... children vocab"],
    symbols: Int[Array, "... nodes"],
) -> Float[Array, "... nodes rules"]:
    """Scores of :func:`rule_scores` for the rules of each node's own symbol."""
    table = grammar.table_index(level)
    children = jnp.asarray(grammar.rules.children)[table][symbols]
    siblings = child_message.reshape(*symbols.shape, grammar.branching, grammar.vocab_size)
    scores = grammar.log_weights[table].astype(child_message.dtype)[symbols]
    for position in range(grammar.branching):
        below = siblings[..., position, :]
        scores = scores + jnp.take_along_axis(below, children[..., position], -1)
    return scores


def _sample_choice(
    key: Key[Array, ""], log_weights: Float[Array, "... nodes choices"]
) -> Int[Array, "... nodes"]:
    """Sample an index in proportion to exp(log_weights), never one of weight −inf if avoidable."""
    *batch, num_nodes, _ = log_weights.shape
    words = symmetric_uniform(row_key(key, math.prod(batch)), num_nodes)
    log_probs = subtract(log_weights, log_sum_exp(log_weights, -1)[..., None])
    return choose(cumulative(log_probs), (words.reshape(*batch, num_nodes) + 1) / 2)
