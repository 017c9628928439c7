"""A function of the host in place of a denoiser gives what the same function in JAX gives."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import hiermodel as hm
from hiermodel.diffusion.host import host_denoiser

KEY = jax.random.key(0)
SCHEDULE = hm.Schedule.linear(20)


def in_numpy(x_t, t):
    """The posterior of each leaf alone, in NumPy."""
    assert isinstance(x_t, np.ndarray)
    alpha_bar = np.asarray(SCHEDULE.alpha_bar)[t][:, None, None]
    field = np.sqrt(alpha_bar) / (1 - alpha_bar) * x_t
    return field - np.log(np.exp(field - field.max()).sum(-1, keepdims=True)) - field.max()


@pytest.fixture
def denoiser():
    return host_denoiser(in_numpy, num_leaves=4, vocab_size=3)


@pytest.fixture
def in_jax():
    log_probs = jnp.full((4, 3), -np.log(3), jnp.float32)
    return hm.independent_denoiser(SCHEDULE, log_probs)


@pytest.mark.parametrize("batch", [(), (5,), (2, 3)])
def test_its_values_are_those_of_the_function(denoiser, in_jax, batch):
    x_t = jax.random.normal(KEY, (*batch, 4, 3), jnp.float32)
    np.testing.assert_allclose(denoiser(x_t, 7), in_jax(x_t, 7), atol=1e-5)
    compiled = jax.jit(denoiser)(x_t, jnp.int32(7))
    np.testing.assert_allclose(compiled, in_jax(x_t, 7), atol=1e-5)


def test_it_runs_under_vmap(denoiser, in_jax):
    x_t = jax.random.normal(KEY, (2, 3, 4, 3), jnp.float32)
    t = jnp.array([3, 8])
    np.testing.assert_allclose(jax.vmap(denoiser)(x_t, t), jax.vmap(in_jax)(x_t, t), atol=1e-5)


def test_samplers_take_it(denoiser, in_jax):
    ours = hm.sample_ancestral(KEY, denoiser, SCHEDULE, 20)
    theirs = hm.sample_ancestral(KEY, in_jax, SCHEDULE, 20)
    assert (np.asarray(ours) == np.asarray(theirs)).mean() > 0.95  # but for ties in rounding
    turned = hm.u_turn(KEY, denoiser, SCHEDULE, ours, 3)
    assert turned.shape == (20, 4)


def test_discrete_noise_gives_it_symbols():
    process = hm.DiscreteProcess.masked(3, num_steps=10)

    def function(x_t, t):
        assert np.issubdtype(x_t.dtype, np.integer)
        assert x_t.shape == (len(t), 4)
        return np.full((len(t), 4, 3), -np.log(3))

    samples = hm.sample_ancestral(KEY, host_denoiser(function, 4, 3), process, 6)
    assert samples.shape == (6, 4)
    assert np.all((np.asarray(samples) >= 0) & (np.asarray(samples) < 3))


def test_a_result_of_another_shape_is_refused():
    wrong = host_denoiser(lambda x_t, t: x_t[:, :2], 4, 3)
    with pytest.raises(Exception, match=r"gave shape \(5, 2, 3\), and must give \(5, 4, 3\)"):
        jax.block_until_ready(wrong(jnp.zeros((5, 4, 3), jnp.float32), 1))


def test_wrong_numbers_are_refused():
    with pytest.raises(ValueError, match="vocab_size"):
        host_denoiser(in_numpy, 4, 1)
