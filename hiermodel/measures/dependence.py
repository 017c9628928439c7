"""Does generation depend on which sequences were trained on, and from when? (science.md#measures).

If it does not, it cannot matter to the samples how a pool of sequences was dealt out to two splits.
So the observed block reproduction is compared with what other ways of dealing out the same pool
would have given with the same samples: a permutation test, which needs no oracle and already works
for a single pair of splits. It is exact where all ways are equally likely; pools of distinct
sequences, in the order of their drawing, come near that as long as repeated draws are rare.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Array, Float, Int, Key

from hiermodel.checks import check_integer, check_symbols, check_trailing_shape, require
from hiermodel.measures.reproduction import name_parents
from hiermodel.measures.uncertainty import check_values, generator_from_key

MAX_NUMBERS = 2**24
"""How many numbers are held at a time; bounds memory without changing results."""


class BlockExcess(NamedTuple):
    """Block reproduction by level, averaged over both directions of a pair of splits.

    Attributes:
        observed: (num_curves, depth + 1) of the splits as they are.
        permuted: (num_permutations, num_curves, depth + 1) of the pool dealt out at random.
    """

    observed: Float[np.ndarray, "curves levels"]
    permuted: Float[np.ndarray, "permutations curves levels"]


def permuted_block_excess(
    key: Key[Array, ""],
    generated_a: Int[Array | np.ndarray, "..."],
    generated_b: Int[Array | np.ndarray, "..."],
    train_a: Int[Array | np.ndarray, "..."],
    train_b: Int[Array | np.ndarray, "..."],
    branching: int,
    depth: int,
    *,
    num_permutations: int = 2000,
) -> BlockExcess:
    """Block reproduction of two models, for their splits and for permuted ones.

    Observed, and for each curve: the mean of ``block_reproduction`` over the samples of model A
    (own split a, other b) and over those of model B (own b, other a), averaged. All curves, such
    as checkpoints and seeds, meet the same permutations, so that they can be averaged or their
    maximum taken.

    Args:
        key: one typed key, for the permutations.
        generated_a: (num_curves, n, num_leaves) samples of models trained on ``train_a``.
        generated_b: of the same shape, samples of models trained on ``train_b``.
        train_a: (n_train, num_leaves) one training set.
        train_b: the other, of the same size.
        branching: s, at least 2.
        depth: L, at least 1; num_leaves is s**L.
        num_permutations: at least 1.

    Raises:
        ValueError: for shapes that do not fit, symbols that are no symbols, or a number out of
            range.

    Example:
        >>> samples = leaves[None]
        >>> found = hm.measures.permuted_block_excess(
        ...     key, samples, samples, leaves[:4], leaves[4:], 2, 2, num_permutations=9
        ... )
        >>> found.permuted.shape
        (9, 1, 3)
    """
    generator = generator_from_key(key)
    num_permutations = check_integer("num_permutations", num_permutations, 1)
    rows = _check_rows(generated_a, generated_b, train_a, train_b, branching, depth)
    num_curves, num_samples = np.shape(generated_a)[:2]
    size = len(rows[0])
    names = np.unique(np.concatenate(rows), return_inverse=True)[1]
    names = names.reshape(-1, branching**depth)
    in_a = deal(generator, size, num_permutations)
    excess = np.empty((num_permutations + 1, num_curves, depth + 1))
    for level in range(depth, -1, -1):
        pool, generated = names[: 2 * size], names[2 * size :]
        shape = (2, num_curves, num_samples, names.shape[1])
        excess[..., level] = _excess_of_level(in_a, pool, generated.reshape(shape))
        if level > 0:
            names = name_parents(names, branching)
    return BlockExcess(excess[0], excess[1:])


def corrected_p_values(
    observed: Float[np.ndarray, " tests"], permuted: Float[np.ndarray, "permutations tests"]
) -> Float[np.ndarray, " tests"]:
    """One-sided p-values of several permutation tests, corrected for looking at all of them.

    Each statistic is divided by its standard deviation over permutations; the p-value is the share
    of permutations, the observed one included, whose largest statistic is no smaller. The chance
    that any true hypothesis gets p ≤ α is at most α (Westfall and Young's single-step maxT).

    Args:
        observed: (num_tests,) statistics, large where the hypothesis fails.
        permuted: (num_permutations, num_tests) the same under permutations, each of all tests at
            once. A statistic that no permutation changes gets p = 1.

    Raises:
        ValueError: for shapes that do not fit or values that are not finite.
    """
    values, null = check_values("observed", observed), check_values("permuted", permuted)
    fits = values.ndim == 1 and null.ndim == 2 and null.shape[1] == len(values)
    require(fits, "permuted", null.shape, f"of shape (permutations, {values.size})")
    spread = np.sqrt(np.square(null).mean(0))  # about zero, the mean over all ways of dealing out
    changes = spread > 0
    scale = np.where(changes, spread, 1)
    largest = np.where(changes, null / scale, -np.inf).max(1, keepdims=True)
    at_least = (largest >= values / scale - 1e-9).sum(0)  # the same sum in another order
    return np.where(changes, (1 + at_least) / (1 + len(null)), 1.0)


def _check_rows(
    generated_a: Int[Array | np.ndarray, "..."],
    generated_b: Int[Array | np.ndarray, "..."],
    train_a: Int[Array | np.ndarray, "..."],
    train_b: Int[Array | np.ndarray, "..."],
    branching: int,
    depth: int,
) -> list[np.ndarray]:
    """All sequences as rows: both training sets, then both sets of samples."""
    branching = check_integer("branching", branching, 2)
    depth = check_integer("depth", depth, 1)
    pairs = {"train": (train_a, train_b, 2), "generated": (generated_a, generated_b, 3)}
    rows = []
    for what, (first, second, ndim) in pairs.items():
        shape = np.shape(first)
        good = len(shape) == ndim and min(shape) > 0
        require(good, f"{what}_a", shape, f"of {ndim} axes, none of them empty")
        same = np.shape(second) == shape
        require(same, f"{what}_b", np.shape(second), f"of the shape of {what}_a, {shape}")
        for argument, values in ((f"{what}_a", first), (f"{what}_b", second)):
            check_trailing_shape(argument, values, (branching**depth,), "(branching ** depth,)")
            check_symbols(argument, values, np.iinfo(np.int32).max)
            rows.append(np.asarray(values).reshape(-1, branching**depth))
    return rows


def deal(generator: np.random.Generator, size: int, num_permutations: int) -> np.ndarray:
    """Which rows of the pool are in split a: as observed, then permuted; (1 + permutations, 2n)."""
    observed = np.arange(2 * size) < size
    permuted = generator.permuted(np.tile(observed, (num_permutations, 1)), axis=1)
    return np.concatenate([observed[None], permuted])


def _excess_of_level(
    in_a: np.ndarray, pool: np.ndarray, generated: np.ndarray
) -> Float[np.ndarray, "permutations curves"]:
    """Mean over the nodes of a level, whose blocks have the given names."""
    num_curves, num_samples, num_nodes = generated.shape[1:]
    total = np.zeros((len(in_a), num_curves))
    for node in range(num_nodes):
        order = np.argsort(pool[:, node], kind="stable")
        blocks, begin, count = np.unique(pool[order, node], return_index=True, return_counts=True)
        # How many more samples of A than of B hold each block that is in the pool.
        lead = _counts(generated[0, :, :, node], blocks) - _counts(generated[1, :, :, node], blocks)
        at_once = max(1, MAX_NUMBERS // len(pool))
        for start in range(0, len(in_a), at_once):
            dealt = in_a[start : start + at_once]
            copies = np.add.reduceat(dealt[:, order].astype(np.int32), begin, axis=1)
            own_less_other = (copies > 0).astype(np.int8) - (copies < count)
            total[start : start + at_once] += own_less_other @ lead.T
    return total / (2 * num_samples * num_nodes)


def _counts(
    found: Int[np.ndarray, "curves samples"], blocks: Int[np.ndarray, " blocks"]
) -> Float[np.ndarray, "curves blocks"]:
    """How often each curve's samples hold each of the (sorted) blocks."""
    place = np.minimum(np.searchsorted(blocks, found), len(blocks) - 1)
    hits = blocks[place] == found
    return np.stack(
        [
            np.bincount(of_curve[hit], minlength=len(blocks)).astype(np.float64)
            for of_curve, hit in zip(place, hits, strict=True)
        ]
    )
