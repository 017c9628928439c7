"""What a prefix says about the next symbol: the exact autoregressive law (science.md#inference)."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from hiermodel.checks import check_symbols, check_trailing_shape
from hiermodel.grammar.rules import Grammar
from hiermodel.inference.belief_propagation import observe
from hiermodel.inference.blocks import block_size, in_blocks
from hiermodel.inference.messages import pass_up
from hiermodel.log_space import log_sum_by_child, log_sum_exp, subtract


def next_symbol_log_probs(
    grammar: Grammar, leaves: Int[Array | np.ndarray, "... leaves"]
) -> Float[Array, "... leaves vocab"]:
    """Log p(x_i | x_1 … x_{i−1}) of every symbol at every leaf i, given the leaves to its left.

    One upward and one downward pass serve all leaves. On its way down, a node's law knows what
    lies left of the node: its parent's law, and the upward messages of its elder siblings.

    Args:
        grammar: the model; its dtype is the result's.
        leaves: (..., num_leaves) symbols. The last one has no say.

    Returns:
        Natural logs that sum to one over symbols; all −inf where the leaves to the left cannot be
        produced. Those of the sequence's own symbols add up to :func:`log_prob`.

    Raises:
        ValueError: for a wrong length or a symbol out of range.

    Example:
        >>> hm.inference.next_symbol_log_probs(grammar, leaves).shape
        (8, 4, 2)
    """
    check_trailing_shape("leaves", leaves, (grammar.num_leaves,), "(num_leaves,)")
    check_symbols("leaves", leaves, grammar.vocab_size)
    return _next_symbol_log_probs(grammar, jnp.asarray(leaves))


@jax.jit
def _next_symbol_log_probs(
    grammar: Grammar, leaves: Int[Array, "... leaves"]
) -> Float[Array, "... leaves vocab"]:
    run = functools.partial(_run, grammar)
    return in_blocks(run, observe(grammar, leaves), block_size(grammar))


def _run(
    grammar: Grammar, evidence: Float[Array, "rows leaves vocab"]
) -> Float[Array, "rows leaves vocab"]:
    upward = pass_up(grammar, evidence, 0).by_level
    root = grammar.root_log_probs.astype(evidence.dtype)
    law = jnp.broadcast_to(root, (len(evidence), 1, len(root)))
    for level in range(grammar.depth):
        child_message = upward[level + 1]
        assert child_message is not None  # no level is filtered away
        law = _laws_of_children(grammar, level, law, child_message)
    return law


def _laws_of_children(
    grammar: Grammar,
    level: int,
    law: Float[Array, "rows nodes vocab"],
    child_message: Float[Array, "rows children vocab"],
) -> Float[Array, "rows children vocab"]:
    """Laws of the nodes below ``level`` given all leaves to the left of each."""
    table = grammar.table_index(level)
    children = grammar.rules.children[table]
    rows, num_nodes, vocab_size = law.shape
    siblings = child_message.reshape(rows, num_nodes, grammar.branching, vocab_size)
    joint = law[..., None] + grammar.log_weights[table].astype(law.dtype)
    laws = []
    for position in range(grammar.branching):
        own = children[..., position : position + 1]
        scores = log_sum_by_child(joint, own)[..., 0, :]
        laws.append(subtract(scores, log_sum_exp(scores, -1)[..., None]))
        joint = joint + siblings[..., position, :][..., children[..., position]]
    return jnp.stack(laws, -2).reshape(rows, num_nodes * grammar.branching, vocab_size)
