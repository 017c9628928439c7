"""How inference works through many sequences: in blocks, in turn, and some of them twice."""

import functools
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Num

from hiermodel.grammar.rules import Grammar
from hiermodel.inference import messages

BLOCK = 2048
"""Most sequences that the fast method takes at a time on a CPU, whose arrays stay in cache."""

BLOCK_TERMS = 2**20
"""Most products of a rule and a node, at the lowest level, that it takes at a time there."""

REPAIRED = 64
"""Most sequences of a block that are done again in log space at a time."""


def block_size(grammar: Grammar) -> int:
    """Sequences that log space takes at a time on a CPU."""
    return max(1, messages.BLOCK // grammar.num_leaves)


def fast_block_size(grammar: Grammar) -> int:
    """Sequences that the fast method takes at a time on a CPU."""
    terms = grammar.vocab_size * grammar.max_rules * grammar.num_leaves
    return min(BLOCK, max(1, BLOCK_TERMS // terms))


def in_blocks(
    run: Callable[[Array], Any], leaf_evidence: Num[Array, "... leaves vocab"], size: int
) -> Any:
    """Apply ``run`` to all sequences; on a CPU to ``size`` at a time, whose arrays stay in cache.

    Args:
        run: maps (rows, num_leaves, vocab_size) to a tree of arrays with rows first.
        leaf_evidence: any leading axes; they come back. In its place may stand symbols, with a last
            axis of 1.
        size: sequences in a block.
    """
    *batch, num_leaves, vocab_size = leaf_evidence.shape
    rows = math.prod(batch)
    flat = leaf_evidence.reshape(rows, num_leaves, vocab_size)

    def run_blocks(flat: Num[Array, "rows leaves vocab"]) -> Any:
        padded = jnp.pad(flat, ((0, -rows % size), (0, 0), (0, 0)))
        blocks = jax.lax.map(run, padded.reshape(-1, size, num_leaves, vocab_size))
        return jax.tree.map(lambda part: part.reshape(-1, *part.shape[2:])[:rows], blocks)

    if rows <= size:
        out = run(flat)
    else:
        out = jax.lax.platform_dependent(flat, cpu=run_blocks, default=run)
    return jax.tree.map(lambda part: part.reshape(*batch, *part.shape[1:]), out)


def in_turn(run: Callable[[Grammar, Array], Any], grammar: Grammar, leaf_evidence: Array) -> Any:
    """``run(grammar, leaf_evidence)``, which under ``vmap`` does not become another program.

    A mapped axis of evidence is put in front of its others; a stack of grammars is looped over. The
    results have all leading axes of the evidence in front.
    """
    mapped = jax.custom_batching.custom_vmap(run)

    @mapped.def_vmap
    def _rule(axis_size, in_batched, grammar, leaf_evidence):
        grammar_batched, evidence_batched = in_batched
        if not any(jax.tree.leaves(grammar_batched)):
            out = in_turn(run, grammar, leaf_evidence)
        else:
            stack = jax.tree.map(
                lambda leaf, batched: leaf if batched else _repeat(leaf, axis_size),
                (grammar, leaf_evidence),
                (grammar_batched, evidence_batched),
            )
            out = jax.lax.map(lambda one: in_turn(run, *one), stack)
        return out, jax.tree.map(lambda _: True, out)

    return mapped(grammar, leaf_evidence)


def _repeat(leaf: Array, size: int) -> Array:
    return jnp.broadcast_to(leaf, (size, *leaf.shape))


def guarded(
    run_exactly: Callable[[Array], Any],
    finish: Callable[[Any], Any],
    fast: Any,
    is_exact: Bool[Array, " block"],
    leaf_evidence: Num[Array, "block leaves vocab"],
    size: int,
) -> Any:
    """What the fast method found, and the exact method's answer for rows that it is not sure of.

    Args:
        run_exactly: from evidence to a tree of arrays, rows first.
        finish: makes such a tree of ``fast``.
        fast: what was found.
        is_exact: which rows of it are right.
        leaf_evidence: that of the rows.
        size: rows that ``run_exactly`` takes at a time.
    """

    def repair(fast: Any) -> Any:
        return _redo(run_exactly, size, leaf_evidence, finish(fast), ~is_exact)

    # Inside a branch the change of layout is a copy of its own; outside, XLA would fuse it into
    # the arithmetic, which would then read and write with strides and run at half its speed.
    return jax.lax.cond(is_exact.all(), finish, repair, fast)


def _redo(
    run: Callable[[Array], Any],
    block_rows: int,
    leaf_evidence: Num[Array, "block leaves vocab"],
    found: Any,
    wrong: Bool[Array, " block"],
) -> Any:
    """Replace the found of the wrong rows.

    A CPU's time is that of the rows, however many at a time: so there the exact method is compiled
    once. An accelerator's is that of the calls: where many rows are wrong, all are done at once.
    """

    def redo_all(found: Any) -> Any:
        right = in_blocks(run, leaf_evidence, block_rows)
        return jax.tree.map(functools.partial(_choose_rows, wrong), right, found)

    def redo_some(found: Any, at_a_time: int = REPAIRED) -> Any:
        return _redo_rows(run, at_a_time, leaf_evidence, found, wrong)

    def redo_some_or_all(found: Any) -> Any:
        return jax.lax.cond(wrong.sum() > REPAIRED, redo_all, redo_some, found)

    if len(wrong) <= REPAIRED:
        return redo_all(found)
    redo_in_cache = functools.partial(redo_some, at_a_time=min(REPAIRED, block_rows))
    return jax.lax.platform_dependent(found, cpu=redo_in_cache, default=redo_some_or_all)


def _choose_rows(rows: Bool[Array, " block"], new: Array, old: Array) -> Array:
    return jnp.where(rows.reshape(-1, *[1] * (new.ndim - 1)), new, old)


def _redo_rows(
    run: Callable[[Array], Any],
    at_a_time: int,
    leaf_evidence: Num[Array, "block leaves vocab"],
    found: Any,
    wrong: Bool[Array, " block"],
) -> Any:
    """Replace the found of the wrong rows, a few at a time, so that few rows cost little."""

    def redo(state: tuple[Array, Any]) -> tuple[Array, Any]:
        wrong, found = state
        rows = jnp.flatnonzero(wrong, size=at_a_time, fill_value=len(wrong))
        right = run(leaf_evidence.at[rows].get(mode="clip"))
        found = jax.tree.map(lambda old, new: old.at[rows].set(new, mode="drop"), found, right)
        return wrong.at[rows].set(False, mode="drop"), found

    return jax.lax.while_loop(lambda state: state[0].any(), redo, (wrong, found))[1]
