"""Draw trees from random words by comparing integers: no rounding anywhere."""

import functools
from collections.abc import Iterator
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int, Key, UInt

from hiermodel.datasets.names import Definition
from hiermodel.random_bits import RowKey, random_words

BLOCK_LEAVES = 1 << 20
"""Leaves drawn at a time. Changes no byte."""


class Trees(NamedTuple):
    """Trees by level.

    Attributes:
        symbols: per level 0…depth, (rows, branching**level).
        rules: per level 0…depth − 1, (rows, branching**level), the rule that each node used.
    """

    symbols: tuple[Int[Array | np.ndarray, "rows _"], ...]
    rules: tuple[Int[Array | np.ndarray, "rows _"], ...]


def draw_leaves(
    definition: Definition, key: Key[Array, ""], num: int
) -> Int[np.ndarray, "num leaves"]:
    """The leaves of trees 0 … num − 1."""
    leaves = np.empty((num, definition.grammar.num_leaves), definition.dtype)
    for start, block in _blocks(definition, key, num):
        rows = leaves[start : start + len(block.symbols[-1])]
        rows[:] = np.asarray(block.symbols[-1])[: len(rows)]
    return leaves


def draw_trees(definition: Definition, key: Key[Array, ""], num: int) -> Iterator[Trees]:
    """The whole trees 0 … num − 1, a block of them at a time."""
    for start, block in _blocks(definition, key, num):
        yield jax.tree.map(lambda nodes, start=start: np.asarray(nodes)[: num - start], block)


def _blocks(definition: Definition, key: Key[Array, ""], num: int) -> Iterator[tuple[int, Trees]]:
    """The number of a block's first tree, and its trees; all blocks are of one size."""
    grammar = definition.grammar
    size = min(max(1, BLOCK_LEAVES // grammar.num_leaves), 1 << max(num - 1, 0).bit_length())
    children = definition.children.astype(definition.dtype)
    for start in range(0, num, size):
        rows = np.arange(start, start + size, dtype=np.uint64).astype(np.uint32)
        root, words = _draw_root(key, rows, children, grammar.depth)
        symbols, rules = [root], []
        for level, own in enumerate(words):
            table = grammar.table_index(level)
            thresholds = None if definition.thresholds is None else definition.thresholds[table]
            rule, below = _draw_level(symbols[-1], own, children[table], thresholds)
            rules.append(rule)
            symbols.append(below)
        yield start, Trees(tuple(symbols), tuple(rules))


@functools.partial(jax.jit, static_argnames="depth")
def _draw_root(
    key: Key[Array, ""], rows: UInt[Array, " rows"], children: Int[Array, "..."], depth: int
) -> tuple[Int[Array, "rows 1"], list[UInt[Array, "rows _"]]]:
    """Roots, and per level the words of its nodes: one word decides the root, one each rule."""
    _, vocab_size, _, branching = children.shape
    firsts = np.cumsum([1, *(branching**level for level in range(depth))])
    words = random_words(RowKey(key, rows), int(firsts[-1]))
    root, *by_level = jnp.split(words, firsts[:-1], axis=1)
    return _uniform(root, vocab_size).astype(children.dtype), by_level


# A program per level: in one program the compiler would fuse a level into the next and so on, and
# take four times as long for each further level.
@jax.jit
def _draw_level(
    parents: Int[Array, "rows nodes"],
    words: UInt[Array, "rows nodes"],
    children: Int[Array, "vocab rules branching"],
    thresholds: UInt[Array, "vocab steps"] | None,
) -> tuple[Int[Array, "rows nodes"], Int[Array, "rows below"]]:
    """The rule of each node, and the symbols below."""
    parents = parents.astype(jnp.int32)  # JAX cannot index 128 entries by int8
    if thresholds is None:
        rule = _uniform(words, children.shape[1])
    else:
        rule = (words[..., None] >= thresholds[parents]).sum(-1, dtype=jnp.int32)
    return rule, children[parents, rule].reshape(len(parents), -1)


def _uniform(words: UInt[Array, "..."], count: int) -> Int[Array, "..."]:
    """The integer part of word · count / 2^32, in 32 bits, for a count of at most 2^16."""
    high, low = words >> np.uint32(16), words & np.uint32(0xFFFF)
    product = high * np.uint32(count) + ((low * np.uint32(count)) >> np.uint32(16))
    return (product >> np.uint32(16)).astype(jnp.int32)
