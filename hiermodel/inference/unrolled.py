"""Belief propagation for small grammars at the speed of the machine.

One contiguous array per symbol, nodes × batch, so that every rule is a few vector operations,
written out one by one. Messages are probabilities, scaled to sum to one at every node. That is fast
because it needs no exponential above the leaves, but probabilities underflow where strong evidence
contradicts the grammar; :func:`run_unrolled` says for which sequences they may have.

Why its word holds. An operation that underflows, flushed to zero or not, is wrong by at most the
smallest normal number, "tiny". Every message is at most 1, and all factors that follow are at most
1, so at node v underflow costs each rule's product at most s + 1 tiny (its weight, its s factors),
and scaling costs one more. An error in the message of v changes every marginal, and the evidence
relatively, by at most that error times A_v, the weight of all outside v over the evidence, summed
over the symbols of v: a marginal is a sum of products of messages, and replacing right messages by
wrong ones in such a product, one after the other, adds up one such term per node.

A_v must not be judged by messages that may be lost themselves. It is bounded from the root down, by
L_v >= A_v, from normalisers alone. With messages of at most 1 and rule weights that sum to 1,
A_child <= scale_v A_v. At k = 0, A_root = 1 / (evidence over the scales). At k > 0 the likelihood
g_i(a) of all below a node i of level k, given root a, is a sum of q products of messages, so it is
at most E_i + 2q tiny too low, where E_v = scale_v (Σ_children E + m (s + 1) tiny) + tiny, E = tiny
at a leaf, bounds what the message of v lacks: what is lost before a message is scaled grows with
the scale. With g+ = max(g, (E_i + 2q tiny) · nodes of level k), the product of g+ over all nodes
but i, times e, exceeds the true product whatever was lost, and
A_i <= e · Σ_a P(a) Π_{j ≠ i} g+_j(a) / evidence, over *all* root symbols, also those for which
some likelihood vanished. So with N the number of operations that may underflow, all weighed as
above (:func:`_num_lossy`), N · tiny · max L_v bounds the error of every marginal. The evidence
underneath is the one computed, which only losses make smaller and L larger.

Children of a level are stored one sibling after another: first the first child of every node, then
the second of every node, … A node's children are then whole blocks, and the leaves stand in
digit-reversed order.
"""

import functools
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from hiermodel.grammar.paths import root_transitions
from hiermodel.grammar.rules import Grammar

MAX_RULES = 512
"""Rule applications (rules per level × levels) up to which writing them out pays."""

LOST = 8
"""Error in a marginal, in units of rounding (eps of the dtype: 1e-6 in float32), that underflow may
cause before a sequence is reported as not exact."""

LANES = 16
"""Numbers that a processor handles at once, or a small multiple."""

Symbols = list[Array]
"""One array (nodes, batch) per symbol."""


class Unrolled(NamedTuple):
    """Beliefs of the fast method.

    Attributes:
        log_evidence: (batch,).
        marginals: per level, (nodes, vocab_size, batch) in digit-reversed order of nodes; None for
            levels that the filtered model does not have.
        is_exact: (batch,) false where underflow may have cost a marginal more than LOST.
    """

    log_evidence: Float[Array, " batch"]
    marginals: tuple[Float[Array, "nodes vocab batch"] | None, ...]
    is_exact: Bool[Array, " batch"]


def pays(grammar: Grammar) -> bool:
    """True for grammars small enough to write out every rule."""
    _, vocab_size, max_rules, _ = grammar.rules.children.shape
    return vocab_size * max_rules * grammar.depth <= MAX_RULES


def digit_reversed(branching: int, level: int) -> np.ndarray:
    """Position in the tree, left to right, of each node of a level as stored here.

    Reversing digits twice changes nothing, so the same index also leads back.
    """
    places = np.arange(branching**level).reshape((branching,) * level)
    return places.transpose(*reversed(range(level))).reshape(-1) if level else places.reshape(-1)


def to_lanes(
    leaf_evidence: Float[Array, "rows leaves vocab"], grammar: Grammar
) -> Float[Array, "leaves vocab batch"]:
    """Leaf evidence as :func:`run_unrolled` wants it: sequences last, leaves in its order.

    Sequences are padded to a whole number of LANES that is odd: at a power of two, all values of a
    sequence would fall into the same few lines of the processor's cache.
    """
    rows, leaves, vocab_size = leaf_evidence.shape
    lanes = -(-rows // LANES) | 1
    flat = jnp.pad(
        leaf_evidence.reshape(rows, leaves * vocab_size), ((0, lanes * LANES - rows), (0, 0))
    )
    order = digit_reversed(grammar.branching, grammar.depth)
    return flat.T.reshape(leaves, vocab_size, -1)[order]


def from_lanes(
    nodes: Float[Array, "nodes vocab batch"], grammar: Grammar, rows: int
) -> Float[Array, "rows nodes vocab"]:
    """Values of one level's nodes, sequences first and nodes from left to right."""
    num_nodes, vocab_size, batch = nodes.shape
    level = round(np.log(num_nodes) / np.log(grammar.branching))
    ordered = nodes[digit_reversed(grammar.branching, level)]
    return ordered.reshape(-1, batch).T[:rows].reshape(rows, num_nodes, vocab_size)


def run_unrolled(
    grammar: Grammar, leaf_evidence: Float[Array, "leaves vocab batch"], filter_level: int
) -> Unrolled:
    """Upward and downward pass.

    Args:
        grammar: a grammar for which :func:`pays` holds.
        leaf_evidence: log-field, leaves in digit-reversed order.
        filter_level: as in run_bp.
    """
    depth, vocab_size = grammar.depth, grammar.vocab_size
    symbols = range(vocab_size)
    peak = leaf_evidence.max(1)
    likelihood = jnp.exp(leaf_evidence - peak[:, None])
    below = {depth: [likelihood[:, a] for a in symbols]}
    scale: dict[int, Array] = {}
    log_evidence = peak.sum(0)
    lost = jnp.full_like(peak, jnp.finfo(leaf_evidence.dtype).tiny)
    for level in reversed(range(filter_level, depth)):
        below[level], scale[level] = _up(grammar, level, below[level + 1])
        log_evidence = log_evidence - jnp.log(scale[level]).sum(0)
        lost = _lost_below(grammar, lost, scale[level])

    prior = jnp.exp(grammar.root_log_probs).astype(leaf_evidence.dtype)
    if filter_level == 0:
        root = [prior[a] * below[0][a][0] for a in symbols]
        total = _total(root)
        above = [prior[a] / total[None] for a in symbols]
        marginals: list[Array | None] = [jnp.stack(root)[None] / total]
        log_evidence = log_evidence + jnp.log(total)
        largest = 1 / total[None]
    else:
        root, above, log_total, largest = _through_root(
            grammar, filter_level, below[filter_level], lost
        )
        marginals = [root[None], *[None] * (filter_level - 1)]
        marginals.append(_product(above, below[filter_level]))
        log_evidence = log_evidence + log_total
    # A message lost to underflow weighs at most ``largest`` in any marginal (L_v of the module).
    number = jnp.finfo(leaf_evidence.dtype)
    limit = LOST * number.eps / _num_lossy(grammar, filter_level) / number.tiny
    is_exact = jnp.all(largest <= limit, 0)
    for level in range(filter_level, depth):
        above = _down(grammar, level, above, scale[level], below[level + 1])
        marginals.append(_product(above, below[level + 1]))
        largest = jnp.concatenate([largest * scale[level]] * grammar.branching)
        is_exact = is_exact & jnp.all(largest <= limit, 0)
    return Unrolled(log_evidence, tuple(marginals), is_exact)


def _siblings(grammar: Grammar, children: Symbols) -> list[Symbols]:
    """Cut the children of a level into one block per position among the siblings."""
    size = len(children[0]) // grammar.branching
    return [
        [symbol[position * size : (position + 1) * size] for symbol in children]
        for position in range(grammar.branching)
    ]


def _rules(
    grammar: Grammar, level: int, dtype: jnp.dtype
) -> Iterator[tuple[int, np.ndarray, Array]]:
    """Parent, children and probability of every rule of a level; padding has probability 0."""
    table = grammar.table_index(level)
    weights = jnp.exp(grammar.log_weights[table]).astype(dtype)
    children = grammar.rules.children[table]
    for parent in range(grammar.vocab_size):
        for rule in range(children.shape[1]):
            yield parent, children[parent, rule], weights[parent, rule]


def _up(grammar: Grammar, level: int, children: Symbols) -> tuple[Symbols, Array]:
    """Likelihood of all below each node, scaled to sum to one, and the scale (nodes, batch)."""
    siblings = _siblings(grammar, children)
    terms: list[list[Array]] = [[] for _ in range(grammar.vocab_size)]
    for parent, tuple_, weight in _rules(grammar, level, children[0].dtype):
        product = weight
        for position, symbol in enumerate(tuple_):
            product = product * siblings[position][symbol]
        terms[parent].append(product)
    parents = [_total(products) for products in terms]
    scale = 1 / _total(parents)
    return [parent * scale for parent in parents], scale


def _down(grammar: Grammar, level: int, above: Symbols, scale: Array, children: Symbols) -> Symbols:
    """Weight of everything but the child's own subtree, for every child of a level."""
    siblings = _siblings(grammar, children)
    zero = jnp.zeros_like(siblings[0][0])
    out = [[zero] * grammar.vocab_size for _ in siblings]
    scaled = [symbol * scale for symbol in above]
    for parent, tuple_, weight in _rules(grammar, level, zero.dtype):
        common = scaled[parent] * weight
        for position, symbol in enumerate(tuple_):
            others = common
            for other, sibling in enumerate(tuple_):
                if other != position:
                    others = others * siblings[other][sibling]
            out[position][symbol] = out[position][symbol] + others
    return [jnp.concatenate(blocks) for blocks in zip(*out, strict=True)]


def _lost_below(
    grammar: Grammar, lost: Float[Array, "children batch"], scale: Float[Array, "nodes batch"]
) -> Float[Array, "nodes batch"]:
    """How much too low each node's message may be (E_v of the module), from its children's."""
    _, _, max_rules, branching = grammar.rules.children.shape
    tiny = jnp.finfo(lost.dtype).tiny
    from_children = lost.reshape(branching, -1, lost.shape[-1]).sum(0)
    return scale * (from_children + max_rules * (branching + 1) * tiny) + tiny


def _through_root(
    grammar: Grammar, level: int, below: Symbols, lost: Float[Array, "nodes batch"]
) -> tuple[Array, Symbols, Array, Array]:
    """Across the levels that a filtered model lacks.

    Args:
        grammar: the model.
        level: the filter level.
        below: messages of its nodes.
        lost: how much too low each of them may be.

    Returns:
        Root marginals (vocab, batch); weight above each node of the filter level; log-evidence less
        what the scales hold (batch,); and (nodes, batch) a bound on the sum over symbols of the
        weight above each node, root symbols included whose likelihood was lost.
    """
    dtype = below[0].dtype
    order = digit_reversed(grammar.branching, level)
    transitions = jnp.exp(root_transitions(grammar, level)).astype(dtype)[order]
    log_prior = grammar.root_log_probs.astype(dtype)
    symbols = range(grammar.vocab_size)
    given_root = [
        _total([transitions[:, a, b, None] * below[b] for b in symbols]) for a in symbols
    ]  # (nodes, batch) likelihood of all below a node given the root
    floor = len(order) * (lost + jnp.finfo(dtype).tiny * 2 * grammar.vocab_size)
    log_likelihood = [jnp.log(likelihood) for likelihood in given_root]
    log_floor = jnp.log(floor)

    def log_weights(logs: list[Array]) -> Array:
        return jnp.stack([log_prior[a] + logs[a].sum(0) for a in symbols])

    log_root = log_weights(log_likelihood)
    log_bound = log_weights([jnp.maximum(each, log_floor) for each in log_likelihood])
    peak = log_bound.max(0)
    root = jnp.exp(log_root - peak)
    total = root.sum(0)
    root, root_bound = root / total, jnp.exp(log_bound - peak) / total
    share = [jnp.where(given_root[a] > 0, root[a] / given_root[a], 0) for a in symbols]
    above = [_total([share[a] * transitions[:, a, b, None] for a in symbols]) for b in symbols]
    largest = _total([root_bound[a] / jnp.maximum(given_root[a], floor) for a in symbols])
    return root, above, peak + jnp.log(total), largest


def _num_lossy(grammar: Grammar, filter_level: int) -> int:
    """How many operations may underflow, each weighed by its effect (module docstring)."""
    _, vocab_size, max_rules, branching = grammar.rules.children.shape
    nodes = sum(branching**level for level in range(filter_level, grammar.depth + 1))
    at_root = 2 * vocab_size * branching**filter_level
    return nodes * (1 + max_rules * (branching + 1)) + 3 * at_root


def _total(arrays: Sequence[Array]) -> Array:
    return functools.reduce(jnp.add, arrays)


def _product(above: Symbols, below: Symbols) -> Float[Array, "nodes vocab batch"]:
    return jnp.stack([a * b for a, b in zip(above, below, strict=True)], axis=1)
