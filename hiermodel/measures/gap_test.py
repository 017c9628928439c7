"""Is the own–other gap more than chance? The permutation test of how a pool was split in two.

If samples do not depend on which sequences (or images) a network was trained on, it cannot matter
to them how the pool of both training sets was dealt out. So the observed gap is compared with what
other ways of dealing out would have given with the same samples. No oracle is needed, and nothing
is assumed of the networks: two that differ by their seeds alone give no false alarm.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Array, Float, Key, Num

from hiermodel.checks import check_integer, require
from hiermodel.measures.dependence import MAX_NUMBERS, deal
from hiermodel.measures.neighbours import Metric
from hiermodel.measures.several_neighbours import nearest_several
from hiermodel.measures.uncertainty import generator_from_key

NEIGHBOURS = 40
"""Neighbours looked at per sample: all are dealt to one half with a chance of 2^−39."""


class PermutedGap(NamedTuple):
    """Own–other gaps along training, averaged over samples and over both directions.

    Attributes:
        observed: (num_checkpoints,) with the training sets as they are.
        permuted: (num_permutations, num_checkpoints) with the pool dealt out at random, the same
            way for all checkpoints.
    """

    observed: Float[np.ndarray, " checkpoints"]
    permuted: Float[np.ndarray, "permutations checkpoints"]


def permuted_gap(
    key: Key[Array, ""],
    generated_a: Num[Array | np.ndarray, "..."],
    generated_b: Num[Array | np.ndarray, "..."],
    train_a: Num[Array | np.ndarray, "..."],
    train_b: Num[Array | np.ndarray, "..."],
    *,
    num_permutations: int = 2000,
    metric: Metric = "hamming",
) -> PermutedGap:
    """The own–other gap of two networks along training, for their training sets and permuted ones.

    Args:
        key: one typed key, for the permutations; the same for more checkpoints.
        generated_a: (num_checkpoints, n, ...) samples of the network trained on ``train_a``:
            (…, num_leaves) symbols, or images.
        generated_b: of the same shape, samples of the other network.
        train_a: (n_train, ...) one training set.
        train_b: the other, disjoint, of the same size.
        num_permutations: at least 1.
        metric: "hamming" for symbols, "euclidean" for images.

    Raises:
        ValueError: for shapes that do not fit or a number out of range.

    Example:
        >>> samples = leaves[None]
        >>> halves = leaves[:4], leaves[4:]
        >>> found = hm.permuted_gap(key, samples, samples, *halves, num_permutations=9)
        >>> found.observed.shape, found.permuted.shape
        ((1,), (9, 1))
    """
    num_permutations = check_integer("num_permutations", num_permutations, 1)
    shape = np.shape(generated_a)
    same = np.shape(generated_b) == shape
    require(same, "generated_b", np.shape(generated_b), f"of the shape of generated_a, {shape}")
    same = np.shape(train_a) == np.shape(train_b)
    require(same, "train_b", np.shape(train_b), f"of the shape of train_a, {np.shape(train_a)}")
    pool = np.concatenate([np.asarray(train_a), np.asarray(train_b)])
    in_a = deal(generator_from_key(key), len(train_a), num_permutations)
    gaps = [
        (_mean_lead(a, pool, in_a, metric) - _mean_lead(b, pool, in_a, metric)) / 2
        for a, b in zip(np.asarray(generated_a), np.asarray(generated_b), strict=True)
    ]
    both = np.stack(gaps, 1)
    return PermutedGap(both[0], both[1:])


def _mean_lead(
    samples: np.ndarray, pool: np.ndarray, in_a: np.ndarray, metric: Metric
) -> Float[np.ndarray, " permutations"]:
    """Mean over samples of distance to the half not in a − distance to the half in a."""
    nearest = nearest_several(samples, pool, min(NEIGHBOURS, len(pool)), metric=metric)
    distance, row = map(np.asarray, nearest)
    lead = np.empty(len(in_a))
    at_once = max(1, MAX_NUMBERS // len(row))
    for start in range(0, len(in_a), at_once):
        dealt = in_a[start : start + at_once]
        nearest = dealt[:, row[:, 0]]
        margin = np.zeros(nearest.shape, distance.dtype)
        # The nearest lies in one half; the first neighbour that does not is the other's nearest.
        way, sample = (index.ravel() for index in np.indices(nearest.shape, np.int32))
        for place in range(1, row.shape[1]):
            margin[way, sample] = distance[sample, place] - distance[sample, 0]
            same = dealt[way, row[sample, place]] == nearest[way, sample]
            way, sample = way[same], sample[same]
            if not len(way):
                break
        lead[start : start + at_once] = np.where(nearest, margin, -margin).mean(1)
    return lead
