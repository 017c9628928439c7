"""Moments of U-turns: against enumeration of all sequences, and against draws."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import hiermodel as hm
from experiments.theory import u_turns as module
from experiments.theory.chain import chain_u_turns
from experiments.theory.u_turns import covariance_by_height, susceptibility, u_turns

GRAMMAR = hm.Grammar.random_hierarchy(
    jax.random.key(0), vocab_size=4, depth=2, branching=2, rules_per_symbol=2
)
LEAVES = np.array(list(itertools.product(range(4), repeat=4)))


@pytest.fixture(scope="module")
def posterior():
    """A tree, a field on its leaves, and the law of all sequences given it."""
    tree = [jnp.asarray(nodes[0]) for nodes in hm.sample_tree(jax.random.key(1), GRAMMAR, 1)]
    field = module.leaf_field(jax.random.key(2), tree[-1], jnp.asarray(0.4), 3, 4)
    logs = np.asarray(hm.log_prob(GRAMMAR, LEAVES), np.float64)
    weights = np.exp(logs + np.asarray(field)[np.arange(4), LEAVES].sum(1))
    return tree, field, weights / weights.sum()


def test_moments_are_those_of_enumeration(posterior):
    tree, field, law = posterior
    found = module._one_u_turn(GRAMMAR, tree, field, jnp.full((3, 4), 0.25), True)
    changed = (np.asarray(tree[-1]) != LEAVES).astype(float)
    for height in range(3):
        blocks = changed.reshape(len(LEAVES), -1, 2**height).sum(-1)
        expected = (law[:, None] * np.square(blocks)).sum()
        np.testing.assert_allclose(found[3][height], expected, rtol=1e-5)
    np.testing.assert_allclose(found[4], law @ changed, atol=1e-6)
    marginals = hm.run_bp(GRAMMAR, field).log_marginals
    for level, (logs, nodes) in enumerate(zip(marginals, tree, strict=True)):
        own = np.exp(np.take_along_axis(np.asarray(logs), np.asarray(nodes)[:, None], -1))
        np.testing.assert_allclose(found[2][level], own.mean(), atol=1e-6)


def test_covariances_are_those_of_independent_draws():
    """Rows of a known law, each a sequence of its own: no bias, whatever their number."""
    rng = np.random.default_rng(0)
    common = rng.random((4000, 1)) < 0.5
    changed = np.where(common, 0.9, 0.1) * np.ones((1, 4))
    own = changed * (1 - changed)
    squares = np.stack(
        [
            changed.sum(1),
            (own.reshape(-1, 2, 2).sum(-1) + changed.reshape(-1, 2, 2).sum(-1) ** 2).sum(1),
            own.sum(1) + changed.sum(1) ** 2,
        ],
        -1,
    )
    found = covariance_by_height(squares[:, None], changed[:, None], 2)[0]
    np.testing.assert_allclose(found, [0.25, 0.16, 0.16], atol=0.01)
    small = [
        covariance_by_height(squares[at : at + 2, None], changed[at : at + 2, None], 2)[0]
        for at in range(0, 4000, 2)
    ]
    np.testing.assert_allclose(np.mean(small, 0), [0.25, 0.16, 0.16], atol=0.01)
    np.testing.assert_allclose(susceptibility(found), (0.25 + 3 * 0.16) / 0.25, atol=0.1)


def test_more_sequences_leave_the_first_and_noise_loses_the_root():
    noise = np.array([0.05, 0.9])
    few, many = (u_turns(jax.random.key(3), GRAMMAR, noise, "erased", n) for n in (3, 40))
    assert few.beliefs.shape == many.beliefs.shape == (2, 3)
    assert (many.beliefs[0] > many.beliefs[1]).all()
    assert (many.unchanged[0] > many.unchanged[1]).all()
    np.testing.assert_allclose(many.beliefs[:, 0], [0.96, 0.33], atol=0.08)  # 1 − ε + ε / v


def test_a_chain_that_repeats_one_symbol_changes_as_one():
    found = chain_u_turns(
        jax.random.key(0),
        np.array([0.5]),
        vocab_size=4,
        num_successors=4,
        length=6,
        num_sequences=30,
        num_draws=30,
    )
    assert found.shape == (1, 900, 6)
    # With all successors equally likely, symbols are independent: they change with ε (1 − 1/v).
    np.testing.assert_allclose(found.mean(), 0.5 * 0.75, atol=0.03)
