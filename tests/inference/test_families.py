"""Joint posteriors of parents with their children, and posterior entropy, against enumeration."""

import jax
import jax.numpy as jnp
import numpy as np
import oracles
import pytest
import strategies
from hypothesis import given
from hypothesis import strategies as st

import hiermodel as hm
from hiermodel.grammar.statistics import tree_entropy


@given(data=st.data())
def test_families_agree_with_enumeration(data):
    case = data.draw(strategies.cases([strategies.HIERARCHY, strategies.TERNARY]))
    field = data.draw(strategies.fields(case))
    filter_level = data.draw(strategies.filter_levels(case))
    trees = case.trees(filter_level)
    probs = oracles.posterior(trees, field)
    families = hm.family_log_marginals(case.grammar, field, filter_level=filter_level)
    assert len(families) == case.depth
    assert all(family is None for family in families[:filter_level])
    for level in range(filter_level, case.depth):
        expected = oracles.family_joint(trees, probs, level)
        children = case.grammar.rules.children[case.grammar.table_index(level)]
        parents = np.arange(case.grammar.vocab_size)[:, None]
        listed = expected[:, parents, *np.moveaxis(children, -1, 0)]
        existing = np.asarray(case.grammar.log_weights[case.grammar.table_index(level)]) > -np.inf
        found = np.exp(families[level])
        np.testing.assert_allclose(found, np.where(existing, listed, 0), atol=1e-10)


@given(data=st.data())
def test_entropy_agrees_with_enumeration(data):
    case = data.draw(strategies.cases([strategies.AMBIGUOUS, strategies.DEEP]))
    field = data.draw(strategies.fields(case))
    filter_level = data.draw(strategies.filter_levels(case))
    probs = oracles.posterior(case.trees(filter_level), field)
    expected = -np.sum(probs[probs > 0] * np.log(probs[probs > 0]))
    found = hm.posterior_entropy(case.grammar, field, filter_level=filter_level)
    np.testing.assert_allclose(found, expected, atol=1e-9)


def test_evidence_that_fixes_the_tree_leaves_no_entropy():
    grammar = hm.paper_grammar()  # unambiguous
    leaves = hm.sample_leaves(jax.random.key(0), grammar, 4)
    observed = np.where(np.asarray(leaves)[..., None] == np.arange(6), 0.0, -np.inf)
    np.testing.assert_allclose(hm.posterior_entropy(grammar, observed), 0, atol=1e-10)


@pytest.mark.parametrize("filter_level", [0, 2])
def test_entropy_without_evidence_is_that_of_the_model(filter_level):
    grammar = hm.paper_grammar()
    found = hm.posterior_entropy(grammar, np.zeros((16, 6)), filter_level=filter_level)
    assert found == pytest.approx(float(tree_entropy(grammar, filter_level=filter_level)))


@pytest.mark.long
@pytest.mark.parametrize("filter_level", [0, 2])
def test_leading_axes_jit_vmap_grad_and_dtype(filter_level, precision):
    """Families and entropy; where evidence rules symbols out, derivatives are finite too."""
    grammar = strategies.build(strategies.DEEP, np.random.default_rng(1)).grammar
    field = np.random.default_rng(2).normal(size=(2, 3, 8, 2)).astype(precision.dtype)
    field[0, 1, 2, 0] = -np.inf

    def both(h):
        families = hm.family_log_marginals(grammar, h, filter_level=filter_level)
        return families, hm.posterior_entropy(grammar, h, filter_level=filter_level)

    whole, mapped = jax.jit(both)(field), jax.vmap(jax.vmap(both))(field)
    single = both(field[1, 2])
    for a, b, c in zip(*map(jax.tree.leaves, (whole, mapped, single)), strict=True):
        assert a.dtype == precision.dtype
        np.testing.assert_allclose(a, b, atol=10 * precision.tolerance)
        np.testing.assert_allclose(a[1, 2], c, atol=10 * precision.tolerance)
    gradient = jax.grad(lambda h: both(h)[1].sum())(jnp.asarray(field))
    assert np.all(np.isfinite(gradient))
    assert np.any(gradient != 0)
