"""Exact belief propagation: what the leaves of a tree say about every node (science.md#inference).

Two methods give the same answer. :mod:`hiermodel.inference.messages` works in log space, for every
grammar and evidence. :mod:`hiermodel.inference.unrolled` works with probabilities, many times
faster, for small grammars; sequences for which its probabilities may have underflown are then done
again in log space, one by one, so that no answer depends on what else is in the batch. Derivatives
always go through log space.
"""

import functools
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from hiermodel.checks import (
    check_integer,
    check_symbols,
    check_trailing_shape,
    is_concrete,
)
from hiermodel.grammar.rules import Grammar
from hiermodel.inference import messages, unrolled

BLOCK = 2048
"""Sequences that the fast method takes at a time on a CPU, so that its arrays stay in cache."""

REPAIRED = 64
"""Sequences of a block that are done again in log space at a time."""


class Beliefs(NamedTuple):
    """What is known about a tree given evidence at its leaves.

    Attributes:
        log_evidence: (...) natural log of sum over trees of P(tree) · exp(field at its leaves).
        log_marginals: per level 0…depth, (..., branching**level, vocab_size) log posterior
            marginals of the nodes; None for the levels that a filtered model does not have.
    """

    log_evidence: Float[Array, "..."]
    log_marginals: tuple[Float[Array, "... nodes vocab"] | None, ...]


def run_bp(
    grammar: Grammar,
    leaf_evidence: Float[Array | np.ndarray, "... leaves vocab"],
    *,
    filter_level: int = 0,
) -> Beliefs:
    """Log-evidence and the marginals of every node, exactly.

    Args:
        grammar: the model.
        leaf_evidence: (..., num_leaves, vocab_size) log-field of each leaf and symbol: 0 and −inf
            for an observed symbol, all 0 for a hidden one, h_i(a) for a noisy one.
        filter_level: k; 0 is the full model, depth makes leaves independent given the root.

    Returns:
        Beliefs, in the dtype of ``leaf_evidence``. Where the evidence is impossible, log-evidence
        is −inf and the marginals are those of the model without evidence.

    Raises:
        ValueError: for a wrong shape, a filter level out of range, or evidence that is NaN or +inf.

    Example:
        >>> beliefs = hm.run_bp(grammar, field)
        >>> round(float(beliefs.log_evidence), 4), [level.shape for level in beliefs.log_marginals]
        (0.0, [(1, 2), (2, 2), (4, 2)])
    """
    filter_level = check_integer("filter_level", filter_level, 0, grammar.depth)
    evidence = check_evidence(grammar, leaf_evidence)
    return _run_bp(grammar, evidence, filter_level, first_level=0)


def leaf_log_marginals(
    grammar: Grammar,
    leaf_evidence: Float[Array | np.ndarray, "... leaves vocab"],
    *,
    filter_level: int = 0,
) -> Float[Array, "... leaves vocab"]:
    """The log-marginals of the leaves alone: the last level of :func:`run_bp`, for less work.

    Example:
        >>> hm.inference.leaf_log_marginals(grammar, field).shape
        (4, 2)
    """
    filter_level = check_integer("filter_level", filter_level, 0, grammar.depth)
    evidence = check_evidence(grammar, leaf_evidence)
    beliefs = _run_bp(grammar, evidence, filter_level, first_level=grammar.depth)
    marginals = beliefs.log_marginals[-1]
    assert marginals is not None  # the leaves exist at every filter level
    return marginals


def log_prob(
    grammar: Grammar, leaves: Int[Array | np.ndarray, "... leaves"], *, filter_level: int = 0
) -> Float[Array, "..."]:
    """Natural-log probability of leaf sequences; −inf for those the grammar cannot produce.

    Args:
        grammar: the model; its dtype is the result's.
        leaves: (..., num_leaves) symbols.
        filter_level: as in :func:`run_bp`.

    Raises:
        ValueError: for a wrong length, a symbol out of range or a filter level out of range.

    Example:
        >>> law = hm.grammar.enumerate_law(grammar)
        >>> bool(np.allclose(np.exp(hm.log_prob(grammar, law.sequences)), law.probs))
        True
    """
    filter_level = check_integer("filter_level", filter_level, 0, grammar.depth)
    check_trailing_shape("leaves", leaves, (grammar.num_leaves,), "(num_leaves,)")
    check_symbols("leaves", leaves, grammar.vocab_size)
    return _log_prob(grammar, jnp.asarray(leaves), filter_level)


def observe(grammar: Grammar, leaves: Int[Array, "... leaves"]) -> Float[Array, "... leaves vocab"]:
    """Evidence that fixes every leaf to its symbol: 0 there, −inf elsewhere."""
    observed = leaves[..., None] == jnp.arange(grammar.vocab_size)
    return jnp.where(observed, 0.0, -jnp.inf).astype(grammar.log_weights.dtype)


def check_evidence(
    grammar: Grammar, leaf_evidence: Float[Array | np.ndarray, "... leaves vocab"]
) -> Float[Array, "... leaves vocab"]:
    """Return the evidence as an array, after checking its shape and, if known, its values."""
    shape = (grammar.num_leaves, grammar.vocab_size)
    check_trailing_shape("leaf_evidence", leaf_evidence, shape, "(num_leaves, vocab_size)")
    evidence = jnp.asarray(leaf_evidence)
    if not jnp.issubdtype(evidence.dtype, jnp.floating):
        raise ValueError(
            f"leaf_evidence has dtype {evidence.dtype}, which is not allowed: "
            "leaf_evidence must hold floating-point log-fields"
        )
    if is_concrete(evidence):
        values = np.asarray(evidence)  # NumPy, because inside a trace any jnp result is traced
        wrong = values[~(values < np.inf)]
        if wrong.size:
            raise ValueError(
                f"leaf_evidence holds {wrong[0]}, which is not allowed: "
                "leaf_evidence must be finite or −inf"
            )
    return evidence


@functools.partial(jax.jit, static_argnames=("filter_level", "first_level"))
def _run_bp(
    grammar: Grammar,
    leaf_evidence: Float[Array, "... leaves vocab"],
    filter_level: int,
    first_level: int,
) -> Beliefs:
    """Beliefs, with marginals from ``first_level`` on."""
    if unrolled.pays(grammar) and leaf_evidence.size > 0:
        return _run_fast(filter_level, first_level, grammar, leaf_evidence)
    run = functools.partial(_run_log_space, filter_level, first_level, grammar)
    return in_blocks(run, leaf_evidence, block_size(grammar))


def block_size(grammar: Grammar) -> int:
    """Sequences that log space takes at a time on a CPU."""
    return max(1, messages.BLOCK // grammar.num_leaves)


def in_blocks(
    run: Callable[[Array], Any], leaf_evidence: Float[Array, "... leaves vocab"], size: int
) -> Any:
    """Apply ``run`` to all sequences; on a CPU to ``size`` at a time, whose arrays stay in cache.

    Args:
        run: maps (rows, num_leaves, vocab_size) to a tree of arrays with rows first.
        leaf_evidence: any leading axes; they come back.
        size: sequences in a block.
    """
    *batch, num_leaves, vocab_size = leaf_evidence.shape
    rows = math.prod(batch)
    flat = leaf_evidence.reshape(rows, num_leaves, vocab_size)
    if jax.default_backend() != "cpu" or rows <= size:
        out = run(flat)
    else:
        padded = jnp.pad(flat, ((0, -rows % size), (0, 0), (0, 0)))
        blocks = jax.lax.map(run, padded.reshape(-1, size, num_leaves, vocab_size))
        out = jax.tree.map(lambda part: part.reshape(-1, *part.shape[2:])[:rows], blocks)
    return jax.tree.map(lambda part: part.reshape(*batch, *part.shape[1:]), out)


def _run_log_space(
    filter_level: int,
    first_level: int,
    grammar: Grammar,
    leaf_evidence: Float[Array, "... leaves vocab"],
) -> Beliefs:
    upward = messages.pass_up(grammar, leaf_evidence, filter_level)
    log_evidence = messages.evidence(grammar, upward)
    usable = messages.ignore_impossible(upward, log_evidence)
    marginals = messages.pass_down(grammar, usable, filter_level)
    return Beliefs(log_evidence, _from_level(first_level, marginals))


def _from_level(first_level: int, marginals: tuple[Array | None, ...]) -> tuple[Array | None, ...]:
    return tuple(None if level < first_level else m for level, m in enumerate(marginals))


@functools.partial(jax.custom_jvp, nondiff_argnums=(0, 1))
def _run_fast(
    filter_level: int,
    first_level: int,
    grammar: Grammar,
    leaf_evidence: Float[Array, "... leaves vocab"],
) -> Beliefs:
    run = functools.partial(_run_block, filter_level, first_level, grammar)
    return in_blocks(run, leaf_evidence, BLOCK)


@_run_fast.defjvp
def _run_fast_jvp(filter_level, first_level, primals, tangents):
    run = functools.partial(_run_log_space, filter_level, first_level)
    return jax.jvp(run, primals, tangents)


def _run_block(
    filter_level: int,
    first_level: int,
    grammar: Grammar,
    leaf_evidence: Float[Array, "block leaves vocab"],
) -> Beliefs:
    """The fast method, and log space for the sequences that it is not sure of."""
    fast = unrolled.run_unrolled(grammar, unrolled.to_lanes(leaf_evidence, grammar), filter_level)
    log_marginals = _from_level(first_level, tuple(_log(nodes) for nodes in fast.marginals))
    run_slowly = functools.partial(_run_log_space, filter_level, first_level, grammar)
    num_rows = len(leaf_evidence)

    def finish(log_marginals: tuple[Array | None, ...]) -> Beliefs:
        by_level = (
            None if nodes is None else unrolled.from_lanes(nodes, grammar, num_rows)
            for nodes in log_marginals
        )
        return Beliefs(fast.log_evidence[:num_rows], tuple(by_level))

    def repair(log_marginals: tuple[Array | None, ...]) -> Beliefs:
        wrong = ~fast.is_exact[:num_rows]
        return _redo(run_slowly, block_size(grammar), leaf_evidence, finish(log_marginals), wrong)

    # Inside a branch the change of layout is a copy of its own; outside, XLA would fuse it into
    # the arithmetic, which would then read and write with strides and run at half its speed.
    return jax.lax.cond(fast.is_exact.all(), finish, repair, log_marginals)


def _log(probs: Array | None) -> Array | None:
    return None if probs is None else jnp.log(probs)


def _redo(
    run: Callable[[Array], Beliefs],
    block_rows: int,
    leaf_evidence: Float[Array, "block leaves vocab"],
    beliefs: Beliefs,
    wrong: Bool[Array, " block"],
) -> Beliefs:
    """Replace the beliefs of the wrong rows: a few at a time, or all at once where many are."""
    num_rows = len(wrong)

    def redo_all(beliefs: Beliefs) -> Beliefs:
        right = in_blocks(run, leaf_evidence, block_rows)
        return jax.tree.map(functools.partial(_choose_rows, wrong), right, beliefs)

    def redo_some(beliefs: Beliefs) -> Beliefs:
        return _redo_rows(run, leaf_evidence, beliefs, wrong)

    if num_rows <= REPAIRED:
        return redo_all(beliefs)
    # A CPU's time is that of the rows; an accelerator's, that of the calls.
    many = num_rows // 2 if jax.default_backend() == "cpu" else REPAIRED
    return jax.lax.cond(wrong.sum() > many, redo_all, redo_some, beliefs)


def _choose_rows(rows: Bool[Array, " block"], new: Array, old: Array) -> Array:
    return jnp.where(rows.reshape(-1, *[1] * (new.ndim - 1)), new, old)


def _redo_rows(
    run: Callable[[Array], Beliefs],
    leaf_evidence: Float[Array, "block leaves vocab"],
    beliefs: Beliefs,
    wrong: Bool[Array, " block"],
) -> Beliefs:
    """Replace the beliefs of the wrong rows, a few at a time, so that few rows cost little."""

    def redo(state: tuple[Array, Beliefs]) -> tuple[Array, Beliefs]:
        wrong, beliefs = state
        rows = jnp.flatnonzero(wrong, size=REPAIRED, fill_value=len(wrong))
        right = run(leaf_evidence.at[rows].get(mode="clip"))
        beliefs = jax.tree.map(lambda old, new: old.at[rows].set(new, mode="drop"), beliefs, right)
        return wrong.at[rows].set(False, mode="drop"), beliefs

    return jax.lax.while_loop(lambda state: state[0].any(), redo, (wrong, beliefs))[1]


@functools.partial(jax.jit, static_argnames="filter_level")
def _log_prob(
    grammar: Grammar, leaves: Int[Array, "... leaves"], filter_level: int
) -> Float[Array, "..."]:
    evidence = observe(grammar, leaves)
    return _run_bp(grammar, evidence, filter_level, first_level=grammar.depth + 1).log_evidence
