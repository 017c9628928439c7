"""What of the training set comes back, whole or in blocks (science.md#measures)."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Array, Bool, Float, Int

from hiermodel.checks import check_integer, check_symbols, check_trailing_shape, require
from hiermodel.measures.neighbours import nearest_neighbours
from hiermodel.measures.uncertainty import Interval, proportion_difference


def near_copies(
    generated: Int[Array | np.ndarray, "..."],
    train: Int[Array | np.ndarray, "..."],
    radii: Sequence[int] = (0, 1, 2),
) -> Bool[np.ndarray, "num_generated num_radii"]:
    """Which samples are within Hamming distance r of a training sequence; r = 0 is a copy.

    The mean over the first axis is the fraction reproduced. Compare it with that of fresh data and
    of the exact denoiser: a grammar of few sequences gives copies by chance.

    Args:
        generated: (n, num_leaves) symbols.
        train: (n_train, num_leaves) symbols.
        radii: distances r in 0…num_leaves.

    Raises:
        ValueError: as :func:`nearest_neighbours`, or for a radius out of range.

    Example:
        >>> hm.measures.near_copies(np.array([[0, 1]]), np.array([[0, 0]]), radii=(0, 1)).tolist()
        [[False, True]]
    """
    distances = np.asarray(nearest_neighbours(generated, train).distance)
    num_leaves = np.shape(train)[1]
    limits = [check_integer("radii", radius, 0, num_leaves) for radius in radii]
    return distances[:, None] <= np.asarray(limits, dtype=np.int64)


def excess_reproduction(
    generated: Int[Array | np.ndarray, "..."],
    baseline: Int[Array | np.ndarray, "..."],
    train: Int[Array | np.ndarray, "..."],
    radii: Sequence[int] = (0, 1, 2),
    *,
    level: float = 0.95,
) -> Interval:
    """How much more of the samples than of a baseline are near-copies, by radius.

    The baseline knows nothing of this training set: fresh data, or samples of the exact denoiser,
    which share what the sampler does with finitely many steps. The interval is for this training
    set, over samples (Newcombe's, which keeps its width where no copy was found at all).

    Args:
        generated: (n, num_leaves) symbols.
        baseline: (m, num_leaves) symbols.
        train: (n_train, num_leaves) symbols.
        radii: Hamming distances r in 0…num_leaves.
        level: nominal coverage.

    Returns:
        Interval with arrays of one entry per radius: fraction of samples − fraction of baseline.

    Raises:
        ValueError: as :func:`near_copies`.

    Example:
        >>> hm.measures.excess_reproduction(leaves, leaves, leaves[:4]).estimate.tolist()
        [0.0, 0.0, 0.0]
    """
    found, expected = (near_copies(rows, train, radii) for rows in (generated, baseline))
    return proportion_difference(
        found.sum(0), len(found), expected.sum(0), len(expected), level=level
    )


def copies_beyond_others(
    generated: Int[Array | np.ndarray, "..."],
    train: Int[Array | np.ndarray, "..."],
    others: Int[Array | np.ndarray, "..."],
    radii: Sequence[int] = (0, 1, 2),
    *,
    fresh: Int[Array | np.ndarray, "..."] | None = None,
) -> Float[np.ndarray, " radii"]:
    """How much more of the samples are near-copies of training sequences than of others, by radius.

    The others were drawn as the training sequences were, and are as good a guess for a model that
    depends on neither: its mean over training sets is zero, however well or badly the model knows
    the law. Against fresh data, a model that draws impossible sequences would seem not to copy.

    Args:
        generated: (n, num_leaves) symbols.
        train: (n_train, num_leaves) symbols.
        others: (m, num_leaves) symbols that were not trained on; the more, the less noise. They
            are taken in sets as large as the training set; if they are fewer, as many of ``train``.
        radii: Hamming distances r in 0…num_leaves.
        fresh: (k, num_leaves) many symbols drawn by the law. Training sequences may by chance be
            likelier than others: by what factor, is seen in these, and taken out.

    Returns:
        (num_radii,) fraction near the training set − mean of that over sets of others (· factor).

    Raises:
        ValueError: as :func:`near_copies`.
    """
    size = min(len(train), len(others))
    sets = [others[start : start + size] for start in range(0, len(others) - size + 1, size)]

    def shares(drawn: Array | np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        own, *beside = (near_copies(drawn, rows, radii).mean(0) for rows in (train[:size], *sets))
        return own, np.mean(beside, 0)

    own, beside = shares(generated)
    if fresh is None:
        return own - beside
    by_law, beside_by_law = shares(fresh)
    return own - beside * np.where(beside_by_law > 0, by_law / np.maximum(beside_by_law, 1e-300), 1)


def block_reproduction(
    generated: Int[Array | np.ndarray, "..."],
    own: Int[Array | np.ndarray, "..."],
    other: Int[Array | np.ndarray, "..."],
    branching: int,
    depth: int,
) -> Float[np.ndarray, "num_generated levels"]:
    """At which scale samples repeat their own training set more than another split's.

    Per sample and level l in 0…depth: of its s**l blocks of s**(depth − l) leaves, the fraction
    found at the same place in ``own`` minus the fraction found in ``other``. Level 0 is the whole
    sequence. Averaged over both directions of a pair of splits the mean is zero whenever generation
    does not depend on the split.

    Args:
        generated: (n, num_leaves) symbols.
        own: (n_train, num_leaves) training set of the model that generated.
        other: a training set of the same size, of another split.
        branching: s.
        depth: L; num_leaves is s**L.

    Raises:
        ValueError: as :func:`found_blocks`, or if the two sets differ in size.

    Example:
        >>> hm.measures.block_reproduction(leaves, leaves[:4], leaves[4:], 2, 2).shape
        (8, 3)
    """
    same = np.shape(own) == np.shape(other)
    require(same, "other", np.shape(other), f"of the shape of own, {np.shape(own)}")
    in_own = found_blocks(generated, own, branching, depth)
    return in_own - found_blocks(generated, other, branching, depth)


def found_blocks(
    generated: Int[Array | np.ndarray, "..."],
    train: Int[Array | np.ndarray, "..."],
    branching: int,
    depth: int,
) -> Float[np.ndarray, "num_generated levels"]:
    """Per sample and level, the fraction of its blocks found at the same place in ``train``.

    Args:
        generated: (n, num_leaves) symbols.
        train: (n_train, num_leaves) symbols.
        branching: s, at least 2.
        depth: L, at least 1; num_leaves is s**L.

    Raises:
        ValueError: for a wrong length, an empty training set, or symbols that are no symbols.
    """
    branching = check_integer("branching", branching, 2)
    depth = check_integer("depth", depth, 1)
    for argument, rows in (("generated", generated), ("train", train)):
        require(np.ndim(rows) == 2, argument, np.shape(rows), "of shape (number, num_leaves)")
        require(np.shape(rows)[0] > 0, argument, np.shape(rows), "of at least one row")
        check_trailing_shape(argument, rows, (branching**depth,), "(branching ** depth,)")
        check_symbols(argument, rows, np.iinfo(np.int32).max)
    symbols = np.concatenate([np.asarray(generated), np.asarray(train)])
    names: np.ndarray = np.unique(symbols, return_inverse=True)[1].reshape(symbols.shape)
    num_generated = len(generated)
    found = np.empty((num_generated, depth + 1))
    for level in range(depth, -1, -1):
        # At this point names[r, i] tells apart all blocks that sequences hold at node i.
        seen = np.zeros((names.max() + 1, names.shape[1]), dtype=bool)
        places = np.arange(names.shape[1])
        seen[names[num_generated:], places] = True
        found[:, level] = seen[names[:num_generated], places].mean(1)
        if level > 0:
            names = name_parents(names, branching)
    return found


def name_parents(names: Int[np.ndarray, "n nodes"], branching: int) -> np.ndarray:
    """Number the distinct tuples of children at every parent: (n, nodes // branching)."""
    siblings = names.reshape(len(names), -1, branching)
    parents = np.empty(siblings.shape[:2], dtype=np.int64)
    for place in range(parents.shape[1]):
        number = siblings[:, place, 0]
        for position in range(1, branching):
            # Renumbered after each child, a name stays below the number of rows: no overflow.
            child = siblings[:, place, position]
            pairs = number * (child.max() + 1) + child
            number = np.unique(pairs, return_inverse=True)[1].reshape(-1)
        parents[:, place] = number
    return parents
