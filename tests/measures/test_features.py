"""Pair correlations by tree distance."""

import jax
import numpy as np
import oracles
import pytest
import strategies

import hiermodel as hm
from hiermodel.measures import correlations_by_distance, pair_correlations
from hiermodel.measures.features import pair_covariance, tree_distance


@pytest.mark.parametrize(("branching", "depth"), [(2, 1), (2, 4), (3, 2)])
def test_tree_distance_is_the_height_of_the_last_common_ancestor(branching, depth):
    distance = tree_distance(branching, depth)
    for i in range(branching**depth):
        for j in range(branching**depth):
            height = next(h for h in range(depth + 1) if i // branching**h == j // branching**h)
            assert distance[i, j] == height


def test_covariance_equals_its_definition():
    rng = np.random.default_rng(0)
    rows = rng.integers(3, size=(50, 4))
    one_hot = (rows[:, :, None] == np.arange(3)).astype(float)
    centred = one_hot - one_hot.mean(0)
    expected = np.einsum("nia,njb->ijab", centred, centred) / 50
    np.testing.assert_allclose(pair_covariance(rows, 3), expected, atol=1e-14)


def exact_covariance(case):
    trees = case.trees()
    one_hot = (trees.levels[-1][:, :, None] == np.arange(trees.vocab_size)).astype(float)
    single = np.einsum("n,nia->ia", trees.prior, one_hot)
    joint = np.einsum("n,nia,njb->ijab", trees.prior, one_hot, one_hot)
    return joint - np.einsum("ia,jb->ijab", single, single)


def test_samples_come_close_to_the_exact_covariance():
    """Every entry within 7 standard errors: false alarm below 1e-6 over all of them."""
    case = strategies.build(strategies.AMBIGUOUS, np.random.default_rng(1))
    grammar, num_samples = case.grammar, 20_000
    leaves = hm.sample_leaves(jax.random.key(0), grammar, num_samples)
    exact, found = exact_covariance(case), pair_covariance(leaves, grammar.vocab_size)
    assert oracles.FALSE_ALARM >= 1e-6
    np.testing.assert_allclose(found, exact, atol=7 * 0.5 / np.sqrt(num_samples))
    by_distance = correlations_by_distance(exact, grammar.branching)
    measured = pair_correlations(leaves, grammar.vocab_size, grammar.branching)
    np.testing.assert_allclose(measured.frobenius, by_distance.frobenius, atol=0.02)
    np.testing.assert_allclose(measured.trace, by_distance.trace, atol=0.02)


def test_of_equal_leaves_and_of_independent_ones():
    rng = np.random.default_rng(2)
    copies = np.repeat(np.arange(4), 25)[:, None] * np.ones((1, 4), int)
    result = pair_correlations(copies.astype(int), 4, 2)
    # The covariance of a uniform symbol with itself: 1/4 − 1/16 on the diagonal, −1/16 off it.
    np.testing.assert_allclose(result.trace, 3 / 4)
    np.testing.assert_allclose(result.frobenius, np.sqrt(4 * (3 / 16) ** 2 + 12 / 16**2))
    noise = pair_correlations(rng.integers(4, size=(10_000, 64)), 4, 2)
    # The finite-sample size stated in the documentation.
    np.testing.assert_allclose(noise.frobenius**2, (3 / 4) ** 2 / 10_000, rtol=0.2)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: pair_correlations(np.zeros((5, 6), int), 2, 2), "num_leaves=6"),
        (lambda: pair_covariance(np.zeros((0, 4), int), 2), "sequences"),
        (lambda: pair_covariance(np.full((3, 4), 2), 2), "symbol 2"),
        (lambda: pair_covariance(np.zeros((3, 4), int), 1), "vocab_size=1"),
        (lambda: correlations_by_distance(np.zeros((4, 4, 2, 3)), 2), "covariance"),
        (lambda: tree_distance(2, 0), "depth=0"),
    ],
)
def test_bad_input_is_refused(call, message, unchecked_types):
    with pytest.raises(ValueError, match=message):
        call()
