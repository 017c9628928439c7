"""Sampled trees against their exact law, at every filter level; keys and growth."""

import jax
import jax.numpy as jnp
import numpy as np
import oracles
import pytest
import strategies

import hiermodel as hm
from hiermodel.grammar.sampling import cumulative

SAMPLES = 20_000


@pytest.mark.parametrize("filter_level", [0, 1, 2, 3])
@pytest.mark.parametrize("structure", [strategies.AMBIGUOUS, strategies.TERNARY, strategies.DEEP])
def test_sampled_trees_follow_their_exact_law(structure, filter_level):
    filter_level = min(filter_level, structure.depth)
    case = strategies.build(structure, np.random.default_rng(filter_level))
    key = jax.random.key(filter_level)
    levels = hm.sample_tree(key, case.grammar, SAMPLES, filter_level=filter_level)
    trees = case.trees(filter_level)
    for drawn, listed in zip(levels, trees.levels, strict=True):
        assert (drawn is None) == (listed is None)
    codes = oracles.encode(oracles.all_nodes(levels), trees.vocab_size)
    assert oracles.agrees_with_law(codes, oracles.tree_law(trees))


@pytest.mark.parametrize("filter_level", [0, 1, 2, 3])
def test_sampled_leaves_follow_their_exact_law(filter_level):
    case = strategies.build(strategies.DEEP, np.random.default_rng(10))
    key = jax.random.key(10 + filter_level)
    leaves = hm.sample_leaves(key, case.grammar, SAMPLES, filter_level=filter_level)
    law = oracles.leaf_law(case.trees(filter_level))
    assert oracles.agrees_with_law(oracles.encode(leaves, 2), law)
    expected = hm.sample_tree(key, case.grammar, SAMPLES, filter_level=filter_level)[-1]
    np.testing.assert_array_equal(leaves, expected)


def test_a_root_symbol_without_probability_never_occurs():
    rng = np.random.default_rng(11)
    case = strategies.build(strategies.AMBIGUOUS, rng, root="some impossible")
    roots = hm.sample_tree(jax.random.key(11), case.grammar, SAMPLES)[0]
    assert oracles.agrees_with_law(np.ravel(roots), case.root_probs)


def test_neighbouring_samples_are_independent():
    case = strategies.build(strategies.AMBIGUOUS, np.random.default_rng(12))
    first = np.asarray(hm.sample_leaves(jax.random.key(12), case.grammar, SAMPLES))[:, 0]
    single = np.exp(hm.run_bp(case.grammar, np.zeros((4, 3))).log_marginals[-1])[0]
    pairs = oracles.encode(first.reshape(-1, 2), 3)
    assert oracles.agrees_with_law(pairs, np.outer(single, single).ravel())


def test_more_samples_leave_the_first_ones_alone():
    few, many = (hm.sample_leaves(jax.random.key(13), hm.paper_grammar(), n) for n in (5, 100))
    np.testing.assert_array_equal(few, many[:5])


def test_a_key_fixes_the_samples_and_another_key_changes_them():
    one, same, other = (
        hm.sample_leaves(jax.random.key(seed), hm.paper_grammar(), 10) for seed in (14, 14, 15)
    )
    np.testing.assert_array_equal(one, same)
    assert not np.array_equal(one, other)


def test_shapes_and_dtypes():
    grammar = hm.paper_grammar()
    levels = hm.sample_tree(jax.random.key(0), grammar, 7)
    assert [level.shape for level in levels] == [(7, 1), (7, 2), (7, 4), (7, 8), (7, 16)]
    assert {level.dtype for level in levels} == {np.dtype(np.int32)}
    filtered = hm.sample_tree(jax.random.key(0), grammar, 7, filter_level=3)
    assert [level is None for level in filtered] == [False, True, True, False, False]
    assert hm.sample_leaves(jax.random.key(0), grammar, 0).shape == (0, 16)


@pytest.mark.parametrize("filter_level", [0, 1, 2, 3, 4])
def test_blocks_below_the_filter_level_are_derivable(filter_level):
    grammar = hm.paper_grammar()
    leaves = hm.sample_leaves(jax.random.key(16), grammar, 1000, filter_level=filter_level)
    assert np.all(hm.log_prob(grammar, leaves, filter_level=filter_level) > -np.inf)
    if filter_level < 4:
        block = hm.Grammar.from_tensor(grammar.to_tensor(), depth=4 - filter_level)
        blocks = leaves.reshape(1000, 2**filter_level, -1)
        assert np.all(hm.log_prob(block, blocks) > -np.inf)
    if filter_level > 0:  # while the whole is beyond the grammar, for most samples
        assert np.mean(hm.log_prob(grammar, leaves) > -np.inf) < 0.9


def test_no_uniform_number_can_pick_an_impossible_choice():
    """The cumulative sum of an impossible choice equals the one before it, to the last bit."""
    rng = np.random.default_rng(17)
    probs = rng.dirichlet(np.ones(24), size=2000) * (rng.random((2000, 24)) < 0.7)
    with np.errstate(divide="ignore"):
        log_probs = np.log(probs / probs.sum(-1, keepdims=True)).astype(np.float32)
    law = np.asarray(cumulative(jnp.asarray(log_probs)))
    before = np.concatenate([np.zeros((2000, 1), np.float32), law[:, :-1]], axis=-1)
    impossible = np.isneginf(log_probs)
    np.testing.assert_array_equal(law[impossible], before[impossible])
    assert np.all(law >= before)
