"""Divergences between denoiser outputs: closed forms, and what must hold for any outputs."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import hiermodel as hm
from hiermodel.measures import denoiser_divergence, kl_divergence
from hiermodel.measures.divergence import unsupported_mass


def log(probs):
    with np.errstate(divide="ignore"):
        return np.log(np.asarray(probs, dtype=float))


def random_outputs(rng, shape, spread):
    return jax.nn.log_softmax(spread * rng.normal(size=shape), axis=-1)


@given(
    st.integers(0, 2**32 - 1),
    st.sampled_from([(), (3,), (2, 2)]),
    st.sampled_from([0.1, 1.0, 30.0]),
    st.sampled_from([1e-8, None]),
)
def test_is_zero_for_equal_outputs_and_positive_for_others(seed, batch, spread, clip):
    rng = np.random.default_rng(seed)
    log_p = random_outputs(rng, (*batch, 4, 3), spread)
    log_q = random_outputs(rng, (*batch, 4, 3), spread)
    np.testing.assert_array_equal(kl_divergence(log_p, log_p, clip=clip), np.zeros(batch))
    # Clipping breaks normalisation by up to the clip per entry, and so positivity.
    slack = 0 if clip is None else clip * 12
    assert (np.asarray(kl_divergence(log_p, log_q, clip=clip)) > -slack).all()
    if clip is None:
        assert (np.asarray(kl_divergence(log_p, log_q, clip=clip)) > 0).all()


@given(st.integers(0, 2**32 - 1), st.sampled_from([1e-8, None]))
def test_equals_the_sum_written_out(seed, clip):
    rng = np.random.default_rng(seed)
    log_p, log_q = (np.asarray(random_outputs(rng, (5, 4, 3), 10.0)) for _ in range(2))
    floor = 0 if clip is None else clip
    p, q = (np.maximum(np.exp(values), floor) for values in (log_p, log_q))
    expected = (p * np.log(p / q)).sum((-2, -1))
    np.testing.assert_allclose(kl_divergence(log_p, log_q, clip=clip), expected, rtol=1e-10)


def test_closed_forms():
    certain, fair, other = log([[1.0, 0.0]]), log([[0.5, 0.5]]), log([[0.0, 1.0]])
    assert kl_divergence(certain, fair, clip=None) == np.log(2)
    assert kl_divergence(fair, certain, clip=None) == np.inf
    assert kl_divergence(certain, certain, clip=None) == 0
    # p · ln(p/q) with entries 1 against 1e-8 and 1e-8 against 1
    np.testing.assert_allclose(kl_divergence(certain, other), (1 - 1e-8) * np.log(1e8), rtol=1e-13)
    np.testing.assert_allclose(
        kl_divergence(fair, certain), 0.5 * np.log(0.5) + 0.5 * np.log(0.5e8), rtol=1e-13
    )
    two_positions = np.concatenate([certain, certain]), np.concatenate([fair, fair])
    np.testing.assert_allclose(kl_divergence(*two_positions, clip=None), 2 * np.log(2), rtol=1e-15)


def test_exact_zeros_give_no_nan_gradient():
    log_q = jnp.log(jnp.array([[0.25, 0.75]]))
    log_p = jnp.array([[-jnp.inf, 0.0]])
    gradient = jax.grad(lambda values: kl_divergence(log_p, values, clip=None))(log_q)
    np.testing.assert_array_equal(gradient, [[0.0, -1.0]])


def test_unsupported_mass_counts_what_is_ruled_out():
    log_p = log([[0.25, 0.75], [0.5, 0.5]])
    log_q = log([[0.0, 1.0], [1 - 1e-9, 1e-9]])
    np.testing.assert_allclose(unsupported_mass(log_p, log_q), 0.75, rtol=1e-15)
    np.testing.assert_allclose(unsupported_mass(log_p, log_q, clip=None), 0.25, rtol=1e-15)
    assert unsupported_mass(log_p, log_p) == 0


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_is_computed_in_single_precision_at_least(dtype):
    rng = np.random.default_rng(0)
    outputs = [random_outputs(rng, (50, 16, 6), 1.0).astype(dtype) for _ in range(2)]
    result = kl_divergence(*outputs)
    assert result.dtype == jnp.float32
    exact = kl_divergence(*(np.asarray(values).astype(np.float64) for values in outputs))
    np.testing.assert_allclose(result, exact, rtol=1e-5)


def test_runs_under_jit_with_known_and_traced_outputs():
    rng = np.random.default_rng(1)
    log_p, log_q = (random_outputs(rng, (2, 4, 3), 1.0) for _ in range(2))
    expected = kl_divergence(log_p, log_q)
    np.testing.assert_allclose(jax.jit(kl_divergence)(log_p, log_q), expected, rtol=1e-13)
    np.testing.assert_allclose(
        jax.jit(lambda values: kl_divergence(log_p, values))(log_q), expected, rtol=1e-13
    )


def test_of_denoisers_is_zero_against_itself_and_grows_with_the_filter_level():
    grammar = hm.Grammar.random(jax.random.key(7), vocab_size=3, depth=2, rules_per_symbol=2)
    schedule = hm.Schedule.linear()
    leaves = hm.sample_leaves(jax.random.key(0), grammar, 1000)
    x_t = hm.add_noise(jax.random.key(1), schedule, hm.one_hot(leaves, 3), 75)
    exact = hm.exact_denoiser(grammar, schedule)
    values = [
        denoiser_divergence(exact, hm.exact_denoiser(grammar, schedule, filter_level=k), x_t, 75)
        for k in (0, 1, 2)
    ]
    np.testing.assert_array_equal(values[0], np.zeros(1000))
    # Posteriors given less structure are further off; the gaps are several standard errors.
    assert (np.diff([value.mean() for value in values]) > 0).all()
    assert values[2].shape == (1000,)


FAIR = log([[0.5, 0.5]])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: kl_divergence(FAIR, log([[0.2, 0.3, 0.5]])), r"log_q has shape \(1, 3\)"),
        (lambda: kl_divergence(FAIR, np.exp(FAIR)), "log_q has rows whose probabilities sum"),
        (lambda: kl_divergence(np.full((1, 2), np.nan), FAIR), "log_p has rows"),
        (lambda: kl_divergence(FAIR[0], FAIR[0]), r"log_p=\(2,\)"),
        (lambda: kl_divergence(FAIR, FAIR, clip=0.0), "clip=0.0 is not allowed"),
        (lambda: unsupported_mass(FAIR, FAIR, clip=1.5), "clip=1.5 is not allowed"),
    ],
)
def test_bad_input_is_refused(call, message, unchecked_types):
    with pytest.raises(ValueError, match=message):
        call()
