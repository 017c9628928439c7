"""Laws of single nodes in float64 NumPy: exact numbers of one grammar without compiling anything.

What :mod:`hiermodel.grammar.paths` has for compiled programs, here for statistics on the host.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Array, Float

from hiermodel.grammar.rules import Grammar


class HostPaths(NamedTuple):
    """What joint laws of nodes are made of.

    Attributes:
        marginals: per level 0…depth, (nodes, vocab_size) probabilities of the symbols.
        steps: per level 0…depth − 1, (branching, vocab_size, vocab_size) P(child | parent), as
            [position, parent, child].
    """

    marginals: list[np.ndarray]
    steps: list[np.ndarray]

    @classmethod
    def of(cls, grammar: Grammar) -> "HostPaths":
        """Those of a grammar, whose weights must be known, not traced."""
        marginals, steps = [host_probs(grammar.root_log_probs)[None]], []
        vocab_size, branching = grammar.vocab_size, grammar.branching
        for level in range(grammar.depth):
            table = grammar.table_index(level)
            children, weights = (
                grammar.rules.children[table],
                host_probs(grammar.log_weights[table]),
            )
            parents = np.broadcast_to(np.arange(vocab_size)[:, None], weights.shape)
            step = np.zeros((branching, vocab_size, vocab_size))
            for position in range(branching):
                np.add.at(step[position], (parents, children[..., position]), weights)
            steps.append(step)
            below = np.einsum("na,sab->nsb", marginals[-1], step)
            marginals.append(below.reshape(-1, vocab_size))
        return cls(marginals, steps)


def host_probs(log_probs: Array) -> Float[np.ndarray, "..."]:
    """Probabilities in float64 that sum to exactly one over the last axis."""
    probs = np.exp(np.asarray(log_probs, np.float64))
    return probs / probs.sum(-1, keepdims=True)
