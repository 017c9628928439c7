"""The compiled part of training: any number of epochs of all members in one call."""

import dataclasses
import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import Array, Float, Int, Key

from hiermodel.training.state import Ensemble, TrainState, learning_rate
from hiermodel.training.step import train_step


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class EpochStats:
    """What happened during a run of epochs, per member.

    Attributes:
        loss: mean training loss, in nats per position, over the sequences of all epochs.
        grad_norm: mean gradient norm over all steps.
        failed_step: first step, counted from 0 over the whole training, with a loss or gradient
            that is not finite; −1 if none.
        failed_grad_norm: gradient norm at that step; 0 if none.
        largest_grad_norm: largest finite gradient norm.
    """

    loss: Float[Array, "..."]
    grad_norm: Float[Array, "..."]
    failed_step: Int[Array, "..."]
    failed_grad_norm: Float[Array, "..."]
    largest_grad_norm: Float[Array, "..."]


def epoch_batches(
    key: Key[Array, ""], num_sequences: int, batch_size: int
) -> tuple[Int[Array, "num_batches batch"], Float[Array, "num_batches batch"]]:
    """Rows of each batch of one epoch, in random order, and 1 for a real row, 0 for padding.

    Every row occurs once; the last batch, if it is not full, is padded with rows of weight 0.
    """
    batch_size = min(batch_size, num_sequences)
    num_batches = -(-num_sequences // batch_size)
    padding = num_batches * batch_size - num_sequences
    rows = jax.random.permutation(key, jnp.arange(num_sequences, dtype=jnp.int32))
    weights = np.pad(np.ones(num_sequences, np.float32), (0, padding))
    shape = (num_batches, batch_size)
    return jnp.pad(rows, (0, padding)).reshape(shape), jnp.asarray(weights.reshape(shape))


def train_one_epoch(
    ensemble: Ensemble,
    state: TrainState,
    split: Int[Array, ""],
    sequences: Int[Array, "num_splits num_sequences leaves"],
) -> tuple[TrainState, EpochStats]:
    """One member, one pass over its split; all randomness from (member key, epoch, batch)."""
    num_sequences = sequences.shape[1]
    order_key, batches_key = jax.random.split(jax.random.fold_in(state.key, state.epoch))
    rows, weights = epoch_batches(order_key, num_sequences, ensemble.training.batch_size)
    rate = learning_rate(ensemble.training, state.epoch)

    def body(index, carry):
        params, opt_state, stats = carry
        batch = (sequences[split, rows[index]].astype(jnp.int32), weights[index])
        params, opt_state, loss, grad_norm = train_step(
            params,
            opt_state,
            ensemble.network,
            ensemble.training,
            ensemble.schedule,
            batch,
            jax.random.fold_in(batches_key, index),
            rate,
        )
        fine = jnp.isfinite(loss) & jnp.isfinite(grad_norm)
        first = (stats.failed_step < 0) & ~fine
        failed = jnp.where(first, state.epoch * len(rows) + index, stats.failed_step)
        largest = jnp.where(
            fine, jnp.maximum(stats.largest_grad_norm, grad_norm), stats.largest_grad_norm
        )
        share = (weights[index].sum() / num_sequences).astype(loss.dtype)
        stats = EpochStats(
            loss=stats.loss + share * loss,
            grad_norm=stats.grad_norm + grad_norm / len(rows),
            failed_step=failed,
            failed_grad_norm=jnp.where(first, grad_norm, stats.failed_grad_norm),
            largest_grad_norm=largest,
        )
        return params, opt_state, stats

    start = state.params, state.opt_state, _no_stats(state)
    params, opt_state, stats = jax.lax.fori_loop(0, len(rows), body, start)
    return TrainState(params, opt_state, state.epoch + 1, state.key), stats


def _no_stats(state: TrainState) -> EpochStats:
    zero = jnp.zeros((), jax.tree.leaves(state.params)[0].dtype)
    return EpochStats(zero, zero, jnp.full((), -1, jnp.int32), zero, zero)


def _train_member(
    ensemble: Ensemble,
    state: TrainState,
    split: Int[Array, ""],
    sequences: Int[Array, "num_splits num_sequences leaves"],
    num_epochs: Int[Array, ""],
) -> tuple[TrainState, EpochStats]:
    def body(_, carry):
        state, total = carry
        state, stats = train_one_epoch(ensemble, state, split, sequences)
        fine = total.failed_step < 0
        failed = jnp.where(fine, stats.failed_step, total.failed_step)
        failed_norm = jnp.where(fine, stats.failed_grad_norm, total.failed_grad_norm)
        largest = jnp.maximum(total.largest_grad_norm, stats.largest_grad_norm)
        loss, grad_norm = total.loss + stats.loss, total.grad_norm + stats.grad_norm
        return state, EpochStats(loss, grad_norm, failed, failed_norm, largest)

    state, total = jax.lax.fori_loop(0, num_epochs, body, (state, _no_stats(state)))
    count = num_epochs.astype(total.loss.dtype)
    mean = dataclasses.replace(total, loss=total.loss / count, grad_norm=total.grad_norm / count)
    return state, mean


def member_mesh(num_members: int) -> Mesh:
    """As many devices as divide the members evenly, along one axis."""
    devices = jax.devices()
    return Mesh(np.array(devices[: math.gcd(num_members, len(devices))]), ("member",))


def place_members(states: TrainState, num_members: int) -> TrainState:
    """Spread stacked members over the devices that will train them."""
    return jax.device_put(states, NamedSharding(member_mesh(num_members), PartitionSpec("member")))


def batch_members(train_member, states, splits):
    """Run ``train_member(state, split)`` for all members: the one place that says how.

    Members are shared out over the devices. On each, an accelerator runs its members side by side
    (vmap), which fills it; a CPU runs them one after the other (lax.map), since each alone keeps
    it busy and small arrays stay in its cache.
    """
    mesh = member_mesh(splits.shape[0])
    on_cpu = mesh.devices.flat[0].platform == "cpu"

    def run_here(states, splits):
        if on_cpu:
            return jax.lax.map(lambda member: train_member(*member), (states, splits))
        return jax.vmap(train_member)(states, splits)

    if mesh.size == 1:
        return run_here(states, splits)
    spec = PartitionSpec("member")
    return jax.shard_map(
        run_here, mesh=mesh, in_specs=(spec, spec), out_specs=spec, check_vma=False
    )(states, splits)


@functools.partial(jax.jit, donate_argnames="states")
def train_epochs(
    ensemble: Ensemble,
    states: TrainState,
    sequences: Int[Array, "num_splits num_sequences leaves"],
    num_epochs: Int[Array, ""],
) -> tuple[TrainState, EpochStats]:
    """Train all members for some more epochs; compiles once for any number of them.

    How a training is cut into calls changes nothing, to the last bit.

    Args:
        ensemble: what is trained.
        states: stacked members; their memory is reused, so they cannot be used afterwards.
        sequences: symbols of every split.
        num_epochs: int32, how many epochs, at least 1.
    """
    splits = jnp.arange(ensemble.num_members, dtype=jnp.int32) // ensemble.num_seeds
    return batch_members(
        lambda state, split: _train_member(ensemble, state, split, sequences, num_epochs),
        states,
        splits,
    )
