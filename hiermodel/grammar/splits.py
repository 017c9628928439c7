"""Exchangeable, disjoint training sets, and test sets drawn from the law (science.md#splits).

A keyed hash of a sequence says which cell it belongs to, and split i takes the first n different
draws that fall to cell i. The hash knows nothing of how likely a sequence is, so no split differs
from another in law, whatever its number.
"""

import dataclasses
import functools
from collections.abc import Iterator

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int, Key, UInt

from hiermodel.checks import InputError, check_integer, check_key
from hiermodel.grammar.rules import Grammar, symbol_dtype
from hiermodel.grammar.sampling import sample_leaves
from hiermodel.grammar.support import is_unambiguous, support_size

# The stream of draws comes in blocks of two sizes: small ones, so that little data costs little,
# and large ones, for speed. Two sizes, because each is compiled.
SMALL_BLOCK = 4096
LARGE_BLOCK = 131_072
NUM_SMALL = 16
GROWTH = 1.5
"""By how much the draws grow whenever they do not suffice."""

SPARE_DRAWS = 1 << 20
DRAWS_PER_SEQUENCE = 32
"""Draws after which a grammar is said to have too few sequences, per sequence that is needed."""


@dataclasses.dataclass(frozen=True)
class Splits:
    """Training sets and a test set.

    Attributes:
        train: (num_splits, split_size, num_leaves), no sequence twice in all of it; int8, or
            int32 for more than 128 symbols. Rows are in the order of their hash, so the first ones
            are no likelier than the others.
        test: (test_size, num_leaves), independent draws from the law. They repeat, and some are
            training sequences too: see ``test_split``.
    """

    train: Int[np.ndarray, "num_splits split_size leaves"]
    test: Int[np.ndarray, "test_size leaves"]

    @functools.cached_property
    def test_split(self) -> Int[np.ndarray, " test_size"]:
        """The split that holds each test sequence too, −1 where none does; int32."""
        num_splits, split_size, _ = self.train.shape
        symbols = int(max(self.train.max(), self.test.max())) + 1
        codes = _as_scalars(_pack(self.train.reshape(num_splits * split_size, -1), symbols))
        order = np.argsort(codes)
        wanted = _as_scalars(_pack(self.test, symbols))
        place = np.minimum(np.searchsorted(codes, wanted, sorter=order), len(codes) - 1)
        row = order[place]
        return np.where(codes[row] == wanted, row // split_size, -1).astype(np.int32)

    @property
    def test_in_train(self) -> Int[np.ndarray, " num_splits"]:
        """Number of test sequences, repetitions counted, that are also in each split."""
        return np.bincount(self.test_split + 1, minlength=len(self.train) + 1)[1:]

    @property
    def unseen(self) -> Int[np.ndarray, "unseen leaves"]:
        """The test sequences that are in no split, in their order: for attacks on membership.

        They follow the law given that they were not trained on, not the law itself.

        Raises:
            ValueError: if there are none.
        """
        found = self.test[self.test_split < 0]
        if not len(found):
            raise InputError(
                f"test_size={len(self.test)} is not allowed here: all test sequences are training "
                "sequences too; use a larger test set, smaller splits or a larger grammar"
            )
        return found


def make_splits(
    key: Key[Array, ""],
    grammar: Grammar,
    *,
    num_splits: int,
    split_size: int,
    test_size: int,
    filter_level: int = 0,
) -> Splits:
    """Draw disjoint training sets of distinct sequences, and a test set from the law.

    There are as many cells as the next power of two of ``num_splits``. All sequences are spread
    over them by a hash that the key draws, and split i is the first ``split_size`` different draws
    of cell i. Hence splits are exchangeable: relabelling them leaves their joint law as it is.
    Larger splits hold the smaller ones. Further splits leave the others as they are as long as the
    power of two stays: 3 and 4 splits share theirs, 5 to 8, 9 to 16. More cannot be had without
    harm. A sequence is in one of M interchangeable disjoint sets with probability at most 1/M, so
    splits that stayed the same for any number of them would shun the likely sequences.

    Args:
        key: one typed key.
        grammar: the law of the data.
        num_splits: number of training sets, at least 1.
        split_size: n, sequences per training set, at least 1.
        test_size: number of test sequences, at least 1; independent of the training sets.
        filter_level: filter level of the data.

    Raises:
        ValueError: if an argument is out of range or the grammar has too few sequences.

    Example:
        >>> paper = hm.paper_grammar()
        >>> splits = hm.make_splits(key, paper, num_splits=2, split_size=5, test_size=7)
        >>> splits.train.shape, splits.test.shape
        ((2, 5, 16), (7, 16))
    """
    check_key(key)
    num_splits = check_integer("num_splits", num_splits, 1)
    split_size = check_integer("split_size", split_size, 1)
    test_size = check_integer("test_size", test_size, 1)
    pool_key, test_key = jax.random.split(key)
    train = draw_splits(pool_key, grammar, num_splits, split_size, filter_level=filter_level)
    return Splits(train, draw_sequences(test_key, grammar, test_size, filter_level=filter_level))


def draw_splits(
    key: Key[Array, ""],
    grammar: Grammar,
    num_splits: int,
    split_size: int,
    *,
    filter_level: int = 0,
) -> Int[np.ndarray, "num_splits split_size leaves"]:
    """The training sets of :func:`make_splits`.

    Raises:
        ValueError: if the grammar has too few sequences, or those drawn leave a cell too small.
    """
    check_key(key)
    num_splits = check_integer("num_splits", num_splits, 1)
    split_size = check_integer("split_size", split_size, 1)
    _check_support(grammar, num_splits, split_size, filter_level)
    draw_key, hash_key = jax.random.split(key)
    cell_bits = (num_splits - 1).bit_length()
    needed = split_size << cell_bits
    limit = SPARE_DRAWS + DRAWS_PER_SEQUENCE * needed

    drawn = np.zeros((0, grammar.num_leaves), symbol_dtype(grammar.vocab_size))
    blocks, target = _blocks(draw_key, grammar, filter_level), needed
    while True:
        parts = [drawn]
        have = len(drawn)
        while have < target:
            parts.append(next(blocks))
            have += len(parts[-1])
        drawn = np.concatenate(parts)
        words = _pack(drawn, grammar.vocab_size)
        _, first = np.unique(_as_scalars(words), return_index=True)
        first.sort()  # into the order of drawing
        hashes = _hash(hash_key, words[first])
        cells = hashes >> np.uint64(64 - cell_bits) if cell_bits else np.zeros_like(hashes)
        rows = [np.flatnonzero(cells == split)[:split_size] for split in range(num_splits)]
        found = min(map(len, rows))
        if found == split_size:
            ordered = [first[own[np.argsort(hashes[own], kind="stable")]] for own in rows]
            return drawn[np.stack(ordered)]
        if len(drawn) >= limit:
            raise InputError(
                f"split_size={split_size} is not allowed for {num_splits} splits: {len(drawn)} "
                f"draws yielded {len(first)} different sequences, {found} of them for one of the "
                "splits; use fewer or smaller splits, or a larger grammar"
            )
        target = int(GROWTH * len(drawn))


def draw_sequences(
    key: Key[Array, ""], grammar: Grammar, size: int, *, filter_level: int = 0
) -> Int[np.ndarray, "size leaves"]:
    """Independent draws in the type that data are kept in; more of them begin with the same ones.

    In blocks, so that memory is that of the sequences.

    Raises:
        ValueError: if ``size`` is below 1, or the filter level out of range.
    """
    size = check_integer("size", size, 1)
    parts: list[np.ndarray] = []
    blocks = _blocks(key, grammar, filter_level)
    while sum(map(len, parts)) < size:
        parts.append(next(blocks))
    return np.concatenate(parts)[:size]


def _blocks(key: Key[Array, ""], grammar: Grammar, filter_level: int) -> Iterator[np.ndarray]:
    """An endless stream of draws, the same however much of it is taken."""
    number = 0
    while True:
        size = SMALL_BLOCK if number < NUM_SMALL else LARGE_BLOCK
        block = jax.random.fold_in(key, number)
        leaves = sample_leaves(block, grammar, size, filter_level=filter_level)
        yield np.asarray(leaves, dtype=symbol_dtype(grammar.vocab_size))
        number += 1


def _check_support(grammar: Grammar, num_splits: int, split_size: int, filter_level: int) -> None:
    """Refuse at once what no number of draws can yield, where the support is known."""
    if filter_level or not is_unambiguous(grammar):
        return
    support = support_size(grammar)
    if num_splits * split_size > support:
        raise InputError(
            f"split_size={split_size} is not allowed for {num_splits} splits: the grammar has only "
            f"{support} different sequences, so at most {support // num_splits} each"
        )


def _pack(sequences: Int[np.ndarray, "n leaves"], vocab_size: int) -> UInt[np.ndarray, "n words"]:
    """As few 64-bit words as hold the symbols; equal if and only if the sequences are."""
    bits = max((vocab_size - 1).bit_length(), 1)
    per_word = 64 // bits
    columns = []
    for start in range(0, sequences.shape[1], per_word):
        word = np.zeros(len(sequences), np.uint64)
        for symbol in sequences[:, start : start + per_word].T:
            word = (word << np.uint64(bits)) | symbol.astype(np.uint64)
        columns.append(word)
    return np.stack(columns, -1)


def _as_scalars(words: UInt[np.ndarray, "n words"]) -> np.ndarray:
    """One comparable value per row."""
    if words.shape[1] == 1:
        return words[:, 0]
    fields = [(str(number), np.uint64) for number in range(words.shape[1])]
    return np.ascontiguousarray(words).view(fields)[:, 0]


def _hash(key: Key[Array, ""], words: UInt[np.ndarray, "n words"]) -> UInt[np.ndarray, " n"]:
    """64 bits per row that look random and independent; the key says which.

    Each word is mixed in with a number of its own, by a bijection of 64-bit words.
    """
    halves = np.asarray(jax.random.bits(key, (words.shape[1] + 1, 2), jnp.uint32), np.uint64)
    seeds = (halves[:, 0] << np.uint64(32)) | halves[:, 1]
    state = np.full(len(words), seeds[-1])
    for seed, word in zip(seeds[:-1], words.T, strict=True):
        state = _mix(_mix(state ^ word) + seed)
    return state


def _mix(state: UInt[np.ndarray, " n"]) -> UInt[np.ndarray, " n"]:
    """The finaliser of SplitMix64: every bit of the result depends on every bit given."""
    state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return state ^ (state >> np.uint64(31))
