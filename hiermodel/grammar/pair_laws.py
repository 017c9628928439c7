"""Exact joint laws of two leaves, in float64 NumPy, and which leaves lie at a distance."""

import numpy as np
from jaxtyping import Float

from hiermodel.checks import check_integer
from hiermodel.grammar.paths_on_host import HostPaths, host_probs
from hiermodel.grammar.rules import Grammar

MOST_PAIRS = 64
"""Pairs of leaves looked at per distance; evenly spread over the sequence if there are more."""


def leaf_pairs_at(grammar: Grammar, distance: int) -> list[tuple[int, int]]:
    """At most ``MOST_PAIRS`` pairs of leaves at a distance, evenly spread, the first pair first."""
    distance = check_integer("distance", distance, 1, grammar.depth)
    branching = grammar.branching
    block, part = branching**distance, branching ** (distance - 1)
    num_blocks = grammar.num_leaves // block
    inside = [(a, b) for a in range(block) for b in range(a + 1, block) if a // part != b // part]
    total = num_blocks * len(inside)
    chosen = np.unique(np.linspace(0, total - 1, min(total, MOST_PAIRS)).astype(np.int64))
    starts, offsets = chosen // len(inside) * block, chosen % len(inside)
    return [
        (int(start + inside[offset][0]), int(start + inside[offset][1]))
        for start, offset in zip(starts, offsets, strict=True)
    ]


def pair_law(
    grammar: Grammar, paths: HostPaths, i: int, j: int
) -> Float[np.ndarray, "vocab vocab"]:
    """Exact joint law of the symbols of leaves i < j, by the path from their common ancestor."""
    branching, level = grammar.branching, grammar.depth - 1
    first, second = i // branching, j // branching
    while first != second:
        first, second, level = first // branching, second // branching, level - 1
    size = branching ** (grammar.depth - level - 1)  # leaves below each child of the ancestor
    left, right = i // size % branching, j // size % branching
    table = grammar.table_index(level)
    children = grammar.rules.children[table]
    weights = paths.marginals[level][first][:, None] * host_probs(grammar.log_weights[table])
    law = np.zeros((grammar.vocab_size,) * 2)
    np.add.at(law, (children[..., left], children[..., right]), weights)
    for below in range(level + 1, grammar.depth):
        size //= branching
        steps = paths.steps[below]
        law = steps[i // size % branching].T @ law @ steps[j // size % branching]
    return law
