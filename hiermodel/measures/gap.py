"""The own–other gap: how much nearer samples lie to their own training set than to another.

Source: science.md#measures.
"""

import numpy as np
from jaxtyping import Array, Float, Num

from hiermodel.checks import require
from hiermodel.measures.neighbours import Metric, is_hamming, nearest_images, nearest_neighbours


def own_other_gap(
    generated: Num[Array | np.ndarray, "..."],
    own: Num[Array | np.ndarray, "..."],
    other: Num[Array | np.ndarray, "..."],
    *,
    metric: Metric = "hamming",
) -> Num[np.ndarray, " num_generated"]:
    """Distance to the nearest of ``other`` minus distance to the nearest of ``own``, per sample.

    Positive where generation leans to its own training set. Averaged over both directions of a
    pair of splits (see :func:`two_way_gap`) its mean is zero whenever generation does not depend on
    the split (science.md#measures).

    Args:
        generated: (n, num_leaves) symbols, or (n, ...) images.
        own: training set of the model that generated.
        other: training set, of the same size, of another split.
        metric: "hamming" for symbols, "euclidean" for images.

    Raises:
        ValueError: as :func:`nearest_neighbours`, or if the two sets differ in size.

    Example:
        >>> own, other = np.array([[0, 0]]), np.array([[1, 1]])
        >>> hm.measures.own_other_gap(np.array([[0, 0], [0, 1]]), own, other).tolist()
        [2, 0]
    """
    same = np.shape(own) == np.shape(other)
    require(same, "other", np.shape(other), f"of the shape of own, {np.shape(own)}")
    nearest = nearest_neighbours if is_hamming(metric) else nearest_images
    return np.asarray(nearest(generated, other).distance - nearest(generated, own).distance)


def two_way_gap(
    generated_a: Num[Array | np.ndarray, "..."],
    generated_b: Num[Array | np.ndarray, "..."],
    train_a: Num[Array | np.ndarray, "..."],
    train_b: Num[Array | np.ndarray, "..."],
    *,
    metric: Metric = "hamming",
) -> Float[np.ndarray, " num_generated"]:
    """Own–other gap of paired samples of two splits, averaged over the two directions.

    One split may by chance lie closer to everything; the average cancels that.

    Args:
        generated_a: (n, ...) samples of the model trained on ``train_a``.
        generated_b: (n, ...) samples of the other model, the i-th with the noise of the i-th.
        train_a: one training set.
        train_b: the other, of the same size.
        metric: as in :func:`own_other_gap`.

    Raises:
        ValueError: as :func:`own_other_gap`, or if the samples are not paired.

    Example:
        >>> a, b = np.array([[0, 0]]), np.array([[1, 1]])
        >>> hm.measures.two_way_gap(a, b, a, b).tolist()
        [2.0]
    """
    shape = np.shape(generated_a)
    paired = np.shape(generated_b) == shape
    require(paired, "generated_b", np.shape(generated_b), f"of the shape of generated_a, {shape}")
    one_way = own_other_gap(generated_a, train_a, train_b, metric=metric)
    return (one_way + own_other_gap(generated_b, train_b, train_a, metric=metric)) / 2
