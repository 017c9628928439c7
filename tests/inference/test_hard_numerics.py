"""Single precision where it is hardest: against double precision, and without a NaN."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import strategies

import hiermodel as hm

PAPER = hm.paper_grammar()
SCHEDULE = hm.Schedule.linear(500)


def single_rule_grammar():
    """One rule per symbol: the root decides everything."""
    return hm.Grammar.random(jax.random.key(1), vocab_size=6, depth=3, rules_per_symbol=1)


def single_symbol_grammar():
    """Every sequence is 0000…: one symbol is reachable, and its marginal is 1 exactly."""
    rho = np.zeros((6, 6, 6))
    rho[:, 0, 0] = 1
    return hm.Grammar.from_tensor(rho, depth=3)


def extreme_grammar():
    """Rule weights from 1e-30 to 1, shared over the paper's rules."""
    rho = np.asarray(PAPER.to_tensor())
    weights = np.where(rho > 0, 10 ** np.random.default_rng(0).uniform(-30, 0, rho.shape), 0)
    return hm.Grammar.from_tensor(weights / weights.sum((1, 2), keepdims=True), depth=3)


GRAMMARS = {
    "paper": PAPER,
    "single rule": single_rule_grammar(),
    "single symbol": single_symbol_grammar(),
    "extreme weights": extreme_grammar(),
}


def noisy(rows, t, leaves=8):
    """Off-grammar strings, noised: the answer hinges on which rules are exactly forbidden."""
    rng = np.random.default_rng(t)
    x_0 = np.eye(6)[rng.integers(6, size=(rows, leaves))]
    alpha_bar = np.asarray(SCHEDULE.alpha_bar)[t]
    x_t = np.sqrt(alpha_bar) * x_0 + np.sqrt(1 - alpha_bar) * rng.normal(size=x_0.shape)
    return x_t.astype(np.float32)


@pytest.mark.parametrize("filter_level", [0, 2])
@pytest.mark.parametrize("name", GRAMMARS)
def test_float32_agrees_with_float64_from_the_first_step_to_the_last(name, filter_level):
    denoiser = hm.exact_denoiser(GRAMMARS[name], SCHEDULE, filter_level=filter_level)
    t = np.repeat([1, 2, 10, 75, 250, 500], 8)
    num_leaves = GRAMMARS[name].num_leaves
    x_t = np.concatenate([noisy(8, step, num_leaves) for step in t[::8]])
    single = np.asarray(denoiser(x_t, t))
    double = np.asarray(denoiser(x_t.astype(np.float64), t))
    assert single.dtype == np.float32
    assert not np.isnan(single).any()
    # At t = 1 fields are of size 5000 and sixteen add up, so ties between trees that differ by
    # less than their rounding, 16 · 5000 · 6e-8, can shift by as much.
    tolerance = np.where(t <= 2, 2e-2, 2e-4)[:, None, None]
    assert np.all(np.abs(np.exp(single) - np.exp(double)) < tolerance)


def test_one_reachable_symbol_is_certain_whatever_the_field():
    denoiser = hm.exact_denoiser(GRAMMARS["single symbol"], SCHEDULE)
    log_probs = denoiser(noisy(8, 1), 1)
    np.testing.assert_allclose(log_probs[..., 0], 0, atol=1e-6)
    assert np.all(np.isneginf(log_probs[..., 1:]))


@pytest.mark.parametrize("filter_level", [0, 2])
@pytest.mark.parametrize("name", ["single rule", "extreme weights"])
def test_gradients_are_finite_in_single_precision(name, filter_level):
    grammar = GRAMMARS[name]

    def total(grammar, field):
        beliefs = hm.run_bp(grammar, field, filter_level=filter_level)
        return jnp.where(jnp.isfinite(beliefs.log_evidence), beliefs.log_evidence, 0).sum()

    field = np.stack([noisy(1, 1)[0] * 5000, np.zeros((8, 6)), np.full((8, 6), -np.inf)])
    field[1, 3, 1:] = -np.inf  # an observed leaf; the third sequence is impossible
    gradients = jax.grad(total, argnums=(0, 1), allow_int=True)(grammar, field.astype(np.float32))
    for gradient in jax.tree.leaves(gradients):
        assert np.all(np.isfinite(gradient))


def test_the_gradient_with_respect_to_the_rules_counts_how_often_they_are_used():
    """d log p(x) / d log-weight is the expected number of uses: one rule per inner node."""
    leaves = hm.sample_leaves(jax.random.key(2), PAPER, 1)[0]
    gradient = jax.grad(lambda grammar: hm.log_prob(grammar, leaves))(PAPER)
    assert np.all(np.isfinite(gradient.log_weights))
    np.testing.assert_allclose(gradient.log_weights.sum(), 15, rtol=1e-12)
    np.testing.assert_allclose(gradient.root_log_probs.sum(), 1, rtol=1e-12)


def test_strong_fields_neither_overflow_nor_lose_the_log_evidence():
    case = strategies.build(strategies.DEEP, np.random.default_rng(3))
    field = 1e30 * np.random.default_rng(4).normal(size=(8, 2)).astype(np.float32)
    beliefs = hm.run_bp(case.grammar, field)
    levels, best = hm.most_probable_tree(case.grammar, field.astype(np.float64))
    np.testing.assert_allclose(beliefs.log_evidence, best, rtol=1e-6)
    np.testing.assert_array_equal(np.argmax(beliefs.log_marginals[-1], -1), levels[-1])
    assert not any(np.isnan(level).any() for level in beliefs.log_marginals)
