"""The recursion of beliefs without the annealed average, by a population of messages.

Source: science.md#f1.

A message holds a node's beliefs in all v symbols, its true one first. Parents take s messages at
random and rules drawn anew: the true tuple, m − 1 others of the true parent, m of every other, all
different. That is belief propagation in a random hierarchy model whose nodes draw their own rules,
upwards only. In the model itself the nodes of a level share theirs, which correlates siblings
weakly. A population of n has errors of order n^(−1/2) in its means.

Source: population dynamics, Mézard and Parisi, cond-mat/0009418; the recursion is derived here.
"""

import jax
import numpy as np
from jaxtyping import Array, Float, Key

from hiermodel.checks import check_integer, check_key, require
from hiermodel.theory.belief_map import tolerates_noise
from hiermodel.theory.ensemble import Sizes, check_sizes
from hiermodel.theory.evolution import LeafNoise, check_noise

GROUP = 16
"""Parents that share a draw of rules."""

MAX_LEVELS = 100


def sampled_beliefs(
    key: Key[Array, ""],
    noise: float,
    *,
    corruption: LeafNoise,
    depth: int,
    vocab_size: int,
    rules_per_symbol: int,
    branching: int = 2,
    population: int = 4000,
) -> Float[np.ndarray, " levels"]:
    """Mean belief in the true symbol of the nodes of each level, given the leaves below them.

    What :func:`~hiermodel.theory.expected_beliefs` says, without its annealed average: right for
    small v and m too, and random.

    Args:
        key: one typed key.
        noise: ε in 0…1, see ``LeafNoise``.
        corruption: "equal", "erased", "redrawn" or "gaussian".
        depth: L, at least 1.
        vocab_size: v, at least 2.
        rules_per_symbol: m, in 1…v**(s − 1).
        branching: s, at least 2.
        population: messages kept, at least 1.

    Returns:
        (depth + 1,) for levels 0, the root, to depth, the leaves.

    Raises:
        ValueError: for a wrong key or an argument out of its range.

    Example:
        >>> hm.theory.sampled_beliefs(
        ...     key, 0.2, corruption="equal", depth=3, population=100, **rhm
        ... ).shape
        (4,)
    """
    found = check_sizes(vocab_size, rules_per_symbol, branching)
    depth = check_integer("depth", depth, 1)
    population = check_integer("population", population, 1)
    check_noise(noise, corruption)
    generator = _generator(key)
    messages = _leaves(generator, noise, corruption, found.vocab_size, population)
    means = [messages[:, 0].mean()]
    for _ in range(depth):
        messages = _parents(generator, messages, found)
        means.append(messages[:, 0].mean())
    return np.array(means[::-1])


def sampled_threshold(
    key: Key[Array, ""],
    *,
    corruption: LeafNoise,
    vocab_size: int,
    rules_per_symbol: int,
    branching: int = 2,
    population: int = 2000,
    tolerance: float = 0.01,
) -> float | None:
    """The noise up to which the root of a deep tree can be recovered; None if there is none.

    What :func:`~hiermodel.theory.recovery_threshold` says, without its annealed average, by
    bisection down to ``tolerance``; a larger population makes the decisions near the threshold
    surer. Other arguments and errors as :func:`sampled_beliefs`.

    Example:
        >>> found = hm.theory.sampled_threshold(
        ...     key, corruption="erased", population=100, tolerance=0.1, **rhm
        ... )
        >>> 0 < found <= 1
        True
    """
    found = check_sizes(vocab_size, rules_per_symbol, branching)
    population = check_integer("population", population, 1)
    require(0 < tolerance < 1, "tolerance", tolerance, "above 0 and below 1")
    check_noise(0.0, corruption)
    if not tolerates_noise(found):
        return None
    low, high = 0.0, 1.0
    while high - low > tolerance:
        middle = (low + high) / 2
        generator = _generator(key)
        leaves = _leaves(generator, middle, corruption, found.vocab_size, population)
        if _is_recovered(generator, leaves, found):
            low = middle
        else:
            high = middle
    return 1.0 if high == 1 else (low + high) / 2


def _generator(key: Key[Array, ""]) -> np.random.Generator:
    check_key(key)
    return np.random.default_rng(np.asarray(jax.random.key_data(key)).astype(np.uint32).tolist())


def _is_recovered(generator: np.random.Generator, messages: np.ndarray, sizes: Sizes) -> bool:
    lowest = 1 / sizes.vocab_size
    share = 0.5
    for _ in range(MAX_LEVELS):
        messages = _parents(generator, messages, sizes)
        share = (messages[:, 0].mean() - lowest) / (1 - lowest)
        if share > 0.98 or share < 0.01:
            break
    return bool(share > 0.5)


def _leaves(
    generator: np.random.Generator, noise: float, corruption: str, vocab_size: int, number: int
) -> np.ndarray:
    """Messages of leaves, (number, vocab_size), the true symbol first."""
    true = np.arange(vocab_size) == 0
    stays = 1 - noise + noise / vocab_size
    if corruption == "equal":
        return np.tile(np.where(true, stays, noise / vocab_size), (number, 1))
    if corruption == "erased":
        hidden = generator.random((number, 1)) < noise
        return np.where(hidden, 1 / vocab_size, true)
    if corruption == "redrawn":
        drawn = generator.integers(vocab_size, size=number)
        seen = np.where(generator.random(number) < noise, drawn, 0)
        return np.where(seen[:, None] == np.arange(vocab_size), stays, noise / vocab_size)
    if noise == 0:
        return np.tile(true.astype(float), (number, 1))
    signal = (1 - noise) / noise
    field = signal * true + np.sqrt(signal) * generator.normal(size=(number, vocab_size))
    weights = np.exp(field - field.max(1, keepdims=True))
    return weights / weights.sum(1, keepdims=True)


def _parents(generator: np.random.Generator, messages: np.ndarray, sizes: Sizes) -> np.ndarray:
    """One level up: s children at random, and rules drawn anew for every group of parents."""
    vocab_size, rules, branching = sizes
    number = len(messages)
    children = [messages[generator.permutation(number)] for _ in range(branching)]
    parents = np.empty_like(messages)
    for start in range(0, number, GROUP):
        group = slice(start, start + GROUP)
        others = generator.choice(vocab_size**branching - 1, rules * vocab_size - 1, replace=False)
        codes = np.append(0, others + 1)  # the true tuple is rule 0 of symbol 0
        weights = np.ones((len(messages[group]), len(codes)))
        for position, child in enumerate(children):
            weights *= child[group][:, codes // vocab_size**position % vocab_size]
        parents[group] = weights.reshape(len(weights), vocab_size, rules).sum(-1)
    return parents / parents.sum(1, keepdims=True)
