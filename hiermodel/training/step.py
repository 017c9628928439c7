"""One step of training: a pure function of state, batch and key.

A batch can be cut into micro-batches, one after the other, and spread over the devices of a mesh
axis. Steps t, noise and dropout are drawn by row (``RowKey``), so neither changes more than
rounding.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.typing import DTypeLike
from jaxtyping import Array, Float, Int, Key, Num, UInt

from hiermodel.checks import require
from hiermodel.diffusion.process import Process
from hiermodel.networks.network import Network, Params, Target, apply
from hiermodel.random_bits import RowKey, random_integers
from hiermodel.training.losses import (
    mean_over_rows,
    variational_weights,
    window_weights,
)
from hiermodel.training.privacy import private_gradient
from hiermodel.training.state import ALL_ALIKE, OPTIMISER, MemberSettings, TrainingConfig


class Batch(NamedTuple):
    """Some or all rows of a step's batch.

    Attributes:
        x_0: clean symbols, or images.
        weights: 1 for real rows, 0 for padding.
        rows: each row's number in the whole batch, by which its randomness is drawn.
    """

    x_0: Num[Array, "batch ..."]
    weights: Float[Array, " batch"]
    rows: UInt[Array, " batch"]


def draw_inputs(
    key: RowKey,
    target: Target,
    process: Process,
    x_0: Num[Array, "batch ..."],
    dtype: DTypeLike,
) -> tuple[Float[Array, "batch _ _"], Int[Array, " batch"], Array]:
    """Noisy inputs, their steps, t uniform on 1…T, and what is to be given of them."""
    step_key, noise_key = key.split(2)
    t = random_integers(step_key, 1, process.num_steps)
    shown, wanted = target.corrupt(noise_key, process, x_0, t, dtype)
    return shown, t, wanted


def step_weights_of(
    training: TrainingConfig, schedule: Any
) -> Float[Array, " steps_plus_1"] | None:
    """The loss's factor at each step of the noise; None for 1."""
    if training.step_weighting == "variational":
        gaussian, name = schedule.num_states is None, training.step_weighting
        require(gaussian, "step_weighting", name, "another one for noise that is not Gaussian")
        return variational_weights(schedule)
    if training.weight_window is not None:
        return window_weights(schedule, training.weight_window, training.window_weight)
    return None


def network_options(
    training: TrainingConfig, dropout: Float[Array, ""] | None = None
) -> dict[str, Any]:
    """What the settings ask of a network's ``apply``: only that in which they are not usual."""
    options: dict[str, Any] = {}
    if training.compute_dtype != "parameters":
        options["compute_dtype"] = training.compute_dtype
    if training.remat:
        options["remat"] = True
    if dropout is not None:
        options["dropout"] = dropout
    return options


def step_loss(
    params: Params,
    network: Network,
    training: TrainingConfig,
    schedule: Process,
    batch: Batch,
    key: Key[Array, ""],
    total_weight: Float[Array, ""] | None = None,
    dropout: Float[Array, ""] | None = None,
) -> Float[Array, ""]:
    """Loss of a batch with the steps, noise and dropout of ``key``.

    With the ``total_weight`` of a larger batch, these rows' part of its loss; with a rate of
    ``dropout``, that instead of the network's.
    """
    input_key, dropout_key = RowKey(key, batch.rows).split(2)
    dtype = jax.tree.leaves(params)[0].dtype
    x_t, t, wanted = draw_inputs(input_key, network.target, schedule, batch.x_0, dtype)
    options = network_options(training, dropout)
    precision = training.matmul_precision
    output = apply(network, params, x_t, t, dropout_key, precision=precision, **options)
    by_step = step_weights_of(training, schedule)
    step_weights = None if by_step is None else by_step[t].astype(dtype)
    weights = batch.weights.astype(dtype)
    rows = network.target.losses(output, wanted, training.loss)
    return mean_over_rows(rows, weights, step_weights, total_weight)


def cut(batch: Batch, num_parts: int) -> Batch:
    """Parts of equal size along a new first axis; padding makes up what is missing."""
    size = -(-len(batch.rows) // num_parts)
    padding = num_parts * size - len(batch.rows)

    def cut_one(array: Array) -> Array:
        padded = jnp.pad(array, [(0, padding)] + [(0, 0)] * (array.ndim - 1))
        return padded.reshape(num_parts, size, *array.shape[1:])

    return jax.tree.map(cut_one, batch)


def loss_and_gradient(
    params: Params,
    network: Network,
    training: TrainingConfig,
    schedule: Process,
    batch: Batch,
    key: Key[Array, ""],
    batch_axis: str | None = None,
    dropout: Float[Array, ""] | None = None,
) -> tuple[Float[Array, ""], Params]:
    """Loss of a batch and its gradient, added up over micro-batches and devices.

    Args:
        params: parameters.
        network: shape of the network.
        training: which loss, and how it is computed.
        schedule: the noise.
        batch: all rows, on every device.
        key: randomness of this step's t, noise and dropout.
        batch_axis: mesh axis over whose devices to spread the rows; None for no mesh.
        dropout: rate of this member; None for the network's.
    """
    if training.privacy is not None:
        return _private_loss_and_gradient(
            params, network, training, schedule, batch, key, batch_axis, dropout
        )
    total = batch.weights.sum().astype(jax.tree.leaves(params)[0].dtype)

    def of_part(part: Batch) -> tuple[Array, Params]:
        gradient_of = jax.value_and_grad(step_loss)
        return gradient_of(params, network, training, schedule, part, key, total, dropout)

    if batch_axis is not None:
        shares = cut(batch, jax.lax.axis_size(batch_axis))
        batch = jax.tree.map(lambda array: array[jax.lax.axis_index(batch_axis)], shares)
    num_parts = -(-len(batch.rows) // (training.micro_batch_size or len(batch.rows)))
    if num_parts == 1:
        result = of_part(batch)
    else:
        zeros = jax.tree.map(jnp.zeros_like, (total, params))
        result, _ = jax.lax.scan(
            lambda sums, part: (jax.tree.map(jnp.add, sums, of_part(part)), None),
            zeros,
            cut(batch, num_parts),
        )
    return result if batch_axis is None else jax.lax.psum(result, batch_axis)


def _private_loss_and_gradient(
    params, network, training, schedule, batch, key, batch_axis, dropout
) -> tuple[Float[Array, ""], Params]:
    """The same by DP-SGD; the loss is exact."""
    noise_key, rows_key = jax.random.split(key)
    one = jnp.ones((), jax.tree.leaves(params)[0].dtype)

    def loss_of_row(params: Params, row: Batch) -> Array:
        # Whether a row is padding decides nothing here: padding is left out of the sum.
        row = row._replace(weights=jnp.ones_like(row.weights))
        return step_loss(params, network, training, schedule, row, rows_key, one, dropout)

    return private_gradient(
        loss_of_row,
        params,
        batch,
        batch.weights > 0,
        noise_key,
        training.privacy,
        batch_size=training.batch_size,
        micro_batch_size=training.rows_at_once,
        batch_axis=batch_axis,
    )


def train_step(
    params: Params,
    opt_state: optax.OptState,
    network: Network,
    training: TrainingConfig,
    schedule: Process,
    batch: tuple[Num[Array, "batch ..."], Float[Array, " batch"]],
    key: Key[Array, ""],
    rate: Float[Array, ""],
    batch_axis: str | None = None,
    own: MemberSettings = ALL_ALIKE,
) -> tuple[Params, optax.OptState, Float[Array, ""], Float[Array, ""]]:
    """One Adam step on one batch.

    Args:
        params: parameters.
        opt_state: Adam's state.
        network: shape of the network.
        training: which loss, and how it is computed.
        schedule: the noise.
        batch: clean symbols or images, and 1 for each real row, 0 for padding.
        key: randomness of this step's t, noise and dropout.
        rate: learning rate.
        batch_axis: mesh axis over whose devices to spread the rows; None for no mesh.
        own: this member's settings, where it has others than ``training`` and ``network``.

    Returns:
        New parameters, new Adam state, the loss (nats) before the step, the norm of its gradient.
    """
    rows = Batch(*batch, jnp.arange(len(batch[0]), dtype=jnp.uint32))
    loss, gradient = loss_and_gradient(
        params, network, training, schedule, rows, key, batch_axis, own.dropout
    )
    updates, opt_state = OPTIMISER.update(gradient, opt_state)
    if training.weight_decay > 0 or own.weight_decay is not None:
        decay = training.weight_decay if own.weight_decay is None else own.weight_decay
        updates = jax.tree.map(lambda u, p: u + jnp.asarray(decay, p.dtype) * p, updates, params)
    params = jax.tree.map(lambda p, u: p - rate.astype(p.dtype) * u, params, updates)
    return params, opt_state, loss, optax.tree.norm(gradient)
