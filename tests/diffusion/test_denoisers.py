"""The exact, filtered, independent and empirical denoisers against Bayes' rule and the authors."""

import jax
import numpy as np
import oracles
import pytest
import scipy.special
import strategies

import hiermodel as hm

SCHEDULE = hm.Schedule.linear(500)


@pytest.mark.parametrize("filter_level", range(5))
def test_the_paper_grammars_denoisers_are_the_authors(filter_level, reference, precision):
    """Sequences of the grammar, and random strings, for which most trees are impossible.

    There the answer hinges on forbidden rules being forbidden exactly: an epsilon shows as an
    error of up to 1. In float32 it may be off by 1e-4, for ties between unlikely trees.
    """
    data = reference("bp_exact")
    groups = ("paper", "paper_offgrammar")
    x_t, t, expected = (
        np.concatenate([data[f"{group}/{name}"] for group in groups])
        for name in ("x_t", "t", f"x0_hat_k{filter_level}")
    )
    denoiser = hm.exact_denoiser(hm.paper_grammar(), SCHEDULE, filter_level=filter_level)
    log_probs = denoiser(x_t.astype(precision.dtype), t)
    assert log_probs.dtype == precision.dtype
    error = np.abs(np.exp(log_probs) - expected)
    own = len(data["paper/t"])
    assert error[:own].max() < precision.tolerance
    assert error[own:].max() < {np.float64: 1e-10, np.float32: 1e-4}[precision.dtype]


@pytest.mark.parametrize("filter_level", range(4))
def test_another_grammars_denoisers_are_the_authors(filter_level, reference, precision):
    data = reference("bp_exact")
    grammar = hm.Grammar.from_tensor(data["g4/M"], depth=int(data["g4/l"]))
    denoiser = hm.exact_denoiser(grammar, SCHEDULE, filter_level=filter_level)
    log_probs = denoiser(data["g4/x_t"].astype(precision.dtype), data["g4/t"])
    expected = data[f"g4/x0_hat_k{filter_level}"]
    np.testing.assert_allclose(np.exp(log_probs), expected, rtol=0, atol=precision.tolerance)


def test_the_empirical_denoiser_is_the_authors(reference, precision):
    data = reference("empirical")
    denoiser = hm.empirical_denoiser(SCHEDULE, data["train"], 6)
    log_probs = denoiser(data["x_t"].astype(precision.dtype), data["t"][:, None])
    assert log_probs.dtype == precision.dtype
    np.testing.assert_allclose(np.exp(log_probs), data["x0_hat"], rtol=0, atol=precision.tolerance)


def bayes(sequences, weights, x_t, t, vocab_size):
    """E[one-hot x_0 | x_t] by weighing every sequence with its Gaussian likelihood."""
    alpha_bar = float(SCHEDULE.alpha_bar[t])
    x_0 = np.eye(vocab_size)[sequences]
    distance = ((x_t - np.sqrt(alpha_bar) * x_0) ** 2).sum((-2, -1))
    log_weights = np.log(weights) - distance / (2 * (1 - alpha_bar))
    return np.einsum("n,nlv->lv", scipy.special.softmax(log_weights), x_0)


@pytest.mark.parametrize("t", [1, 20, 150, 500])
@pytest.mark.parametrize("filter_level", [0, 1, 2])
def test_the_tree_denoiser_is_bayes_rule(filter_level, t):
    rng = np.random.default_rng(t)
    case = strategies.build(strategies.AMBIGUOUS, rng)
    trees = case.trees(filter_level)
    x_t = rng.normal(size=(4, 3)) * np.sqrt(0.1)
    denoiser = hm.exact_denoiser(case.grammar, SCHEDULE, filter_level=filter_level)
    expected = bayes(trees.levels[-1], trees.prior, x_t, t, 3)
    tolerance = 1e-9 if denoiser(x_t, t).dtype == np.float64 else 1e-3
    np.testing.assert_allclose(np.exp(denoiser(x_t, t)), expected, atol=tolerance)


def test_the_independent_denoiser_is_bayes_rule_per_position(precision):
    rng = np.random.default_rng(0)
    probs = rng.dirichlet(np.ones(6), size=16)
    x_t = rng.normal(size=(16, 6))
    log_probs = hm.independent_denoiser(SCHEDULE, np.log(probs))(x_t.astype(precision.dtype), 200)
    alone = [
        bayes(np.arange(6)[:, None], probs[leaf], x_t[leaf : leaf + 1], 200, 6)[0]
        for leaf in range(16)
    ]
    np.testing.assert_allclose(np.exp(log_probs), alone, atol=precision.tolerance)


def test_without_a_prior_the_independent_denoiser_is_the_bare_softmax_for_any_shape(precision):
    denoiser = hm.independent_denoiser(SCHEDULE)
    for shape in [(16, 6), (5, 3)]:
        x_t = np.random.default_rng(1).normal(size=shape).astype(precision.dtype)
        alpha_bar = float(SCHEDULE.alpha_bar[100])
        expected = scipy.special.log_softmax(np.sqrt(alpha_bar) / (1 - alpha_bar) * x_t, axis=-1)
        np.testing.assert_allclose(denoiser(x_t, 100), expected, atol=3 * precision.tolerance)


def test_with_a_certain_root_the_deepest_filter_knows_only_symbol_marginals():
    case = strategies.build(strategies.AMBIGUOUS, np.random.default_rng(2))
    grammar = hm.Grammar.from_tensor(
        np.stack(case.tensors), depth=2, root_probs=np.array([0.0, 1.0, 0.0])
    )
    marginals = hm.run_bp(grammar, np.zeros((4, 3))).log_marginals[-1]
    x_t = np.random.default_rng(3).normal(size=(10, 4, 3))
    filtered = hm.exact_denoiser(grammar, SCHEDULE, filter_level=2)(x_t, 100)
    independent = hm.independent_denoiser(SCHEDULE, marginals)(x_t, 100)
    np.testing.assert_allclose(np.exp(filtered), np.exp(independent), atol=1e-6)


def test_the_empirical_denoiser_of_all_sequences_equally_often_is_the_exact_one():
    """With equal rules and an even root, the grammar is the uniform law on its sequences."""
    grammar = hm.Grammar.random_hierarchy(
        jax.random.key(4), vocab_size=4, depth=2, branching=2, rules_per_symbol=2
    )
    tensors = list(np.asarray(grammar.to_tensor()))
    trees = oracles.list_trees(tensors, np.full(4, 0.25))
    x_t = np.random.default_rng(5).normal(size=(10, 4, 4))
    exact = hm.exact_denoiser(grammar, SCHEDULE)(x_t, 150)
    empirical = hm.empirical_denoiser(SCHEDULE, trees.levels[-1], 4)(x_t, 150)
    np.testing.assert_allclose(np.exp(exact), np.exp(empirical), atol=1e-5)


@pytest.mark.parametrize("filter_level", [0, 2])
def test_pure_noise_leaves_the_prior_marginals(filter_level, precision):
    schedule = hm.Schedule.from_betas(np.append(np.full(19, 0.1), 1.0))  # alpha_bar_20 = 0
    grammar = strategies.build(strategies.DEEP, np.random.default_rng(6)).grammar
    x_t = np.random.default_rng(7).normal(size=(5, 8, 2)).astype(precision.dtype)
    log_probs = hm.exact_denoiser(grammar, schedule, filter_level=filter_level)(x_t, 20)
    prior = hm.run_bp(grammar, np.zeros((8, 2), precision.dtype)).log_marginals[-1]
    np.testing.assert_allclose(log_probs, np.tile(prior, (5, 1, 1)), atol=precision.tolerance)


@pytest.mark.parametrize("filter_level", [0, 2])
def test_almost_no_noise_leaves_the_data(filter_level, precision):
    schedule = hm.Schedule.from_betas(np.full(20, 1e-5))
    grammar = strategies.build(strategies.DEEP, np.random.default_rng(6)).grammar
    x_0 = hm.sample_leaves(jax.random.key(8), grammar, 20)
    one_hot = hm.one_hot(x_0, 2).astype(precision.dtype)
    x_1 = hm.add_noise(jax.random.key(9), schedule, one_hot, 1)
    log_probs = hm.exact_denoiser(grammar, schedule, filter_level=filter_level)(x_1, 1)
    # Signal 1 against noise of 0.003: odds of e^(1/1e-5).
    np.testing.assert_allclose(np.exp(log_probs), one_hot, atol=precision.tolerance)


def test_the_empirical_denoiser_takes_its_sequences_in_chunks(monkeypatch):
    """Fifty sequences in chunks of seven, the last one padded, against the formula."""
    monkeypatch.setattr("hiermodel.diffusion.denoisers.CHUNK", 7)
    rng = np.random.default_rng(8)
    schedule = hm.Schedule.linear(100)
    sequences = rng.integers(3, size=(50, 4))
    x_t = rng.normal(size=(2, 5, 4, 3))
    found = hm.empirical_denoiser(schedule, sequences, 3)(x_t, 30)
    alpha_bar = float(schedule.alpha_bar[30])
    field = np.sqrt(alpha_bar) / (1 - alpha_bar) * x_t
    one_hot = np.eye(3)[sequences]
    scores = np.einsum("...lv,nlv->...n", field, one_hot)
    weights = np.exp(scores - scores.max(-1, keepdims=True))
    weights /= weights.sum(-1, keepdims=True)
    exact = np.einsum("...n,nlv->...lv", weights, one_hot)
    np.testing.assert_allclose(np.exp(found), exact, atol=1e-6)
