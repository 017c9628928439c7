"""Samplers and scores take any function for a denoiser, and let no NaN or other noise pass."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import hiermodel as hm
from hiermodel.diffusion.averaged import averaged_denoiser
from hiermodel.diffusion.pixels import empirical_pixel_denoiser
from hiermodel.measures.u_turn import repeated_u_turns
from hiermodel.networks.learned import learned_denoiser
from hiermodel.networks.mlp import MLPConfig
from hiermodel.networks.network import init_params

KEY = jax.random.key(0)
SCHEDULE, OTHER = hm.Schedule.linear(30), hm.Schedule.linear(31)
MASKED = hm.DiscreteProcess.masked(3, num_steps=4)
CLEAN = np.array([[0, 1, 2, 0], [1, 1, 2, 2], [2, 0, 1, 0]])
NOISE = np.random.default_rng(0).normal(size=(3, 4, 3)).astype(np.float32)
HIDDEN = np.full((3, 4), 3)

VECTORS = {
    "ancestral": lambda d, s, **start: hm.sample_ancestral(KEY, d, s, **start),
    "ddim": lambda d, s, **start: hm.sample_ddim(KEY, d, s, **start),
    "ode": lambda d, s, **start: hm.sample_ode(KEY, d, s, **start),
}
SYMBOLS = {
    "discrete": lambda d, p, **start: hm.sample_ancestral(KEY, d, p, **start),
    "any order": lambda d, p, **start: hm.sample_any_order(KEY, d, p, **start),
}
SAMPLERS = VECTORS | SYMBOLS


def constant(x_t, t):
    """Surely symbol 1, whatever it sees: vectors of three, or symbols."""
    shape = x_t.shape if jnp.issubdtype(x_t.dtype, jnp.floating) else (*x_t.shape, 3)
    return jnp.broadcast_to(jnp.array([-jnp.inf, 0, -jnp.inf]), shape)


def sized(function):
    """The same function, with the sizes of a Denoiser."""

    class Sized:
        num_leaves, vocab_size = 4, 3

        def __call__(self, x_t, t):
            return function(x_t, t)

    return Sized()


def noise_of(name):
    """The process of a sampler, and where it starts."""
    return (SCHEDULE, NOISE) if name in VECTORS else (MASKED, HIDDEN)


# Plain functions.


@pytest.mark.parametrize("name", SAMPLERS)
def test_a_plain_function_is_sampled_from(name):
    process, x_T = noise_of(name)
    samples = SAMPLERS[name](constant, process, x_T=x_T)
    assert samples.dtype == jnp.int32
    np.testing.assert_array_equal(samples, np.ones((3, 4)))


@pytest.mark.parametrize("name", SAMPLERS)
def test_drawing_the_noise_needs_the_sizes(name):
    process, _ = noise_of(name)
    with pytest.raises(ValueError, match=r"constant .*num_leaves.*vocab_size.* x_T must be"):
        SAMPLERS[name](constant, process, num_samples=2)
    assert SAMPLERS[name](sized(constant), process, num_samples=2).shape == (2, 4)


def test_the_size_that_a_process_knows_need_not_be_given():
    class Partly:
        num_leaves = 4

        def __call__(self, x_t, t):
            return constant(x_t, t)

    assert hm.sample_ancestral(KEY, Partly(), MASKED, 2).shape == (2, 4)


def test_u_turns_of_a_plain_function():
    clean = hm.one_hot(CLEAN, 3)
    np.testing.assert_array_equal(hm.u_turn(KEY, constant, SCHEDULE, clean, 5), np.ones((3, 4)))
    turned = hm.u_turn(KEY, constant, MASKED, CLEAN, 4)
    np.testing.assert_array_equal(turned, np.ones((3, 4)))
    with pytest.raises(ValueError, match=r"constant has no fixed vocabulary \(vocab_size\)"):
        hm.u_turn(KEY, constant, SCHEDULE, CLEAN, 5)
    with pytest.raises(ValueError, match="joint"):
        hm.u_turn(KEY, constant, MASKED, CLEAN, 4, joint=True)


def test_the_score_of_a_plain_function_and_a_function_among_averaged_parts():
    score = hm.score(constant, SCHEDULE, NOISE, 5)
    exact = hm.score(sized(constant), SCHEDULE, NOISE, 5)
    np.testing.assert_array_equal(score, exact)
    both = averaged_denoiser([sized(constant), hm.empirical_denoiser(SCHEDULE, CLEAN, 3)])
    assert hm.sample_ancestral(KEY, both, SCHEDULE, 2).shape == (2, 4)


def test_two_functions_of_one_name_are_two_denoisers():
    def always(symbol):
        def function(x_t, t):
            return jnp.broadcast_to(jnp.log(jnp.arange(3) == symbol), x_t.shape)

        return function

    for symbol in (0, 2):
        samples = hm.sample_ancestral(KEY, always(symbol), SCHEDULE, x_T=NOISE)
        np.testing.assert_array_equal(samples, np.full((3, 4), symbol))


# NaN.


def spoilt(x_t, t):
    """Constant, but NaN for the second of three sequences at step 3."""
    good = constant(x_t, t)
    here = (jnp.arange(3) == 1) & jnp.any(jnp.asarray(t) == 3)
    return jnp.where(here[:, None, None], jnp.nan, good)


TURNS = {
    "U-turn": lambda d: hm.u_turn(KEY, d, SCHEDULE, hm.one_hot(CLEAN, 3), 5),
    "discrete U-turn": lambda d: hm.u_turn(KEY, d, MASKED, CLEAN, 4),
}
DRAWS = {
    name: lambda d, name=name: SAMPLERS[name](d, noise_of(name)[0], x_T=noise_of(name)[1])
    for name in SAMPLERS
} | TURNS


@pytest.mark.parametrize("name", DRAWS)
def test_nan_is_an_error_and_inside_a_trace_minus_1(name):
    with pytest.raises(ValueError, match="spoilt gave NaN for 1 of 3 samples"):
        DRAWS[name](spoilt)
    samples = jax.jit(lambda: DRAWS[name](spoilt))()
    np.testing.assert_array_equal(samples, [[1] * 4, [-1] * 4, [1] * 4])


def test_joint_draws_that_fail_are_seen():
    class Joint:
        num_leaves, vocab_size = 4, 3

        def __call__(self, x_t, t):
            return constant(x_t, t)

        def draw(self, keys, x_t, t):
            return jnp.where((jnp.arange(3) == 1)[:, None], -1, jnp.ones((3, 4), jnp.int32))

    def draw():
        return hm.sample_ancestral(KEY, Joint(), MASKED, x_T=HIDDEN, joint=True)

    with pytest.raises(ValueError, match="Joint gave NaN for 1 of 3 samples"):
        draw()
    np.testing.assert_array_equal(jax.jit(draw)(), [[1] * 4, [-1] * 4, [1] * 4])


def test_nan_in_images_is_an_error():
    class Mean:
        event_shape = (4, 1)

        def __call__(self, x_t, t):
            return jnp.where(x_t > 0, jnp.nan, x_t)

    x_T = np.array([[[1.0]] * 4, [[0.0]] * 4])
    for sampler in (hm.sample_ddim, hm.sample_ode):
        with pytest.raises(ValueError, match="Mean gave NaN for 1 of 2 samples"):
            sampler(KEY, Mean(), SCHEDULE, x_T=x_T)
        images = jax.jit(lambda x_T, s=sampler: s(KEY, Mean(), SCHEDULE, x_T=x_T))(x_T)
        np.testing.assert_array_equal(np.isnan(images).any((1, 2)), [True, False])


# Noise of another length.


def denoisers_of_30_steps():
    config = MLPConfig(4, 3, width=4, num_blocks=1)
    return {
        "exact": hm.exact_denoiser(
            hm.Grammar.random(KEY, vocab_size=3, depth=2, rules_per_symbol=2), SCHEDULE
        ),
        "independent": hm.independent_denoiser(SCHEDULE, np.log(np.full((4, 3), 1 / 3))),
        "empirical": hm.empirical_denoiser(SCHEDULE, CLEAN, 3),
        "learned": learned_denoiser(config, init_params(KEY, config), hm.Schedule.linear(30)),
    }


DENOISERS = {
    name: lambda name=name: denoisers_of_30_steps()[name]
    for name in ("exact", "independent", "empirical", "learned")
} | {"averaged": lambda: averaged_denoiser([sized(constant), denoisers_of_30_steps()["empirical"]])}


@pytest.mark.parametrize("name", DENOISERS)
def test_a_schedule_of_another_length_is_refused(name):
    denoiser = DENOISERS[name]()
    calls = {
        "score": lambda s: hm.score(denoiser, s, NOISE, 5),
        "turn": lambda s: hm.u_turn(KEY, denoiser, s, CLEAN, 5),
        "turns": lambda s: repeated_u_turns(KEY, denoiser, s, CLEAN, 5, 1),
    } | {
        name: lambda s, sample=sample: sample(denoiser, s, num_samples=2)
        for name, sample in VECTORS.items()
    }
    for call in calls.values():
        with pytest.raises(ValueError, match=r"schedule has num_steps=31.* must be that of .*30"):
            call(OTHER)
    calls["score"](SCHEDULE)


def test_a_process_or_schedule_of_images_of_another_length_is_refused():
    denoiser = hm.empirical_denoiser(MASKED, CLEAN, 3)
    other = hm.DiscreteProcess.masked(3, num_steps=5)
    for sample in SYMBOLS.values():
        with pytest.raises(ValueError, match=r"num_steps=5.* must be that of EmpiricalDenoiser, 4"):
            sample(denoiser, other, num_samples=2)
    with pytest.raises(ValueError, match="num_steps=5"):
        hm.u_turn(KEY, denoiser, other, CLEAN, 4)
    images = np.zeros((2, 4, 1), np.float32)
    pixels = empirical_pixel_denoiser(SCHEDULE, images)
    for call in (
        lambda: hm.sample_ancestral(KEY, pixels, OTHER, 2),
        lambda: hm.u_turn(KEY, pixels, OTHER, images, 5),
        lambda: hm.score(pixels, OTHER, images, 5),
    ):
        with pytest.raises(ValueError, match=r"num_steps=31.* must be that of .*, 30"):
            call()


def test_parts_of_noises_of_two_lengths_are_refused():
    parts = [hm.empirical_denoiser(schedule, CLEAN, 3) for schedule in (SCHEDULE, OTHER)]
    with pytest.raises(ValueError, match="parts"):
        averaged_denoiser(parts)
