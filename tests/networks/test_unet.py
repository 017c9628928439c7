"""The U-Net: shapes, what a row depends on, equivariance, start, training and resuming."""

import dataclasses
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import hiermodel as hm
from hiermodel.diffusion.denoiser import MeanDenoiser
from hiermodel.networks import unet
from hiermodel.networks.learned import learned_denoiser
from hiermodel.networks.network import apply, init_params, param_shapes
from hiermodel.networks.unet import Convolution, UNetConfig
from hiermodel.random_bits import row_key
from hiermodel.training.in_folder import train
from hiermodel.training.state import Ensemble, TrainingConfig, init_member
from hiermodel.training.step import Batch, loss_and_gradient

KEY = jax.random.key(0)
SCHEDULE = hm.Schedule.linear(50)
CONFIG = UNetConfig(4, 4, base_width=4, multipliers=(1, 2), num_res_blocks=1, num_groups=2)
APPLY = jax.jit(apply, static_argnums=0)
GRADIENT = jax.jit(loss_and_gradient, static_argnums=(1, 2))
FLAT = dataclasses.replace(CONFIG, multipliers=(1,))


def forward(config, params, x_t, t, key=None):
    return APPLY(config, params, x_t, jnp.asarray(t), key)


def random_params(config, scale=0.3):
    """Parameters without the zeros that a network starts from."""
    shapes = param_shapes(config)
    keys = jax.random.split(KEY, len(shapes))
    return {
        name: scale * jax.random.normal(key, shape)
        for key, (name, shape) in zip(keys, sorted(shapes.items()), strict=True)
    }


def noisy(*batch, config=CONFIG):
    return jax.random.normal(jax.random.key(1), (*batch, *config.event_shape))


def test_it_starts_by_predicting_no_noise_and_is_a_mean_denoiser():
    params = init_params(KEY, CONFIG)
    denoiser = learned_denoiser(CONFIG, params, SCHEDULE)
    assert isinstance(denoiser, MeanDenoiser)
    x_t = noisy(2, 3).astype(jnp.float32)
    np.testing.assert_array_equal(denoiser.noise(x_t, 7), 0)
    expected = x_t / math.sqrt(float(SCHEDULE.alpha_bar[7]))
    np.testing.assert_allclose(denoiser(x_t, 7), expected, rtol=1e-5)
    assert hm.sample_ancestral(KEY, denoiser, SCHEDULE, 3).shape == (3, 16, 1)
    kernel = np.asarray(params["blocks.0.first.map.kernel"])
    bound = 1 / math.sqrt(kernel.shape[0])
    assert 0.9 * bound < np.abs(kernel).max() <= bound


@pytest.mark.long
def test_rows_depend_on_themselves_and_their_step_alone():
    params, x_t = random_params(CONFIG), noisy(2, 3)
    t = jnp.array([[1, 2, 3], [30, 40, 50]])
    together = forward(CONFIG, params, x_t, t)
    assert together.shape == x_t.shape
    np.testing.assert_allclose(forward(CONFIG, params, x_t[1, 2], 50), together[1, 2], atol=1e-9)
    assert np.abs(forward(CONFIG, params, x_t[1, 2], 10) - together[1, 2]).max() > 1e-3
    column = forward(CONFIG, params, x_t, jnp.array([[5], [6]]))
    np.testing.assert_allclose(column[1, 0], forward(CONFIG, params, x_t[1, 0], 6), atol=1e-9)


@pytest.mark.long
def test_every_pixel_reaches_every_other():
    params = random_params(CONFIG)
    jacobian = jax.jacobian(lambda x: forward(CONFIG, params, x, 5))(noisy())
    assert (np.abs(jacobian) > 0).all()


def test_mirrored_kernels_give_mirrored_images():
    """Without halvings nothing prefers left over right but the kernels."""

    def mirror(image):
        return image.reshape(4, 4, 1)[:, ::-1].reshape(16, 1)

    def mirrored(name, value):
        if not name.endswith("map.kernel"):
            return value
        return value.reshape(3, 3, -1)[:, ::-1].reshape(value.shape)

    params, x_t = random_params(FLAT), noisy(config=FLAT)
    other = {name: mirrored(name, value) for name, value in params.items()}
    plain = forward(FLAT, params, x_t, 5)
    np.testing.assert_allclose(forward(FLAT, other, mirror(x_t), 5), mirror(plain), atol=1e-9)
    assert np.abs(forward(FLAT, params, mirror(x_t), 5) - mirror(plain)).max() > 1e-3


@pytest.mark.parametrize("stride", [1, 2])
def test_both_ways_to_convolve_agree(stride):
    convolution = Convolution(3, 5, unet.nnx.Rngs(0), jnp.float64, stride=stride)
    kernel = jax.random.normal(KEY, convolution.map.kernel.shape)
    convolution.map.kernel = unet.nnx.Param(kernel)
    x = jax.random.normal(KEY, (2, 4, 6, 3))
    gathered = convolution(x)
    assert gathered.shape == (2, 4 // stride, 6 // stride, 5)
    np.testing.assert_array_equal(convolution.gathered(x), gathered)
    np.testing.assert_allclose(convolution.convolved(x), gathered, atol=1e-9)


def loss_of(config, batch, **options):
    params = random_params(config)
    training = TrainingConfig(num_epochs=1, **options)
    return GRADIENT(params, config, training, SCHEDULE, batch, KEY)


def test_the_loss_is_the_squared_error_of_the_noise():
    params = init_member(KEY, CONFIG).params  # predicts no noise: the loss is that of zero
    images = jax.random.uniform(KEY, (500, 4, 4, 1), jnp.float32, -1, 1)
    batch = Batch(images, jnp.ones(500, jnp.float32), jnp.arange(500, dtype=jnp.uint32))
    training = TrainingConfig(num_epochs=1)
    loss, _ = GRADIENT(params, CONFIG, training, SCHEDULE, batch, KEY)
    assert abs(float(loss) - 1) < 5 * math.sqrt(2 / 8000)  # 8000 squared normals


LONG = pytest.mark.long  # as the other, and compiles for half a minute


@pytest.mark.long
@pytest.mark.parametrize(
    "options", [pytest.param({"micro_batch_size": 2}, marks=LONG), {"remat": True}]
)
def test_how_a_step_is_computed_changes_nothing(options):
    config = dataclasses.replace(CONFIG, dropout=0.3)
    images = jnp.asarray(np.random.default_rng(0).integers(0, 256, (3, 4, 4, 1)), jnp.uint8)
    batch = Batch(images, jnp.ones(3), jnp.arange(3, dtype=jnp.uint32))
    plain, other = loss_of(config, batch), loss_of(config, batch, **options)
    for one, two in zip(jax.tree.leaves(plain), jax.tree.leaves(other), strict=True):
        np.testing.assert_allclose(one, two, rtol=1e-8, atol=1e-10)


@pytest.mark.long
def test_dropout_acts_only_with_a_key():
    config = dataclasses.replace(CONFIG, dropout=0.5)
    params, x_t = random_params(config), noisy(2)
    plain = forward(config, params, x_t, 5)
    np.testing.assert_array_equal(plain, forward(CONFIG, params, x_t, 5))
    assert np.abs(forward(config, params, x_t, 5, row_key(KEY, 2)) - plain).max() > 1e-3


@pytest.mark.long
def test_a_resumed_training_is_the_same_to_the_last_bit(tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (2, 6, 4, 4, 1)).astype(np.uint8)
    training = TrainingConfig(num_epochs=4, batch_size=4, learning_rate=1e-2)
    ensemble = Ensemble(CONFIG, training, SCHEDULE, num_splits=2)

    def run(folder, epochs):
        where = {"identity": "a", "checkpoint_epochs": epochs, "progress": False}
        return train(KEY, ensemble, images, tmp_path / folder, **where).states.params

    whole = run("whole", [4])
    run("parts", [1])
    parts = run("parts", [1, 4])
    for name, value in whole.items():
        np.testing.assert_array_equal(value, parts[name], err_msg=name)
    assert any(np.abs(value[0] - value[1]).max() > 1e-3 for value in whole.values())


@pytest.mark.parametrize(
    "images",
    [
        np.zeros((1, 6, 4, 4, 1), np.uint8),
        np.zeros((2, 0, 4, 4, 1), np.uint8),
        np.zeros((2, 6, 16), np.uint8),
        np.zeros((2, 6, 4, 4, 1), np.int32),
        np.full((2, 6, 4, 4, 1), np.nan),
    ],
)
def test_wrong_images_are_refused(tmp_path, images):
    ensemble = Ensemble(CONFIG, TrainingConfig(num_epochs=1), SCHEDULE, num_splits=2)
    with pytest.raises(ValueError, match="sequences"):
        train(KEY, ensemble, images, tmp_path, identity="a", checkpoint_epochs=[1])


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("height", 3),
        ("width", 0),
        ("channels", 0),
        ("base_width", 3),
        ("num_groups", 3),
        ("multipliers", ()),
        ("multipliers", (1, 0)),
        ("num_res_blocks", 0),
        ("dropout", 1.0),
    ],
)
def test_wrong_settings_are_refused(field, value):
    with pytest.raises(ValueError, match=field if field != "num_groups" else "base_width"):
        dataclasses.replace(CONFIG, **{field: value})
