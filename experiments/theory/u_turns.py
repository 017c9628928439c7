"""Trees whose leaves are noised, and what draws from the exact posterior would leave of them.

Nothing is drawn but trees and noise: probabilities and moments over posterior trees are exact, by
one pass up and one down. Rules are arrays of the compiled program, so that all realisations of a
grammar's shape share it. A tree of depth L holds trees of every smaller depth: the beliefs that the
leaves below a node give in its symbol are those of the root of such a tree, once its symbols are
weighted as if they were equally likely. One upward pass so says what the roots of all depths know.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key

from hiermodel.grammar.paths_on_host import HostPaths
from hiermodel.grammar.rules import Grammar
from hiermodel.inference.messages import pass_up, rule_scores
from hiermodel.inference.posterior import _draw_tree
from hiermodel.log_space import log_sum_exp, subtract
from hiermodel.randomness import threefry_key

CORRUPTIONS = ("equal", "erased", "redrawn", "gaussian")
"""As ``hiermodel.theory.LeafNoise``."""

TOGETHER = 8
"""Sequences handled at a time: one program serves any number of them, any noise and corruption."""


class UTurns(NamedTuple):
    """Along noise, means over sequences of what is exact for each: noised, then drawn anew.

    Attributes:
        beliefs: (noise, L + 1) by depth 0…L of the tree: belief in the true symbol of the root of
            such a tree, its root uniform; also the chance that a U-turn leaves it as it is.
        unchanged: (noise, L + 1) by level 0…L: share of nodes that a U-turn leaves as they are.
        covariance: (noise, L + 1) by height h: mean covariance of change (0 or 1) of two leaves
            whose last common ancestor is h levels up; h = 0 is the variance of one.
    """

    beliefs: Float[np.ndarray, "noise depths"]
    unchanged: Float[np.ndarray, "noise levels"]
    covariance: Float[np.ndarray, "noise heights"]


def u_turns(
    key: Key[Array, ""],
    grammar: Grammar,
    noise: Float[np.ndarray, " noise"],
    corruption: str,
    num_sequences: int,
    *,
    with_covariance: bool = True,
) -> UTurns:
    """U-turns of sequences of a grammar at each noise, with the same random numbers at all.

    Args:
        key: one typed key.
        grammar: any.
        noise: strengths, as ``hiermodel.theory.LeafNoise`` has them.
        corruption: one of ``CORRUPTIONS``.
        num_sequences: trees drawn, at least two.
        with_covariance: whether it is wanted; it doubles the costs, and is NaN else.
    """
    marginals = [probs.mean(0) for probs in HostPaths.of(grammar).marginals]
    weights = jnp.asarray(1 / (grammar.vocab_size * np.stack(marginals)))
    key = threefry_key(key)
    rows = np.arange(num_sequences + -num_sequences % TOGETHER).reshape(-1, TOGETHER)
    rows, strengths, kind = jax.device_put((list(rows), list(noise), CORRUPTIONS.index(corruption)))
    along = []
    for strength in strengths:
        pieces = [
            _u_turns(grammar, weights, key, row, strength, kind, with_covariance) for row in rows
        ]
        along.append([np.concatenate(part)[:num_sequences] for part in zip(*pieces, strict=True)])
    found = [np.stack(part, 1).astype(np.float64) for part in zip(*along, strict=True)]
    known, total, unchanged, squares, changed = found
    covariance = covariance_by_height(squares, changed, grammar.branching)
    return UTurns((known.mean(0) / total.mean(0))[:, ::-1], unchanged.mean(0), covariance)


def covariance_by_height(
    squares: Float[np.ndarray, "sequences noise heights"],
    changed: Float[np.ndarray, "sequences noise leaves"],
    branching: int,
) -> Float[np.ndarray, "noise heights"]:
    """Mean covariance of change by height, over sequences and draws, without bias.

    Args:
        squares: Σ over blocks of s^h leaves of E (number of changed leaves)², given the sequence.
        changed: chance of each leaf to change, given the sequence.
        branching: s.
    """
    number = len(squares)
    own = np.asarray(block_squares(jnp.asarray(changed), branching), np.float64).mean(0)
    common = np.asarray(block_squares(jnp.asarray(changed.mean(0)), branching), np.float64)
    within = squares.mean(0) - own + number / (number - 1) * (own - common)
    heights = np.arange(within.shape[-1])
    block = branching**heights
    pairs = changed.shape[-1] * np.where(heights == 0, 1, block - block // branching)
    return np.diff(within, axis=-1, prepend=0.0) / pairs


def susceptibility(
    covariance: Float[np.ndarray, "... heights"], branching: int = 2
) -> Float[np.ndarray, "..."]:
    """Σ over all pairs of leaves of the covariance of change, over Σ of variances."""
    block = branching ** np.arange(covariance.shape[-1])
    pairs = np.where(block == 1, 1, block - block // branching)
    return (covariance * pairs).sum(-1) / covariance[..., 0]


@functools.partial(jax.jit, static_argnames="squared")
def _u_turns(
    grammar: Grammar, weights, key, rows, noise, corruption, squared: bool
) -> tuple[Array, ...]:
    """The sequences of these numbers: what ``_one_u_turn`` says of each."""

    def of_sequence(row: Array) -> tuple[Array, ...]:
        tree_key, noise_key = jax.random.split(jax.random.fold_in(key, row))
        tree = _draw_tree(tree_key, grammar, _no_messages(grammar), 0)
        leaves = tree[-1]
        assert leaves is not None  # the unfiltered model has all levels
        field = leaf_field(noise_key, leaves, noise, corruption, grammar.vocab_size)
        return _one_u_turn(grammar, tree, field, weights, squared)

    return jax.vmap(of_sequence)(rows)


def _one_u_turn(
    grammar: Grammar, tree, field: Array, weights: Array, squared: bool
) -> tuple[Array, ...]:
    """Beliefs and their weights by level, and what draws from the posterior leave."""
    messages = [each for each in pass_up(grammar, field, 0).by_level if each is not None]
    known, total = [], []
    for message, symbols, weight in zip(messages, tree, weights, strict=True):
        own = _of(jax.nn.softmax(message, -1), symbols)
        known.append((weight[symbols] * own).sum())
        total.append(weight[symbols].sum())
    rules = [
        _shares(rule_scores(grammar, level, messages[level + 1])) for level in range(grammar.depth)
    ]
    marginals = _marginals(grammar, jax.nn.softmax(grammar.root_log_probs + messages[0], -1), rules)
    unchanged = [_of(law, symbols) for law, symbols in zip(marginals, tree, strict=True)]
    moments = _second_moments(grammar, rules, tree[-1]) if squared else [jnp.nan] * len(tree)
    squares = [(law * moment).sum() for law, moment in zip(marginals, moments, strict=True)]
    return (
        jnp.stack(known),
        jnp.stack(total),
        jnp.stack([share.mean() for share in unchanged]),
        jnp.stack(squares[::-1]),
        1 - unchanged[-1],
    )


def _shares(log_weights: Array) -> Array:
    """Weights along the last axis in proportion; 0 where all are impossible."""
    return jnp.exp(subtract(log_weights, log_sum_exp(log_weights, -1)[..., None]))


def _of(law: Array, symbols: Array) -> Array:
    """The probability of each node's own symbol."""
    return jnp.take_along_axis(law, symbols[..., None], -1)[..., 0]


def _marginals(grammar: Grammar, root: Array, rules: list[Array]) -> list[Array]:
    """Law of every node given all leaves, per level, from those of the rules given their symbol."""
    found = [root]
    for level, law in enumerate(rules):
        joint = found[-1][..., None] * law  # (nodes, symbols, rules)
        children = grammar.rules.children[grammar.table_index(level)]
        below = jnp.zeros((len(joint), grammar.branching, grammar.vocab_size), joint.dtype)
        for position in range(grammar.branching):
            below = below.at[:, position, children[..., position]].add(joint)
        found.append(below.reshape(-1, grammar.vocab_size))
    return found


def _second_moments(grammar: Grammar, rules: list[Array], leaves: Array) -> list[Array]:
    """E (number of changed leaves below a node)², given its symbol, per level (nodes, symbols)."""
    first = (leaves[:, None] != jnp.arange(grammar.vocab_size)).astype(rules[0].dtype)
    second, found = first, [first]
    for level in reversed(range(grammar.depth)):
        children = grammar.rules.children[grammar.table_index(level)]
        places = range(grammar.branching)
        shape = (-1, grammar.branching, grammar.vocab_size)
        means, spreads = first.reshape(shape), (second - jnp.square(first)).reshape(shape)
        mean = sum(means[:, place][:, children[..., place]] for place in places)
        spread = sum(spreads[:, place][:, children[..., place]] for place in places)
        first = (rules[level] * mean).sum(-1)
        second = (rules[level] * (spread + jnp.square(mean))).sum(-1)
        found.append(second)
    return found[::-1]


def block_squares(
    changed: Float[Array, "... leaves"], branching: int
) -> Float[Array, "... heights"]:
    """Per height h = 0…L, Σ over blocks of s^h positions of the squared sum over the block."""
    squares, sums = [], changed
    while True:
        squares.append(jnp.square(sums).sum(-1))
        if sums.shape[-1] == 1:
            return jnp.stack(squares, -1)
        sums = sums.reshape(*sums.shape[:-1], -1, branching).sum(-1)


def leaf_field(
    key: Key[Array, ""],
    leaves: Int[Array, " leaves"],
    noise: Float[Array, ""],
    corruption: Int[Array, ""] | int,
    vocab_size: int,
) -> Float[Array, "leaves vocab"]:
    """Log-likelihood of every symbol of noised leaves, up to a constant, per ``CORRUPTIONS``.

    The random numbers do not depend on the noise.
    """
    hit_key, symbol_key = jax.random.split(key)
    is_true = leaves[:, None] == jnp.arange(vocab_size)
    likely, unlikely = jnp.log1p(noise / vocab_size - noise), jnp.log(noise / vocab_size)

    def equal():
        return jnp.where(is_true, likely, unlikely)

    def erased():
        hidden = jax.random.uniform(hit_key, leaves.shape) < noise
        return jnp.where(hidden[:, None] | is_true, 0.0, -jnp.inf)

    def redrawn():
        hit = jax.random.uniform(hit_key, leaves.shape) < noise
        drawn = jax.random.randint(symbol_key, leaves.shape, 0, vocab_size)
        seen = jnp.where(hit, drawn, leaves)
        return jnp.where(seen[:, None] == jnp.arange(vocab_size), likely, unlikely)

    def gaussian():
        signal = (1 - noise) / noise
        return signal * is_true + jnp.sqrt(signal) * jax.random.normal(symbol_key, is_true.shape)

    return jax.lax.switch(corruption, (equal, erased, redrawn, gaussian))


def _no_messages(grammar: Grammar) -> list[Array]:
    """What the leaves say where nothing is observed."""
    sizes = (grammar.branching**level for level in range(grammar.depth + 1))
    return [jnp.zeros((size, grammar.vocab_size)) for size in sizes]
