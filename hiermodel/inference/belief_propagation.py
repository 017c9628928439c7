"""Exact belief propagation: what the leaves of a tree say about every node (science.md#inference).

Two methods give the same answer. :mod:`hiermodel.inference.scaled` works with probabilities. Where
those may have underflown, sequences are done again, one by one, by
:mod:`hiermodel.inference.messages`, which works in log space and is right for all evidence, at many
times the cost. So no answer depends on what else is in the batch. Derivatives always go through log
space.

Rules are arrays, as weights are, so all grammars of a shape share their programs. Under ``vmap`` a
further axis of evidence is one more axis of the batch, and a stack of grammars is worked through
one grammar after the other, each at full speed.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from hiermodel.checks import (
    check_integer,
    check_symbols,
    check_trailing_shape,
    is_concrete,
)
from hiermodel.grammar.rules import Grammar
from hiermodel.inference import messages, scaled
from hiermodel.inference.blocks import block_size, fast_block_size, guarded, in_blocks, in_turn
from hiermodel.log_space import subtract


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
    if leaf_evidence.size > 0:
        return _run_fast(filter_level, first_level, grammar, leaf_evidence)
    return _run_log_space(filter_level, first_level, grammar, leaf_evidence)


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
    def run(grammar: Grammar, leaf_evidence: Float[Array, "... leaves vocab"]) -> Beliefs:
        run_block = functools.partial(_run_block, filter_level, first_level, grammar)
        return in_blocks(run_block, leaf_evidence, fast_block_size(grammar))

    return in_turn(run, grammar, leaf_evidence)


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
    fast = scaled.run_scaled(grammar, scaled.to_lanes(leaf_evidence), filter_level)
    log_marginals = _from_level(first_level, tuple(_log(nodes) for nodes in fast.marginals))
    num_rows = len(leaf_evidence)

    def finish(log_marginals: tuple[Array | None, ...]) -> Beliefs:
        by_level = (
            None if nodes is None else scaled.from_lanes(nodes, grammar, num_rows)
            for nodes in log_marginals
        )
        return Beliefs(fast.log_evidence[:num_rows], tuple(by_level))

    run_exactly = functools.partial(_run_log_space, filter_level, first_level, grammar)
    is_exact = fast.is_exact[:num_rows]
    size = block_size(grammar)
    return guarded(run_exactly, finish, log_marginals, is_exact, leaf_evidence, size)


def log_messages(
    grammar: Grammar, leaf_evidence: Float[Array, "... leaves vocab"], filter_level: int
) -> tuple[Float[Array, "... nodes vocab"] | None, ...]:
    """Upward messages as :func:`messages.pass_up` has them, each up to a constant.

    No derivatives: those are of :func:`run_bp`.
    """
    if leaf_evidence.size == 0:
        return messages.pass_up(grammar, leaf_evidence, filter_level).by_level

    def run(grammar: Grammar, leaf_evidence: Float[Array, "... leaves vocab"]):
        pass_block_up = functools.partial(_pass_block_up, filter_level, grammar)
        return in_blocks(pass_block_up, leaf_evidence, fast_block_size(grammar))

    return in_turn(run, grammar, leaf_evidence)


def _pass_block_up(
    filter_level: int, grammar: Grammar, leaf_evidence: Float[Array, "block leaves vocab"]
) -> tuple[Float[Array, "block nodes vocab"] | None, ...]:
    upward = scaled.pass_up(grammar, scaled.to_lanes(leaf_evidence), filter_level)
    root = scaled.at_root(grammar, upward, filter_level)
    num_rows, batch = len(leaf_evidence), upward.log_scale.size
    by_level = {level: jnp.log(rows) for level, rows in upward.below.items()}
    if filter_level > 0:
        prior = grammar.root_log_probs.astype(leaf_evidence.dtype)[:, None]
        by_level[0] = subtract(jnp.log(root.marginal), prior)

    def finish(by_level: dict[int, Array]) -> tuple[Array | None, ...]:
        nodes = {
            level: rows.reshape(grammar.vocab_size, -1, batch) for level, rows in by_level.items()
        }
        return tuple(
            scaled.from_lanes(nodes[level], grammar, num_rows) if level in nodes else None
            for level in range(grammar.depth + 1)
        )

    def run_exactly(evidence: Array) -> tuple[Array | None, ...]:
        return messages.pass_up(grammar, evidence, filter_level).by_level

    is_exact = scaled.lost_nothing(grammar, upward, root, filter_level)[:num_rows]
    size = block_size(grammar)
    return guarded(run_exactly, finish, by_level, is_exact, leaf_evidence, size)


def _log(probs: Array | None) -> Array | None:
    return None if probs is None else jnp.log(probs)


@functools.partial(jax.jit, static_argnames="filter_level")
def _log_prob(
    grammar: Grammar, leaves: Int[Array, "... leaves"], filter_level: int
) -> Float[Array, "..."]:
    run = _log_prob_fast if leaves.size > 0 else _log_prob_in_log_space
    return run(filter_level, grammar, leaves)


def _log_prob_in_log_space(
    filter_level: int, grammar: Grammar, leaves: Int[Array, "... leaves"]
) -> Float[Array, "..."]:
    upward = messages.pass_up(grammar, observe(grammar, leaves), filter_level)
    return messages.evidence(grammar, upward)


@functools.partial(jax.custom_jvp, nondiff_argnums=(0,))
def _log_prob_fast(
    filter_level: int, grammar: Grammar, leaves: Int[Array, "... leaves"]
) -> Float[Array, "..."]:
    def run(grammar: Grammar, leaves: Int[Array, "... leaves 1"]) -> Float[Array, "..."]:
        run_block = functools.partial(_log_prob_of_block, filter_level, grammar)
        return in_blocks(run_block, leaves, fast_block_size(grammar))

    return in_turn(run, grammar, leaves[..., None])


@_log_prob_fast.defjvp
def _log_prob_jvp(filter_level, primals, tangents):
    return jax.jvp(functools.partial(_log_prob_in_log_space, filter_level), primals, tangents)


def _log_prob_of_block(
    filter_level: int, grammar: Grammar, leaves: Int[Array, "block leaves 1"]
) -> Float[Array, " block"]:
    num_rows = len(leaves)
    upward = scaled.pass_observed_up(grammar, scaled.to_lanes(leaves)[:, 0], filter_level)
    root = scaled.at_root(grammar, upward, filter_level)

    def finish(log_evidence: Array) -> Array:
        return log_evidence[:num_rows]

    def run_exactly(leaves: Array) -> Array:
        return _log_prob_in_log_space(filter_level, grammar, leaves[..., 0])

    is_exact = scaled.lost_nothing(grammar, upward, root, filter_level)[:num_rows]
    size = block_size(grammar)
    return guarded(run_exactly, finish, root.log_evidence, is_exact, leaves, size)
