"""Pair correlations of sequences by distance on the tree, from samples (science.md#measures)."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Array, Float, Int

from hiermodel.checks import check_integer, check_symbols, require

CHUNK = 16384


class PairCorrelations(NamedTuple):
    """Size of the pair correlations at each tree distance 1…depth.

    Two leaves are at distance d if their last common ancestor lies d levels above them.

    Attributes:
        frobenius: (depth,) root mean square, over the pairs at a distance, of the Frobenius norm of
            their covariance. A finite sample of n adds about (1 − Σ p²)² / n to its square.
        trace: (depth,) mean over those pairs of the trace of their covariance: how much more often
            two leaves agree than if they were independent. Its error averages out to O(1/n).
    """

    frobenius: Float[np.ndarray, " depth"]
    trace: Float[np.ndarray, " depth"]


def pair_correlations(
    sequences: Int[Array | np.ndarray, "..."], vocab_size: int, branching: int
) -> PairCorrelations:
    """Connected pair correlations of a set of sequences, by tree distance.

    Args:
        sequences: (n, num_leaves) symbols, num_leaves a power of ``branching``.
        vocab_size: q, at least 2.
        branching: s, at least 2.

    Raises:
        ValueError: as :func:`pair_covariance` and :func:`correlations_by_distance`.

    Example:
        >>> hm.measures.pair_correlations(leaves, 2, 2).frobenius.shape
        (2,)
    """
    return correlations_by_distance(pair_covariance(sequences, vocab_size), branching)


def pair_covariance(
    sequences: Int[Array | np.ndarray, "..."], vocab_size: int
) -> Float[np.ndarray, "leaves leaves vocab vocab"]:
    """C[i, j, a, b] = P(x_i = a, x_j = b) − P(x_i = a) P(x_j = b), from samples, in float64.

    Args:
        sequences: (n, num_leaves) symbols.
        vocab_size: q, at least 2.

    Raises:
        ValueError: for a wrong shape, no sequences, or a symbol out of range.
    """
    vocab_size = check_integer("vocab_size", vocab_size, 2)
    shape = np.shape(sequences)
    require(len(shape) == 2 and shape[0] > 0, "sequences", shape, "of shape (n, leaves), n > 0")
    check_symbols("sequences", sequences, vocab_size)
    rows, num_leaves = np.asarray(sequences), shape[1]
    joint = np.zeros((num_leaves * vocab_size,) * 2)
    for start in range(0, len(rows), CHUNK):
        part = rows[start : start + CHUNK, :, None] == np.arange(vocab_size)
        # Counts below 2**24 are exact in float32, and so are these sums.
        one_hot = part.reshape(len(part), -1).astype(np.float32)
        joint += one_hot.T @ one_hot
    joint /= len(rows)
    single = np.diagonal(joint)
    covariance = joint - single[:, None] * single[None, :]
    return covariance.reshape(num_leaves, vocab_size, num_leaves, vocab_size).transpose(0, 2, 1, 3)


def correlations_by_distance(
    covariance: Float[np.ndarray, "..."], branching: int
) -> PairCorrelations:
    """Reduce pair covariances, empirical or exact, to their size at each tree distance.

    Args:
        covariance: (num_leaves, num_leaves, vocab_size, vocab_size), num_leaves a power of
            ``branching``.
        branching: s, at least 2.

    Raises:
        ValueError: if the shape is not such.

    Example:
        >>> covariance = np.asarray(hm.grammar.leaf_pairs(grammar).covariance)
        >>> hm.measures.correlations_by_distance(covariance, 2).trace.shape
        (2,)
    """
    branching = check_integer("branching", branching, 2)
    shape = covariance.shape
    square = len(shape) == 4 and shape[0] == shape[1] and shape[2] == shape[3]
    require(square, "covariance", shape, "of shape (leaves, leaves, vocab, vocab)")
    depth = _depth(shape[0], branching)
    distance = tree_distance(branching, depth)
    squared = np.square(covariance).sum((-2, -1))
    traces = np.trace(covariance, axis1=-2, axis2=-1)
    pairs = [distance == d for d in range(1, depth + 1)]
    frobenius = np.sqrt([squared[at].mean() for at in pairs])
    return PairCorrelations(frobenius, np.array([traces[at].mean() for at in pairs]))


def tree_distance(branching: int, depth: int) -> Int[np.ndarray, "leaves leaves"]:
    """Levels from each pair of leaves up to their last common ancestor; 0 for a leaf and itself.

    Args:
        branching: s, at least 2.
        depth: L, at least 1.

    Raises:
        ValueError: if a number is out of range.
    """
    branching = check_integer("branching", branching, 2)
    depth = check_integer("depth", depth, 1)
    leaves = np.arange(branching**depth)
    ancestors = leaves // branching ** np.arange(depth)[:, None]
    return (ancestors[:, :, None] != ancestors[:, None, :]).sum(0)


def _depth(num_leaves: int, branching: int) -> int:
    """The L for which branching**L is num_leaves."""
    depth = 1
    while branching**depth < num_leaves:
        depth += 1
    allowed = f"a power of branching = {branching}"
    require(branching**depth == num_leaves, "num_leaves", num_leaves, allowed)
    return depth
