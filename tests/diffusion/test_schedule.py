"""The schedule, the forward process and one reverse step, against the authors' values."""

import jax
import jax.numpy as jnp
import numpy as np
import oracles
import pytest
import scipy.stats

import hiermodel as hm

SCHEDULE = hm.Schedule.linear(500)


@pytest.mark.parametrize("num_steps", [500, 1000])
def test_the_linear_schedule_is_the_authors(num_steps, reference):
    data = reference("schedule")
    alpha_bars, alphas, betas = (
        data[f"T{num_steps}/{name}"] for name in ("alpha_bars", "alphas", "betas")
    )
    schedule = hm.Schedule.linear(num_steps)
    alpha_bar = np.asarray(schedule.alpha_bar)
    exact = schedule.alpha_bar.dtype == np.float64
    tolerance = 1e-12 if exact else 1e-6
    assert schedule.num_steps == num_steps
    assert alpha_bar.shape == (num_steps + 1,)
    assert alpha_bar[0] == 1
    np.testing.assert_allclose(alpha_bar[1:], alpha_bars, rtol=tolerance)
    np.testing.assert_allclose(alpha_bar[1:] / alpha_bar[:-1], alphas, rtol=tolerance)
    # Relative: at t = 1 the variance is 2e-4, and 1 − alpha_bar would have lost four digits.
    np.testing.assert_allclose(schedule.noise_variance[1], betas[0], rtol=tolerance)
    np.testing.assert_allclose(
        schedule.noise_variance[1:], 1 - alpha_bars, rtol=max(tolerance, 1e-11)
    )


def test_the_loss_weights_of_the_authors_follow_from_the_schedule(reference):
    """Ties together beta, alpha_bar, the noise variance and the posterior variance."""
    alpha_bar, noise, posterior = (
        np.asarray(array, dtype=float)
        for array in (SCHEDULE.alpha_bar, SCHEDULE.noise_variance, SCHEDULE.posterior_variance)
    )
    beta = 1 - alpha_bar[1:] / alpha_bar[:-1]
    variance = np.concatenate([posterior[2:3], posterior[2:]])  # v_1 replaced by v_2
    weights = beta**2 * alpha_bar[:-1] / (2 * variance * noise[1:] ** 2)
    weights = np.clip(weights / weights.mean(), 0.01, 50)
    tolerance = 1e-9 if SCHEDULE.alpha_bar.dtype == np.float64 else 1e-2
    np.testing.assert_allclose(weights, reference("schedule")["T500/vlb_weights"], rtol=tolerance)


def test_a_reverse_step_is_the_authors(reference, precision):
    data = reference("posterior")
    x_0, x_t = (jnp.asarray(data[name], precision.dtype) for name in ("x0_hat", "x_t"))
    mean, variance = SCHEDULE.posterior(x_t, x_0, data["t"][:, None])
    assert mean.dtype == variance.dtype == precision.dtype
    np.testing.assert_allclose(mean, data["mean"], atol=precision.tolerance)
    np.testing.assert_allclose(variance[:, 0], data["variance"], atol=precision.tolerance)


def test_the_last_reverse_step_is_exact(precision):
    x_0, x_t = jnp.asarray(np.random.default_rng(0).normal(size=(2, 16, 6)), precision.dtype)
    mean, variance = SCHEDULE.posterior(x_t, x_0, 1)
    np.testing.assert_array_equal(mean, x_0)
    assert variance == 0


def test_a_reverse_step_undoes_a_forward_step_in_law():
    """Noise x_0 to t and step back: mean and variance must be those of noising to t − 1."""
    t = np.arange(1, 501)
    alpha_bar, variance = (
        np.asarray(a, float) for a in (SCHEDULE.alpha_bar, SCHEDULE.noise_variance)
    )
    w_0, w_t = (
        np.asarray(a, float)[t]
        for a in (SCHEDULE.posterior_x0_weight, SCHEDULE.posterior_xt_weight)
    )
    tolerance = 1e-12 if SCHEDULE.alpha_bar.dtype == np.float64 else 1e-5
    mean = w_0 + w_t * np.sqrt(alpha_bar[t])
    np.testing.assert_allclose(mean, np.sqrt(alpha_bar[t - 1]), atol=tolerance)
    spread = w_t**2 * variance[t] + np.asarray(SCHEDULE.posterior_variance)[t]
    np.testing.assert_allclose(spread, variance[t - 1], atol=tolerance)


@pytest.mark.parametrize("t", [1, 75, 500])
def test_noise_has_the_stated_mean_and_variance(t):
    x_0 = np.tile(np.eye(6)[[0, 3]], (20_000, 1, 1))
    x_t = np.asarray(hm.add_noise(jax.random.key(t), SCHEDULE, x_0, t), float)
    alpha_bar = float(SCHEDULE.alpha_bar[t])
    noise = (x_t - np.sqrt(alpha_bar) * x_0) / np.sqrt(float(SCHEDULE.noise_variance[t]))
    assert scipy.stats.kstest(noise.ravel(), "norm").pvalue > oracles.FALSE_ALARM


def test_noise_differs_between_samples_positions_and_symbols():
    x_t = np.asarray(hm.add_noise(jax.random.key(0), SCHEDULE, np.zeros((50, 16, 6)), 100))
    assert len(np.unique(x_t)) == x_t.size


def test_more_samples_leave_the_first_ones_alone(precision):
    x_0 = np.zeros((20, 16, 6), precision.dtype)
    few, many = (hm.add_noise(jax.random.key(1), SCHEDULE, x, 100) for x in (x_0[:5], x_0))
    assert few.dtype == precision.dtype
    np.testing.assert_array_equal(few, many[:5])


def test_steps_broadcast_and_share_the_noise_of_their_sample():
    x_0 = np.zeros((3, 16, 6))
    t = np.array([1, 75, 500])
    each = hm.add_noise(jax.random.key(2), SCHEDULE, x_0, t)
    for index, step in enumerate(t):
        alone = hm.add_noise(jax.random.key(2), SCHEDULE, x_0, int(step))
        np.testing.assert_allclose(each[index], alone[index], rtol=1e-6)


@pytest.mark.parametrize(
    "betas",
    [
        [0.1, 1.0, 0.1],  # no signal is left, and then noised on
        [1.0, 1.0],
        [1e-320, 0.1],  # noise below what the dtype holds as a normal number
        [0.1] + [1 - 1e-4] * 80 + [0.1],  # signal likewise
        [0.0, 0.1],
        [0.1, 1.1],
        [0.1, np.nan],
        [],
        [[0.1]],
    ],
)
def test_betas_that_would_later_divide_by_zero_are_refused(betas):
    with pytest.raises(ValueError, match=r"betas.* is not allowed"):
        hm.Schedule.from_betas(np.array(betas))


@pytest.mark.parametrize("betas", [[0.1, 1.0], [1.0], [1e-30, 0.5], [1e-300, 0.5]])
def test_betas_at_the_border_give_finite_schedules(betas):
    if min(betas) < np.finfo(np.float32).tiny and not jax.config.jax_enable_x64:
        pytest.skip("too little noise for float32")
    schedule = hm.Schedule.from_betas(np.array(betas))
    for values in jax.tree.leaves(schedule):
        assert np.isfinite(values).all()
    x_t = jax.numpy.ones((2, 3), schedule.alpha_bar.dtype)
    for t in range(1, len(betas) + 1):
        assert np.isfinite(schedule.evidence(x_t, t)).all()
