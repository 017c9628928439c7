"""Nearest training sequences, exactly, and how their distances are distributed.

Source: science.md#measures.
"""

import functools
from typing import Literal, NamedTuple, get_args

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key, Num

from hiermodel.checks import check_integer, check_symbols, is_concrete, require
from hiermodel.measures.divergence import CLIP
from hiermodel.measures.uncertainty import Interval, generator_from_key, percentile_interval

Metric = Literal["hamming", "euclidean"]
"""Distance of symbols (number of differing positions), or of images (root of summed squares)."""

WORD_BITS = 32
# Queries treated together. On a CPU their running minima should stay in the first-level cache:
# with 2 cores, 512 gave some 5e9 pairs a second, ten times a one-hot matrix product; twice as many
# halved it. Elsewhere larger is better.
CPU_CHUNK = 512
ACCELERATOR_CHUNK = 65536
UNROLL = 8


class Neighbours(NamedTuple):
    """The nearest reference of every query.

    Attributes:
        distance: (num_queries,) the distance to it.
        row: (num_queries,) its row among the references, the first of those equally near.
    """

    distance: Num[Array, " num_queries"]
    row: Int[Array, " num_queries"]


def nearest_neighbours(
    queries: Int[Array | np.ndarray, "..."],
    references: Int[Array | np.ndarray, "..."],
    *,
    vocab_size: int | None = None,
) -> Neighbours:
    """Smallest Hamming distance (number of differing positions) to any reference, exactly.

    Symbols are packed into bit planes, so a pair of sequences costs a few word operations: an
    exclusive or of each plane, an or of the planes, a population count. Memory is that of the
    packed sequences.

    Args:
        queries: (num_queries, num_leaves) symbols, at least 0.
        references: (num_references, num_leaves) symbols.
        vocab_size: q; needed only under ``jit``, otherwise taken from the largest symbol.

    Returns:
        Neighbours, both int32.

    Raises:
        ValueError: for shapes that do not fit, no references, symbols that are negative or out of
            range, or too many references to number: (num_leaves + 1) · n must stay below 2³¹.

    Example:
        >>> found = hm.measures.nearest_neighbours(np.array([[0, 1]]), np.array([[1, 0], [0, 0]]))
        >>> found.distance.tolist(), found.row.tolist()
        ([1], [1])
    """
    check_sets(queries, references)
    num_leaves, num_references = np.shape(references)[1], np.shape(references)[0]
    allowed = f"fewer than {2**31 // (num_leaves + 1)} for this length"
    fits = (num_leaves + 1) * num_references < 2**31
    require(fits, "number of references", num_references, allowed)
    if vocab_size is None:
        if not is_concrete(queries, references):
            raise ValueError("vocab_size=None is not allowed under jit: it must be an integer")
        largest = max(np.asarray(part).max(initial=1) for part in (queries, references))
        vocab_size = int(largest) + 1
    vocab_size = check_integer("vocab_size", vocab_size, 2)
    check_symbols("queries", queries, vocab_size)
    check_symbols("references", references, vocab_size)
    num_planes = (vocab_size - 1).bit_length()
    return _nearest_hamming(jnp.asarray(queries), jnp.asarray(references), num_planes)


def nearest_images(
    queries: Num[Array | np.ndarray, "..."], references: Num[Array | np.ndarray, "..."]
) -> Neighbours:
    """The counterpart for images: smallest Euclidean distance over all pixels.

    The nearest is found from |a|² + |b|² − 2 a·b, whose rounding can only swap references that are
    equally near to about 1e-6 of the norms; its distance is then computed from the difference.

    Args:
        queries: (num_queries, ...) images.
        references: (num_references, ...) images of the same size.

    Returns:
        Neighbours, the distance in units of a pixel.

    Raises:
        ValueError: for shapes that do not fit, no references, or pixels that are not finite.

    Example:
        >>> hm.measures.nearest_images(np.ones((1, 2, 2)), np.zeros((1, 2, 2))).distance.tolist()
        [2.0]
    """
    check_sets(queries, references, min_ndim=2)
    for argument, images in (("queries", queries), ("references", references)):
        if is_concrete(images) and not np.isfinite(np.asarray(images)).all():
            raise ValueError(f"{argument} holds pixels that are not finite, which is not allowed")
    dtype = jnp.promote_types(jnp.result_type(queries, references), jnp.float32)
    flat = [jnp.asarray(part, dtype).reshape(len(part), -1) for part in (queries, references)]
    return _nearest_euclidean(flat[0], flat[1])


def distance_histogram(
    distances: Int[Array | np.ndarray, "..."], num_leaves: int, *, num_bins: int = 20
) -> Int[np.ndarray, " bins"]:
    """Counts of Hamming distances in equal bins on [0, num_leaves].

    Bins are closed on the left, the last one on both sides. The bin of a distance is computed in
    integers, so no edge depends on rounding.

    Args:
        distances: any shape, integers in 0…num_leaves.
        num_leaves: N, at least 1.
        num_bins: at least 1.

    Raises:
        ValueError: if a number is out of range.

    Example:
        >>> hm.measures.distance_histogram(np.array([0, 1, 4]), 4, num_bins=4).tolist()
        [1, 1, 0, 1]
    """
    num_leaves = check_integer("num_leaves", num_leaves, 1)
    num_bins = check_integer("num_bins", num_bins, 1)
    values = np.asarray(distances).astype(np.int64).reshape(-1)
    check_symbols("distances", values, num_leaves + 1)
    bins = np.minimum(values * num_bins // num_leaves, num_bins - 1)
    return np.bincount(bins, minlength=num_bins)


def histogram_divergence(
    counts_p: Num[Array | np.ndarray, "..."],
    counts_q: Num[Array | np.ndarray, "..."],
    *,
    clip: float = CLIP,
) -> float:
    """KL(P ‖ Q) in nats of two histograms with the same bins.

    Counts are divided by their sums, every entry is raised to at least ``clip`` (no
    renormalisation), then p · ln(p / q) is summed over bins (science.md#measures).

    Args:
        counts_p: (bins,) counts, or weights.
        counts_q: (bins,) counts, or weights.
        clip: the least probability of a bin.

    Raises:
        ValueError: for shapes that differ, negative counts, empty histograms, or a clip outside
            (0, 1).

    Example:
        >>> round(hm.measures.histogram_divergence(np.array([1, 1]), np.array([9, 1])), 4)
        0.5108
    """
    require(bool(0 < clip < 1), "clip", clip, "above 0 and below 1")
    probs = []
    for argument, counts in (("counts_p", counts_p), ("counts_q", counts_q)):
        counts = np.asarray(counts, dtype=np.float64)
        require(counts.ndim == 1, argument, counts.shape, "one-dimensional")
        require(bool((counts >= 0).all()), argument, counts, "at least 0 everywhere")
        require(bool(counts.sum() > 0), argument, counts, "a histogram of at least one value")
        probs.append(np.maximum(counts / counts.sum(), clip))
    p, q = probs
    require(p.shape == q.shape, "counts_q", q.shape, f"of the shape of counts_p, {p.shape}")
    return float(np.sum(p * np.log(p / q)))


def nearest_neighbour_divergence(
    generated: Int[Array | np.ndarray, "..."],
    fresh: Int[Array | np.ndarray, "..."],
    train: Int[Array | np.ndarray, "..."],
    *,
    num_bins: int = 20,
) -> float:
    """How differently generated and fresh sequences lie about the training set, in nats.

    KL(histogram of nearest distances of generated sequences ‖ the same for fresh data).

    Args:
        generated: (n, num_leaves) sequences of the model.
        fresh: (m, num_leaves) independent draws from the true distribution, many more than
            generated: a bin that they leave empty counts as the clip's probability. Better still,
            take ``law_histogram`` and :func:`histogram_divergence`.
        train: (n_train, num_leaves) training sequences.
        num_bins: bins on [0, num_leaves].

    Raises:
        ValueError: as :func:`nearest_neighbours`.

    Example:
        >>> hm.measures.nearest_neighbour_divergence(leaves, leaves, leaves[:4])
        0.0
    """
    counts = [_nearest_counts(part, train, num_bins) for part in (generated, fresh)]
    return histogram_divergence(*counts)


def nearest_neighbour_floor(
    key: Key[Array, ""],
    fresh: Int[Array | np.ndarray, "..."],
    train: Int[Array | np.ndarray, "..."],
    *,
    num_generated: int | None = None,
    num_fresh: int | None = None,
    num_bins: int = 20,
    num_repeats: int = 1000,
    level: float = 0.95,
) -> Interval:
    """The same divergence for two independent samples of fresh data: what finite samples give.

    Both histograms are redrawn from that of ``fresh``. A bin it never fills is never filled, so
    give it at least as many sequences as the samples to be compared.

    Args:
        key: one typed key.
        fresh: (m, num_leaves) sequences of the true distribution.
        train: (n_train, num_leaves) training sequences.
        num_generated: size of the sample in place of the generated one; None for m.
        num_fresh: size of the baseline sample; None for m.
        num_bins: bins on [0, num_leaves].
        num_repeats: how many pairs of samples.
        level: share of the repeats between the two quantiles.

    Returns:
        Interval: the mean over repeats and the quantiles (1 ± level) / 2, in nats.

    Raises:
        ValueError: as :func:`nearest_neighbours`, or for a number out of range.

    Example:
        >>> hm.measures.nearest_neighbour_floor(key, leaves, leaves[:4], num_repeats=10).level
        0.95
    """
    generator = generator_from_key(key)
    num_repeats = check_integer("num_repeats", num_repeats, 1)
    counts = _nearest_counts(fresh, train, num_bins)
    sizes = [counts.sum() if size is None else size for size in (num_generated, num_fresh)]
    size_p, size_q = (check_integer("sample size", size, 1) for size in sizes)
    probs = counts / counts.sum()
    first = generator.multinomial(size_p, probs, size=num_repeats)
    second = generator.multinomial(size_q, probs, size=num_repeats)
    values = np.array([histogram_divergence(p, q) for p, q in zip(first, second, strict=True)])
    return percentile_interval(values.mean(), values, level)


def is_hamming(metric: str) -> bool:
    """Whether ``metric`` is that of symbols; refuses what is neither's."""
    require(metric in get_args(Metric), "metric", metric, f"one of {get_args(Metric)}")
    return metric == "hamming"


def _nearest_counts(
    sequences: Int[Array | np.ndarray, "..."],
    train: Int[Array | np.ndarray, "..."],
    num_bins: int,
) -> Int[np.ndarray, " bins"]:
    distances = nearest_neighbours(sequences, train).distance
    return distance_histogram(distances, np.shape(train)[-1], num_bins=num_bins)


def check_sets(
    queries: Array | np.ndarray, references: Array | np.ndarray, min_ndim: int | None = None
) -> None:
    """Refuse sets that are not rows of one size, or an empty set of references."""
    for argument, rows in (("queries", queries), ("references", references)):
        ndim = np.ndim(rows)
        fits = ndim == 2 if min_ndim is None else ndim >= min_ndim
        require(fits, argument, np.shape(rows), "of shape (number, num_leaves)")
        require(np.shape(rows)[0] > 0, argument, np.shape(rows), "of at least one row")
    one, other = np.shape(queries)[1:], np.shape(references)[1:]
    require(one == other, "references", np.shape(references), f"rows of the queries' size, {one}")


def _pack(symbols: Int[Array, "n leaves"], num_planes: int) -> list[list[Array]]:
    """Words and, per word, bit planes (n,): bit i of a plane is a bit of the word's i-th symbol."""
    words = []
    for start in range(0, symbols.shape[1], WORD_BITS):
        part = symbols[:, start : start + WORD_BITS].astype(jnp.uint32)
        positions = jnp.arange(part.shape[1], dtype=jnp.uint32)
        bits = [((part >> plane) & 1) << positions for plane in range(num_planes)]
        words.append([plane.sum(-1, dtype=jnp.uint32) for plane in bits])
    return words


@functools.partial(jax.jit, static_argnames="num_planes")
def _nearest_hamming(
    queries: Int[Array, "n leaves"], references: Int[Array, "m leaves"], num_planes: int
) -> Neighbours:
    """Run over the references one by one, as many queries side by side as suit the platform."""
    in_chunks = functools.partial(_nearest_in_chunks, num_planes=num_planes)
    if len(queries) <= CPU_CHUNK:
        return in_chunks(queries, references, chunk=len(queries))
    return jax.lax.platform_dependent(
        queries,
        references,
        cpu=functools.partial(in_chunks, chunk=CPU_CHUNK),
        default=functools.partial(in_chunks, chunk=min(ACCELERATOR_CHUNK, len(queries))),
    )


def _nearest_in_chunks(
    queries: Int[Array, "n leaves"], references: Int[Array, "m leaves"], num_planes: int, chunk: int
) -> Neighbours:
    num_queries, num_references = len(queries), len(references)
    numbered = (_pack(references, num_planes), jnp.arange(num_references, dtype=jnp.int32))
    padded = jnp.pad(queries, ((0, -num_queries % chunk), (0, 0)))

    def nearest_of_chunk(rows: Array) -> Array:
        words = _pack(rows, num_planes)

        def look_at(best: Array, numbered_reference: tuple) -> tuple[Array, None]:
            reference, number = numbered_reference
            # One array per plane: stacked, the same operations take five times as long on a CPU.
            counts = [
                jax.lax.population_count(
                    functools.reduce(jnp.bitwise_or, map(jnp.bitwise_xor, *pair))
                )
                for pair in zip(words, reference, strict=True)
            ]
            distance = functools.reduce(jnp.add, counts).astype(jnp.int32)
            # Distance and number in one integer: its minimum is the first of the nearest.
            return jnp.minimum(best, distance * num_references + number), None

        start = jnp.full(chunk, jnp.iinfo(jnp.int32).max, jnp.int32)
        return jax.lax.scan(look_at, start, numbered, unroll=UNROLL)[0]

    best = jax.lax.map(nearest_of_chunk, padded.reshape(-1, chunk, padded.shape[1]))
    best = best.reshape(-1)[:num_queries]
    return Neighbours(best // num_references, best % num_references)


@jax.jit
def _nearest_euclidean(
    queries: Float[Array, "n pixels"], references: Float[Array, "m pixels"]
) -> Neighbours:
    norms = jnp.square(references).sum(-1)

    def nearest_of_one(query: Array) -> Array:
        product = jnp.matmul(references, query, precision=jax.lax.Precision.HIGHEST)
        return jnp.argmin(norms - 2 * product)

    index = jax.lax.map(nearest_of_one, queries, batch_size=256)
    distance = jnp.sqrt(jnp.square(queries - references[index]).sum(-1))
    return Neighbours(distance, index)
