"""Denoisers and samplers of images against closed forms, and the filters of images."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import hiermodel as hm
from hiermodel.diffusion.corruption import pixels
from hiermodel.diffusion.denoiser import MeanDenoiser
from hiermodel.diffusion.image_filters import haar_filter, pca_filter
from hiermodel.diffusion.pixels import empirical_pixel_denoiser, gaussian_pixel_denoiser

KEY = jax.random.key(0)
SCHEDULE = hm.Schedule.linear(100)
RANDOM = np.random.default_rng(0)
IMAGES = RANDOM.uniform(-1, 1, (12, 4, 2))  # 4 pixels of 2 channels


@pytest.fixture
def images(precision):
    return jnp.asarray(IMAGES, precision.dtype)


@pytest.mark.parametrize("t", [1, 20, 100])
def test_the_memoriser_weighs_images_by_their_likelihood(images, precision, t):
    x_t = jnp.asarray(RANDOM.normal(size=(3, 4, 2)), precision.dtype)
    found = empirical_pixel_denoiser(SCHEDULE, images)(x_t, t)
    assert found.dtype == precision.dtype
    alpha_bar, noise = float(SCHEDULE.alpha_bar[t]), np.asarray(x_t, np.float64)
    for row, one in zip(np.asarray(found), noise, strict=True):
        distance = np.square(one - np.sqrt(alpha_bar) * IMAGES).sum((1, 2))
        weights = np.exp(-(distance - distance.min()) / (2 * (1 - alpha_bar)))
        expected = np.tensordot(weights / weights.sum(), IMAGES, 1)
        # At t = 1 rounding of x_t alone moves exponents by thousands of times its size.
        np.testing.assert_allclose(row, expected, atol=precision.tolerance * (100 if t == 1 else 1))


@pytest.mark.parametrize("t", [1, 20, 100])
def test_the_gaussian_denoiser_is_wieners(images, precision, t):
    x_t = jnp.asarray(RANDOM.normal(size=(2, 3, 4, 2)), precision.dtype)
    found = gaussian_pixel_denoiser(SCHEDULE, images)(x_t, t)
    flat = IMAGES.reshape(12, 8)
    mean, covariance = flat.mean(0), np.cov(flat.T, bias=True)
    alpha_bar = float(SCHEDULE.alpha_bar[t])
    total = alpha_bar * covariance + (1 - alpha_bar) * np.eye(8)
    offset = np.asarray(x_t, np.float64).reshape(6, 8) - np.sqrt(alpha_bar) * mean
    expected = mean + np.sqrt(alpha_bar) * np.linalg.solve(total, offset.T).T @ covariance
    np.testing.assert_allclose(found, expected.reshape(x_t.shape), atol=precision.tolerance)


def test_both_take_a_step_per_image(images):
    x_t, t = jnp.asarray(RANDOM.normal(size=(3, 4, 2)), images.dtype), jnp.array([1, 50, 100])
    for make in (empirical_pixel_denoiser, gaussian_pixel_denoiser):
        denoiser = make(SCHEDULE, images)
        assert isinstance(denoiser, MeanDenoiser)
        assert not isinstance(denoiser, hm.Denoiser)
        together = denoiser(x_t, t)
        alone = [denoiser(x_t[i], int(t[i])) for i in range(3)]
        np.testing.assert_allclose(together, jnp.stack(alone), rtol=1e-4, atol=1e-6)


def test_one_gaussian_image_makes_the_sampler_exact():
    """With two images ±a the covariance is aaᵀ: samples spread along a alone, with variance 1."""
    a = IMAGES[:1]
    denoiser = gaussian_pixel_denoiser(SCHEDULE, np.concatenate([a, -a]))
    samples = np.asarray(hm.sample_ancestral(KEY, denoiser, SCHEDULE, 2000)).reshape(2000, 8)
    direction = a.reshape(8) / np.linalg.norm(a)
    along = samples @ direction / np.linalg.norm(a)
    assert np.abs(samples - np.outer(samples @ direction, direction)).max() < 1e-4
    # The sampler's own error with 100 steps is below 5 %; five standard errors come on top.
    assert abs(along.var() - 1) < 0.05 + 5 * np.sqrt(2 / 2000)


def test_the_memoriser_samples_its_images(images):
    denoiser = empirical_pixel_denoiser(SCHEDULE, images)
    samples = np.asarray(hm.sample_ancestral(KEY, denoiser, SCHEDULE, 20))
    distance = np.abs(samples[:, None] - IMAGES).max((2, 3)).min(1)
    assert distance.max() < 1e-3
    for sampler in (hm.sample_ddim, hm.sample_ode):
        assert sampler(KEY, denoiser, SCHEDULE, 2, num_steps=20).shape == (2, 4, 2)
    turned = hm.u_turn(KEY, denoiser, SCHEDULE, images, 1)
    np.testing.assert_allclose(turned, images, atol=1e-3)


def test_two_denoisers_given_the_same_key_see_the_same_noise(images):
    one = empirical_pixel_denoiser(SCHEDULE, images[:1])
    few = np.asarray(hm.sample_ancestral(KEY, one, SCHEDULE, 2))
    many = np.asarray(hm.sample_ancestral(KEY, one, SCHEDULE, 5))
    np.testing.assert_allclose(few, many[:2], atol=1e-6)


def test_the_score_of_the_memoriser_is_the_gradient_of_its_log_density(images):
    def log_density(x):
        signal, variance = jnp.sqrt(SCHEDULE.alpha_bar[30]), SCHEDULE.noise_variance[30]
        exponents = -jnp.square(x - signal * images).sum((1, 2)) / (2 * variance)
        return jax.scipy.special.logsumexp(exponents)

    x_t = jnp.asarray(RANDOM.normal(size=(4, 2)), images.dtype)
    found = hm.score(empirical_pixel_denoiser(SCHEDULE, images), SCHEDULE, x_t, 30)
    np.testing.assert_allclose(found, jax.grad(log_density)(x_t), rtol=1e-3, atol=1e-4)


def test_images_become_pixels_and_noise_can_be_taken_out():
    bytes_ = np.array([[[[0], [255]], [[51], [102]]]], np.uint8)
    np.testing.assert_allclose(pixels(bytes_)[..., 0], [[-1, 1, -0.6, -0.2]], atol=1e-6)
    x_0 = pixels(RANDOM.uniform(-1, 1, (5, 2, 3, 2)))
    assert x_0.shape == (5, 6, 2)
    x_t = hm.add_noise(KEY, SCHEDULE, x_0, jnp.arange(1, 6))
    alpha_bar = SCHEDULE.alpha_bar[1:6, None, None]
    noise = (x_t - jnp.sqrt(alpha_bar) * x_0) / jnp.sqrt(1 - alpha_bar)
    np.testing.assert_allclose(SCHEDULE.remove_noise(x_t, noise, jnp.arange(1, 6)), x_0, atol=1e-4)
    with pytest.raises(ValueError, match="int"):
        pixels(np.zeros((1, 2, 2, 1), np.int32))


@pytest.mark.parametrize("shape", [(4, 2), (12, 4), (0, 4, 2), (1, 4, 2)])
def test_wrong_images_are_refused(shape):
    with pytest.raises(ValueError, match="images"):
        gaussian_pixel_denoiser(SCHEDULE, np.zeros(shape))


def test_wrong_input_is_refused(images, unchecked_types):
    denoiser = empirical_pixel_denoiser(SCHEDULE, images)
    for x_t, t in ((np.zeros((2, 4, 3)), 1), (np.zeros((2, 4, 2)), 101), (np.ones((4, 2), int), 1)):
        with pytest.raises(ValueError, match="not allowed"):
            denoiser(x_t, t)


# Filters.


def haar_transform(images):
    """One scale of the orthonormal Haar transform: means and three kinds of differences."""
    a, b = images[:, ::2, ::2], images[:, ::2, 1::2]
    c, d = images[:, 1::2, ::2], images[:, 1::2, 1::2]
    return (a + b + c + d) / 2, ((a - b + c - d) / 2, (a + b - c - d) / 2, (a - b - c + d) / 2)


def test_the_haar_filter_leaves_out_the_finest_scales():
    images = RANDOM.normal(size=(3, 8, 4, 2))
    np.testing.assert_array_equal(haar_filter(images, 0), images)
    for level in (1, 2):
        ours, theirs = haar_filter(images, level), images
        for _ in range(level):
            ours, fine = haar_transform(ours)
            theirs, _ = haar_transform(theirs)
            np.testing.assert_allclose(fine, 0, atol=1e-12)
        np.testing.assert_allclose(ours, theirs, atol=1e-12)
        once = haar_filter(images, level)
        np.testing.assert_allclose(haar_filter(once, level), once, atol=1e-12)


def test_the_pca_filter_keeps_the_leading_components():
    images = RANDOM.normal(size=(20, 2, 3, 1))
    np.testing.assert_allclose(pca_filter(images, 6), images, atol=1e-12)
    flat = images.reshape(20, 6)
    values, vectors = np.linalg.eigh(np.cov(flat.T))
    kept = vectors[:, np.argsort(values)[-2:]]
    expected = flat.mean(0) + (flat - flat.mean(0)) @ kept @ kept.T
    once = pca_filter(images, 2)
    np.testing.assert_allclose(once.reshape(20, 6), expected, atol=1e-12)
    np.testing.assert_allclose(pca_filter(once, 2), once, atol=1e-12)
    new = RANDOM.normal(size=(5, 2, 3, 1))
    np.testing.assert_allclose(pca_filter(new, 6, images), new, atol=1e-12)


def test_filters_refuse_what_they_cannot_do(unchecked_types):
    images = RANDOM.normal(size=(3, 4, 4, 1))
    for call in (
        lambda: haar_filter(images, 3),
        lambda: haar_filter(images[0], 1),
        lambda: pca_filter(images, 4),
        lambda: pca_filter(images, 0),
        lambda: pca_filter((images * 10).astype(np.uint8), 1),
    ):
        with pytest.raises(ValueError, match="not allowed"):
            call()
