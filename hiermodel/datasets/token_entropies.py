"""Entropies of tokens given those to their left, in blocks, so that memory stays small."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from hiermodel.grammar.rules import Grammar
from hiermodel.inference.left_to_right import next_symbol_log_probs

BLOCK_ENTRIES = 1 << 22
"""Probabilities that are held at a time."""


def token_entropies(
    grammar: Grammar, sequences: Int[np.ndarray, "num leaves"]
) -> Float[np.ndarray, "num leaves"]:
    """H(x_i | x_1 … x_{i−1}) in nats, per sequence and leaf; in the grammar's dtype."""
    num, num_leaves = sequences.shape
    size = min(num, max(1, BLOCK_ENTRIES // (num_leaves * grammar.vocab_size)))
    entropies = np.empty((num, num_leaves), grammar.log_weights.dtype)
    for start in range(0, num, size):
        rows = sequences[start : start + size]
        # The last block is filled up, so that only one size is compiled.
        padded = np.pad(rows, ((0, size - len(rows)), (0, 0)), mode="edge")
        entropies[start : start + size] = np.asarray(_entropies(grammar, padded))[: len(rows)]
    return entropies


@jax.jit
def _entropies(
    grammar: Grammar, sequences: Int[Array, "rows leaves"]
) -> Float[Array, "rows leaves"]:
    log_probs = next_symbol_log_probs(grammar, sequences)
    possible = log_probs > -jnp.inf
    return -jnp.where(possible, jnp.exp(log_probs) * jnp.where(possible, log_probs, 0), 0).sum(-1)
