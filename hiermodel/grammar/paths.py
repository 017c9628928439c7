"""How a symbol near the root shapes a single node below it: products of transition matrices."""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from hiermodel.grammar.rules import Grammar
from hiermodel.log_space import log_sum_exp


def root_transitions(grammar: Grammar, level: int) -> Float[Array, "nodes vocab vocab"]:
    """Log-probability of the symbol of each node of ``level`` given the root symbol.

    The product, along the node's path, of the single-child transition matrices
    (science.md#filter-levels). Entry [i, a, b] is log P(node i = b | root = a).
    """
    vocab_size = grammar.vocab_size
    identity = jnp.where(jnp.eye(vocab_size, dtype=bool), 0.0, -jnp.inf)
    paths = identity[None].astype(grammar.log_weights.dtype)
    for above in range(level):
        step = child_transitions(grammar, above)
        # (node, root, parent) and (position, parent, child), summed over the parent
        joint = paths[:, None, :, :, None] + step[None, :, None, :, :]
        paths = log_sum_exp(joint, -2).reshape(-1, vocab_size, vocab_size)
    return paths


def child_transitions(grammar: Grammar, level: int) -> Float[Array, "branching vocab vocab"]:
    """Log P(child at a position = b | parent at ``level`` = a), as [position, a, b]."""
    table = grammar.table_index(level)
    children = grammar.rules.children[table]
    log_weights = grammar.log_weights[table]
    is_child = children[..., None, :] == np.arange(grammar.vocab_size)[:, None]  # (a, r, b, j)
    weights = jnp.where(np.moveaxis(is_child, -1, 0), log_weights[..., None], -jnp.inf)
    return log_sum_exp(weights, -2)
