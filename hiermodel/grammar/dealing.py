"""Rules dealt out at random: which tuples of children each symbol gets."""

import math
from collections.abc import Sequence

import jax
import numpy as np
from jaxtyping import Array, Int, Key

from hiermodel.checks import check_integer, require

MOST_PERMUTED = 2**20
"""Of more tuples than this, those wanted are drawn one by one."""


def deal_rules(
    key: Key[Array, ""],
    vocab_size: int,
    depth: int,
    branching: int,
    rules_per_symbol: int,
    shared: bool,
) -> np.ndarray:
    """Children (levels, q, m, s) of rules dealt out so that no tuple has two parents."""
    vocab_size = check_integer("vocab_size", vocab_size, 2)
    depth = check_integer("depth", depth, 1)
    branching = check_integer("branching", branching, 2)
    num_rules = check_integer(
        "rules_per_symbol", rules_per_symbol, 1, vocab_size ** (branching - 1)
    )
    codes = [
        deal_tuples(jax.random.fold_in(key, level), vocab_size**branching, (vocab_size, num_rules))
        for level in range(1 if shared else depth)
    ]
    return tuples_from_codes(np.stack(codes), vocab_size, branching)


def deal_tuples(
    key: Key[Array, ""], num_tuples: int, shape: int | tuple[int, ...]
) -> Int[np.ndarray, "..."]:
    """Tuples, as numbers, that all differ: every choice is equally likely."""
    shape = (shape,) if isinstance(shape, int) else shape
    if num_tuples > MOST_PERMUTED and 2 * math.prod(shape) <= num_tuples:
        return _first_to_differ(key, num_tuples, math.prod(shape)).reshape(shape)
    return np.asarray(jax.random.choice(key, num_tuples, shape, replace=False))


def _first_to_differ(key: Key[Array, ""], num_tuples: int, count: int) -> Int[np.ndarray, " count"]:
    """Drawn with replacement, each where it comes first: to permute all would take minutes."""
    drawn, rounds = np.empty(0, np.int64), 0
    while True:
        own = jax.random.randint(jax.random.fold_in(key, rounds), (2 * count,), 0, num_tuples)
        drawn, rounds = np.concatenate([drawn, np.asarray(own)]), rounds + 1
        _, first = np.unique(drawn, return_index=True)
        if len(first) >= count:
            return drawn[np.sort(first)[:count]]


def rule_counts(
    rules_per_symbol: int | Sequence[int], vocab_size: int, num_tuples: int
) -> Int[np.ndarray, " vocab"]:
    """How many rules each symbol has."""
    counts = np.asarray(rules_per_symbol)
    fits = counts.shape in ((), (vocab_size,)) and np.issubdtype(counts.dtype, np.integer)
    counts = np.broadcast_to(counts, vocab_size) if fits else counts
    require(
        fits and bool(counts.min() >= 1) and int(counts.sum()) <= num_tuples,
        "rules_per_symbol",
        rules_per_symbol,
        f"an integer or {vocab_size} of them, at least 1, that add up to at most {num_tuples}",
    )
    return counts


def tuples_from_codes(
    codes: Int[np.ndarray, "..."], vocab_size: int, branching: int
) -> Int[np.ndarray, "... branching"]:
    """Write each code in base q, most significant digit first: the flat index of a tuple."""
    powers = vocab_size ** np.arange(branching - 1, -1, -1)
    return codes[..., None] // powers % vocab_size
