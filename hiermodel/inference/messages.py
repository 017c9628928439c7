"""Belief propagation in log space: right for every grammar, evidence and size.

Upward, a node's message is the log-probability of all evidence below it given its symbol; downward,
the posterior of the root is pushed through the posterior of each node's rule. Messages are shifted
to a maximum of 0 at every node, so strong evidence loses neither range nor digits, and a forbidden
rule is exactly −inf. No message is ever divided out.
"""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float

from hiermodel.grammar.paths import root_transitions
from hiermodel.grammar.rules import Grammar
from hiermodel.log_space import log_sum_by_child, log_sum_exp, split_peak, subtract

BLOCK = 4096
"""Leaves, over all sequences, that are best handled at a time on a CPU."""


class Messages(NamedTuple):
    """Upward messages.

    Attributes:
        by_level: per level, (..., branching**level, vocab_size) log-likelihood of the evidence
            below each node given its symbol, less its maximum; None where filtered away.
        log_scales: per level, (..., branching**level) what was taken out of each node's message:
            its maximum, and those of all nodes below it.
    """

    by_level: tuple[Float[Array, "... nodes vocab"] | None, ...]
    log_scales: tuple[Float[Array, "... nodes"] | None, ...]

    @property
    def log_scale(self) -> Float[Array, "..."]:
        """(...) the sum of all maxima taken out: the scale of the root."""
        root_scale = self.log_scales[0]
        assert root_scale is not None  # there is a root at every filter level
        return root_scale[..., 0]


def pass_up(
    grammar: Grammar, leaf_evidence: Float[Array, "... leaves vocab"], filter_level: int
) -> Messages:
    """Messages from the leaves up to level ``filter_level`` (0 or 1: up to the root's children)."""
    depth = grammar.depth
    message, scale = split_peak(leaf_evidence)
    by_level: list[Array | None] = [None] * depth + [message]
    log_scales: list[Array | None] = [None] * depth + [scale]
    for level in reversed(range(filter_level, depth)):
        message, peak = split_peak(log_sum_exp(rule_scores(grammar, level, message), -1))
        scale = peak + scale.reshape(*peak.shape, grammar.branching).sum(-1)
        by_level[level], log_scales[level] = message, scale
    if filter_level > 0:
        given_root = root_scores(grammar, filter_level, message)
        per_node, peak = split_peak(log_sum_exp(given_root, -1))
        message, root_peak = split_peak(per_node.sum(-2, keepdims=True))
        scale = root_peak + (peak + scale).sum(-1, keepdims=True)
        by_level[0], log_scales[0] = message, scale
    return Messages(tuple(by_level), tuple(log_scales))


def rule_scores(
    grammar: Grammar, level: int, child_message: Float[Array, "... children vocab"]
) -> Float[Array, "... nodes vocab rules"]:
    """Per node of ``level``, log of a rule's weight times the likelihood of all below it."""
    table = grammar.table_index(level)
    children = grammar.rules.children[table]
    *batch, num_children, vocab_size = child_message.shape
    num_nodes = num_children // grammar.branching
    siblings = child_message.reshape(*batch, num_nodes, grammar.branching, vocab_size)
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
        below = log_sum_by_child(joint, grammar.rules.children[grammar.table_index(level)])
        num_nodes = grammar.branching ** (level + 1)
        marginal = below.reshape(*below.shape[:-3], num_nodes, grammar.vocab_size)
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


def _present(messages: Messages, level: int) -> Float[Array, "... nodes vocab"]:
    message = messages.by_level[level]
    assert message is not None  # filtered-away levels are never asked for
    return message


def evidence(grammar: Grammar, messages: Messages) -> Float[Array, "..."]:
    """Log-evidence from the root's message and its prior."""
    root_message = _present(messages, 0)[..., 0, :]
    prior = grammar.root_log_probs.astype(root_message.dtype)
    return messages.log_scale + log_sum_exp(prior + root_message, -1)


def ignore_impossible(messages: Messages, log_evidence: Float[Array, "..."]) -> Messages:
    """Replace the messages of impossible evidence by those of no evidence at all."""
    possible = (log_evidence > -jnp.inf)[..., None, None]
    by_level = (
        None if message is None else jnp.where(possible, message, 0)
        for message in messages.by_level
    )
    return Messages(tuple(by_level), messages.log_scales)
