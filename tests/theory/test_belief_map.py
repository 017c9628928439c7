"""The belief map: its own identities, the numbers of the literature, and exact inference."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import hiermodel as hm
from hiermodel import theory

SIZES = [(32, 8, 2), (16, 4, 2), (8, 2, 2), (8, 5, 3), (8, 21, 3), (3, 2, 2), (5, 1, 2)]


def named(vocab_size, rules_per_symbol, branching=2):
    return {
        "vocab_size": vocab_size,
        "rules_per_symbol": rules_per_symbol,
        "branching": branching,
    }


@pytest.mark.parametrize("sizes", SIZES)
def test_knowing_nothing_and_knowing_all_are_fixed_points(sizes):
    for p in (1 / sizes[0], 1.0):
        np.testing.assert_allclose(theory.belief_map(p, **named(*sizes)), p, rtol=1e-12)


@pytest.mark.parametrize("sizes", SIZES)
def test_fixed_points_are_all_there_are(sizes):
    found = theory.fixed_points(**named(*sizes))
    np.testing.assert_allclose(theory.belief_map(found, **named(*sizes)), found, rtol=1e-10)
    grid = np.linspace(1 / sizes[0], 1, 100_001)[1:-1]
    changes = np.flatnonzero(np.diff(np.sign(theory.belief_map(grid, **named(*sizes)) - grid)))
    np.testing.assert_allclose(grid[changes], found[1:-1], atol=2e-5)


@pytest.mark.parametrize("sizes", SIZES)
def test_the_slope_is_the_derivative(sizes):
    p, step = np.linspace(0.1, 0.9, 9), 1e-6
    high, low = (theory.belief_map(p + sign * step, **named(*sizes)) for sign in (1, -1))
    slope = theory.belief_slope(p, **named(*sizes))
    np.testing.assert_allclose(slope, (high - low) / (2 * step), rtol=1e-7)


def test_the_slope_at_the_ends_has_a_closed_form():
    vocab_size, rules, branching = 8, 5, 3
    slopes = theory.belief_slope(np.array([1 / 8, 1.0]), **named(8, 5, 3))
    np.testing.assert_allclose(slopes[1], branching * rules * 7 / (vocab_size**3 - 1))
    large = theory.belief_slope(1e-4, **named(10_000, 5))
    np.testing.assert_allclose(large, 2 / 5, rtol=1e-3)


def test_thresholds_and_exponents_are_those_of_the_literature():
    """ε* of (32, 8) and four ν to the digits given (science.md#f1, #f2)."""
    np.testing.assert_allclose(theory.noise_threshold(**named(32, 8)), 0.731, atol=5e-4)
    expected = {(32, 8): 1.89, (64, 8): 1.47, (16, 4): 2.25, (256, 16): 1.20}
    for sizes, exponent in expected.items():
        found = theory.correlation_exponent(**named(*sizes))
        np.testing.assert_allclose(found, exponent, atol=0.0051)


@pytest.mark.parametrize(("vocab_size", "rules"), [(32, 8), (16, 4), (64, 8), (32, 12)])
def test_change_passes_down_at_the_rate_that_the_exponent_says(vocab_size, rules):
    """λ = a − b of its derivation is F'(p*) / s, so C falls by λ² = s^(−exponent) per level."""
    p = theory.fixed_points(**named(vocab_size, rules))[1]
    weight, share = p**2, (rules - 1) / (vocab_size**2 - 1)
    right_in_others = (p - weight) / (1 - weight)
    others = share * (1 - weight)
    stays = (weight + others * right_in_others) / (weight + others)
    rate = stays - right_in_others
    found = theory.change_exponent(**named(vocab_size, rules))
    np.testing.assert_allclose(2 ** (-found), rate**2, rtol=1e-9)
    assert theory.change_exponent(**named(6, 4)) is None


def test_for_pairs_there_is_a_threshold_exactly_where_s_f_is_below_one():
    for vocab_size in range(2, 20):
        for rules in range(1, vocab_size + 1):
            share = 2 * (rules * vocab_size - 1) / (vocab_size**2 - 1)
            found = theory.noise_threshold(**named(vocab_size, rules))
            assert (found is not None) == (share < 1), (vocab_size, rules)
            inside = len(theory.fixed_points(**named(vocab_size, rules))) == 3
            assert (theory.correlation_exponent(**named(vocab_size, rules)) is not None) == inside


def test_no_noise_destroys_what_one_rule_per_symbol_says():
    assert theory.noise_threshold(**named(5, 1)) == 1.0
    assert theory.noise_threshold(**named(6, 4)) is None  # the sizes of the paper's grammar


@pytest.mark.parametrize("sizes", [(32, 8, 2), (16, 4, 2), (8, 5, 3)])
def test_iterating_the_map_separates_noise_below_and_above_the_threshold(sizes):
    threshold = theory.noise_threshold(**named(*sizes))
    for noise, limit in ((threshold - 1e-3, 1.0), (threshold + 1e-3, 1 / sizes[0])):
        p = 1 - noise + noise / sizes[0]
        for _ in range(300):
            p = theory.belief_map(p, **named(*sizes))
        np.testing.assert_allclose(p, limit, atol=1e-6)


def root_belief(vocab_size, rules, depth, noise, *, seeds, number):
    """Mean exact posterior of the true root where every leaf has the same belief."""
    means = []
    for seed in range(seeds):
        grammar = hm.Grammar.random_hierarchy(
            jax.random.key(seed),
            vocab_size=vocab_size,
            depth=depth,
            branching=2,
            rules_per_symbol=rules,
        )
        tree = hm.sample_tree(jax.random.key(100 + seed), grammar, number)
        true = tree[-1][..., None] == jnp.arange(vocab_size)
        field = jnp.log(jnp.where(true, 1 - noise + noise / vocab_size, noise / vocab_size))
        root = hm.run_bp(grammar, field).log_marginals[0]
        means.append(np.exp(np.take_along_axis(root, tree[0][..., None], -1)).mean())
    return np.mean(means)


@pytest.mark.parametrize("noise", [0.7, pytest.param(0.5, marks=pytest.mark.long)])
def test_exact_inference_follows_the_map(noise):
    """What annealing leaves out is of order 1/m; measured 0.02 to 0.04, standard error 0.02."""
    p = 1 - noise + noise / 16
    for _ in range(2):
        p = theory.belief_map(p, **named(16, 4))
    assert abs(root_belief(16, 4, 2, noise, seeds=2, number=400) - p) < 0.06


@pytest.mark.long
def test_root_beliefs_of_several_depths_cross_at_the_threshold():
    """science.md#f1: (32, 8), within 0.03 of 0.731; below it depth helps, above it hurts."""
    shallow, deep = (
        [root_belief(32, 8, depth, noise, seeds=6, number=40) for noise in (0.68, 0.78)]
        for depth in (3, 6)
    )
    assert deep[0] > shallow[0] + 0.02
    assert deep[1] < shallow[1] - 0.02


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"vocab_size": 1}, "vocab_size=1"),
        ({"branching": 1}, "branching=1"),
        ({"rules_per_symbol": 17}, "rules_per_symbol=17"),
        ({"rules_per_symbol": 0}, "rules_per_symbol=0"),
    ],
)
def test_sizes_out_of_range_are_refused(change, words):
    with pytest.raises(ValueError, match=words):
        theory.noise_threshold(**(named(16, 4) | change))
    with pytest.raises(ValueError, match="p="):
        theory.belief_map(1.5, **named(16, 4))
