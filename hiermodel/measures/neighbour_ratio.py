"""Whether a sample belongs to one training example alone (SPEC section 6)."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Num

from hiermodel.checks import check_symbols, require
from hiermodel.measures.neighbours import check_sets


def neighbour_ratio(
    queries: Num[Array | np.ndarray, "..."], references: Num[Array | np.ndarray, "..."]
) -> Float[np.ndarray, " num_queries"]:
    """Distance to the nearest reference over distance to the second nearest, in 0…1.

    Small where a query belongs to one reference alone: a copy gives 0, a query that is equally far
    from two gives 1. Among images a ratio below 1/3 counts as memorised (Yoon and others, 2023;
    Gu and others, arXiv:2310.02664). Two equal references, both copied, count as equally far: 1.

    Args:
        queries: (n, num_leaves) symbols, by Hamming distance; or (n, ...) images, by Euclidean.
        references: the same, at least two.

    Raises:
        ValueError: as :func:`nearest_neighbours` or :func:`nearest_images`, or for one reference.
    """
    is_image = jnp.issubdtype(jnp.asarray(queries).dtype, jnp.floating)
    check_sets(queries, references, min_ndim=2 if is_image else None)
    require(len(references) >= 2, "references", np.shape(references), "of at least two rows")
    sets = [jnp.asarray(part) for part in (queries, references)]
    if not is_image:
        vocab_size = max(int(part.max(initial=1)) for part in sets) + 1
        for argument, part in zip(("queries", "references"), sets, strict=True):
            check_symbols(argument, part, vocab_size)
        # Squared distance of one-hot vectors is twice the Hamming distance.
        sets = [jax.nn.one_hot(part, vocab_size, dtype=jnp.float32) for part in sets]
    flat = [part.reshape(len(part), -1) for part in sets]
    squares = np.asarray(_two_nearest(flat[0], flat[1]), np.float64)
    distances = squares if not is_image else np.sqrt(squares)
    first, second = distances.min(1), distances.max(1)
    return np.where(second > 0, first / np.where(second > 0, second, 1), 1.0)


@jax.jit
def _two_nearest(
    queries: Float[Array, "n pixels"], references: Float[Array, "m pixels"]
) -> Float[Array, "n two"]:
    """Squared distances to the two nearest, computed from differences once these are found."""
    norms = jnp.square(references).sum(-1)

    def of_one(query: Array) -> Array:
        product = jnp.matmul(references, query, precision=jax.lax.Precision.HIGHEST)
        rows = jax.lax.top_k(2 * product - norms, 2)[1]
        return jnp.square(references[rows] - query).sum(-1)

    return jax.lax.map(of_one, queries, batch_size=256)
