"""Keyed ancestral sampling of trees, of the full and of the filtered model (science.md#data).

One uniform number per node decides its rule; each sample has its own key, so the first samples of
a key stay the same however many are asked for.
"""

import functools

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key

from hiermodel.checks import check_integer, check_key
from hiermodel.grammar.paths import root_transitions
from hiermodel.grammar.rules import Grammar
from hiermodel.randomness import sample_keys


def sample_tree(
    key: Key[Array, ""], grammar: Grammar, num_samples: int, *, filter_level: int = 0
) -> tuple[Int[Array, "num_samples nodes"] | None, ...]:
    """Draw whole trees.

    Args:
        key: one typed key.
        grammar: the model.
        num_samples: how many trees.
        filter_level: k; with k > 0 the nodes of level k are drawn independently given the root,
            and levels 1…k − 1 do not exist.

    Returns:
        Per level 0…depth, int32 symbols (num_samples, branching**level); None for the levels that
        the filtered model does not have.

    Raises:
        ValueError: for a wrong key, a negative number or a filter level out of range.

    Example:
        >>> [level.shape for level in hm.sample_tree(key, grammar, 8)]
        [(8, 1), (8, 2), (8, 4)]
    """
    check_key(key)
    num_samples = check_integer("num_samples", num_samples, 0)
    filter_level = check_integer("filter_level", filter_level, 0, grammar.depth)
    return _sample_trees(key, grammar, num_samples, filter_level)


def sample_leaves(
    key: Key[Array, ""], grammar: Grammar, num_samples: int, *, filter_level: int = 0
) -> Int[Array, "num_samples leaves"]:
    """Draw sequences: the last level of :func:`sample_tree`, int32 (num_samples, num_leaves).

    Example:
        >>> hm.sample_leaves(key, grammar, 8).shape
        (8, 4)
    """
    leaves = sample_tree(key, grammar, num_samples, filter_level=filter_level)[-1]
    assert leaves is not None  # the leaves exist at every filter level
    return leaves


@functools.partial(jax.jit, static_argnames=("num_samples", "filter_level"))
def _sample_trees(
    key: Key[Array, ""], grammar: Grammar, num_samples: int, filter_level: int
) -> tuple[Int[Array, "num_samples nodes"] | None, ...]:
    levels = [0, *range(max(filter_level, 1), grammar.depth + 1)]
    num_uniforms = 1 + sum(_num_choices(grammar, level, filter_level) for level in levels[1:])
    keys = sample_keys(key, num_samples)
    uniforms = jax.vmap(lambda one: jax.random.uniform(one, (num_uniforms,), jnp.float32))(keys)

    symbols = choose(cumulative(grammar.root_log_probs), uniforms[:, :1])
    tree: list[Array | None] = [symbols]
    used = 1
    for level in levels[1:]:
        count = _num_choices(grammar, level, filter_level)
        choice = uniforms[:, used : used + count]
        used += count
        if level == filter_level:
            symbols = draw_given_root(grammar, level, symbols, choice)
            tree += [None] * (level - 1)
        else:
            symbols = apply_rules(grammar, level - 1, symbols, choice)
        tree.append(symbols)
    return tuple(tree)


def _num_choices(grammar: Grammar, level: int, filter_level: int) -> int:
    """Uniforms needed for a level: one per node at the filter level, else one per parent."""
    return grammar.branching ** (level if level == filter_level else level - 1)


def draw_given_root(
    grammar: Grammar,
    level: int,
    root: Int[Array, "num_samples 1"],
    uniforms: Float[Array, "num_samples nodes"],
) -> Int[Array, "num_samples nodes"]:
    """Draw the nodes of a filter level, each by itself."""
    law = cumulative(root_transitions(grammar, level))  # (nodes, root, vocab)
    return choose(law[jnp.arange(uniforms.shape[-1]), root], uniforms)


def apply_rules(
    grammar: Grammar,
    level: int,
    parents: Int[Array, "num_samples nodes"],
    uniforms: Float[Array, "num_samples nodes"],
) -> Int[Array, "num_samples children"]:
    """Let every node of ``level`` choose a rule, and return all their children in order."""
    table = grammar.table_index(level)
    rule = choose(cumulative(grammar.log_weights[table])[parents], uniforms)
    children = jnp.asarray(grammar.rules.children[table])[parents, rule]
    num_samples, num_nodes = parents.shape
    return children.reshape(num_samples, num_nodes * grammar.branching)


def cumulative(log_probs: Float[Array, "*batch choices"]) -> Float[Array, "*batch choices"]:
    """Cumulative probabilities, +inf from the last possible choice on.

    A uniform number picks the first choice whose entry exceeds it: never an impossible one, as its
    entry equals the one before; and always some choice, however the sums were rounded.
    """
    possible = log_probs > -jnp.inf
    probs = jnp.exp(log_probs).astype(jnp.float32)
    after_last = jnp.cumsum(possible[..., ::-1], -1)[..., ::-1] - possible == 0
    return jnp.where(after_last, jnp.inf, jnp.cumsum(probs, -1))


def choose(
    law: Float[Array, "*#batch choices"], uniforms: Float[Array, "*#batch"]
) -> Int[Array, "..."]:
    """Index of the first entry of a cumulative law above the uniform number."""
    return (law <= uniforms[..., None]).sum(-1, dtype=jnp.int32)
