"""How the law itself lies about a training set: the reference of the nearest-neighbour divergence.

A sample of fresh sequences leaves the rare bins empty, and then the clip of the divergence decides.
So the law is listed where it is small, and stands in a large sample elsewhere.
"""

import numpy as np
from jaxtyping import Array, Float, Int, Key

from hiermodel.checks import check_integer, check_key, require
from hiermodel.grammar.law import Law, enumerate_law
from hiermodel.grammar.rules import Grammar
from hiermodel.grammar.splits import draw_sequences
from hiermodel.grammar.support import tree_count
from hiermodel.measures.neighbours import distance_histogram, nearest_neighbours

MAX_LISTED = 1_000_000
"""Trees up to which a law is listed."""


def reference_law(
    key: Key[Array, ""], grammar: Grammar, *, filter_level: int = 0, num_fresh: int = 1_000_000
) -> Law:
    """All sequences with their probabilities, or many fresh ones where there are too many.

    Args:
        key: one typed key; unused where the law is listed.
        grammar: the law of the data.
        filter_level: filter level of the data.
        num_fresh: sequences drawn where the grammar has more than ``MAX_LISTED`` trees.

    Returns:
        Law: of drawn sequences, which repeat, each has the probability 1 / num_fresh.

    Raises:
        ValueError: for a wrong key, or a number out of range.

    Example:
        >>> hm.measures.reference_law(key, grammar).sequences.shape
        (16, 4)
    """
    check_key(key)
    num_fresh = check_integer("num_fresh", num_fresh, 1)
    if tree_count(grammar, filter_level=filter_level) <= MAX_LISTED:
        return enumerate_law(grammar, filter_level=filter_level, max_trees=MAX_LISTED)
    fresh = draw_sequences(key, grammar, num_fresh, filter_level=filter_level)
    return Law(fresh, np.full(num_fresh, 1 / num_fresh))


def law_histogram(
    law: Law, train: Int[Array | np.ndarray, "..."], *, num_bins: int = 20
) -> Float[np.ndarray, " bins"]:
    """Probability of each bin of the distance to the nearest training sequence.

    It depends on the training set alone, so once computed it serves all checkpoints.

    Args:
        law: from :func:`reference_law`.
        train: (n_train, num_leaves) training sequences.
        num_bins: bins on [0, num_leaves].

    Raises:
        ValueError: as ``nearest_neighbours``, or for an empty law.

    Example:
        >>> law = hm.measures.reference_law(key, grammar)
        >>> round(float(hm.measures.law_histogram(law, leaves, num_bins=4).sum()), 4)
        1.0
    """
    require(len(law.sequences) > 0, "law", law.sequences.shape, "of at least one sequence")
    num_leaves = np.shape(train)[-1]
    distances = np.asarray(nearest_neighbours(law.sequences, train).distance)
    by_distance = np.bincount(distances, law.probs, num_leaves + 1)
    bins = [
        distance_histogram(np.array([d]), num_leaves, num_bins=num_bins)
        for d in range(len(by_distance))
    ]
    return by_distance @ np.stack(bins)
