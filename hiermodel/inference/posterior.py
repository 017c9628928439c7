"""Trees given evidence at their leaves: posterior samples, and the most probable one."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key

from hiermodel.checks import check_integer, check_key
from hiermodel.grammar.rules import Grammar
from hiermodel.inference.belief_propagation import check_evidence
from hiermodel.inference.messages import pass_up, rule_scores
from hiermodel.randomness import sample_keys

Tree = tuple[Int[Array, "... nodes"], ...]
"""Symbols per level 0…depth."""


def sample_posterior(
    key: Key[Array, ""],
    grammar: Grammar,
    leaf_evidence: Float[Array | np.ndarray, "... leaves vocab"],
    num_samples: int,
) -> Tree:
    """Draw whole trees from their exact posterior: upward messages, then rules from the root down.

    Args:
        key: one typed key; asking for more samples leaves the first ones as they were.
        grammar: the model.
        leaf_evidence: (..., num_leaves, vocab_size) log-field, as in run_bp.
        num_samples: trees per evidence.

    Returns:
        Per level 0…depth, int32 (num_samples, ..., branching**level). Where the evidence is
        impossible, no tree is: all its symbols are −1.

    Raises:
        ValueError: as run_bp, and for a wrong key or a negative number.
    """
    check_key(key)
    evidence = check_evidence(grammar, leaf_evidence)
    num_samples = check_integer("num_samples", num_samples, 0)
    return _sample_posterior(key, grammar, evidence, num_samples)


def most_probable_tree(
    grammar: Grammar, leaf_evidence: Float[Array | np.ndarray, "... leaves vocab"]
) -> tuple[Tree, Float[Array, "..."]]:
    """The tree that maximises P(tree) · exp(field at its leaves), by a max in place of each sum.

    Ties go to the symbol, and then the rule, that comes first in the grammar's lists.

    Args:
        grammar: the model.
        leaf_evidence: (..., num_leaves, vocab_size) log-field, as in run_bp.

    Returns:
        The tree, per level int32 (..., branching**level), and the natural log of what it
        maximises, (...). Impossible evidence gives −inf and symbols −1.

    Raises:
        ValueError: as run_bp.
    """
    return _most_probable_tree(grammar, check_evidence(grammar, leaf_evidence))


@functools.partial(jax.jit, static_argnames="num_samples")
def _sample_posterior(
    key: Key[Array, ""],
    grammar: Grammar,
    leaf_evidence: Float[Array, "... leaves vocab"],
    num_samples: int,
) -> Tree:
    messages = pass_up(grammar, leaf_evidence, 0).by_level

    def one_tree(sample_key: Key[Array, ""]) -> Tree:
        def choose(level: int, log_weights: Float[Array, "... choices"]) -> Int[Array, "..."]:
            level_key = jax.random.fold_in(sample_key, level)
            return _sample_choice(level_key, log_weights)

        return _choose_down(grammar, messages, choose)

    return jax.vmap(one_tree)(sample_keys(key, num_samples))


@jax.jit
def _most_probable_tree(
    grammar: Grammar, leaf_evidence: Float[Array, "... leaves vocab"]
) -> tuple[Tree, Float[Array, "..."]]:
    messages = [leaf_evidence]
    for level in reversed(range(grammar.depth)):
        messages.insert(0, rule_scores(grammar, level, messages[0]).max(-1))
    root = grammar.root_log_probs.astype(leaf_evidence.dtype) + messages[0][..., 0, :]

    def choose(_: int, log_weights: Float[Array, "... choices"]) -> Int[Array, "..."]:
        return log_weights.argmax(-1).astype(jnp.int32)

    return _choose_down(grammar, messages, choose), root.max(-1)


def _choose_down(grammar: Grammar, messages, choose) -> Tree:
    """Choose the root, then a rule for every node, from what the messages say lies below."""
    root = grammar.root_log_probs.astype(messages[0].dtype) + messages[0]
    possible = (root > -jnp.inf).any(-1)  # (..., 1)
    symbols = choose(0, root)
    tree = [symbols]
    for level in range(grammar.depth):
        scores = rule_scores(grammar, level, messages[level + 1])
        own = jnp.take_along_axis(scores, symbols[..., None, None], axis=-2)[..., 0, :]
        rule = choose(level + 1, own)
        children = jnp.asarray(grammar.rules.children[grammar.table_index(level)])
        symbols = children[symbols, rule].reshape(*symbols.shape[:-1], -1)
        tree.append(symbols)
    return tuple(jnp.where(possible, level, -1) for level in tree)


def _sample_choice(
    key: Key[Array, ""], log_weights: Float[Array, "... choices"]
) -> Int[Array, "..."]:
    """Sample an index in proportion to exp(log_weights), never one of weight −inf if avoidable."""
    return jax.random.categorical(key, log_weights, axis=-1).astype(jnp.int32)
