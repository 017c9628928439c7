"""Entropy of the leaf sequence where no recursion gives it: an estimate with its error."""

import functools

import jax
from jaxtyping import Array, Float, Key

from hiermodel.checks import check_integer, check_key
from hiermodel.grammar.rules import Grammar
from hiermodel.grammar.sampling import sample_leaves
from hiermodel.inference.belief_propagation import log_prob
from hiermodel.measures.along_noise import in_pieces
from hiermodel.measures.uncertainty import Interval, student_interval


def estimate_leaf_entropy(
    key: Key[Array, ""],
    grammar: Grammar,
    num_samples: int,
    *,
    filter_level: int = 0,
    level: float = 0.95,
) -> Interval:
    """Monte Carlo estimate of the entropy of the leaf sequence: the mean of −log P over samples.

    For ambiguous grammars and filtered models, whose sequences may come from several trees. Where
    the grammar is unambiguous, ``leaf_entropy`` is exact. The estimate is unbiased.

    Args:
        key: one typed key.
        grammar: the model.
        num_samples: independent sequences, at least 2.
        filter_level: k in 0…depth.
        level: nominal coverage of the interval.

    Returns:
        Estimate and Student interval in nats per sequence.

    Raises:
        ValueError: for a wrong key or a number out of range.

    Example:
        >>> found = hm.measures.estimate_leaf_entropy(key, grammar, 1000)
        >>> bool(found.low < hm.grammar.leaf_entropy(grammar) < found.high)
        False
    """
    check_key(key)
    num_samples = check_integer("num_samples", num_samples, 2)
    filter_level = check_integer("filter_level", filter_level, 0, grammar.depth)
    return student_interval(_surprises(key, grammar, num_samples, filter_level), level=level)


@functools.partial(jax.jit, static_argnames=("num_samples", "filter_level"))
def _surprises(
    key: Key[Array, ""], grammar: Grammar, num_samples: int, filter_level: int
) -> Float[Array, " num_samples"]:
    """−log P of sequences drawn from the model."""
    leaves = sample_leaves(key, grammar, num_samples, filter_level=filter_level)
    return in_pieces(lambda rows: -log_prob(grammar, rows, filter_level=filter_level), leaves)
