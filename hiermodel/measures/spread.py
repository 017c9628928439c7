"""How networks on different training sets differ: from the truth, by training set and by seed.

Source: science.md#estimators. With q̄ the normalised geometric mean of the networks' outputs,

    mean_i KL(P ‖ q_i) = KL(P ‖ q̄) + mean_i KL(q̄ ‖ q_i)

holds exactly for every P: the first part is common to all networks, the second is how they differ.
(For squared errors the same stands with the arithmetic mean, as bias² and variance.) The means of
the seeds of each training set split the second part once more.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from hiermodel.checks import check_integer, require
from hiermodel.measures.divergence import check_log_probs

MIN_SETS = 3
"""With fewer training sets, no pair is left without one of them."""


class Spread(NamedTuple):
    """Mean divergence of networks from a reference in three parts that add up to it, in nats.

    Attributes:
        common: (...) KL(P ‖ q̄): what all networks have wrong alike.
        by_set: (...) mean over training sets of KL(q̄ ‖ q̄_s), q̄_s the mean of the set's seeds.
        by_seed: (...) mean over networks of KL(q̄_s ‖ q): zero with one seed per set.
    """

    common: Float[Array, "..."]
    by_set: Float[Array, "..."]
    by_seed: Float[Array, "..."]


def decompose_spread(
    log_p: Float[Array | np.ndarray, "..."], log_q: Float[Array | np.ndarray, "..."]
) -> Spread:
    """Split the mean over networks of KL(P ‖ q) into common part, training sets and seeds.

    Args:
        log_p: (..., num_leaves, vocab_size) log-probabilities of the reference.
        log_q: (num_sets, num_seeds, ..., num_leaves, vocab_size) those of the networks, none of
            them zero in probability.

    Returns:
        Parts per sample, (...), summed over positions.

    Raises:
        ValueError: for shapes that do not fit or log-probabilities that are not normalised.
    """
    reference, networks = check_log_probs("log_p", log_p), check_log_probs("log_q", log_q)
    fits = networks.ndim >= 4 and networks.shape[2:] == reference.shape
    allowed = f"of shape (num_sets, num_seeds, *{reference.shape})"
    require(fits, "log_q", networks.shape, allowed)
    of_sets, by_seed = _geometric_mean(networks, axis=1)
    of_all, by_set = _geometric_mean(of_sets, axis=0)
    probs = jnp.exp(reference)
    ratio = jnp.where(probs > 0, reference - of_all, 0)
    return Spread((probs * ratio).sum((-2, -1)), by_set, by_seed.mean(0))


@functools.partial(jax.jit, static_argnames="axis")
def _geometric_mean(log_q: Array, axis: int) -> tuple[Array, Array]:
    """Log of the normalised geometric mean, and the mean of KL(mean ‖ q) along the axis.

    The latter is the logarithm of what normalises the mean, per sample.
    """
    mean = log_q.mean(axis)
    log_norm = jax.nn.logsumexp(mean, axis=-1, keepdims=True)
    return mean - log_norm, -log_norm.sum((-2, -1))


def split_divergences(
    log_q: Float[Array | np.ndarray, "..."],
) -> Float[Array, "sets sets"]:
    """KL(q_i ‖ q_j) between networks of different training sets, all pairs, in both orders.

    Args:
        log_q: (num_sets, num_seeds, n, num_leaves, vocab_size) log-probabilities on n inputs that
            all networks share.

    Returns:
        (num_sets, num_sets) means over inputs and over the pairs of seeds, in nats; symmetrised,
        so entry (i, j) is (KL(i ‖ j) + KL(j ‖ i)) / 2. The diagonal holds the same between the
        seeds of one set; NaN where there is only one.

    Raises:
        ValueError: for a shape that is not such, or log-probabilities that are not normalised.
    """
    networks = check_log_probs("log_q", log_q)
    require(networks.ndim == 5, "log_q", networks.shape, "of 5 axes")
    num_sets, num_seeds = networks.shape[:2]
    check_integer("num_sets", num_sets, 1)
    rows = networks.reshape(num_sets * num_seeds, networks.shape[2], -1)
    probs = jnp.exp(rows)
    # Summed over inputs: negative entropies on the diagonal, cross terms off it.
    cross = jnp.einsum("inx,jnx->ij", probs, rows, precision="highest") / rows.shape[1]
    divergence = jnp.diag(cross)[:, None] - cross
    symmetric = (divergence + divergence.T) / 2
    blocks = symmetric.reshape(num_sets, num_seeds, num_sets, num_seeds).sum((1, 3))
    pairs = jnp.full((num_sets, num_sets), num_seeds**2)
    pairs = pairs - num_seeds * jnp.eye(num_sets, dtype=pairs.dtype)
    return jnp.where(pairs > 0, blocks / jnp.maximum(pairs, 1), jnp.nan)


def pair_pseudo_values(
    of_pairs: Float[np.ndarray, "... sets sets"],
) -> Float[np.ndarray, "... sets"]:
    """One number per training set, from numbers of all pairs of sets: jackknife pseudo-values.

    Their mean is the mean over all pairs, and the Student interval of that mean, as if they were
    independent, is right for many sets whatever pairs with a set in common share (Arvesen, Ann.
    Math. Statist. 40, 1969). Unlike disjoint pairs they leave nothing unused.

    Args:
        of_pairs: (..., num_sets, num_sets) symmetric; the diagonal is not read.

    Raises:
        ValueError: for fewer than 3 sets, or an array that is not square.
    """
    values = np.asarray(of_pairs, np.float64)
    count = values.shape[-1]
    fits = values.ndim >= 2 and values.shape[-2] == count >= MIN_SETS
    require(fits, "of_pairs", values.shape, f"square, of at least {MIN_SETS} sets")
    off_diagonal = np.where(np.eye(count, dtype=bool), 0, values)
    of_sets = off_diagonal.sum(-1)
    total = of_sets.sum(-1, keepdims=True) / 2
    return 2 * total / (count - 1) - 2 * (total - of_sets) / (count - 2)


def gap_of_sets(
    distances: Float[np.ndarray, "... sets sets"],
) -> Float[np.ndarray, "... sets"]:
    """Own–other gap, one number per training set, from all pairs of sets.

    The gap of a pair is how much nearer samples lie to their own set than to the other, the mean
    over both directions, so that a set which is near to everything cancels. Expectation zero
    without bias.

    Args:
        distances: (..., num_sets, num_sets) mean distance of samples of row i, made by what has
            learned from set i, to the nearest example of set j.

    Returns:
        As :func:`pair_pseudo_values`; of two sets the one gap twice, which is then one unit.

    Raises:
        ValueError: for fewer than 2 sets, or an array that is not square.
    """
    values = np.asarray(distances, np.float64)
    count = values.shape[-1]
    fits = values.ndim >= 2 and values.shape[-2] == count >= 2
    require(fits, "distances", values.shape, "square, of at least 2 sets")
    nearer = values - np.diagonal(values, axis1=-2, axis2=-1)[..., :, None]
    of_pairs = (nearer + np.swapaxes(nearer, -1, -2)) / 2
    if count < MIN_SETS:
        return np.repeat(of_pairs[..., 0, 1:], 2, axis=-1)
    return pair_pseudo_values(of_pairs)
