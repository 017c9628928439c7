"""Rows on the U-Net: training step and sampling, against the same network in plain flax.nnx.

The plain version is what a newcomer to Flax writes: ``nnx.Conv`` for the convolutions, the module
itself as state, ``nnx.Optimizer``, one ``nnx.jit`` call per step on a batch picked by NumPy, noise
from ``jax.random``. Block for block it is the same network on the same data.
"""

from collections.abc import Iterator

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

import hiermodel as hm
from experiments.benchmarks.timing import Row, measure
from hiermodel.diffusion.corruption import pixels
from hiermodel.networks import unet
from hiermodel.networks.learned import learned_denoiser
from hiermodel.networks.network import init_params
from hiermodel.networks.unet import UNetConfig
from hiermodel.training.epochs import place_members, train_epochs
from hiermodel.training.state import Ensemble, TrainingConfig, init_ensemble

NETWORK = UNetConfig(8, 8, base_width=16, multipliers=(1, 2), num_res_blocks=1)
DIFFUSION_STEPS = 50
BATCH, NUM_STEPS, NUM_SAMPLES = 64, 10, 64
NAME = "U-Net of width 16, 8 × 8"


class PlainConvolution(nnx.Module):
    """The same convolution by ``nnx.Conv``."""

    def __init__(self, num_in, num_out, rngs, param_dtype, *, stride=1, bound=None):
        padding = ((1, 1), (1, 1))
        self.convolution = nnx.Conv(
            num_in,
            num_out,
            (3, 3),
            strides=stride,
            padding=padding,
            rngs=rngs,
            param_dtype=param_dtype,
        )

    def __call__(self, x):
        """Convolve images."""
        return self.convolution(x)


def plain_network() -> unet.UNet:
    """The U-Net with ``nnx.Conv`` in place of this project's convolution."""
    ours, unet.Convolution = unet.Convolution, PlainConvolution  # pyright: ignore
    try:
        return unet.UNet(NETWORK, nnx.Rngs(0))
    finally:
        unet.Convolution = ours


def images() -> np.ndarray:
    """As many random images as ten batches take; speed does not depend on what they show."""
    shape = (BATCH * NUM_STEPS, 8, 8, 1)
    return np.random.default_rng(0).uniform(-1, 1, shape).astype(np.float32)


def rows() -> Iterator[Row]:
    """All rows of this file, one after the other."""
    yield plain_training()
    yield training(1)
    yield training(4)
    yield plain_sampling()
    yield sampling()


def training(num_members: int) -> Row:
    """Steps of this project's engine, of all members together."""
    schedule = hm.Schedule.linear(DIFFUSION_STEPS)
    config = TrainingConfig(num_epochs=1000, batch_size=BATCH, rate_schedule="constant")
    ensemble = Ensemble(NETWORK, config, schedule, num_seeds=num_members)
    data = jnp.asarray(images()[None])
    held = [place_members(init_ensemble(jax.random.key(1), ensemble), num_members)]

    def train() -> jax.Array:
        held[0], stats = train_epochs(ensemble, held[0], data, jnp.int32(1))
        return stats.loss

    name = f"training, {NAME}, batch {BATCH}, members: {num_members}"
    return measure(name, train, count=NUM_STEPS * num_members, unit="steps", repeats=5)


def plain_training() -> Row:
    """Steps of the plain version."""
    schedule = hm.Schedule.linear(DIFFUSION_STEPS)
    network = plain_network()
    optimizer = nnx.Optimizer(network, optax.adam(3e-4), wrt=nnx.Param)
    data, random = np.asarray(pixels(images())), np.random.default_rng(0)

    @nnx.jit
    def step(network, optimizer, x_0, key):
        step_key, noise_key = jax.random.split(key)
        t = jax.random.randint(step_key, (len(x_0),), 1, DIFFUSION_STEPS + 1)
        noise = jax.random.normal(noise_key, x_0.shape)
        alpha_bar = schedule.alpha_bar[t][:, None, None]
        x_t = jnp.sqrt(alpha_bar) * x_0 + jnp.sqrt(1 - alpha_bar) * noise

        def loss_of(network):
            return jnp.square(network(x_t, t) - noise).mean()

        loss, gradient = nnx.value_and_grad(loss_of)(network)
        optimizer.update(network, gradient)
        return loss

    keys = iter(jax.random.split(jax.random.key(0), 10_000))

    def train():
        losses = []
        for _ in range(NUM_STEPS):
            chosen = random.choice(len(data), BATCH, replace=False)
            losses.append(step(network, optimizer, data[chosen], next(keys)))
        return losses

    name = f"the same in plain flax.nnx, batch {BATCH}"
    return measure(name, train, count=NUM_STEPS, unit="steps", repeats=5)


def sampling() -> Row:
    """All steps of ancestral sampling by this project."""
    schedule = hm.Schedule.linear(DIFFUSION_STEPS)
    params = init_params(jax.random.key(0), NETWORK)
    denoiser = learned_denoiser(NETWORK, params, schedule)

    def sample() -> jax.Array:
        return hm.sample_ancestral(jax.random.key(1), denoiser, schedule, NUM_SAMPLES)

    name = f"sampling, {NAME}, {DIFFUSION_STEPS} steps, batch {NUM_SAMPLES}"
    return measure(name, sample, count=NUM_SAMPLES, unit="images", repeats=3)


def plain_sampling() -> Row:
    """The same with a Python loop over compiled steps."""
    schedule = hm.Schedule.linear(DIFFUSION_STEPS)
    network = plain_network()

    @nnx.jit
    def step(network, x_t, t, key):
        alpha_bar, before = schedule.alpha_bar[t], schedule.alpha_bar[t - 1]
        alpha = alpha_bar / before
        noise = network(x_t, t)
        mean = (x_t - (1 - alpha) / jnp.sqrt(1 - alpha_bar) * noise) / jnp.sqrt(alpha)
        spread = jnp.sqrt((1 - alpha) * (1 - before) / (1 - alpha_bar))
        return mean + spread * jax.random.normal(key, x_t.shape)

    def sample() -> jax.Array:
        keys = jax.random.split(jax.random.key(1), DIFFUSION_STEPS)
        x_t = jax.random.normal(jax.random.key(2), (NUM_SAMPLES, *NETWORK.target.event_shape))
        for t in range(DIFFUSION_STEPS, 0, -1):
            x_t = step(network, x_t, jnp.int32(t), keys[t - 1])
        return x_t

    name = f"the same in plain flax.nnx, {DIFFUSION_STEPS} steps, batch {NUM_SAMPLES}"
    return measure(name, sample, count=NUM_SAMPLES, unit="images", repeats=3)
