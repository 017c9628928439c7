"""What every denoiser promises, asked of each of them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import hiermodel as hm
from hiermodel.diffusion.averaged import averaged_denoiser
from hiermodel.diffusion.pixels import empirical_pixel_denoiser, gaussian_pixel_denoiser
from hiermodel.networks.learned import learned_denoiser
from hiermodel.networks.mlp import MLPConfig
from hiermodel.networks.network import init_params
from hiermodel.networks.unet import UNetConfig

GRAMMAR = hm.Grammar.random(jax.random.key(0), vocab_size=3, depth=3, rules_per_symbol=2)
LEAVES, VOCAB = 8, 3
SCHEDULE = hm.Schedule.linear(20)


def learned():
    config = MLPConfig(num_leaves=LEAVES, vocab_size=VOCAB, width=16, num_blocks=1)
    return learned_denoiser(config, init_params(jax.random.key(1), config))


def marginals():
    return hm.run_bp(GRAMMAR, np.zeros((LEAVES, VOCAB))).log_marginals[-1]


DENOISERS = {
    "exact": lambda: hm.exact_denoiser(GRAMMAR, SCHEDULE),
    "filtered 1": lambda: hm.exact_denoiser(GRAMMAR, SCHEDULE, filter_level=1),
    "filtered 2": lambda: hm.exact_denoiser(GRAMMAR, SCHEDULE, filter_level=2),
    "filtered to the leaves": lambda: hm.exact_denoiser(GRAMMAR, SCHEDULE, filter_level=3),
    "independent": lambda: hm.independent_denoiser(SCHEDULE, marginals()),
    "bare softmax": lambda: hm.independent_denoiser(SCHEDULE),
    "empirical": lambda: hm.empirical_denoiser(
        SCHEDULE, hm.sample_leaves(jax.random.key(2), GRAMMAR, 50), VOCAB
    ),
    "learned": learned,
    "averaged": lambda: averaged_denoiser([hm.exact_denoiser(GRAMMAR, SCHEDULE), learned()]),
}


def learned_pixels():
    config = UNetConfig(4, 4, base_width=4, multipliers=(1,), num_res_blocks=1, num_groups=2)
    return learned_denoiser(config, init_params(jax.random.key(4), config), SHORT_OF_NOISE)


IMAGES = np.random.default_rng(2).normal(size=(6, 16, 1)).astype(np.float32)
SHORT_OF_NOISE = hm.Schedule.linear(50)  # with 20 steps, the last leaves no signal
PIXEL_DENOISERS = {
    "empirical pixels": lambda: empirical_pixel_denoiser(SCHEDULE, IMAGES),
    "gaussian pixels": lambda: gaussian_pixel_denoiser(SCHEDULE, IMAGES),
    "learned pixels": learned_pixels,
}


CLOSE = {"rtol": 5e-5, "atol": 5e-5}  # for logarithms in float32, in any order of additions


@jax.jit
def compiled(denoiser, x_t, t):
    return denoiser(x_t, t)


@pytest.mark.parametrize("name", DENOISERS)
class TestEveryDenoiser:
    @pytest.fixture
    def denoiser(self, name):
        return DENOISERS[name]()

    @pytest.fixture
    def x_t(self):
        return np.random.default_rng(0).normal(size=(2, 3, LEAVES, VOCAB)).astype(np.float32)

    def test_follows_the_protocol(self, denoiser):
        assert isinstance(denoiser, hm.Denoiser)
        assert denoiser.num_leaves in (LEAVES, None)
        assert denoiser.vocab_size in (VOCAB, None)

    def test_gives_normalised_log_probabilities_in_the_dtype_it_got(self, denoiser, x_t, precision):
        for t in (1, 10, 20):
            log_probs = np.asarray(denoiser(x_t.astype(precision.dtype), t))
            assert log_probs.shape == x_t.shape
            assert log_probs.dtype == precision.dtype
            assert np.all(log_probs < precision.tolerance)  # so −inf may occur, NaN and +inf not
            total = np.exp(log_probs.astype(float)).sum(-1)
            np.testing.assert_allclose(total, 1, atol=precision.tolerance)

    def test_accepts_inputs_far_from_any_data(self, denoiser, x_t):
        for far in (1e3 * x_t, np.zeros_like(x_t), np.ones_like(x_t)):
            for t in (1, 20):
                assert not np.isnan(denoiser(far, t)).any()

    def test_is_the_same_compiled_mapped_and_called(self, denoiser, x_t):
        t = np.array([[1, 10, 20], [2, 5, 19]])
        called = denoiser(x_t, t)
        jitted = compiled(denoiser, x_t, t)
        mapped = jax.vmap(jax.vmap(denoiser))(jnp.asarray(x_t), jnp.asarray(t))
        np.testing.assert_allclose(jitted, called, **CLOSE)
        np.testing.assert_allclose(mapped, called, **CLOSE)

    def test_takes_any_leading_axes_and_steps_that_broadcast(self, denoiser, x_t):
        for t in (7, np.array([1, 7, 20]), np.array([[3], [12]]), np.array([[1, 2, 3], [4, 5, 6]])):
            together = denoiser(x_t, t)
            alone = denoiser(x_t[1, 2], int(np.broadcast_to(t, (2, 3))[1, 2]))
            np.testing.assert_allclose(together[1, 2], alone, **CLOSE)

    def test_knows_no_batch(self, denoiser, x_t):
        few, many = denoiser(x_t[:1], 5), denoiser(x_t, 5)
        np.testing.assert_allclose(few, many[:1], **CLOSE)

    def test_takes_an_empty_batch(self, denoiser, x_t):
        assert denoiser(x_t[:0], 5).shape == (0, 3, LEAVES, VOCAB)


@pytest.mark.parametrize("name", DENOISERS)
def test_more_samples_leave_the_first_ones_alone(name):
    denoiser = DENOISERS[name]()
    x_T = np.random.default_rng(1).normal(size=(6, LEAVES, VOCAB)).astype(np.float32)
    few = hm.sample_ancestral(jax.random.key(3), denoiser, SCHEDULE, x_T=x_T[:2])
    many = hm.sample_ancestral(jax.random.key(3), denoiser, SCHEDULE, x_T=x_T)
    np.testing.assert_array_equal(few, many[:2])


ALL = DENOISERS | PIXEL_DENOISERS


@pytest.mark.long
@pytest.mark.parametrize("name", ALL)
def test_a_denoiser_is_a_function_to_jit_vmap_and_grad(name):
    denoiser = ALL[name]()
    rng = np.random.default_rng(5)
    shape = (3, LEAVES, VOCAB) if name in DENOISERS else (3, *IMAGES.shape[1:])
    x_t, t = jnp.asarray(rng.normal(size=shape)), np.array([3, 7, 12])
    called = denoiser(x_t, t)
    np.testing.assert_allclose(jax.jit(denoiser)(x_t, t), called, **CLOSE)
    np.testing.assert_allclose(jax.vmap(denoiser)(x_t, t), called, **CLOSE)

    weights = jnp.asarray(rng.normal(size=shape))

    def total(x_t):
        return (weights * denoiser(x_t, t)).sum()

    direction = rng.normal(size=shape)
    slope = (jax.grad(total)(x_t) * direction).sum()
    width = 1e-5 if x_t.dtype == jnp.float64 else 1e-2
    ahead, behind = (float(total(x_t + sign * width * direction)) for sign in (1, -1))
    tolerance = 1e-5 if x_t.dtype == jnp.float64 else 0.05
    np.testing.assert_allclose(
        slope, (ahead - behind) / (2 * width), rtol=tolerance, atol=tolerance
    )


@pytest.mark.parametrize("name", ALL)
def test_a_denoiser_is_known_by_itself_alone(name):
    one, other = ALL[name](), ALL[name]()
    assert len({one, one, other}) == 2
