"""More than the nearest training example: does a sample belong to one alone?

Source: science.md#measures.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Num

from hiermodel.checks import check_integer, check_symbols, require
from hiermodel.measures.neighbours import Metric, Neighbours, check_sets, is_hamming


def nearest_several(
    queries: Num[Array | np.ndarray, "..."],
    references: Num[Array | np.ndarray, "..."],
    count: int,
    *,
    metric: Metric = "hamming",
) -> Neighbours:
    """The nearest references of every query, the nearest first.

    Exact for sequences. For images they are found from |a|² + |b|² − 2 a·b, whose rounding can only
    swap references that are equally near to about 1e-6 of the norms; distances are computed from
    differences.

    Args:
        queries: (n, num_leaves) symbols, or (n, ...) images.
        references: (m, ...) the same.
        count: how many, in 1…m.
        metric: "hamming" for symbols, "euclidean" for images.

    Returns:
        Neighbours with arrays (n, count); of references equally near, the first come first.

    Raises:
        ValueError: for shapes that do not fit, symbols that are no symbols, or a count out of
            range.
    """
    symbols = is_hamming(metric)
    check_sets(queries, references, min_ndim=None if symbols else 2)
    count = check_integer("count", count, 1, len(references))
    sets = [jnp.asarray(part) for part in (queries, references)]
    if symbols:
        vocab_size = max(int(part.max(initial=1)) for part in sets) + 1
        for argument, part in zip(("queries", "references"), sets, strict=True):
            check_symbols(argument, part, vocab_size)
        # Squared distance of one-hot vectors is twice the Hamming distance, exact in float32.
        sets = [jax.nn.one_hot(part, vocab_size, dtype=jnp.float32) for part in sets]
    dtype = jnp.promote_types(jnp.result_type(*sets), jnp.float32)
    flat = [part.astype(dtype).reshape(len(part), -1) for part in sets]
    squares, rows = _nearest_several(flat[0], flat[1], count)
    return Neighbours(squares / 2 if symbols else jnp.sqrt(squares), rows)


def neighbour_ratio(
    queries: Num[Array | np.ndarray, "..."],
    references: Num[Array | np.ndarray, "..."],
    *,
    metric: Metric = "hamming",
) -> Float[np.ndarray, " num_queries"]:
    """Distance to the nearest reference over distance to the second nearest, in 0…1.

    Small where a query belongs to one reference alone: a copy gives 0, a query that is equally far
    from two gives 1. Among images a ratio below 1/3 counts as memorised (Gu and others,
    arXiv:2310.02664). Two equal references, both copied, count as equally far: 1.

    Args:
        queries: (n, num_leaves) symbols, or (n, ...) images.
        references: the same, at least two.
        metric: "hamming" for symbols, "euclidean" for images.

    Raises:
        ValueError: as :func:`nearest_several`, or for one reference.

    Example:
        >>> hm.measures.neighbour_ratio(np.array([[0, 0]]), np.array([[0, 0], [1, 1]])).tolist()
        [0.0]
    """
    require(len(references) >= 2, "references", np.shape(references), "of at least two rows")
    nearest = nearest_several(queries, references, 2, metric=metric)
    distances = np.asarray(nearest.distance, np.float64)
    first, second = distances.min(1), distances.max(1)
    return np.where(second > 0, first / np.where(second > 0, second, 1), 1.0)


@functools.partial(jax.jit, static_argnames="count")
def _nearest_several(
    queries: Float[Array, "n pixels"], references: Float[Array, "m pixels"], count: int
) -> tuple[Float[Array, "n count"], Array]:
    norms = jnp.square(references).sum(-1)

    def of_one(query: Array) -> tuple[Array, Array]:
        product = jnp.matmul(references, query, precision=jax.lax.Precision.HIGHEST)
        rows = jax.lax.top_k(2 * product - norms, count)[1]
        return jnp.square(references[rows] - query).sum(-1), rows

    return jax.lax.map(of_one, queries, batch_size=256)
