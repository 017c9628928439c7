"""Exact ground truth of the model, against enumeration."""

import numpy as np
import oracles
import pytest
import strategies
from hypothesis import given
from hypothesis import strategies as st

import hiermodel as hm
from hiermodel.grammar.statistics import (
    is_unambiguous,
    leaf_pairs,
    support_size,
    symbol_log_marginals,
    tree_entropy,
)


@given(data=st.data())
def test_pairs_of_leaves_agree_with_enumeration(data):
    case = data.draw(strategies.cases())
    filter_level = data.draw(strategies.filter_levels(case))
    trees = case.trees(filter_level)
    one_hot = np.eye(trees.vocab_size)[trees.levels[-1]]
    joint = np.einsum("n,nia,njb->ijab", trees.prior, one_hot, one_hot)
    found = leaf_pairs(case.grammar, filter_level=filter_level)
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
    for found, level in zip(symbol_log_marginals(case.grammar), expected, strict=True):
        np.testing.assert_allclose(np.exp(found), level, atol=1e-12)


@given(data=st.data())
def test_tree_entropy_agrees_with_enumeration(data):
    case = data.draw(strategies.cases())
    prior = case.trees().prior
    assert tree_entropy(case.grammar) == pytest.approx(-np.sum(prior * np.log(prior)), abs=1e-9)


@given(data=st.data())
def test_leaves_of_unambiguous_grammars_have_the_entropy_and_the_number_of_their_trees(data):
    case = data.draw(strategies.cases([strategies.TERNARY, strategies.HIERARCHY]))
    assert is_unambiguous(case.grammar)
    law = oracles.leaf_law(case.trees())
    law = law[law > 0]
    assert support_size(case.grammar) == len(law)
    assert tree_entropy(case.grammar) == pytest.approx(-np.sum(law * np.log(law)), abs=1e-9)


def test_the_papers_grammar_has_the_support_of_the_paper():
    assert support_size(hm.paper_grammar()) == 6 * 4**15


def test_trees_do_not_count_the_sequences_of_an_ambiguous_grammar():
    case = strategies.build(strategies.AMBIGUOUS, np.random.default_rng(0))
    assert not is_unambiguous(case.grammar)
    with pytest.raises(ValueError, match="unambiguous"):
        support_size(case.grammar)
