"""Disjoint training sets, and test sets that share no sequence with them (SPEC section 5)."""

import dataclasses

import jax
import numpy as np
from jaxtyping import Array, Int, Key

from hiermodel.checks import check_integer, check_key
from hiermodel.grammar.rules import Grammar, symbol_dtype
from hiermodel.grammar.sampling import sample_leaves

MAX_DRAWS = 200
"""Rounds of drawing after which a grammar is said to have too few sequences."""


@dataclasses.dataclass(frozen=True)
class Splits:
    """Training sets and a test set.

    Attributes:
        train: (num_splits, split_size, num_leaves), no sequence twice in all of it; int8, or
            int32 for more than 128 symbols.
        test: (test_size, num_leaves), independent draws, none of them in ``train``.
    """

    train: Int[np.ndarray, "num_splits split_size leaves"]
    test: Int[np.ndarray, "test_size leaves"]


def make_splits(
    key: Key[Array, ""],
    grammar: Grammar,
    *,
    num_splits: int,
    split_size: int,
    test_size: int,
    filter_level: int = 0,
) -> Splits:
    """Draw a pool of distinct sequences, cut it into splits, and draw a test set beside it.

    The pool depends on the key alone: more or larger splits take further sequences from the same
    pool. Test sequences are draws from the grammar conditioned on being in none of the splits.

    Args:
        key: one typed key.
        grammar: the law of the data.
        num_splits: number of training sets, at least 1.
        split_size: n, sequences per training set, at least 1.
        test_size: number of test sequences, at least 1.
        filter_level: filter level of the data.

    Raises:
        ValueError: if an argument is out of range or the grammar has too few sequences.
    """
    check_key(key)
    num_splits = check_integer("num_splits", num_splits, 1)
    split_size = check_integer("split_size", split_size, 1)
    test_size = check_integer("test_size", test_size, 1)
    pool_key, test_key = jax.random.split(key)
    pool = draw_pool(pool_key, grammar, num_splits * split_size, filter_level=filter_level)
    train = np.stack([take_split(pool, index, split_size) for index in range(num_splits)])
    test = _draw_outside(test_key, grammar, test_size, pool, filter_level)
    return Splits(train, test)


def draw_pool(
    key: Key[Array, ""], grammar: Grammar, size: int, *, filter_level: int = 0
) -> Int[np.ndarray, "size leaves"]:
    """The first ``size`` distinct sequences of an endless stream of draws, in their order.

    Raises:
        ValueError: if the grammar does not yield that many different sequences.
    """
    size = check_integer("size", size, 1)
    drawn = np.zeros((0, grammar.num_leaves), symbol_dtype(grammar.vocab_size))
    for attempt in range(MAX_DRAWS):
        drawn = np.concatenate([drawn, _draw(key, grammar, attempt, filter_level)])
        _, first = np.unique(drawn, axis=0, return_index=True)
        drawn = drawn[np.sort(first)]
        if len(drawn) >= size:
            return drawn[:size]
    raise ValueError(
        f"size={size} is not allowed: the grammar yielded only {len(drawn)} different sequences; "
        "ask for at most about that many (num_splits · split_size)"
    )


def take_split(
    pool: Int[np.ndarray, "size leaves"], index: int, split_size: int
) -> Int[np.ndarray, "split_size leaves"]:
    """The ``index``-th block of ``split_size`` sequences of the pool.

    Raises:
        ValueError: if the pool does not reach that far; it never falls back to other data.
    """
    split_size = check_integer("split_size", split_size, 1, len(pool))
    index = check_integer("index", index, 0, len(pool) // split_size - 1)
    return pool[index * split_size : (index + 1) * split_size]


def _draw_outside(
    key: Key[Array, ""],
    grammar: Grammar,
    size: int,
    excluded: Int[np.ndarray, "pool leaves"],
    filter_level: int,
) -> Int[np.ndarray, "size leaves"]:
    """Independent draws, less those in ``excluded``."""
    forbidden = {row.tobytes() for row in excluded}
    kept: list[np.ndarray] = []
    for attempt in range(MAX_DRAWS):
        rows = _draw(key, grammar, attempt, filter_level)
        kept += [row for row in rows if row.tobytes() not in forbidden]
        if len(kept) >= size:
            return np.stack(kept[:size])
    raise ValueError(
        f"test_size={size} is not allowed: only {len(kept)} sequences outside the training splits "
        "were found; use smaller splits or a larger grammar"
    )


def _draw(key: Key[Array, ""], grammar: Grammar, attempt: int, filter_level: int) -> np.ndarray:
    block = jax.random.fold_in(key, attempt)
    leaves = sample_leaves(block, grammar, 4096, filter_level=filter_level)
    return np.asarray(leaves, dtype=symbol_dtype(grammar.vocab_size))
