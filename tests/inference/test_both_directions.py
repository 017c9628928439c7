"""Messages on request, against enumeration of the trees below a node and of all the rest."""

import jax
import jax.numpy as jnp
import numpy as np
import oracles
import pytest
import scipy.special
import strategies
from hypothesis import given, settings
from hypothesis import strategies as st

import hiermodel as hm


def blocks(case, level):
    """The leaves below each node of a level."""
    return np.arange(case.grammar.num_leaves).reshape(case.grammar.branching**level, -1)


def likelihood_below(case, field, level, filter_level):
    """Log of the sum of weights below each node given its symbol: (nodes, q)."""
    if level == 0:
        trees = [
            oracles.list_trees(case.tensors, one, filter_level) for one in np.eye(len(field[0]))
        ]
    elif level == case.depth:
        return field
    else:
        trees = [oracles.list_trees(case.tensors[level:], one) for one in np.eye(len(field[0]))]
    return np.array(
        [[oracles.log_evidence(t, field[b]) for t in trees] for b in blocks(case, level)]
    )


def weight_outside(case, field, level, filter_level):
    """Log of the joint weight of each node's symbol and all evidence that is not below it."""
    trees = case.trees(filter_level)
    rows = []
    for node, block in enumerate(blocks(case, level)):
        elsewhere = field.copy()
        elsewhere[block] = 0  # what is below sums to one
        log_weights = oracles.log_weights(trees, elsewhere)[:, None]
        one_hot = trees.levels[level][:, node, None] == np.arange(trees.vocab_size)
        rows.append(scipy.special.logsumexp(np.where(one_hot, log_weights, -np.inf), axis=0))
    return np.array(rows)


@settings(max_examples=50)
@given(data=st.data())
def test_both_messages_agree_with_enumeration_and_add_up_to_the_marginals(data):
    case = data.draw(strategies.cases([strategies.TERNARY, strategies.DEEP]))
    filter_level = data.draw(strategies.filter_levels(case))
    field = data.draw(strategies.fields(case))
    tolerance = 1e-12 * (1 + np.abs(np.where(np.isfinite(field), field, 0)).sum())
    found = hm.run_messages(case.grammar, field, filter_level=filter_level)
    trees = case.trees(filter_level)
    expected = oracles.log_evidence(trees, field)
    np.testing.assert_allclose(found.log_evidence, expected, atol=tolerance)
    marginals = oracles.marginals(trees, oracles.posterior(trees, field))
    for level, (up, down, scale) in enumerate(zip(*found[:3], strict=True)):
        if marginals[level] is None:
            assert up is down is scale is None
            continue
        np.testing.assert_allclose(np.exp(up + down), marginals[level], atol=tolerance)
        np.testing.assert_array_equal(up.max(-1), 0)
        if expected > -np.inf:
            below = likelihood_below(case, field, level, filter_level)
            np.testing.assert_allclose(up + scale[:, None], below, atol=tolerance)
            outside = weight_outside(case, field, level, filter_level)
            total = down + found.log_evidence - scale[:, None]
            np.testing.assert_allclose(total, outside, atol=tolerance)


@pytest.mark.parametrize("filter_level", [0, 2])
def test_impossible_evidence_leaves_the_messages_without_evidence(filter_level, precision):
    grammar = strategies.build(strategies.DEEP, np.random.default_rng(1)).grammar
    silent = np.zeros((2, 8, 2), precision.dtype)
    silent[1, 3] = -np.inf  # no symbol at all fits leaf 3
    found = hm.run_messages(grammar, silent, filter_level=filter_level)
    assert found.log_evidence[1] == -np.inf
    for part in jax.tree.leaves((found.upward, found.downward, found.log_scales)):
        assert part.dtype == precision.dtype
        np.testing.assert_allclose(part[0], part[1], atol=precision.tolerance)


@pytest.mark.long
@pytest.mark.parametrize("filter_level", [0, 2])
def test_leading_axes_jit_vmap_and_grad(filter_level):
    grammar = strategies.build(strategies.DEEP, np.random.default_rng(4)).grammar
    field = np.random.default_rng(5).normal(size=(2, 3, 8, 2))
    field[0, 0, 0, 0] = -np.inf

    def run(h):
        return hm.run_messages(grammar, h, filter_level=filter_level)

    whole, mapped = jax.jit(run)(field), jax.vmap(jax.vmap(run))(field)
    single = run(field[1, 2])
    for a, b, c in zip(*map(jax.tree.leaves, (whole, mapped, single)), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-12)
        np.testing.assert_allclose(a[1, 2], c, atol=1e-12)

    def likelihood_of_the_rest(h):
        # log Σ_a D(a) exp h(a) of leaf 0, which is log Z: so its gradient is the marginals
        found = run(h)
        outside = found.downward[-1] - found.log_scales[-1][..., None]
        rest = outside[..., 0, :] + found.log_evidence[..., None]
        return jax.nn.logsumexp(rest + h[..., 0, :], -1).sum()

    gradient = jax.grad(likelihood_of_the_rest)(jnp.asarray(field))
    marginals = hm.run_bp(grammar, field, filter_level=filter_level).log_marginals[-1]
    np.testing.assert_allclose(gradient, np.exp(marginals), atol=1e-12)
