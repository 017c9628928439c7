"""How well the ancestors of noisy leaves can be known, level by level, at best.

The phase transition of Sclocchi, Favero and Wyart (arXiv:2402.16991): with growing noise the nodes
near the root, the class of the data, are lost at a sharp point, those near the leaves gradually.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key

from hiermodel.checks import check_integer, check_key, require
from hiermodel.diffusion.process import Process
from hiermodel.grammar.rules import Grammar
from hiermodel.grammar.sampling import sample_tree
from hiermodel.grammar.statistics import symbol_log_marginals
from hiermodel.inference.belief_propagation import run_bp
from hiermodel.measures.along_noise import evaluate_along
from hiermodel.measures.floor import check_step_list
from hiermodel.measures.uncertainty import (
    Interval,
    check_values,
    generator_from_key,
    percentile_interval,
    resampled_means,
)


class Reconstruction(NamedTuple):
    """What is known of the nodes of each level, per sequence and step: means over its nodes.

    ``success`` and ``expected_success`` estimate the same expectation, and so do the two of
    ``unchanged``; the expected ones do not look at the true tree and carry less noise. All have
    axes (sequences, steps, levels). For an interval give them to ``student_interval``.

    Attributes:
        levels: the levels that exist, in the order of the last axis.
        success: fraction of nodes whose most probable symbol is the true one: no guess from the
            leaves is right more often.
        expected_success: posterior probability of that symbol.
        unchanged: posterior probability of the true symbol, which is the probability that it comes
            back when the sequence is noised to t and a tree drawn from the posterior (a U-turn).
        expected_unchanged: probability that two draws from the posterior agree, Σ_a P(a | x_t)².
        chance_success: (levels,) what ``success`` is, exactly, where the leaves say nothing.
        chance_unchanged: (levels,) likewise for ``unchanged``.
    """

    levels: tuple[int, ...]
    success: Float[Array, "sequences steps levels"]
    expected_success: Float[Array, "sequences steps levels"]
    unchanged: Float[Array, "sequences steps levels"]
    expected_unchanged: Float[Array, "sequences steps levels"]
    chance_success: Float[Array, " levels"]
    chance_unchanged: Float[Array, " levels"]


def reconstruct_ancestors(
    key: Key[Array, ""],
    grammar: Grammar,
    schedule: Process,
    steps: Int[Array | np.ndarray, " steps"],
    num_sequences: int,
    *,
    filter_level: int = 0,
) -> Reconstruction:
    """Bayes-optimal reconstruction of the nodes of every level from leaves noised to each step.

    Exact inference on sequences drawn from the model; the same trees under the same noise at all
    steps. All expectations fall with t, from 1 to chance.

    Args:
        key: one typed key; more sequences leave the first ones as they were.
        grammar: the model of the data.
        schedule: the noise, any Process.
        steps: (steps,) integers in 1…num_steps.
        num_sequences: at least 1.
        filter_level: filter level k of the data and of the inference; levels 1…k − 1 do not exist.

    Raises:
        ValueError: for a wrong key or a number out of range.

    Example:
        >>> steps = np.array([1, 20])
        >>> hm.measures.reconstruct_ancestors(key, grammar, schedule, steps, 10).success.shape
        (10, 2, 3)
    """
    check_key(key)
    steps = check_step_list(schedule, steps)
    num_sequences = check_integer("num_sequences", num_sequences, 1)
    filter_level = check_integer("filter_level", filter_level, 0, grammar.depth)
    levels = (0, *range(max(filter_level, 1), grammar.depth + 1))
    marginals = symbol_log_marginals(grammar)
    blind = [jnp.exp(marginals[level]) for level in levels]
    success, expected_success, unchanged, expected_unchanged = _reconstruct(
        key, grammar, schedule, steps, num_sequences, filter_level
    )
    return Reconstruction(
        levels=levels,
        success=success,
        expected_success=expected_success,
        unchanged=unchanged,
        expected_unchanged=expected_unchanged,
        chance_success=jnp.stack([probs.max(-1).mean() for probs in blind]),
        chance_unchanged=jnp.stack([jnp.square(probs).sum(-1).mean() for probs in blind]),
    )


def crossing_time(
    key: Key[Array, ""],
    curves: Float[Array | np.ndarray, "sequences steps levels"],
    times: Float[np.ndarray, " steps"],
    chance: Float[Array | np.ndarray, " levels"],
    *,
    fraction: float = 0.5,
    level: float = 0.95,
    num_resamples: int = 1000,
) -> Interval:
    """When the mean over sequences has fallen to ``fraction`` of the way from chance up to 1.

    The first crossing, by linear interpolation between steps, with a percentile bootstrap over
    sequences.

    Args:
        key: one typed key.
        curves: one quantity of a :class:`Reconstruction`.
        times: increasing times of its steps, such as t/T.
        chance: (levels,) where the curves end.
        fraction: above 0 and below 1.
        level: nominal coverage of the interval.
        num_resamples: at least 1.

    Returns:
        Interval over levels, in units of ``times``.

    Raises:
        ValueError: for a curve that does not cross between its first and last step, or a number
            out of range.
    """
    generator = generator_from_key(key)
    require(bool(0 < fraction < 1), "fraction", fraction, "above 0 and below 1")
    numbers = check_values("curves", curves, min_ndim=3)
    threshold = np.asarray(chance) + fraction * (1 - np.asarray(chance))
    replicates = resampled_means(generator, numbers, num_resamples)
    times = np.asarray(times, np.float64)
    estimate = _first_below(numbers.mean(0), times, threshold)
    return percentile_interval(estimate, _first_below(replicates, times, threshold), level)


@functools.partial(jax.jit, static_argnames=("num_sequences", "filter_level"))
def _reconstruct(
    key: Key[Array, ""],
    grammar: Grammar,
    schedule: Process,
    steps: Int[Array, " steps"],
    num_sequences: int,
    filter_level: int,
) -> tuple[Float[Array, "sequences steps levels"], ...]:
    tree_key, noise_key = jax.random.split(key)
    tree = sample_tree(tree_key, grammar, num_sequences, filter_level=filter_level)
    nodes = [symbols for symbols in tree if symbols is not None]
    x_0 = schedule.encode(nodes[-1], grammar.vocab_size, grammar.log_weights.dtype)

    def evaluate(x_t: Array, t: Array, *truth: Array) -> tuple[Array, ...]:
        field = schedule.evidence(x_t, t)
        beliefs = run_bp(grammar, field, filter_level=filter_level)
        marginals = [found for found in beliefs.log_marginals if found is not None]
        by_level = zip(*map(_of_level, marginals, truth), strict=True)
        return tuple(jnp.stack(values, -1) for values in by_level)

    return evaluate_along(noise_key, schedule, x_0, steps, evaluate, *nodes)


def _of_level(
    log_marginals: Float[Array, "rows nodes vocab"], truth: Int[Array, "rows nodes"]
) -> tuple[Float[Array, " rows"], ...]:
    """The four quantities of a Reconstruction for one level."""
    probs = jnp.exp(log_marginals)
    of_truth = jnp.take_along_axis(probs, truth[..., None], -1)[..., 0]
    is_right = (probs.argmax(-1) == truth).astype(probs.dtype)
    quantities = (is_right, probs.max(-1), of_truth, jnp.square(probs).sum(-1))
    return tuple(quantity.mean(-1) for quantity in quantities)


def _first_below(
    curves: Float[np.ndarray, "*batch steps levels"],
    times: Float[np.ndarray, " steps"],
    threshold: Float[np.ndarray, " levels"],
) -> Float[np.ndarray, "*batch levels"]:
    """Time at which each curve first falls below its threshold."""
    below = curves < threshold
    after = below.argmax(-2)
    crosses = below.any(-2) & (after > 0)
    require(bool(crosses.all()), "curves", curves, "above the threshold first and below it later")
    high, low = (
        np.take_along_axis(curves, index[..., None, :], -2)[..., 0, :]
        for index in (after - 1, after)
    )
    share = (high - threshold) / (high - low)
    return times[after - 1] + share * (times[after] - times[after - 1])
