"""DDIM and the probability-flow ODE."""

import jax
import numpy as np
import oracles
import pytest

import hiermodel as hm

GRAMMAR = hm.Grammar.random(jax.random.key(3), vocab_size=3, depth=2, rules_per_symbol=2)
SCHEDULE = hm.Schedule.linear(200)
EXACT = hm.exact_denoiser(GRAMMAR, SCHEDULE)
SEQUENCES = np.indices((3,) * 4).reshape(4, -1).T
LAW = np.exp(np.asarray(hm.log_prob(GRAMMAR, SEQUENCES), np.float64))


@pytest.mark.parametrize(
    ("sampler", "options"),
    [
        (hm.sample_ddim, {}),
        (hm.sample_ddim, {"num_steps": 100}),
        (hm.sample_ode, {"num_steps": 100}),
    ],
)
def test_samples_of_the_exact_denoiser_follow_the_grammar(sampler, options):
    # At 6000 samples the errors of these step sizes are below what the test can see.
    samples = sampler(jax.random.key(5), EXACT, SCHEDULE, 6000, **options)
    assert oracles.agrees_with_law(oracles.encode(samples, 3), LAW / LAW.sum())


def test_ddim_with_full_noise_is_the_ancestral_sampler():
    key = jax.random.key(6)
    ddim = hm.sample_ddim(key, EXACT, SCHEDULE, 500, eta=1.0)
    np.testing.assert_array_equal(ddim, hm.sample_ancestral(key, EXACT, SCHEDULE, 500))


@pytest.mark.parametrize("sampler", [hm.sample_ddim, hm.sample_ode])
def test_the_flow_is_fixed_by_where_it_starts(sampler):
    x_T = jax.random.normal(jax.random.key(7), (5, 4, 3))
    samples = sampler(jax.random.key(8), EXACT, SCHEDULE, x_T=x_T)
    np.testing.assert_array_equal(samples, sampler(jax.random.key(9), EXACT, SCHEDULE, x_T=x_T))
    more = sampler(jax.random.key(8), EXACT, SCHEDULE, x_T=np.concatenate([x_T, -x_T]))
    np.testing.assert_array_equal(samples, more[:5])


def test_both_methods_agree_when_steps_are_small():
    # Euler's and Heun's paths lie within O(step) of each other; an argmax near a tie may differ.
    x_T = jax.random.normal(jax.random.key(10), (200, 4, 3))
    ddim = hm.sample_ddim(jax.random.key(0), EXACT, SCHEDULE, x_T=x_T)
    ode = hm.sample_ode(jax.random.key(0), EXACT, SCHEDULE, x_T=x_T)
    assert np.mean(np.all(ddim == ode, axis=-1)) > 0.9


@pytest.mark.parametrize(
    ("options", "message"),
    [({"eta": 1.5}, "eta=1.5"), ({"num_steps": 201}, "num_steps=201"), ({"start": 0}, "start=0")],
)
def test_bad_options_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        hm.sample_ddim(jax.random.key(0), EXACT, SCHEDULE, 2, **options)
