"""Trees drawn from the posterior, and the most probable tree, against enumeration."""

import itertools

import jax
import numpy as np
import oracles
import pytest
import strategies
from hypothesis import given
from hypothesis import strategies as st

import hiermodel as hm


@pytest.mark.parametrize("kind", ["noisy", "partly masked"])
@pytest.mark.parametrize("structure", [strategies.AMBIGUOUS, strategies.TERNARY, strategies.DEEP])
def test_sampled_trees_follow_the_posterior(structure, kind):
    rng = np.random.default_rng(0)
    case = strategies.build(structure, rng)
    field = strategies.make_field(kind, case, rng)
    levels = hm.sample_posterior(jax.random.key(0), case.grammar, field, 20_000)
    trees = case.trees()
    law = oracles.tree_law(trees, oracles.posterior(trees, field))
    codes = oracles.encode(oracles.all_nodes(levels), trees.vocab_size)
    assert oracles.agrees_with_law(codes, law)


@pytest.mark.parametrize(
    ("structure", "filter_level"), [(strategies.AMBIGUOUS, 2), (strategies.DEEP, 2)]
)
def test_sampled_trees_of_filtered_models_follow_their_posterior(structure, filter_level):
    rng = np.random.default_rng(9)
    case = strategies.build(structure, rng)
    field = strategies.make_field("noisy", case, rng)
    levels = hm.sample_posterior(
        jax.random.key(9), case.grammar, field, 20_000, filter_level=filter_level
    )
    assert [level is None for level in levels] == [
        0 < level < filter_level for level in range(case.depth + 1)
    ]
    trees = case.trees(filter_level)
    law = oracles.tree_law(trees, oracles.posterior(trees, field))
    codes = oracles.encode(oracles.all_nodes(levels), trees.vocab_size)
    assert oracles.agrees_with_law(codes, law)


def test_families_follow_their_joint_posterior():
    rng = np.random.default_rng(1)
    case = strategies.build(strategies.HIERARCHY, rng)
    field = strategies.make_field("noisy", case, rng)
    levels = hm.sample_posterior(jax.random.key(1), case.grammar, field, 20_000)
    trees = case.trees()
    for level in range(case.depth):
        joint = oracles.family_joint(trees, oracles.posterior(trees, field), level)
        for node, law in enumerate(joint):
            children = np.asarray(levels[level + 1])[:, 2 * node : 2 * node + 2]
            family = np.column_stack([levels[level][:, node], children])
            assert oracles.agrees_with_law(oracles.encode(family, 4), law.ravel())


def test_without_evidence_the_posterior_is_the_prior():
    case = strategies.build(strategies.TERNARY, np.random.default_rng(2))
    levels = hm.sample_posterior(jax.random.key(2), case.grammar, np.zeros((9, 2)), 20_000)
    codes = oracles.encode(oracles.all_nodes(levels), 2)
    assert oracles.agrees_with_law(codes, oracles.tree_law(case.trees()))


def test_posterior_trees_keep_observed_leaves_and_allowed_rules():
    grammar = hm.paper_grammar()
    leaves = hm.sample_leaves(jax.random.key(3), grammar, 50)
    field = np.where(np.asarray(leaves)[..., None] == np.arange(6), 0, -np.inf)
    field[:, ::2] = 0  # hide every other leaf
    levels = hm.sample_posterior(jax.random.key(4), grammar, field.astype(np.float32), 20)
    assert [level.shape for level in levels] == [(20, 50, 2**level) for level in range(5)]
    assert all(level.dtype == np.int32 for level in levels)
    np.testing.assert_array_equal(levels[-1][..., 1::2], np.tile(leaves[:, 1::2], (20, 1, 1)))
    rho = np.asarray(grammar.to_tensor())
    for above, below in itertools.pairwise(levels):
        assert np.all(rho[above, below[..., ::2], below[..., 1::2]] > 0)


def test_more_posterior_samples_leave_the_first_ones_alone():
    case = strategies.build(strategies.TERNARY, np.random.default_rng(5))
    field = np.random.default_rng(6).normal(size=(9, 2))
    few, many = (
        hm.sample_posterior(jax.random.key(5), case.grammar, field, num) for num in (3, 10)
    )
    for a, b in zip(few, many, strict=True):
        np.testing.assert_array_equal(a, b[:3])


def test_impossible_evidence_has_no_tree():
    grammar = strategies.build(strategies.TERNARY, np.random.default_rng(7)).grammar
    field = np.zeros((2, 9, 2))
    field[1, 4] = -np.inf
    for level in hm.sample_posterior(jax.random.key(6), grammar, field, 5):
        assert np.all(level[:, 0] >= 0)
        assert np.all(level[:, 1] == -1)
    best, log_probability = hm.most_probable_tree(grammar, field)
    assert log_probability[0] > -np.inf == log_probability[1]
    for level in best:
        assert np.all(level[0] >= 0)
        assert np.all(level[1] == -1)


@given(data=st.data())
def test_the_most_probable_tree_is_the_best_of_all_trees(data):
    structures = [strategies.AMBIGUOUS, strategies.TERNARY, strategies.DEEP]
    case = data.draw(strategies.cases(structures))
    field = data.draw(strategies.fields(case))
    filter_level = data.draw(strategies.filter_levels(case))
    trees = case.trees(filter_level)
    weights = oracles.log_weights(trees, field)
    levels, log_probability = hm.most_probable_tree(case.grammar, field, filter_level=filter_level)
    assert [level is None for level in levels] == [level is None for level in trees.levels]
    tolerance = 1e-12 * (1 + np.abs(np.where(np.isfinite(field), field, 0)).sum())
    np.testing.assert_allclose(log_probability, weights.max(), atol=tolerance)
    if weights.max() > -np.inf:
        same = np.all(oracles.all_nodes(trees.levels) == oracles.all_nodes(levels), axis=-1)
        # Rules that are equally likely tie: any of the best trees will do.
        np.testing.assert_allclose(weights[same], [weights.max()], atol=tolerance)


def test_the_most_probable_tree_of_a_whole_sequence_is_its_parse():
    """The paper grammar is unambiguous: one tree per sequence, so best is all."""
    grammar = hm.paper_grammar()
    levels = hm.sample_tree(jax.random.key(7), grammar, 100)
    field = np.where(np.asarray(levels[-1])[..., None] == np.arange(6), 0.0, -np.inf)
    parse, log_probability = hm.most_probable_tree(grammar, field)
    for a, b in zip(parse, levels, strict=True):
        np.testing.assert_array_equal(a, b)
    np.testing.assert_allclose(log_probability, hm.log_prob(grammar, levels[-1]), rtol=1e-12)


def test_the_probability_of_the_best_tree_keeps_the_dtype(precision):
    grammar = strategies.build(strategies.TERNARY, np.random.default_rng(8)).grammar
    _, log_probability = hm.most_probable_tree(grammar, np.zeros((4, 9, 2), precision.dtype))
    assert log_probability.shape == (4,)
    assert log_probability.dtype == precision.dtype
