"""Membership attacks on denoisers of images: one that knows nothing, and one that knows all."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import hiermodel as hm
from hiermodel.diffusion.corruption import add_noise
from hiermodel.diffusion.pixels import empirical_pixel_denoiser, gaussian_pixel_denoiser
from hiermodel.measures import attack_losses, evaluate_attack, membership_score
from hiermodel.measures.loss import stratified_steps
from hiermodel.networks.learned import learned_denoiser
from hiermodel.networks.network import init_params
from hiermodel.networks.unet import UNetConfig

SCHEDULE = hm.Schedule.linear(40)
IMAGES = np.random.default_rng(0).normal(size=(240, 16, 1)).astype(np.float32)
OWN, OTHER, FRESH = IMAGES[:60], IMAGES[60:120], IMAGES[120:]
STEPS = np.asarray(stratified_steps(jax.random.key(1), 40, 20))
KEY = jax.random.key(2)


def scores(denoiser, reference=None):
    """Of own and fresh images."""
    both = np.concatenate([OWN, FRESH])
    losses = [
        attack_losses(KEY, each, SCHEDULE, both, STEPS)
        for each in (denoiser, reference)
        if each is not None
    ]
    found = membership_score(*losses)
    return found[:60], found[60:]


def blind_network():
    config = UNetConfig(4, 4, base_width=4, multipliers=(1,), num_res_blocks=1, num_groups=2)
    shapes = init_params(jax.random.key(0), config)
    keys = jax.random.split(jax.random.key(1), len(shapes))
    params = {
        name: 0.2 * jax.random.normal(key, value.shape)
        for key, (name, value) in zip(keys, shapes.items(), strict=True)
    }
    return learned_denoiser(config, params, SCHEDULE)


@pytest.mark.parametrize("referred", [False, True])
def test_a_network_that_never_saw_either_set_gives_nothing_away(referred):
    # 99.9 % intervals: one of the two fails by chance with probability below 0.002.
    reference = gaussian_pixel_denoiser(SCHEDULE, OTHER) if referred else None
    attack = evaluate_attack(jax.random.key(3), *scores(blind_network(), reference), level=0.999)
    assert attack.auc.contains(0.5)


@pytest.mark.parametrize("referred", [False, True])
def test_the_memoriser_gives_everything_away(referred):
    reference = empirical_pixel_denoiser(SCHEDULE, OTHER) if referred else None
    memoriser = empirical_pixel_denoiser(SCHEDULE, OWN)
    attack = evaluate_attack(jax.random.key(3), *scores(memoriser, reference))
    assert attack.auc.low > 0.95


def test_losses_are_squared_errors_of_the_predicted_noise():
    denoiser = gaussian_pixel_denoiser(SCHEDULE, OTHER)
    expected = []
    for number, t in enumerate(STEPS):
        key = jax.random.fold_in(KEY, number)
        x_t = add_noise(key, SCHEDULE, jnp.asarray(OWN), int(t))
        signal = np.sqrt(SCHEDULE.alpha_bar[t])
        spread = np.sqrt(SCHEDULE.noise_variance[t])
        noise, predicted = ((x_t - signal * x) / spread for x in (OWN, denoiser(x_t, int(t))))
        expected.append(np.square(noise - predicted).mean((1, 2)))
    found = attack_losses(KEY, denoiser, SCHEDULE, OWN, STEPS)
    np.testing.assert_allclose(found, np.mean(expected, 0), rtol=1e-4)


def test_images_that_do_not_fit_are_refused(unchecked_types):
    denoiser = gaussian_pixel_denoiser(SCHEDULE, OTHER)
    for images in (OWN[:, :4], OWN[0], OWN.astype(np.int32)):
        with pytest.raises(ValueError, match="sequences"):
            attack_losses(KEY, denoiser, SCHEDULE, images, STEPS)
