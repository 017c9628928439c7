"""Discrete corruption against matrices, Bayes' rule and enumeration."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import oracles
import pytest
import scipy.special
import strategies
from hypothesis import given
from hypothesis import strategies as st

import hiermodel as hm

BETAS = np.array([0.05, 0.3, 1e-4, 0.5, 1.0])  # at the last step nothing of x_0 is left
NUM_STEPS = len(BETAS)
STEPS = np.arange(1, NUM_STEPS + 1)
KINDS = ["masked", "uniform", "mixed"]
CASE = strategies.build(strategies.AMBIGUOUS, np.random.default_rng(2))


def noise_law(kind, vocab_size):
    """Where a symbol goes that is hit; the mixed law has a mask and symbols it never gives."""
    return {
        "masked": np.append(np.zeros(vocab_size), 1.0),
        "uniform": np.full(vocab_size, 1 / vocab_size),
        "mixed": np.concatenate([np.zeros(vocab_size - 1), [0.4, 0.6]]),
    }[kind]


@functools.cache
def process_of(kind, vocab_size):
    return hm.DiscreteProcess.from_betas(BETAS, noise_law(kind, vocab_size), vocab_size)


def matrices(kind, vocab_size):
    """Q_t of every step 1…T, and the products Q_1 … Q_t for t = 0…T."""
    law = noise_law(kind, vocab_size)
    one_step = [(1 - beta) * np.eye(len(law)) + beta * law for beta in BETAS]
    products = [np.eye(len(law))]
    for matrix in one_step:
        products.append(products[-1] @ matrix)
    return one_step, products


def log_likelihood(kind, vocab_size, x_t, t):
    """Log q(x_t[i] | x_0[i] = a), (leaves, q), from the product of the first t steps."""
    with np.errstate(divide="ignore"):
        return np.log(matrices(kind, vocab_size)[1][t][:vocab_size, x_t].T)


def cast(process, dtype):
    return jax.tree.map(lambda array: array.astype(dtype), process)


@pytest.mark.parametrize("kind", KINDS)
def test_forward_marginals_are_products_of_steps(kind):
    process = process_of(kind, 3)
    _, products = matrices(kind, 3)
    x_0 = np.tile(np.arange(3), (NUM_STEPS, 1))
    probs = np.exp(process.log_forward(x_0, STEPS))
    tolerance = 1e-14 if process.alpha_bar.dtype == np.float64 else 1e-6
    np.testing.assert_allclose(probs, np.stack(products)[1:, :3], atol=tolerance)


@pytest.mark.parametrize("kind", KINDS)
def test_the_posterior_of_a_step_is_bayes_rule(kind):
    """For every state, every symbol and every step; a pair that cannot be leaves x_t alone."""
    process = process_of(kind, 3)
    one_step, products = matrices(kind, 3)
    states = process.num_states
    x_t, x_0 = (grid.ravel() for grid in np.indices((states, 3)))
    pairs = (NUM_STEPS, len(x_t))
    log_probs = process.log_posterior(
        np.broadcast_to(x_t, pairs), np.broadcast_to(x_0, pairs), STEPS
    )
    for t in STEPS:
        joint = products[t - 1][x_0] * one_step[t - 1][:, x_t].T
        total = products[t][x_0, x_t][:, None]
        expected = np.where(total > 0, joint / np.where(total > 0, total, 1), np.eye(states)[x_t])
        tolerance = 1e-12 if log_probs.dtype == np.float64 else 1e-5
        np.testing.assert_allclose(np.exp(log_probs[t - 1]), expected, atol=tolerance)


@pytest.mark.parametrize("kind", KINDS)
def test_the_last_step_back_gives_the_clean_symbol(kind):
    process = process_of(kind, 3)
    x_t, x_0 = (grid.ravel() for grid in np.indices((process.num_states, 3)))
    last = process.log_posterior(x_t, x_0, 1)
    possible = np.isfinite(log_likelihood(kind, 3, x_t, 1)[np.arange(len(x_t)), x_0])
    np.testing.assert_array_equal(last.argmax(-1), np.where(possible, x_0, x_t))
    np.testing.assert_array_equal(last.max(-1), 0)


@pytest.mark.parametrize("make", [hm.DiscreteProcess.masked, hm.DiscreteProcess.uniform])
@pytest.mark.parametrize("num_steps", [1, 7, 1000])
def test_alpha_bar_falls_to_nothing_as_asked(make, num_steps):
    u = np.arange(num_steps + 1) / num_steps
    cosine = np.cos(np.pi / 2 * (u + 0.008) / 1.008) ** 2
    for decay, expected in {"linear": 1 - u, "cosine": cosine / cosine[0]}.items():
        process = make(6, num_steps, decay=decay)
        alpha_bar = np.asarray(process.alpha_bar)
        tolerance = 1e-12 if alpha_bar.dtype == np.float64 else 1e-6
        np.testing.assert_allclose(alpha_bar, expected, atol=tolerance)
        np.testing.assert_allclose(alpha_bar + process.noise_prob, 1, atol=tolerance)
        assert (alpha_bar[0], process.noise_prob[0]) == (1, 0)
        assert (alpha_bar[-1], process.noise_prob[-1]) == (0, 1)


@pytest.mark.long
@given(data=st.data())
def test_evidence_and_likelihood_are_bayes_rule_over_all_trees(data):
    """Also off the grammar: evidence that no tree agrees with leaves the model as it is."""
    case = data.draw(strategies.cases())
    filter_level = data.draw(strategies.filter_levels(case))
    kind, t = data.draw(st.sampled_from(KINDS)), data.draw(st.integers(1, NUM_STEPS))
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    process, q = process_of(kind, case.grammar.vocab_size), case.grammar.vocab_size
    trees = case.trees(filter_level)
    x_t = trees.levels[-1][rng.integers(len(trees.prior))]
    hit = rng.random(len(x_t)) < rng.random()
    x_t = np.where(hit, rng.integers(process.num_states, size=len(x_t)), x_t)

    field = log_likelihood(kind, q, x_t, t)
    log_density = hm.log_density(case.grammar, process, x_t, t, filter_level=filter_level)
    tolerance = 1e-10 if process.alpha_bar.dtype == np.float64 else 1e-4
    np.testing.assert_allclose(log_density, oracles.log_evidence(trees, field), atol=tolerance)

    # Known symbols count at any step, so where all else is gone they alone are the evidence.
    best = field.max(-1, keepdims=True)
    known = np.where(np.arange(q) == x_t[:, None], 0.0, -np.inf)
    field = np.where(best > -np.inf, field, known)
    expected = oracles.marginals(trees, oracles.posterior(trees, field))[-1]
    beliefs = hm.run_bp(case.grammar, process.evidence(x_t, t), filter_level=filter_level)
    np.testing.assert_allclose(np.exp(beliefs.log_marginals[-1]), expected, atol=tolerance)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("filter_level", [0, 2])
def test_the_exact_denoiser_is_bayes_rule_over_all_sequences(kind, filter_level):
    process, trees = process_of(kind, 3), CASE.trees(filter_level)
    x_t = np.random.default_rng(4).integers(process.num_states, size=(NUM_STEPS, 4))
    denoiser = hm.exact_denoiser(CASE.grammar, process, filter_level=filter_level)
    probs = np.exp(denoiser(x_t, STEPS))
    for row, t, result in zip(x_t, STEPS[:-1], probs, strict=False):
        field = log_likelihood(kind, 3, row, t)
        expected = oracles.marginals(trees, oracles.posterior(trees, field))[-1]
        np.testing.assert_allclose(result, expected, atol=1e-6)


def test_masks_alone_leave_the_model_and_whole_sequences_themselves(precision):
    process = cast(hm.DiscreteProcess.masked(3, num_steps=100), precision.dtype)
    for filter_level in (0, 2):
        trees = CASE.trees(filter_level)
        denoiser = hm.exact_denoiser(CASE.grammar, process, filter_level=filter_level)
        prior = oracles.marginals(trees, trees.prior)[-1]
        for t in (1, 50, 100):
            masked = denoiser(np.full((5, 4), 3), t)
            assert masked.dtype == precision.dtype
            np.testing.assert_allclose(np.exp(masked[3]), prior, atol=precision.tolerance)
            x_0 = trees.levels[-1][:5]
            whole = np.exp(denoiser(x_0, t))
            np.testing.assert_allclose(whole, hm.one_hot(x_0, 3), atol=precision.tolerance)


def test_uniform_noise_is_forgotten_at_the_end_and_trusted_at_the_start(precision):
    process = cast(hm.DiscreteProcess.uniform(3, num_steps=10_000), precision.dtype)
    denoiser = hm.exact_denoiser(CASE.grammar, process)
    trees = CASE.trees()
    x_0 = trees.levels[-1][:5]
    end = denoiser(x_0, 10_000)
    assert end.dtype == precision.dtype
    prior = oracles.marginals(trees, trees.prior)[-1]
    np.testing.assert_allclose(np.exp(end[3]), prior, atol=precision.tolerance)
    # Odds of 30 000 to 1 per position, against weights of some 1e-3.
    np.testing.assert_allclose(np.exp(denoiser(x_0, 1)), hm.one_hot(x_0, 3), atol=0.1)


@pytest.mark.long
@pytest.mark.parametrize("kind", KINDS)
def test_single_precision_agrees_with_double(kind):
    """Off the grammar too, from the first step of ten thousand to the last."""
    law, grammar = noise_law(kind, 6), hm.paper_grammar()
    betas = 1 / np.arange(10_000, 0, -1)
    double = hm.DiscreteProcess.from_betas(betas, law, 6)
    single = cast(double, np.float32)
    t = np.repeat([1, 10, 1000, 5000, 9999, 10_000], 8)
    rng = np.random.default_rng(0)
    x_t = rng.integers(len(law), size=(48, 16))
    fine, coarse = (hm.exact_denoiser(grammar, process)(x_t, t) for process in (double, single))
    assert coarse.dtype == np.float32
    assert not np.isnan(coarse).any()
    np.testing.assert_allclose(np.exp(coarse), np.exp(fine), atol=1e-4)
    x_0 = rng.integers(6, size=x_t.shape)
    fine, coarse = (process.log_posterior(x_t, x_0, t) for process in (double, single))
    assert not np.isnan(coarse).any()
    np.testing.assert_allclose(np.exp(coarse), np.exp(fine), atol=1e-4)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("t", [2, NUM_STEPS])
def test_the_independent_denoiser_is_bayes_rule_per_position(kind, t):
    process = process_of(kind, 3)
    rng = np.random.default_rng(0)
    probs = rng.dirichlet(np.ones(3), size=8)
    probs[0] = [0, 0.3, 0.7]
    x_t = rng.integers(process.num_states, size=8)
    x_t[0] = 0  # which its prior excludes
    field = process.evidence(x_t, t)
    weights = probs * np.exp(field)
    impossible = weights.sum(-1, keepdims=True) == 0
    weights = np.where(impossible, probs, weights)
    expected = weights / weights.sum(-1, keepdims=True)
    with np.errstate(divide="ignore"):
        denoiser = hm.independent_denoiser(process, np.log(probs))
    np.testing.assert_allclose(np.exp(denoiser(x_t, t)), expected, atol=1e-6)
    bare = hm.independent_denoiser(process)(x_t, t)
    np.testing.assert_allclose(np.exp(bare), scipy.special.softmax(field, -1), atol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("t", [2, NUM_STEPS])
def test_the_empirical_denoiser_is_bayes_rule_over_its_sequences(kind, t):
    process = process_of(kind, 3)
    rng = np.random.default_rng(1)
    train = rng.integers(3, size=(10, 4))
    masked = np.where(rng.random((10, 4)) < 0.5, process.num_states - 1, train)
    x_t = np.concatenate([train, masked, [[2, 2, 2, 2]]])
    log_probs = hm.empirical_denoiser(process, train, 3)(x_t, t)
    assert not np.isnan(log_probs).any()
    field = np.asarray(process.evidence(x_t, t))
    scores = field[:, np.arange(4), train].sum(-1)
    scores = np.where(scores.max(-1, keepdims=True) > -np.inf, scores, 0)
    weights = scipy.special.softmax(scores, axis=-1)
    expected = np.einsum("xn,nlv->xlv", weights, np.eye(3)[train])
    np.testing.assert_allclose(np.exp(log_probs), expected, atol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_corrupted_sequences_follow_the_forward_law(kind):
    x_0 = np.tile([1, 2], (20_000, 1))
    x_t = hm.add_noise(jax.random.key(0), process_of(kind, 3), x_0, 2)
    assert (x_t.shape, x_t.dtype) == (x_0.shape, np.int32)
    forward = matrices(kind, 3)[1][2]
    law = np.outer(forward[1], forward[2]).ravel()
    assert oracles.agrees_with_law(oracles.encode(x_t, len(forward)), law)


def discrete_denoisers(process):
    grammar = CASE.grammar
    train = hm.sample_leaves(jax.random.key(2), grammar, 20)
    prior = hm.run_bp(grammar, np.zeros((4, 3))).log_marginals[-1]
    return {
        "exact": hm.exact_denoiser(grammar, process),
        "filtered": hm.exact_denoiser(grammar, process, filter_level=2),
        "independent": hm.independent_denoiser(process, prior),
        "empirical": hm.empirical_denoiser(process, train, 3),
    }


@jax.jit
def compiled(denoiser, x_t, t):
    return denoiser(x_t, t)


@pytest.mark.parametrize("kind", ["masked", "uniform"])
@pytest.mark.parametrize("name", ["exact", "filtered", "independent", "empirical"])
def test_denoisers_follow_the_protocol_and_are_the_same_compiled_and_mapped(name, kind):
    process = process_of(kind, 3)
    denoiser = discrete_denoisers(process)[name]
    assert isinstance(denoiser, hm.Denoiser)
    assert isinstance(process, hm.Process)
    x_t = np.random.default_rng(3).integers(process.num_states, size=(2, 3, 4))
    t = np.array([[1, 2, 3], [3, 4, 5]])
    called = denoiser(x_t, t)
    assert called.shape == (2, 3, 4, 3)
    np.testing.assert_allclose(np.exp(called).sum(-1), 1, atol=1e-5)
    by_column = denoiser(x_t, np.array([3, 4, 5]))
    np.testing.assert_allclose(by_column[1], called[1], rtol=5e-5, atol=5e-5)
    np.testing.assert_allclose(denoiser(x_t, 4)[1, 1], called[1, 1], rtol=5e-5, atol=5e-5)
    np.testing.assert_allclose(compiled(denoiser, x_t, t), called, rtol=5e-5, atol=5e-5)
    mapped = jax.vmap(jax.vmap(denoiser))(jnp.asarray(x_t), jnp.asarray(t))
    np.testing.assert_allclose(mapped, called, rtol=5e-5, atol=5e-5)
    assert denoiser(x_t[:0], 2).shape == (0, 3, 4, 3)
