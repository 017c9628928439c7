"""One step of training: a pure function of state, batch and key."""

import jax
import jax.numpy as jnp
import optax
from jax.typing import DTypeLike
from jaxtyping import Array, Float, Int, Key

from hiermodel.diffusion.corruption import mix, one_hot
from hiermodel.diffusion.schedule import Schedule
from hiermodel.networks.learned import NetworkConfig, Params, apply
from hiermodel.networks.random_bits import random_integers, random_normal
from hiermodel.training.losses import batch_loss, variational_weights
from hiermodel.training.state import OPTIMISER, TrainingConfig


def draw_inputs(
    key: Key[Array, ""],
    schedule: Schedule,
    x_0: Int[Array, "batch leaves"],
    vocab_size: int,
    dtype: DTypeLike,
) -> tuple[Float[Array, "batch leaves vocab"], Int[Array, " batch"]]:
    """Noisy inputs and their steps: t uniform on 1…T, independent noise.

    One key serves the whole batch, whose shape is the same throughout a training.
    """
    step_key, noise_key = jax.random.split(key)
    t = random_integers(step_key, x_0.shape[0], 1, schedule.num_steps)
    noise = random_normal(noise_key, (*x_0.shape, vocab_size), dtype)
    return mix(schedule, one_hot(x_0, vocab_size, jnp.dtype(dtype)), noise, t), t


def step_loss(
    params: Params,
    network: NetworkConfig,
    training: TrainingConfig,
    schedule: Schedule,
    batch: tuple[Int[Array, "batch leaves"], Float[Array, " batch"]],
    key: Key[Array, ""],
) -> Float[Array, ""]:
    """Loss of a batch (clean symbols, row weights) with the steps, noise and dropout of ``key``."""
    x_0, row_weights = batch
    input_key, dropout_key = jax.random.split(key)
    dtype = jax.tree.leaves(params)[0].dtype
    x_t, t = draw_inputs(input_key, schedule, x_0, network.vocab_size, dtype)
    logits = apply(network, params, x_t, t, dropout_key)
    variational = training.step_weighting == "variational"
    step_weights = variational_weights(schedule)[t].astype(dtype) if variational else None
    return batch_loss(logits, x_0, row_weights.astype(dtype), step_weights, training.loss)


def train_step(
    params: Params,
    opt_state: optax.OptState,
    network: NetworkConfig,
    training: TrainingConfig,
    schedule: Schedule,
    batch: tuple[Int[Array, "batch leaves"], Float[Array, " batch"]],
    key: Key[Array, ""],
    rate: Float[Array, ""],
) -> tuple[Params, optax.OptState, Float[Array, ""], Float[Array, ""]]:
    """One Adam step on one batch.

    Args:
        params: parameters.
        opt_state: Adam's state.
        network: shape of the network.
        training: which loss.
        schedule: the noise.
        batch: clean symbols, and 1 for each real row, 0 for padding.
        key: randomness of this step's t, noise and dropout.
        rate: learning rate.

    Returns:
        New parameters, new Adam state, the loss (nats) before the step, the norm of its gradient.
    """
    loss, gradient = jax.value_and_grad(step_loss)(params, network, training, schedule, batch, key)
    updates, opt_state = OPTIMISER.update(gradient, opt_state)
    params = jax.tree.map(lambda p, u: p - rate.astype(p.dtype) * u, params, updates)
    return params, opt_state, loss, optax.tree.norm(gradient)
