"""Generate and filter: what an attacker who only draws samples can extract (science.md#measures).

A model that has learned a sequence by heart draws it more often than its law allows. So the
attacker draws many samples, takes groups of near-duplicates, and claims their centres as training
sequences (Carlini and others, arXiv:2301.13188, section 4.2). Frequent sequences of the data
repeat by chance too: compare with the same claims made from fresh data, or scored against the
training set of another split.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Array, Int

from hiermodel.checks import check_integer, check_symbols, require
from hiermodel.measures.reproduction import near_copies
from hiermodel.measures.uncertainty import Interval, proportion_interval


class Clusters(NamedTuple):
    """Groups of near-duplicates among samples, the largest first.

    Attributes:
        centre: (num_clusters, num_leaves) the sequence that each group is claimed to copy.
        size: (num_clusters,) samples in the group.
    """

    centre: Int[np.ndarray, "num_clusters leaves"]
    size: Int[np.ndarray, " num_clusters"]


class Extraction(NamedTuple):
    """How good the claims are.

    Attributes:
        num_claims: sequences claimed.
        precision: share of the claims that are near a training sequence; 0 if there are none.
        recall: share of the training sequences that are near a claim.
    """

    num_claims: int
    precision: Interval
    recall: Interval


def find_clusters(
    generated: Int[Array | np.ndarray, "..."], *, radius: int = 0, min_size: int = 2
) -> Clusters:
    """Groups of samples within Hamming distance ``radius`` of a common centre.

    The most frequent sequence that is in no group yet becomes the centre of the next one and takes
    all sequences within the radius that are in none; of equally frequent ones, the first in
    lexicographic order. Exact for any number of samples, in time (distinct sequences)² at worst.

    Args:
        generated: (n, num_leaves) symbols.
        radius: distance from the centre, in 0…num_leaves; 0 groups exact duplicates only.
        min_size: samples that make a group worth a claim, at least 1.

    Raises:
        ValueError: for samples that are no rows of symbols, or a number out of range.

    Example:
        >>> hm.measures.find_clusters(np.array([[0, 0], [0, 0], [0, 1]])).size.tolist()
        [2]
    """
    shape = np.shape(generated)
    require(len(shape) == 2 and shape[0] > 0, "generated", shape, "of shape (n, num_leaves), n > 0")
    check_symbols("generated", generated, np.iinfo(np.int32).max)
    radius = check_integer("radius", radius, 0, shape[1])
    min_size = check_integer("min_size", min_size, 1)
    rows, counts = np.unique(np.asarray(generated), axis=0, return_counts=True)
    order = np.argsort(-counts, kind="stable")
    rows, counts = rows[order], counts[order]
    if radius == 0:
        return Clusters(rows[counts >= min_size], counts[counts >= min_size])
    centres, sizes = [], []
    while len(rows):
        near = (rows != rows[0]).sum(1) <= radius
        centres.append(rows[0])
        sizes.append(counts[near].sum())
        rows, counts = rows[~near], counts[~near]
    size = np.array(sizes)
    order = np.argsort(-size, kind="stable")
    order = order[size[order] >= min_size]
    return Clusters(np.stack(centres)[order], size[order])


def score_claims(
    claims: Int[np.ndarray, "num_claims leaves"],
    train: Int[Array | np.ndarray, "..."],
    *,
    radius: int = 0,
    level: float = 0.95,
) -> Extraction:
    """Precision and recall of claims about a training set, with Wilson intervals.

    Args:
        claims: (num_claims, num_leaves) sequences, such as centres of clusters; may be none.
        train: (n_train, num_leaves) the training set, or another one as baseline.
        radius: a claim is right, and a training sequence extracted, within this distance.
        level: nominal coverage.

    Raises:
        ValueError: for shapes that do not fit or a number out of range.
    """
    num_claims, num_train = len(claims), len(train)
    right = extracted = 0
    if num_claims:
        right = int(near_copies(claims, train, (radius,)).sum())
        extracted = int(near_copies(train, claims, (radius,)).sum())
    return Extraction(
        num_claims,
        proportion_interval(right, num_claims, level=level),
        proportion_interval(extracted, num_train, level=level),
    )
