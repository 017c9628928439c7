"""The exact score is the gradient of the exact log-density, and both are those of a mixture."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special
import strategies

import hiermodel as hm

SCHEDULE = hm.Schedule.linear(500)


@pytest.mark.parametrize("filter_level", [0, 1, 2, 3])
def test_the_score_is_the_gradient_of_the_log_density(filter_level):
    grammar = strategies.build(strategies.DEEP, np.random.default_rng(0)).grammar
    denoiser = hm.exact_denoiser(grammar, SCHEDULE, filter_level=filter_level)
    x_t = np.random.default_rng(1).normal(size=(3, 8, 2))
    t = np.array([5, 100, 500])

    def total(x):
        return hm.log_density(grammar, SCHEDULE, x, t, filter_level=filter_level).sum()

    gradient = jax.grad(total)(jnp.asarray(x_t))
    np.testing.assert_allclose(hm.score(denoiser, SCHEDULE, x_t, t), gradient, rtol=1e-9)


@pytest.mark.parametrize("t", [1, 50, 500])
@pytest.mark.parametrize("filter_level", [0, 2])
def test_the_density_is_the_mixture_of_all_sequences(filter_level, t):
    case = strategies.build(strategies.AMBIGUOUS, np.random.default_rng(2))
    trees = case.trees(filter_level)
    x_t = np.random.default_rng(3).normal(size=(4, 3))
    alpha_bar, variance = float(SCHEDULE.alpha_bar[t]), float(SCHEDULE.noise_variance[t])
    x_0 = np.eye(3)[trees.levels[-1]]
    log_normal = -((x_t - np.sqrt(alpha_bar) * x_0) ** 2).sum((1, 2)) / (2 * variance)
    log_normal -= 6 * np.log(2 * np.pi * variance)
    expected = scipy.special.logsumexp(np.log(trees.prior) + log_normal)
    result = hm.log_density(case.grammar, SCHEDULE, x_t, t, filter_level=filter_level)
    np.testing.assert_allclose(result, expected, rtol=1e-9)


def test_score_and_density_keep_dtype_and_leading_axes(precision):
    grammar = strategies.build(strategies.DEEP, np.random.default_rng(4)).grammar
    denoiser = hm.exact_denoiser(grammar, SCHEDULE)
    x_t = np.random.default_rng(5).normal(size=(2, 3, 8, 2)).astype(precision.dtype)
    for t in (7, np.array([7, 70, 500]), np.array([[7], [70]])):
        score = hm.score(denoiser, SCHEDULE, x_t, t)
        density = hm.log_density(grammar, SCHEDULE, x_t, t)
        assert (score.shape, score.dtype) == ((2, 3, 8, 2), precision.dtype)
        assert (density.shape, density.dtype) == ((2, 3), precision.dtype)


def test_any_denoiser_has_a_score():
    """With a flat field the independent denoiser's mean is 1/q everywhere."""
    x_t = np.zeros((16, 6))
    score = hm.score(hm.independent_denoiser(SCHEDULE), SCHEDULE, x_t, 250)
    alpha_bar = float(SCHEDULE.alpha_bar[250])
    np.testing.assert_allclose(score, np.sqrt(alpha_bar) / 6 / (1 - alpha_bar), rtol=1e-6)


@pytest.mark.long
@pytest.mark.parametrize("filter_level", [0, 2])
def test_the_density_in_single_precision_keeps_its_digits_from_the_first_step_on(filter_level):
    """Fields are 5000 at t = 1: the parts of the density are 8e4, and the density is 300."""
    grammar = hm.paper_grammar()
    rng = np.random.default_rng(6)
    t = np.repeat([1, 2, 5, 20, 100, 500], 16)
    own = np.asarray(hm.sample_leaves(jax.random.key(7), grammar, len(t)))
    x_0 = np.eye(6)[np.stack([own, rng.integers(6, size=own.shape)])]
    alpha_bar = np.asarray(SCHEDULE.alpha_bar, float)[t][:, None, None]
    x_t = np.sqrt(alpha_bar) * x_0 + np.sqrt(1 - alpha_bar) * rng.normal(size=x_0.shape)
    x_t = x_t.astype(np.float32)
    single = hm.log_density(grammar, SCHEDULE, x_t, t, filter_level=filter_level)
    double = hm.log_density(grammar, SCHEDULE, x_t.astype(float), t, filter_level=filter_level)
    assert single.dtype == np.float32
    error = np.abs(single - double)
    assert error[0].max() < 1e-4
    assert np.all(error[1] < 1e-4 + 1e-6 * np.abs(double[1]))
