"""Exact belief propagation: what the leaves of a tree say about every node (SPEC section 2).

Upward, a node's message is the log-probability of all evidence below it given its symbol; downward,
the posterior of the root is pushed through the posterior of each node's rule. Messages stay in log
space and are shifted to a maximum of 0 at every node, so strong evidence loses neither range nor
digits, and a forbidden rule is exactly −inf. No message is ever divided out.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from hiermodel.checks import (
    check_integer,
    check_symbols,
    check_trailing_shape,
    is_concrete,
)
from hiermodel.grammar.paths import root_transitions
from hiermodel.grammar.rules import Grammar, RuleTable
from hiermodel.log_space import log_sum_exp, split_peak, subtract


class Beliefs(NamedTuple):
    """What is known about a tree given evidence at its leaves.

    Attributes:
        log_evidence: (...) natural log of sum over trees of P(tree) · exp(field at its leaves).
        log_marginals: per level 0…depth, (..., branching**level, vocab_size) log posterior
            marginals of the nodes; None for the levels that a filtered model does not have.
    """

    log_evidence: Float[Array, "..."]
    log_marginals: tuple[Float[Array, "... nodes vocab"] | None, ...]


class Messages(NamedTuple):
    """Upward messages.

    Attributes:
        by_level: per level, (..., branching**level, vocab_size) log-likelihood of the evidence
            below each node given its symbol, less its maximum; None where filtered away.
        log_scale: (...) sum of all maxima taken out.
    """

    by_level: tuple[Float[Array, "... nodes vocab"] | None, ...]
    log_scale: Float[Array, "..."]


def run_bp(
    grammar: Grammar,
    leaf_evidence: Float[Array | np.ndarray, "... leaves vocab"],
    *,
    filter_level: int = 0,
) -> Beliefs:
    """Log-evidence and the marginals of every node, exactly.

    Args:
        grammar: the model.
        leaf_evidence: (..., num_leaves, vocab_size) log-field of each leaf and symbol: 0 and −inf
            for an observed symbol, all 0 for a hidden one, h_i(a) for a noisy one.
        filter_level: k; 0 is the full model, depth makes leaves independent given the root.

    Returns:
        Beliefs, in the dtype of ``leaf_evidence``. Where the evidence is impossible, log-evidence
        is −inf and the marginals are those of the model without evidence.

    Raises:
        ValueError: for a wrong shape, a filter level out of range, or evidence that is NaN or +inf.
    """
    filter_level = check_integer("filter_level", filter_level, 0, grammar.depth)
    return _run_bp(grammar, check_evidence(grammar, leaf_evidence), filter_level)


def log_prob(
    grammar: Grammar, leaves: Int[Array | np.ndarray, "... leaves"], *, filter_level: int = 0
) -> Float[Array, "..."]:
    """Natural-log probability of leaf sequences; −inf for those the grammar cannot produce.

    Args:
        grammar: the model; its dtype is the result's.
        leaves: (..., num_leaves) symbols.
        filter_level: as in :func:`run_bp`.

    Raises:
        ValueError: for a wrong length, a symbol out of range or a filter level out of range.
    """
    filter_level = check_integer("filter_level", filter_level, 0, grammar.depth)
    check_trailing_shape("leaves", leaves, (grammar.num_leaves,), "(num_leaves,)")
    check_symbols("leaves", leaves, grammar.vocab_size)
    return _log_prob(grammar, jnp.asarray(leaves), filter_level)


def observe(grammar: Grammar, leaves: Int[Array, "... leaves"]) -> Float[Array, "... leaves vocab"]:
    """Evidence that fixes every leaf to its symbol: 0 there, −inf elsewhere."""
    observed = leaves[..., None] == jnp.arange(grammar.vocab_size)
    return jnp.where(observed, 0.0, -jnp.inf).astype(grammar.log_weights.dtype)


def check_evidence(
    grammar: Grammar, leaf_evidence: Float[Array | np.ndarray, "... leaves vocab"]
) -> Float[Array, "... leaves vocab"]:
    """Return the evidence as an array, after checking its shape and, if known, its values."""
    shape = (grammar.num_leaves, grammar.vocab_size)
    check_trailing_shape("leaf_evidence", leaf_evidence, shape, "(num_leaves, vocab_size)")
    evidence = jnp.asarray(leaf_evidence)
    if not jnp.issubdtype(evidence.dtype, jnp.floating):
        raise ValueError(
            f"leaf_evidence has dtype {evidence.dtype}, which is not allowed: "
            "leaf_evidence must hold floating-point log-fields"
        )
    if is_concrete(evidence) and not bool(jnp.all(evidence < jnp.inf)):
        wrong = evidence[~(evidence < jnp.inf)][0]
        raise ValueError(
            f"leaf_evidence holds {wrong}, which is not allowed: a log-field must be finite or −inf"
        )
    return evidence


def pass_up(
    grammar: Grammar, leaf_evidence: Float[Array, "... leaves vocab"], filter_level: int
) -> Messages:
    """Messages from the leaves up to level ``filter_level`` (0 or 1: up to the root's children)."""
    depth = grammar.depth
    message, peak = split_peak(leaf_evidence)
    log_scale = peak.sum(-1)
    by_level: list[Array | None] = [None] * depth + [message]
    for level in reversed(range(filter_level, depth)):
        message, peak = split_peak(log_sum_exp(rule_scores(grammar, level, message), -1))
        log_scale = log_scale + peak.sum(-1)
        by_level[level] = message
    if filter_level > 0:
        given_root = root_scores(grammar, filter_level, message)
        per_node, peak = split_peak(log_sum_exp(given_root, -1))
        message, root_peak = split_peak(per_node.sum(-2, keepdims=True))
        log_scale = log_scale + peak.sum(-1) + root_peak.sum(-1)
        by_level[0] = message
    return Messages(tuple(by_level), log_scale)


def rule_scores(
    grammar: Grammar, level: int, child_message: Float[Array, "... children vocab"]
) -> Float[Array, "... nodes vocab rules"]:
    """Per node of ``level``, log of a rule's weight times the likelihood of all below it."""
    table = grammar.table_index(level)
    children = grammar.rules.children[table]
    *batch, _, vocab_size = child_message.shape
    siblings = child_message.reshape(*batch, -1, grammar.branching, vocab_size)
    scores = grammar.log_weights[table].astype(child_message.dtype)
    for position in range(grammar.branching):
        scores = scores + siblings[..., position, :][..., children[..., position]]
    return scores


def root_scores(
    grammar: Grammar, filter_level: int, message: Float[Array, "... nodes vocab"]
) -> Float[Array, "... nodes root vocab"]:
    """Per node of the filter level, log P(its symbol | root symbol) plus its message."""
    transitions = root_transitions(grammar, filter_level).astype(message.dtype)
    return transitions + message[..., None, :]


def pass_down(
    grammar: Grammar, messages: Messages, filter_level: int
) -> tuple[Float[Array, "... nodes vocab"] | None, ...]:
    """Log-marginals of every node, from the root down."""
    root_message = _present(messages, 0)
    root = grammar.root_log_probs.astype(root_message.dtype) + root_message
    marginal = subtract(root, log_sum_exp(root, -1)[..., None])
    by_level: list[Array | None] = [marginal]
    first = 0
    if filter_level > 0:
        scores = root_scores(grammar, filter_level, _present(messages, filter_level))
        joint = marginal[..., None] + subtract(scores, log_sum_exp(scores, -1)[..., None])
        marginal = log_sum_exp(joint, -2)
        by_level += [None] * (filter_level - 1) + [marginal]
        first = filter_level
    for level in range(first, grammar.depth):
        joint = rule_marginals(grammar, level, marginal, _present(messages, level + 1))
        marginal = _child_marginals(grammar, level, joint)
        by_level.append(marginal)
    return tuple(by_level)


def rule_marginals(
    grammar: Grammar,
    level: int,
    marginal: Float[Array, "... nodes vocab"],
    child_message: Float[Array, "... children vocab"],
) -> Float[Array, "... nodes vocab rules"]:
    """Log posterior probability that a node of ``level`` has symbol a and uses rule r."""
    scores = rule_scores(grammar, level, child_message)
    return marginal[..., None] + subtract(scores, log_sum_exp(scores, -1)[..., None])


def _child_marginals(
    grammar: Grammar, level: int, joint: Float[Array, "... nodes vocab rules"]
) -> Float[Array, "... children vocab"]:
    """Sum each child's symbol out of the posterior over its parent's rules."""
    users = _rules_with_child(grammar.rules, grammar.table_index(level))
    *batch, num_nodes, _, _ = joint.shape
    flat = joint.reshape(*batch, num_nodes, -1)
    nothing = jnp.full((*batch, num_nodes, 1), -jnp.inf, joint.dtype)
    flat = jnp.concatenate([flat, nothing], axis=-1)
    marginals = log_sum_exp(flat[..., users], -1)  # (..., nodes, position, symbol)
    return marginals.reshape(*batch, num_nodes * grammar.branching, grammar.vocab_size)


@functools.lru_cache(maxsize=128)
def _rules_with_child(rules: RuleTable, table: int) -> np.ndarray:
    """Indices (branching, vocab_size, most) of the flattened rules in which a child has a symbol.

    Shorter lists are padded with the index one past the last rule.
    """
    children = rules.children[table]
    vocab_size = len(children)
    flat = children.reshape(-1, children.shape[-1])
    lists = [
        [np.flatnonzero(flat[:, position] == symbol) for symbol in range(vocab_size)]
        for position in range(flat.shape[1])
    ]
    most = max(len(entry) for row in lists for entry in row)
    users = np.full((flat.shape[1], vocab_size, most), len(flat))
    for position, row in enumerate(lists):
        for symbol, entry in enumerate(row):
            users[position, symbol, : len(entry)] = entry
    return users


def _present(messages: Messages, level: int) -> Float[Array, "... nodes vocab"]:
    message = messages.by_level[level]
    assert message is not None  # filtered-away levels are never asked for
    return message


def _evidence(grammar: Grammar, messages: Messages) -> Float[Array, "..."]:
    root_message = _present(messages, 0)[..., 0, :]
    prior = grammar.root_log_probs.astype(root_message.dtype)
    return messages.log_scale + log_sum_exp(prior + root_message, -1)


def _ignore_impossible(messages: Messages, log_evidence: Float[Array, "..."]) -> Messages:
    """Replace the messages of impossible evidence by those of no evidence at all."""
    possible = (log_evidence > -jnp.inf)[..., None, None]
    by_level = (
        None if message is None else jnp.where(possible, message, 0)
        for message in messages.by_level
    )
    return Messages(tuple(by_level), messages.log_scale)


@functools.partial(jax.jit, static_argnames="filter_level")
def _run_bp(
    grammar: Grammar, leaf_evidence: Float[Array, "... leaves vocab"], filter_level: int
) -> Beliefs:
    messages = pass_up(grammar, leaf_evidence, filter_level)
    log_evidence = _evidence(grammar, messages)
    usable = _ignore_impossible(messages, log_evidence)
    return Beliefs(log_evidence, pass_down(grammar, usable, filter_level))


@functools.partial(jax.jit, static_argnames="filter_level")
def _log_prob(
    grammar: Grammar, leaves: Int[Array, "... leaves"], filter_level: int
) -> Float[Array, "..."]:
    messages = pass_up(grammar, observe(grammar, leaves), filter_level)
    return _evidence(grammar, messages)
