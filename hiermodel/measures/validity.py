"""Whether generated sequences could come from the grammar, level by level (science.md#measures)."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from hiermodel.checks import check_symbols, check_trailing_shape
from hiermodel.grammar.rules import Grammar
from hiermodel.inference.belief_propagation import observe
from hiermodel.inference.messages import pass_up
from hiermodel.log_space import log_sum_exp


class Validity(NamedTuple):
    """How much of each sequence the grammar can produce.

    Attributes:
        by_level: (..., depth + 1) fraction of the nodes of each level 0…depth that are derivable.
        log_prob: (...) natural-log probability of the sequence; −inf if it cannot be produced.
    """

    by_level: Float[Array, "... levels"]
    log_prob: Float[Array, "..."]


def level_validity(grammar: Grammar, leaves: Int[Array | np.ndarray, "..."]) -> Validity:
    """Fraction of derivable nodes per level, and the exact log-probability.

    A node is derivable if the leaves below it have positive probability under some symbol at it;
    the root, which is the whole sequence, if some such symbol also has positive prior. Leaves
    always are.

    Args:
        grammar: the model of the data.
        leaves: (..., num_leaves) symbols.

    Returns:
        Validity per sequence, in the grammar's dtype.

    Raises:
        ValueError: for a wrong length or a symbol out of range.

    Example:
        >>> hm.measures.level_validity(grammar, leaves).by_level.shape
        (8, 3)
    """
    check_trailing_shape("leaves", leaves, (grammar.num_leaves,), "(num_leaves,)")
    check_symbols("leaves", leaves, grammar.vocab_size)
    return _level_validity(grammar, jnp.asarray(leaves))


@jax.jit
def _level_validity(grammar: Grammar, leaves: Int[Array, "... leaves"]) -> Validity:
    messages = pass_up(grammar, observe(grammar, leaves), 0)
    levels = [message for message in messages.by_level if message is not None]
    levels[0] = levels[0] + grammar.root_log_probs.astype(levels[0].dtype)
    log_prob = messages.log_scale + log_sum_exp(levels[0][..., 0, :], -1)
    # Messages are exact about zero: −inf where, and only where, no rule fits.
    derivable = [(message > -jnp.inf).any(-1) for message in levels]
    by_level = jnp.stack([nodes.mean(-1, dtype=log_prob.dtype) for nodes in derivable], -1)
    return Validity(by_level, log_prob)
