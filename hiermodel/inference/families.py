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
from hiermodel.log_space import log_sum_exp

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
    """
    filter_level = check_integer("filter_level", filter_level, 0, grammar.depth)
    evidence = check_evidence(grammar, leaf_evidence)
    return _family_log_marginals(grammar, evidence, filter_level)


def posterior_entropy(grammar: Grammar, leaf_evidence: Evidence) -> Float[Array, "..."]:
    """Entropy, in nats, of the whole tree given the evidence.

    H(root) + Σ over nodes of H(rule | symbol of the node), by the chain rule down the tree.
    Without evidence this is the entropy of the model; it is 0 where the evidence fixes the tree.

    Args:
        grammar: the model.
        leaf_evidence: (..., num_leaves, vocab_size) log-field, as in run_bp.

    Raises:
        ValueError: as run_bp.
    """
    return _posterior_entropy(grammar, check_evidence(grammar, leaf_evidence))


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


@jax.jit
def _posterior_entropy(
    grammar: Grammar, evidence: Float[Array, "... leaves vocab"]
) -> Float[Array, "..."]:
    families = _family_log_marginals(grammar, evidence, 0)
    entropy = jnp.zeros(evidence.shape[:-2], evidence.dtype)
    for level, family in enumerate(families):
        assert family is not None  # all levels exist at filter level 0
        node = log_sum_exp(family, -1)
        conditional = family - jnp.where(node > -jnp.inf, node, 0)[..., None]
        entropy = entropy + _expectation(family, conditional).sum((-3, -2, -1))
        if level == 0:
            entropy = entropy + _expectation(node, node).sum((-2, -1))
    return entropy


def _expectation(log_probs: Array, log_values: Array) -> Array:
    """−p log v, with 0 where p is 0."""
    possible = log_probs > -jnp.inf
    return -jnp.where(possible, jnp.exp(log_probs) * jnp.where(possible, log_values, 0), 0)
