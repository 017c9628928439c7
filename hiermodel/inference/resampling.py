"""Variants of a sequence, by a random change under which the grammar's law stays as it is."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int, Key

from hiermodel.checks import check_integer, check_key, is_concrete, require
from hiermodel.grammar.rules import Grammar
from hiermodel.grammar.sampling import apply_rules, draw_given_root
from hiermodel.inference.belief_propagation import observe
from hiermodel.inference.posterior import sample_posterior
from hiermodel.randomness import sample_keys


def redraw_leaves(
    key: Key[Array, ""],
    grammar: Grammar,
    leaves: Int[Array | np.ndarray, "num_samples leaves"],
    *,
    filter_level: int = 0,
) -> Int[Array, "num_samples leaves"]:
    """Parse each sequence, and draw its lowest families again given their parents.

    The tree comes from the exact posterior, so of a sequence x with law p, (tree, x) has the law of
    whole trees; drawing the leaves anew from the rules of the parents that the tree gives them
    leaves that law as it is. So it is an exact Markov kernel K with p K = p, and x and its variant
    share all levels above the leaves. Where a symbol's rules are equally likely (the random
    hierarchy model) it is uniform over the sequences that have the same tree above: an exact
    symmetry, synonyms being exchanged. At filter level depth the leaves hang from the root alone.

    Args:
        key: one typed key; more sequences leave the variants of the first as they were.
        grammar: the model.
        leaves: int sequences, each possible under the model.
        filter_level: k of the model whose law is to be kept.

    Returns:
        int32, one variant of each sequence; by chance it can be the sequence itself.

    Raises:
        ValueError: for a wrong key, symbols or filter level, or a sequence that is impossible.
    """
    check_key(key)
    filter_level = check_integer("filter_level", filter_level, 0, grammar.depth)
    evidence = observe(grammar, jnp.asarray(leaves))
    parents, variants = _redraw(key, grammar, evidence, filter_level)
    if is_concrete(parents):
        impossible = np.flatnonzero(np.asarray(parents)[:, 0] < 0)
        allowed = "possible sequences of the grammar at this filter level"
        require(not impossible.size, "leaves", f"… (row {list(impossible[:1])})", allowed)
    return variants


@functools.partial(jax.jit, static_argnames="filter_level")
def _redraw(key, grammar: Grammar, evidence, filter_level: int):
    """Parents and new leaves; parents are −1 where the evidence is impossible."""

    def of_row(key, evidence):
        tree_key, leaves_key = jax.random.split(key)
        tree = sample_posterior(tree_key, grammar, evidence, 1, filter_level=filter_level)
        from_root = filter_level == grammar.depth
        parents = tree[0 if from_root else grammar.depth - 1]
        assert parents is not None  # every filtered model has the root, and levels from k on
        shape = (1, grammar.num_leaves if from_root else parents.shape[-1])
        uniforms = jax.random.uniform(leaves_key, shape, jnp.float32)
        if from_root:
            drawn = draw_given_root(grammar, grammar.depth, parents, uniforms)
        else:
            drawn = apply_rules(grammar, grammar.depth - 1, parents, uniforms)
        return parents[0], drawn[0]

    return jax.vmap(of_row)(sample_keys(key, len(evidence)), evidence)
