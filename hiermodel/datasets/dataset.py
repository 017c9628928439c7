"""A loaded data set: sequences, and all that is known exactly about them."""

import dataclasses
import functools
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from hiermodel.checks import check_integer, require
from hiermodel.datasets.drawing import draw_leaves, draw_trees
from hiermodel.datasets.names import Definition, define, key_of
from hiermodel.datasets.token_entropies import token_entropies
from hiermodel.grammar.paths_on_host import host_probs
from hiermodel.grammar.rules import Grammar

SPLITS = {"train": 100_000, "validation": 10_000, "test": 10_000}
"""The splits, and how many sequences of each are loaded if no number is said."""

MAX_SEQUENCES = 1 << 32


@dataclasses.dataclass(frozen=True, eq=False)
class Dataset:
    """Independent draws from a grammar, and what is known about each.

    It has a length and items (copies of rows), so ``torch.utils.data.DataLoader`` and whatever
    else takes random access takes it as it is; ``np.asarray`` gives the sequences. It can be
    pickled, so workers may be processes. What is not in the constructor is made at first use.

    Attributes:
        name: its one spelling; other spellings of numbers lead to it.
        split: "train", "validation" or "test".
        seed: which draws.
        sequences: (num, num_leaves), read-only, in the smallest signed integers that hold every
            symbol.

    Example:
        >>> data = hm.datasets.load("paper", num=3)
        >>> len(data), data[0].shape, data.token_entropies.shape
        (3, (16,), (3, 16))
    """

    name: str
    split: str
    seed: int
    sequences: Int[np.ndarray, "num leaves"] = dataclasses.field(repr=False)

    @property
    def grammar(self) -> Grammar:
        """The law of the sequences."""
        return self._definition.grammar

    @functools.cached_property
    def trees(self) -> tuple[Int[np.ndarray, "num nodes"], ...]:
        """The tree above each sequence: per level 0…depth, (num, branching**level) symbols."""
        blocks = [block.symbols for block in self._draw_trees()]
        return tuple(_read_only(np.concatenate(level)) for level in zip(*blocks, strict=True))

    @functools.cached_property
    def log_probs(self) -> Float[np.ndarray, " num"]:
        """Natural log of each sequence's probability, in float64.

        It is the tree's own, as no two trees of these grammars have the same leaves: the root's
        log-probability and one for each rule used.
        """
        grammar = self.grammar
        root, rules = (
            np.log(host_probs(grammar.root_log_probs)),
            _host_log_probs(grammar),
        )
        totals = []
        for block in self._draw_trees():
            total = root[block.symbols[0][:, 0]]
            for level, used in enumerate(block.rules):
                table = rules[grammar.table_index(level)]
                total = total + table[block.symbols[level], used].sum(-1)
            totals.append(total)
        return _read_only(np.concatenate(totals))

    @functools.cached_property
    def token_entropies(self) -> Float[np.ndarray, "num leaves"]:
        """Entropy, in nats, of each token given all tokens to its left in that sequence.

        H(x_i | x_1 … x_{i−1} as they are), of the exact law. Column i averages to the least loss
        that any autoregressive model can have there; rows average to the entropy of a sequence.
        """
        return _read_only(token_entropies(self.grammar, self.sequences))

    def __len__(self) -> int:
        return len(self.sequences)

    def __getitem__(self, index: Any) -> Int[np.ndarray, "..."]:
        return self.sequences[index].copy()

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.array(self.sequences, dtype=dtype, copy=copy)

    @property
    def _definition(self) -> Definition:
        return define(self.name)

    def _draw_trees(self):
        return draw_trees(self._definition, _key(self.name, self.split, self.seed), len(self))


def load(name: str, *, split: str = "train", num: int | None = None, seed: int = 0) -> Dataset:
    """Draw a named data set. The same call gives the same bytes, always and everywhere.

    Sequences are independent draws from the grammar of the name. Splits and seeds differ in their
    draws alone, so where a grammar has few sequences the same one may be in several; for disjoint
    training sets see :func:`hiermodel.make_splits`.

    Args:
        name: "paper" or "rhm-v{V}-m{M}-s{S}-L{L}", and "-g{N}" after it for other rules.
        split: "train", "validation" or "test".
        num: how many sequences, at least 1: the first ones, whatever the number. By default
            100 000 of "train", 10 000 of the others.
        seed: which draws, at least 0.

    Raises:
        ValueError: for an unknown name or split, or numbers out of range.

    Example:
        >>> hm.datasets.load("rhm-v32-m8-s2-L9", split="test", num=3).sequences.shape
        (3, 512)
    """
    require(split in SPLITS, "split", split, "one of " + ", ".join(map(repr, SPLITS)))
    num = SPLITS[split] if num is None else check_integer("num", num, 1, MAX_SEQUENCES)
    seed = check_integer("seed", seed, 0)
    definition = define(name)
    leaves = draw_leaves(definition, _key(definition.name, split, seed), num)
    return Dataset(definition.name, split, seed, _read_only(leaves))


def _key(name: str, split: str, seed: int):
    return key_of(name, "sequences", split, seed)


def _host_log_probs(grammar: Grammar) -> Float[np.ndarray, "levels vocab rules"]:
    """Log-weights in float64. Every rule of these grammars exists, so all are finite."""
    return np.log(host_probs(grammar.log_weights))


def _read_only(array: np.ndarray) -> np.ndarray:
    array.flags.writeable = False
    return array
