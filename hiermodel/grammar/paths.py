"""How a symbol near the root shapes a single node below it: vectors pushed down, level by level."""

import functools

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from hiermodel.grammar.rules import Grammar
from hiermodel.log_space import log_sum_by_child


def push_down(
    grammar: Grammar, level: int, log_probs: Float[Array, "*batch nodes vocab"]
) -> Float[Array, "*batch children vocab"]:
    """Laws of the children of ``level``, each by itself, from the laws of its nodes."""
    table = grammar.table_index(level)
    uses = log_probs[..., None] + grammar.log_weights[table]  # (…, nodes, symbol, rule)
    below = log_sum_by_child(uses, grammar.rules.children[table])
    return below.reshape(*log_probs.shape[:-2], -1, grammar.vocab_size)


@functools.partial(jax.jit, static_argnames="level")
def root_transitions(grammar: Grammar, level: int) -> Float[Array, "nodes vocab vocab"]:
    """Log-probability of the symbol of each node of ``level`` given the root symbol.

    The product, along the node's path, of the single-child transition matrices
    (science.md#filter-levels). Entry [i, a, b] is log P(node i = b | root = a).
    """
    identity = jnp.where(jnp.eye(grammar.vocab_size, dtype=bool), 0.0, -jnp.inf)
    paths = identity[:, None].astype(grammar.log_weights.dtype)  # (root, node, symbol)
    for above in range(level):
        paths = push_down(grammar, above, paths)
    return paths.swapaxes(0, 1)


def child_transitions(grammar: Grammar, level: int) -> Float[Array, "branching vocab vocab"]:
    """Log P(child at a position = b | parent at ``level`` = a), as [position, a, b]."""
    identity = jnp.where(jnp.eye(grammar.vocab_size, dtype=bool), 0.0, -jnp.inf)
    known = identity[:, None].astype(grammar.log_weights.dtype)
    return push_down(grammar, level, known).swapaxes(0, 1)
