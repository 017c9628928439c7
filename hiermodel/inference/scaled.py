"""Belief propagation with probabilities, scaled at every node: the speed of the machine.

One row per symbol, nodes × batch, so that every rule is a few vector operations on whole rows,
which its children, an array, pick out. So one program serves all grammars of a shape. Upward, the
rules of a parent are added up one after the other; downward, those of a child (:func:`_down`).

Messages sum to one at every node. That needs no exponential above the leaves, but probabilities
underflow where strong evidence contradicts the grammar; :func:`run_scaled` says for which sequences
they may have.

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
at most E_i + 2q tiny too low, where E_v = scale_v (Σ_children E + m (s + 1) tiny) + tiny, with
E = tiny at a leaf, bounds what the message of v lacks: what is lost before a message is scaled
grows with the scale. With g+ = max(g, (E_i + 2q tiny) · nodes of level k), the product of g+ over
all nodes but i, times e, exceeds the true product whatever was lost, and
A_i <= e · Σ_a P(a) Π_{j ≠ i} g+_j(a) / evidence, over *all* root symbols, also those for which
some likelihood vanished. So with N the number of operations that may underflow, all weighed as
above (:func:`_num_lossy`), N · tiny · max L_v bounds the error of every marginal. The evidence
underneath is the one computed, which only losses make smaller and L larger. Downward a message
lacks, over its symbols, at most (s + 1) tiny for each of the q m rules, and passes that on only
below its node, so that the path to a marginal counts.

Children of a level are stored one sibling after another: first the first child of every node, then
the second of every node, … A node's children are then whole blocks, and the leaves stand in
digit-reversed order.
"""

import functools
from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, Num

from hiermodel.grammar.paths import root_transitions
from hiermodel.grammar.rules import Grammar

LOST = 8
"""Error in a marginal, in units of rounding (eps of the dtype: 1e-6 in float32), that underflow may
cause before a sequence is reported as not exact."""

LANES = 16
"""Numbers that a processor handles at once, or a small multiple."""

FEW_RULES = 128
"""Rules of a level up to which sums over the rules of a child are gathered, not scattered."""

HIGHEST = jax.lax.Precision.HIGHEST
IN_BOUNDS = "promise_in_bounds"


class Upward(NamedTuple):
    """Messages of the upward pass; a row holds all nodes of a level, sequences last.

    Attributes:
        below: per level from the filter level on, (vocab_size, nodes · batch) likelihood of all
            below each node given its symbol, scaled to sum to one (at the leaves: to a maximum of
            one).
        scale: per level above the leaves, (nodes · batch) what the messages were multiplied by.
        log_scale: (batch,) log of all that was divided out, had messages a mean of one: then it is
            0 without evidence, and no logarithms cancel at the cost of digits.
        lost: (nodes · batch) how much too low each message of the filter level may be.
        at_leaves: (leaves · batch) sum of each leaf's likelihoods; NaN where no symbol is possible.
    """

    below: dict[int, Float[Array, "vocab row"]]
    scale: dict[int, Float[Array, " row"]]
    log_scale: Float[Array, " batch"]
    lost: Float[Array, " row"]
    at_leaves: Float[Array, " row"]


class Root(NamedTuple):
    """What the root says, and what lies above the first nodes below it.

    Attributes:
        marginal: (vocab_size, batch) posterior of the root.
        above: (vocab_size, nodes · batch) weight of everything but what is below each node of the
            filter level, over the evidence.
        log_evidence: (batch,).
        largest: (nodes · batch) a bound on the sum of ``above`` over symbols, whatever was lost.
    """

    marginal: Float[Array, "vocab batch"]
    above: Float[Array, "vocab row"]
    log_evidence: Float[Array, " batch"]
    largest: Float[Array, " row"]


class Scaled(NamedTuple):
    """Beliefs of the fast method.

    Attributes:
        log_evidence: (batch,).
        marginals: per level, (vocab_size, nodes, batch) in digit-reversed order of nodes; None for
            levels that the filtered model does not have.
        is_exact: (batch,) false where underflow may have cost a marginal more than LOST.
    """

    log_evidence: Float[Array, " batch"]
    marginals: tuple[Float[Array, "vocab nodes batch"] | None, ...]
    is_exact: Bool[Array, " batch"]


def digit_reversed(branching: int, level: int) -> np.ndarray:
    """Position in the tree, left to right, of each node of a level as stored here.

    Reversing digits twice changes nothing, so the same index also leads back.
    """
    places = np.arange(branching**level).reshape((branching,) * level)
    return places.transpose(*reversed(range(level))).reshape(-1) if level else places.reshape(-1)


def to_lanes(
    leaf_evidence: Num[Array, "rows leaves vocab"],
) -> Num[Array, "leaves vocab batch"]:
    """Leaf evidence as :func:`run_scaled` wants it: sequences last.

    Many sequences are padded to a whole number of LANES that is odd: at a power of two, all values
    of a sequence would fall into the same few lines of the processor's cache.
    """
    rows, leaves, vocab_size = leaf_evidence.shape
    padding = (-(-rows // LANES) | 1) * LANES - rows if rows > LANES else 0
    flat = jnp.pad(leaf_evidence.reshape(rows, leaves * vocab_size), ((0, padding), (0, 0)))
    return flat.T.reshape(leaves, vocab_size, -1)


def from_lanes(
    nodes: Float[Array, "vocab nodes batch"], grammar: Grammar, rows: int
) -> Float[Array, "rows nodes vocab"]:
    """Values of one level's nodes, sequences first and nodes from left to right."""
    vocab_size, num_nodes, batch = nodes.shape
    level = round(np.log(num_nodes) / np.log(grammar.branching))
    order = jnp.asarray(digit_reversed(grammar.branching, level))
    by_node = jnp.arange(vocab_size) * num_nodes + order[:, None]  # (node, symbol)
    ordered = _pick(nodes.reshape(-1, batch), by_node.reshape(-1))
    return ordered.T[:rows].reshape(rows, num_nodes, vocab_size)


def _by_symbol(
    leaves: Float[Array, "leaves vocab batch"], grammar: Grammar
) -> Float[Array, "vocab row"]:
    """Values of the leaves in rows of symbols, the leaves in digit-reversed order.

    As a choice of rows, for then the result is kept in memory: XLA would fuse a transposition into
    its uses, whose loops would not be vectorised.
    """
    num_leaves, vocab_size, batch = leaves.shape
    order = jnp.asarray(digit_reversed(grammar.branching, grammar.depth))
    by_symbol = order * vocab_size + jnp.arange(vocab_size)[:, None]  # (symbol, leaf)
    rows = _pick(leaves.reshape(-1, batch), by_symbol.reshape(-1))
    return rows.reshape(vocab_size, num_leaves * batch)


def run_scaled(
    grammar: Grammar, leaf_evidence: Float[Array, "leaves vocab batch"], filter_level: int
) -> Scaled:
    """Upward and downward pass.

    Args:
        grammar: the model.
        leaf_evidence: log-field.
        filter_level: as in run_bp.
    """
    _, vocab_size, batch = leaf_evidence.shape
    dtype = leaf_evidence.dtype
    upward = pass_up(grammar, leaf_evidence, filter_level)
    root = at_root(grammar, upward, filter_level)
    marginals: list[Array | None] = [root.marginal]
    if filter_level > 0:
        marginals += [None] * (filter_level - 1) + [root.above * upward.below[filter_level]]
    above = root.above
    for level in range(filter_level, grammar.depth):
        rules = _rules(grammar, level, dtype)
        above = _down(rules, above * upward.scale[level], upward.below[level + 1])
        marginals.append(above * upward.below[level + 1])
    by_level = (None if each is None else each.reshape(vocab_size, -1, batch) for each in marginals)
    is_exact = lost_nothing(grammar, upward, root, filter_level)
    return Scaled(root.log_evidence, tuple(by_level), is_exact)


def pass_up(
    grammar: Grammar, leaf_evidence: Float[Array, "leaves vocab batch"], filter_level: int
) -> Upward:
    """Messages from the leaves up to the filter level; arguments as of :func:`run_scaled`."""
    peak = leaf_evidence.max(1)
    likelihood = _by_symbol(jnp.exp(leaf_evidence - peak[:, None]), grammar)
    return _pass_up(grammar, likelihood, _total(peak), filter_level)


def pass_observed_up(
    grammar: Grammar, leaves: Int[Array, "leaves batch"], filter_level: int
) -> Upward:
    """The same for leaves that are known: no exponentials, and symbols alone are laid out anew."""
    order = jnp.asarray(digit_reversed(grammar.branching, grammar.depth))
    observed = leaves[order].reshape(-1) == jnp.arange(grammar.vocab_size)[:, None]
    dtype = grammar.log_weights.dtype
    log_scale = jnp.zeros(leaves.shape[1], dtype)
    return _pass_up(grammar, observed.astype(dtype), log_scale, filter_level)


def _pass_up(
    grammar: Grammar,
    likelihood: Float[Array, "vocab row"],
    log_scale: Float[Array, " batch"],
    filter_level: int,
) -> Upward:
    batch, dtype = log_scale.size, likelihood.dtype
    below = {grammar.depth: likelihood}
    scale: dict[int, Array] = {}
    lost = jnp.full(likelihood.shape[1], jnp.finfo(dtype).tiny, dtype)
    for level in reversed(range(filter_level, grammar.depth)):
        rules = _rules(grammar, level, dtype)
        below[level], scale[level] = _up(rules, below[level + 1])
        log_scale = log_scale - _total(_log_factor(grammar, level, scale[level]).reshape(-1, batch))
        lost = _lost_below(grammar, lost, scale[level])
    return Upward(below, scale, log_scale, lost, _total(likelihood))


def _log_factor(grammar: Grammar, level: int, scale: Float[Array, " row"]) -> Float[Array, " row"]:
    """Log of what messages of a mean of one would be multiplied by, given that for a sum of one."""
    children = 0 if level + 1 == grammar.depth else grammar.branching  # leaves: a maximum of one
    return jnp.log(scale * float(grammar.vocab_size) ** (1 - children))


def at_root(grammar: Grammar, upward: Upward, filter_level: int) -> Root:
    """Put the root's prior on top of the messages."""
    if filter_level > 0:
        return _through_root(grammar, filter_level, upward)
    below = upward.below[0]
    prior = jnp.exp(grammar.root_log_probs).astype(below.dtype)[:, None]
    total = _total(prior * below)
    log_evidence = upward.log_scale + jnp.log(total * grammar.vocab_size)
    return Root(prior * below / total, prior / total, log_evidence, 1 / total)


def lost_nothing(
    grammar: Grammar, upward: Upward, root: Root, filter_level: int
) -> Bool[Array, " batch"]:
    """False where underflow may have cost a marginal more than LOST.

    A message lost to underflow weighs at most ``largest`` in any marginal (L_v of the module).
    """
    largest, batch = root.largest, upward.log_scale.size
    number = jnp.finfo(largest.dtype)
    limit = float(LOST * number.eps / _num_lossy(grammar, filter_level) / number.tiny)
    # A leaf without a possible symbol has NaN here. The sum also keeps the leaves' likelihoods in
    # memory (:func:`_total`), whatever else is asked for.
    wrong = _num_above(upward.at_leaves.reshape(-1, batch), 2.0 * grammar.vocab_size)
    wrong = wrong + _num_above(largest.reshape(-1, batch), limit)
    for level in range(filter_level, grammar.depth):
        largest = jnp.tile(largest * upward.scale[level], grammar.branching)
        wrong = wrong + _num_above(largest.reshape(-1, batch), limit)
    return wrong == 0


def _num_above(values: Float[Array, "nodes batch"], limit: float) -> Float[Array, " batch"]:
    """How many of a sequence's values are not within the limit, NaN being none that is."""
    return _total((~(values <= limit)).astype(values.dtype))


class _Rules(NamedTuple):
    """The rules of a level; padding has weight 0.

    Attributes:
        weights: (vocab_size, max_rules).
        rows: (vocab_size, max_rules, branching) row of each child among the rows of the level
            below, cut up by symbol and position: symbol · branching + position.
    """

    weights: Float[Array, "vocab rules"]
    rows: Int[Array, "vocab rules s"]


def _rules(grammar: Grammar, level: int, dtype: jnp.dtype) -> _Rules:
    table = grammar.table_index(level)
    weights = jnp.exp(grammar.log_weights[table]).astype(dtype)
    children = jnp.asarray(grammar.rules.children)[table]
    positions = jnp.arange(grammar.branching, dtype=jnp.int32)
    return _Rules(weights, children * grammar.branching + positions)


def _by_child(values: Float[Array, "vocab children"], rules: _Rules) -> Float[Array, "child nodes"]:
    """The rows of a level cut up by position: those of first children, and so on."""
    return values.reshape(len(values) * rules.rows.shape[-1], -1)


def _pick(values: Float[Array, "from row"], rows: Int[Array, "*to"]) -> Float[Array, "*to row"]:
    return values.at[rows].get(mode=IN_BOUNDS)


def _total(values: Float[Array, "terms row"]) -> Float[Array, " row"]:
    """Sum of the rows, as a product of matrices: then what is summed is kept in memory.

    On a CPU, XLA fuses an ordinary sum with all that leads to it, to be done again for other uses,
    and its loop down the columns takes ten times as long.
    """
    return jnp.dot(jnp.ones(len(values), values.dtype), values, precision=HIGHEST)


def _up(
    rules: _Rules, below: Float[Array, "vocab children"]
) -> tuple[Float[Array, "vocab nodes"], Float[Array, " nodes"]]:
    """Likelihood of all below each node, scaled to sum to one, and the scale."""
    children = _by_child(below, rules)
    terms = []
    for rule in range(rules.weights.shape[1]):
        product = rules.weights[:, rule, None]
        for position in range(rules.rows.shape[2]):
            product = product * _pick(children, rules.rows[:, rule, position])
        terms.append(product)
    parents = _add(terms)
    scale = 1 / _total(parents)
    return parents * scale, scale


def _down(
    rules: _Rules, above: Float[Array, "vocab nodes"], below: Float[Array, "vocab children"]
) -> Float[Array, "vocab children"]:
    """Weight of everything but the child's own subtree, for every child of a level.

    The sum over all rules in which a child has a symbol: gathered child by child if the rules are
    few, else scattered rule by rule.
    """
    vocab_size, max_rules, branching = rules.rows.shape
    children = _by_child(below, rules)
    siblings = _siblings(rules.rows)
    if vocab_size * max_rules <= FEW_RULES:
        out = _gather(rules, siblings, above, children)
    else:
        terms = (rules.weights[..., None] * above[:, None])[:, :, None]
        for other in range(branching - 1):
            terms = terms * _pick(children, siblings[..., other])
        rows = rules.rows.reshape(-1)
        out = jnp.zeros_like(children).at[rows].add(terms.reshape(len(rows), -1), mode=IN_BOUNDS)
    return out.reshape(below.shape)


def _siblings(rows: Int[Array, "vocab rules s"]) -> Int[Array, "vocab rules s others"]:
    """Per child of every rule, the rows of the other children."""
    branching = rows.shape[-1]
    others = np.array([[j for j in range(branching) if j != i] for i in range(branching)])
    return rows[..., others]


def _gather(
    rules: _Rules,
    siblings: Int[Array, "vocab rules s others"],
    above: Float[Array, "vocab nodes"],
    children: Float[Array, "child nodes"],
) -> Float[Array, "child nodes"]:
    """Sums over the rules of each child, a few at a time until all have been seen."""
    vocab_size, max_rules, branching = rules.rows.shape
    at_a_time = min(2 * max_rules, vocab_size ** (branching - 1), 8)
    row = rules.rows.reshape(-1)
    order = jnp.argsort(row)  # all children of all rules, sorted by their rows
    start = jnp.searchsorted(row[order], jnp.arange(len(children) + 1))
    count = start[1:] - start[:-1]
    parent = order // (max_rules * branching)
    weight = rules.weights.reshape(-1)[order // branching]
    others = siblings.reshape(len(row), branching - 1)[order]

    def add_some(state: tuple[Array, Array]) -> tuple[Array, Array]:
        seen, total = state
        for step in range(at_a_time):
            use = jnp.where(seen + step < count, start[:-1] + seen + step, 0)
            term = jnp.where(seen + step < count, weight[use], 0)[:, None]
            term = term * _pick(above, parent[use])
            for other in range(branching - 1):
                term = term * _pick(children, others[use, other])
            total = total + term
        return seen + at_a_time, total

    begin = jnp.zeros((), start.dtype), jnp.zeros_like(children)
    return jax.lax.while_loop(lambda state: state[0] < count.max(), add_some, begin)[1]


def _lost_below(
    grammar: Grammar, lost: Float[Array, " children"], scale: Float[Array, " nodes"]
) -> Float[Array, " nodes"]:
    """How much too low each node's message may be (E_v of the module), from its children's."""
    branching = grammar.branching
    tiny = jnp.finfo(lost.dtype).tiny
    from_children = lost.reshape(branching, -1).sum(0)
    return scale * (from_children + grammar.max_rules * (branching + 1) * tiny) + tiny


def _through_root(grammar: Grammar, level: int, upward: Upward) -> Root:
    """Across the levels that a filtered model lacks; root symbols included that were lost."""
    below = upward.below[level]
    dtype, vocab_size = below.dtype, grammar.vocab_size
    order = digit_reversed(grammar.branching, level)
    transitions = jnp.exp(root_transitions(grammar, level)).astype(dtype)[order]
    log_prior = grammar.root_log_probs.astype(dtype)[:, None]
    messages = below.reshape(vocab_size, len(order), -1)
    lost = upward.lost.reshape(len(order), -1)
    given_root = jnp.einsum("nab,bnx->anx", transitions, messages, precision=HIGHEST)
    floor = len(order) * (lost + jnp.finfo(dtype).tiny * 2 * vocab_size)

    mean = 1 if level == grammar.depth else vocab_size  # leaves are not scaled to a sum of one
    log_root = log_prior + jnp.log(given_root * mean).sum(1)
    log_bound = log_prior + jnp.log(jnp.maximum(given_root, floor) * mean).sum(1)
    peak = log_bound.max(0)
    root = jnp.exp(log_root - peak)
    total = root.sum(0)
    root, root_bound = root / total, jnp.exp(log_bound - peak) / total
    share = jnp.where(given_root > 0, root[:, None] / given_root, 0)
    above = jnp.einsum("anx,nab->bnx", share, transitions, precision=HIGHEST)
    largest = (root_bound[:, None] / jnp.maximum(given_root, floor)).sum(0)
    log_evidence = upward.log_scale + peak + jnp.log(total)
    return Root(root, above.reshape(vocab_size, -1), log_evidence, largest.reshape(-1))


def _num_lossy(grammar: Grammar, filter_level: int) -> int:
    """How many operations may underflow, each weighed by its effect (module docstring)."""
    vocab_size, branching = grammar.vocab_size, grammar.branching
    per_symbol = grammar.max_rules * (branching + 1)
    nodes = sum(branching**level for level in range(filter_level, grammar.depth + 1))
    at_root = 2 * vocab_size * branching**filter_level
    return nodes * (1 + per_symbol) + grammar.depth * vocab_size * per_symbol + 3 * at_root


def _add(arrays: Sequence[Array]) -> Array:
    return functools.reduce(jnp.add, arrays)
