"""A function of the host in place of a denoiser gives what the same function in JAX gives."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import hiermodel as hm
from hiermodel.diffusion.host import host_denoiser

KEY = jax.random.key(0)
SCHEDULE = hm.Schedule.linear(20)
MASKED = hm.DiscreteProcess.masked(3, num_steps=10)
LAW = np.array([0.5, 0.3, 0.2])
CLEAN = np.asarray(jax.random.randint(jax.random.key(1), (8, 4), 0, 3))
STEPS = np.array([3, 9])
NOISY = hm.add_noise(KEY, SCHEDULE, hm.one_hot(CLEAN, 3), 9)
OTHER = hm.independent_denoiser(SCHEDULE, np.log(np.tile(LAW, (4, 1))))


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


GAUSSIAN = {
    "ancestral": lambda d: hm.sample_ancestral(KEY, d, SCHEDULE, 20),
    "ddim": lambda d: hm.sample_ddim(KEY, d, SCHEDULE, 20, num_steps=5, eta=0.5),
    "ode": lambda d: hm.sample_ode(KEY, d, SCHEDULE, 20, start=19, num_steps=5),
    "u-turn": lambda d: hm.u_turn(KEY, d, SCHEDULE, CLEAN, 9),
    "u-turns": lambda d: hm.measures.repeated_u_turns(KEY, d, SCHEDULE, CLEAN, 9, 2),
}
MASKING = {
    "ancestral": lambda d: hm.sample_ancestral(KEY, d, MASKED, 20),
    "any order": lambda d: hm.sample_any_order(KEY, d, MASKED, 20),
    "u-turn": lambda d: hm.u_turn(KEY, d, MASKED, CLEAN, 7),
}
MEASURES = {
    "score": lambda d: hm.score(d, SCHEDULE, NOISY, 9),
    "loss": lambda d: hm.measures.evaluate_loss(KEY, d, SCHEDULE, CLEAN, 9),
    "parts of the loss": lambda d: hm.measures.decompose_loss(d(NOISY, 9), OTHER(NOISY, 9), CLEAN),
    "losses of an attack": lambda d: hm.measures.attack_losses(KEY, d, SCHEDULE, CLEAN, STEPS),
    "divergence": lambda d: hm.measures.denoiser_divergence(d, OTHER, NOISY, 9),
    "divergence to it": lambda d: hm.measures.denoiser_divergence(OTHER, d, NOISY, 9),
    "average": lambda d: hm.diffusion.averaged_denoiser([d, OTHER])(NOISY, 9),
}


LONG = pytest.mark.long  # many steps, by the same program as one U-turn


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=LONG if name == "u-turns" else ()) for name in GAUSSIAN]
)
def test_samplers_take_it(name, denoiser, in_jax):
    ours, theirs = (np.asarray(GAUSSIAN[name](one)) for one in (denoiser, in_jax))
    assert ours.shape == theirs.shape
    assert (ours == theirs).mean() > 0.95  # but for ties in rounding


@pytest.mark.parametrize("name", MASKING)
def test_samplers_of_discrete_noise_take_it(name):
    """The posterior of each leaf alone: a mask has the law of symbols, all else is known."""

    def in_numpy(x_t, t):
        assert isinstance(x_t, np.ndarray)
        with np.errstate(divide="ignore"):
            return np.log(np.vstack([np.eye(3), LAW])[x_t])

    in_jax = hm.independent_denoiser(MASKED, np.log(np.tile(LAW, (4, 1))))
    ours, theirs = (MASKING[name](one) for one in (host_denoiser(in_numpy, 4, 3), in_jax))
    assert (np.asarray(ours) == np.asarray(theirs)).mean() > 0.95


@pytest.mark.parametrize("name", MEASURES)
def test_measures_take_it(name, denoiser, in_jax):
    ours, theirs = (np.asarray(MEASURES[name](one)) for one in (denoiser, in_jax))
    np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5)


def test_its_samples_are_measured(denoiser):
    samples = GAUSSIAN["ancestral"](denoiser)
    gap = np.asarray(hm.measures.own_other_gap(samples, samples[:8], CLEAN))
    assert gap.shape == (20,)
    assert gap[:8].min() >= 0  # each of these is its own nearest neighbour
    assert gap[:8].max() > 0


def test_large_batches_pass():
    x_t = np.zeros((50_000, 4, 3), np.float32)
    flat = host_denoiser(lambda x_t, t: np.full(x_t.shape, -np.log(3)), 4, 3)
    assert np.allclose(jax.jit(flat)(x_t, 5), -np.log(3))


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
