"""Joint posteriors of a parent with its children, and the posterior entropy of the whole tree."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from hiermodel.checks import check_integer
from hiermodel.grammar.rules import Grammar
from hiermodel.inference import messages
from hiermodel.inference.belief_propagation import check_evidence
from hiermodel.log_space import log_sum_exp, subtract

Evidence = Float[Array | np.ndarray, "... leaves vocab"]


def family_log_marginals(
    grammar: Grammar, leaf_evidence: Evidence, *, filter_level: int = 0
) -> tuple[Float[Array, "... nodes vocab rules"] | None, ...]:
    """Log posterior probability of each node's symbol and rule, that is of it with its children.

    Entry [..., i, a, r] of level l is log P(node i has symbol a and children
    ``grammar.rules.children[l, a, r]`` | evidence); sums over rules give the node's marginal, sums
    over all rules with a child those of the child.

    Args:
        grammar: the model.
        leaf_evidence: (..., num_leaves, vocab_size) log-field, as in run_bp.
        filter_level: as in run_bp.

    Returns:
        Per level 0…depth − 1; None above the filter level, where there are no families.

    Raises:
        ValueError: as run_bp.

    Example:
        >>> [level.shape for level in hm.inference.family_log_marginals(grammar, field)]
        [(1, 2, 2), (2, 2, 2)]
    """
    filter_level = check_integer("filter_level", filter_level, 0, grammar.depth)
    evidence = check_evidence(grammar, leaf_evidence)
    return _family_log_marginals(grammar, evidence, filter_level)


def posterior_entropy(
    grammar: Grammar, leaf_evidence: Evidence, *, filter_level: int = 0
) -> Float[Array, "..."]:
    """Entropy, in nats, of the whole tree given the evidence.

    H(root) + Σ over nodes of H(rule | symbol of the node), by the chain rule down the tree. In a
    filtered model, whose trees lack levels 1…k − 1, H(node of level k | root) takes the place of
    the rules above. Without evidence this is the entropy of the model; it is 0 where the evidence
    fixes the tree.

    Args:
        grammar: the model.
        leaf_evidence: (..., num_leaves, vocab_size) log-field, as in run_bp.
        filter_level: as in run_bp.

    Raises:
        ValueError: as run_bp.

    Example:
        >>> unseen = hm.inference.posterior_entropy(grammar, field)
        >>> bool(np.isclose(unseen, hm.grammar.tree_entropy(grammar)))
        True
    """
    filter_level = check_integer("filter_level", filter_level, 0, grammar.depth)
    return _posterior_entropy(grammar, check_evidence(grammar, leaf_evidence), filter_level)


@functools.partial(jax.jit, static_argnames="filter_level")
def _family_log_marginals(
    grammar: Grammar, evidence: Float[Array, "... leaves vocab"], filter_level: int
) -> tuple[Float[Array, "... nodes vocab rules"] | None, ...]:
    upward = messages.pass_up(grammar, evidence, filter_level)
    usable = messages.ignore_impossible(upward, messages.evidence(grammar, upward))
    marginals = messages.pass_down(grammar, usable, filter_level)
    families: list[Array | None] = [None] * filter_level
    for level in range(filter_level, grammar.depth):
        marginal, below = marginals[level], usable.by_level[level + 1]
        assert marginal is not None  # from the filter level on all levels exist
        assert below is not None
        families.append(messages.rule_marginals(grammar, level, marginal, below))
    return tuple(families)


@functools.partial(jax.jit, static_argnames="filter_level")
def _posterior_entropy(
    grammar: Grammar, evidence: Float[Array, "... leaves vocab"], filter_level: int
) -> Float[Array, "..."]:
    upward = messages.pass_up(grammar, evidence, filter_level)
    usable = messages.ignore_impossible(upward, messages.evidence(grammar, upward))
    marginals = messages.pass_down(grammar, usable, filter_level)
    root = marginals[0]
    assert root is not None  # there is a root at every filter level
    entropy = _expectation(root, root).sum((-2, -1))
    if filter_level > 0:
        below = usable.by_level[filter_level]
        assert below is not None  # the filter level exists
        scores = messages.root_scores(grammar, filter_level, below)  # (..., nodes, root, vocab)
        entropy = entropy + _choice_entropy(root, scores)
    for level in range(filter_level, grammar.depth):
        marginal, below = marginals[level], usable.by_level[level + 1]
        assert marginal is not None  # from the filter level on all levels exist
        assert below is not None
        entropy = entropy + _choice_entropy(marginal, messages.rule_scores(grammar, level, below))
    return entropy


def _choice_entropy(
    chooser: Float[Array, "... #nodes vocab"], scores: Float[Array, "... nodes vocab choices"]
) -> Float[Array, "..."]:
    """Σ over nodes of the expected entropy of a choice, of these log-weights, given its chooser."""
    conditional = subtract(scores, log_sum_exp(scores, -1)[..., None])
    joint = chooser[..., None] + conditional
    return _expectation(joint, conditional).sum((-3, -2, -1))


def _expectation(log_probs: Array, log_values: Array) -> Array:
    """−p log v, with 0 where p is 0."""
    possible = log_probs > -jnp.inf
    return -jnp.where(possible, jnp.exp(log_probs) * jnp.where(possible, log_values, 0), 0)
