"""Messages on request: what the leaves below a node, and all the rest, say about its symbol.

The upward messages are those of belief propagation. Downward, a child hears from its parent and
from its siblings; a product over all siblings but one is taken from both ends, so that no message
is ever divided out and forbidden rules stay exactly −inf.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from hiermodel.checks import check_integer
from hiermodel.grammar.paths import root_transitions
from hiermodel.grammar.rules import Grammar
from hiermodel.inference import messages
from hiermodel.inference.belief_propagation import check_evidence
from hiermodel.log_space import log_sum_by_child, log_sum_exp, subtract

LevelMessages = tuple[Array | None, ...]
"""Per level 0…depth an array (..., branching**level, vocab_size), or None."""


class NodeMessages(NamedTuple):
    """Log-messages of every node, per level 0…depth; None for levels that a filtered model lacks.

    Let U(a) be the sum of weights of everything below a node, evidence included, given that the
    node has symbol a, and D(a) that of everything else, the root's prior included, so that
    Σ_a D(a) U(a) = Z at every node. (The root of a filtered model has the likelihood of all
    evidence given its symbol as U.) Then

        log U = upward + log_scale,
        log D = downward + log_evidence − log_scale,
        log-marginal = upward + downward.

    Attributes:
        upward: per level (..., branching**level, vocab_size) log U less its maximum over symbols.
        downward: of the same shapes, log D normalised so that its sum with ``upward`` is the log
            posterior marginal.
        log_scales: per level (..., branching**level) the maximum of log U.
        log_evidence: (...) log Z.
    """

    upward: LevelMessages
    downward: LevelMessages
    log_scales: tuple[Float[Array, "... nodes"] | None, ...]
    log_evidence: Float[Array, "..."]


def run_messages(
    grammar: Grammar,
    leaf_evidence: Float[Array | np.ndarray, "... leaves vocab"],
    *,
    filter_level: int = 0,
) -> NodeMessages:
    """Upward and downward messages of every node, exactly (README of this folder).

    Both are natural logs, −inf where, and only where, nothing possible is left. Rounding is
    relative to the size of a message: where strong evidence contradicts the grammar, a marginal is
    a small difference of large messages, and :func:`run_bp` keeps more of its digits.

    Args:
        grammar: the model.
        leaf_evidence: (..., num_leaves, vocab_size) log-field, as in run_bp.
        filter_level: as in run_bp.

    Returns:
        NodeMessages, in the dtype of ``leaf_evidence``. Where the evidence is impossible,
        log-evidence is −inf, the log-scales are 0 and the messages are those without evidence.

    Raises:
        ValueError: as run_bp.

    Example:
        >>> [level.shape for level in hm.run_messages(grammar, field).upward]
        [(1, 2), (2, 2), (4, 2)]
    """
    filter_level = check_integer("filter_level", filter_level, 0, grammar.depth)
    return _run_messages(grammar, check_evidence(grammar, leaf_evidence), filter_level)


@functools.partial(jax.jit, static_argnames="filter_level")
def _run_messages(
    grammar: Grammar, evidence: Float[Array, "... leaves vocab"], filter_level: int
) -> NodeMessages:
    found = messages.pass_up(grammar, evidence, filter_level)
    log_evidence = messages.evidence(grammar, found)
    upward = messages.ignore_impossible(found, log_evidence).by_level
    possible = (log_evidence > -jnp.inf)[..., None]
    log_scales = (
        None if scale is None else jnp.where(possible, scale, 0) for scale in found.log_scales
    )
    downward = _pass_down(grammar, upward, filter_level)
    return NodeMessages(upward, downward, tuple(log_scales), log_evidence)


def _pass_down(grammar: Grammar, upward: LevelMessages, filter_level: int) -> LevelMessages:
    """Normalised downward messages of every level, from the root on."""
    root = upward[0]
    assert root is not None  # there is a root at every filter level
    prior = jnp.broadcast_to(grammar.root_log_probs.astype(root.dtype), root.shape)
    by_level: list[Array | None] = [_normalise(prior, root)]
    if filter_level > 0:
        by_level += [None] * (filter_level - 1)
        by_level.append(_from_root(grammar, filter_level, by_level[0], upward[filter_level]))
    for level in range(filter_level, grammar.depth):
        by_level.append(_to_children(grammar, level, by_level[level], upward[level + 1]))
    return tuple(by_level)


def _from_root(
    grammar: Grammar, filter_level: int, root: Array | None, upward: Array | None
) -> Float[Array, "... nodes vocab"]:
    """Downward messages of the nodes of the filter level, independent given the root."""
    assert root is not None  # both levels exist
    assert upward is not None
    given_root = log_sum_exp(messages.root_scores(grammar, filter_level, upward), -1)
    others = root + _sum_of_others(given_root, -2)  # (..., nodes, root symbol)
    transitions = root_transitions(grammar, filter_level).astype(upward.dtype)
    return _normalise(log_sum_exp(others[..., None] + transitions, -2), upward)


def _to_children(
    grammar: Grammar, level: int, parents: Array | None, upward: Array | None
) -> Float[Array, "... children vocab"]:
    """Downward messages of the children of a level: over the parent's rules, without the child."""
    assert parents is not None  # both levels exist
    assert upward is not None
    table = grammar.table_index(level)
    children, branching = grammar.rules.children[table], grammar.branching
    siblings = upward.reshape(*parents.shape[:-1], branching, grammar.vocab_size)
    below = [
        siblings[..., position, :][..., children[..., position]] for position in range(branching)
    ]
    above = parents[..., None] + grammar.log_weights[table].astype(upward.dtype)
    scores = above[..., None] + _sum_of_others(jnp.stack(below, -1), -1)  # (…, symbol, rule, child)
    found = [
        log_sum_by_child(scores[..., position], children[..., position : position + 1])
        for position in range(branching)
    ]
    return _normalise(jnp.concatenate(found, -2).reshape(upward.shape), upward)


def _sum_of_others(values: Float[Array, "..."], axis: int) -> Float[Array, "..."]:
    """For each entry along the axis, the sum of all the others, with −inf as an entry allowed."""
    values = jnp.moveaxis(values, axis, 0)
    nothing = jnp.zeros_like(values[:1])
    before = jnp.concatenate([nothing, jnp.cumsum(values[:-1], 0)])
    after = jnp.concatenate([jnp.cumsum(values[:0:-1], 0)[::-1], nothing])
    return jnp.moveaxis(before + after, 0, axis)


def _normalise(
    downward: Float[Array, "... vocab"], upward: Float[Array, "... vocab"]
) -> Float[Array, "... vocab"]:
    """Shift a node's downward message so that its sum with the upward one is a log-probability."""
    return subtract(downward, log_sum_exp(downward + upward, -1)[..., None])
