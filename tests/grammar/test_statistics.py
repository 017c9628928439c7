"""Exact ground truth of the model, against enumeration."""

import jax
import numpy as np
import oracles
import pytest
import strategies
from hypothesis import given
from hypothesis import strategies as st

import hiermodel as hm
from hiermodel.grammar.law import enumerate_law
from hiermodel.grammar.statistics import (
    leaf_entropy,
    leaf_entropy_bounds,
    leaf_pairs,
    rule_entropy,
    symbol_log_marginals,
    tree_entropy,
)
from hiermodel.grammar.support import is_unambiguous, support_size, tree_count

# One program for each structure and filter level; a test below compares them with uncompiled ones.
compiled_pairs = jax.jit(leaf_pairs, static_argnames="filter_level")
compiled_marginals = jax.jit(symbol_log_marginals)


@given(data=st.data())
def test_pairs_of_leaves_agree_with_enumeration(data):
    case = data.draw(strategies.cases())
    filter_level = data.draw(strategies.filter_levels(case))
    trees = case.trees(filter_level)
    one_hot = np.eye(trees.vocab_size)[trees.levels[-1]]
    joint = np.einsum("n,nia,njb->ijab", trees.prior, one_hot, one_hot)
    found = compiled_pairs(case.grammar, filter_level=filter_level)
    np.testing.assert_allclose(found.joint, joint, atol=1e-12)

    marginal = np.einsum("n,nia->ia", trees.prior, one_hot)
    product = marginal[:, None, :, None] * marginal[None, :, None, :]
    np.testing.assert_allclose(found.covariance, joint - product, atol=1e-12)
    with np.errstate(divide="ignore", invalid="ignore"):
        terms = np.where(joint > 0, joint * np.log(joint / product), 0)
    np.testing.assert_allclose(found.information, terms.sum((-2, -1)), atol=1e-10)


@given(data=st.data())
def test_symbol_marginals_agree_with_enumeration(data):
    case = data.draw(strategies.cases())
    trees = case.trees()
    expected = oracles.marginals(trees, trees.prior)
    for found, level in zip(compiled_marginals(case.grammar), expected, strict=True):
        np.testing.assert_allclose(np.exp(found), level, atol=1e-12)


def entropy(probs):
    probs = probs[probs > 0]
    return -np.sum(probs * np.log(probs))


@pytest.mark.long
@given(data=st.data())
def test_tree_entropy_agrees_with_enumeration(data):
    case = data.draw(strategies.cases())
    filter_level = data.draw(strategies.filter_levels(case))
    expected = entropy(case.trees(filter_level).prior)
    found = tree_entropy(case.grammar, filter_level=filter_level)
    assert found == pytest.approx(expected, abs=1e-9)


@given(data=st.data())
def test_leaves_of_unambiguous_grammars_have_the_entropy_and_the_number_of_their_trees(data):
    case = data.draw(strategies.cases([strategies.TERNARY, strategies.HIERARCHY]))
    assert is_unambiguous(case.grammar)
    law = oracles.leaf_law(case.trees())
    assert support_size(case.grammar) == (law > 0).sum()
    assert leaf_entropy(case.grammar) == pytest.approx(entropy(law), abs=1e-9)
    np.testing.assert_allclose(leaf_entropy_bounds(case.grammar), entropy(law), atol=1e-9)


@given(data=st.data())
def test_the_entropy_of_the_leaves_lies_within_its_bounds(data):
    case = data.draw(strategies.cases())
    filter_level = data.draw(strategies.filter_levels(case))
    exact = entropy(oracles.leaf_law(case.trees(filter_level)))
    lower, upper = leaf_entropy_bounds(case.grammar, filter_level=filter_level)
    assert 0 <= lower <= exact + 1e-9
    assert exact <= upper + 1e-9
    if is_unambiguous(case.grammar):
        assert upper - lower <= entropy(case.root_probs) + 1e-9


def test_bounds_use_the_levels_that_the_leaves_determine():
    """Ambiguous above, unambiguous below: what is below counts in full."""
    rng = np.random.default_rng(0)
    above = rng.dirichlet(np.ones(16), size=4).reshape(4, 4, 4)
    below = strategies.build(strategies.HIERARCHY, rng).tensors[1]
    grammar = hm.Grammar.from_tensor(np.stack([above, below]), depth=2)
    lower, upper = leaf_entropy_bounds(grammar)
    trees = oracles.list_trees([above, below], np.full(4, 0.25))
    exact = entropy(oracles.leaf_law(trees))
    assert lower == pytest.approx(float(rule_entropy(grammar).sum()))
    assert lower < exact < upper


def test_the_papers_grammar_has_the_support_of_the_paper():
    assert support_size(hm.paper_grammar()) == 6 * 4**15


def test_trees_do_not_count_the_sequences_of_an_ambiguous_grammar():
    case = strategies.build(strategies.AMBIGUOUS, np.random.default_rng(0))
    assert not is_unambiguous(case.grammar)
    with pytest.raises(ValueError, match="unambiguous"):
        support_size(case.grammar)
    with pytest.raises(ValueError, match=r"leaf_entropy_bounds or .*estimate_leaf_entropy"):
        leaf_entropy(case.grammar)


@pytest.mark.long
def test_ground_truth_keeps_the_dtype_and_runs_under_jit_vmap_and_grad(precision):
    grammar = strategies.build(strategies.AMBIGUOUS, np.random.default_rng(1)).grammar
    grammar = jax.tree.map(lambda leaf: leaf.astype(precision.dtype), grammar)

    def statistics(g):
        return [
            *symbol_log_marginals(g),
            *leaf_pairs(g, filter_level=1),
            tree_entropy(g, filter_level=1),
        ]

    plain, jitted = statistics(grammar), jax.jit(statistics)(grammar)
    for a, b in zip(plain, jitted, strict=True):
        assert a.dtype == precision.dtype
        np.testing.assert_allclose(a, b, atol=precision.tolerance)
    gradient = jax.grad(lambda g: statistics(g)[-1] + statistics(g)[-2].sum())(grammar)
    assert all(np.all(np.isfinite(leaf)) for leaf in jax.tree.leaves(gradient))


@given(data=st.data())
def test_the_listed_law_agrees_with_enumeration(data):
    case = data.draw(strategies.cases())
    filter_level = data.draw(strategies.filter_levels(case))
    trees = case.trees(filter_level)
    leaves, inverse = np.unique(trees.levels[-1], axis=0, return_inverse=True)
    law = enumerate_law(case.grammar, filter_level=filter_level)
    np.testing.assert_array_equal(law.sequences, leaves)
    expected = np.bincount(inverse.reshape(-1), trees.prior)
    np.testing.assert_allclose(law.probs, expected, rtol=1e-6)
    assert tree_count(case.grammar, filter_level=filter_level) == len(trees.prior)


def test_a_law_too_large_to_list_is_refused():
    grammar = hm.paper_grammar()
    assert tree_count(grammar) == 6 * 4**15
    with pytest.raises(ValueError, match=f"it has {6 * 4**15} trees; at most 1000000"):
        enumerate_law(grammar)
