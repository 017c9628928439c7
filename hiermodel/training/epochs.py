"""The compiled part of training: any number of epochs of all members in one call.

All devices, of all processes, form one mesh with the axes "member" and "batch". Members are shared
out along the first; its size is the largest that divides their number. Along the second, the rows
of every batch are shared out and the gradients added up, so parameters and Adam's state are the
same on all of its devices. Data are on every device. On the CPU of one process no batch is shared
out: a member is then the same, to the last bit, whatever the number of devices and of members.

With several processes (``jax.distributed``), each makes the same calls with the same values:
``init_ensemble``, ``place_members``, ``train_epochs``. States live where their members are trained,
and are saved from there; statistics are whole on every process. ``agree`` settles what a clock
decides.
"""

import dataclasses
import functools
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import Array, Float, Int, Key

from hiermodel.random_bits import threefry_key
from hiermodel.training.data import FreshData, StoredData, as_data
from hiermodel.training.privacy import poisson_batch
from hiermodel.training.state import (
    Ensemble,
    MemberSettings,
    TrainingConfig,
    TrainState,
    learning_rate,
    running_averages,
)
from hiermodel.training.step import train_step


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class EpochStats:
    """What happened during a run of epochs, per member.

    Attributes:
        loss: mean training loss, in nats per position, over the sequences of all steps.
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
    rows = jax.random.permutation(threefry_key(key), jnp.arange(num_sequences, dtype=jnp.int32))
    weights = np.pad(np.ones(num_sequences, np.float32), (0, padding))
    shape = (num_batches, batch_size)
    return jnp.pad(rows, (0, padding)).reshape(shape), jnp.asarray(weights.reshape(shape))


def num_batches(training: TrainingConfig, num_rows: int) -> int:
    """Steps of an epoch."""
    return -(-num_rows // min(training.batch_size, num_rows))


def _batches(training: TrainingConfig, key: Key[Array, ""], num_sequences: int):
    """A function from a batch's number in an epoch to its rows and weights."""
    if training.privacy is None:
        rows, weights = epoch_batches(key, num_sequences, training.batch_size)
        return lambda index: (rows[index], weights[index])
    size = min(training.batch_size, num_sequences)
    return lambda index: poisson_batch(jax.random.fold_in(key, index), num_sequences, size)


class _Sums(NamedTuple):
    """What is added up over steps, to become EpochStats."""

    loss: Array
    rows: Array
    grad_norm: Array
    failed_step: Array
    failed_grad_norm: Array
    largest_grad_norm: Array


def train_in_epoch(
    ensemble: Ensemble,
    state: TrainState,
    split: Int[Array, ""],
    own: MemberSettings,
    data: StoredData | FreshData,
    steps: tuple[Int[Array, ""], Int[Array, ""]],
    sums: _Sums,
    batch_axis: str | None = None,
) -> tuple[TrainState, _Sums]:
    """One member, from one batch of its epoch up to another; all of them are one pass.

    All randomness comes from member key, epoch, batch and row.
    """
    count = num_batches(ensemble.training, data.num_rows)
    order_key, batches_key = jax.random.split(jax.random.fold_in(state.key, state.epoch))
    batch_at = _batches(ensemble.training, order_key, data.num_rows)
    rate = learning_rate(ensemble.training, state.epoch, own.learning_rate)

    def body(index, carry):
        params, opt_state, averages, sums = carry
        rows, weights = batch_at(index)
        batch = data.batch(split, rows, jax.random.fold_in(order_key, index)), weights
        params, opt_state, loss, grad_norm = train_step(
            params,
            opt_state,
            ensemble.network,
            ensemble.training,
            ensemble.schedule,
            batch,
            jax.random.fold_in(batches_key, index),
            rate,
            batch_axis,
            own,
        )
        averages = running_averages(averages, params, opt_state.count)
        fine = jnp.isfinite(loss) & jnp.isfinite(grad_norm)
        first = (sums.failed_step < 0) & ~fine
        num_rows = weights.sum().astype(loss.dtype)
        sums = _Sums(
            loss=sums.loss + num_rows * loss,
            rows=sums.rows + num_rows,
            grad_norm=sums.grad_norm + grad_norm,
            failed_step=jnp.where(first, state.epoch * count + index, sums.failed_step),
            failed_grad_norm=jnp.where(first, grad_norm, sums.failed_grad_norm),
            largest_grad_norm=jnp.where(
                fine, jnp.maximum(sums.largest_grad_norm, grad_norm), sums.largest_grad_norm
            ),
        )
        return params, opt_state, averages, sums

    start = state.params, state.opt_state, state.averages, sums
    params, opt_state, averages, sums = jax.lax.fori_loop(*steps, body, start)
    epoch = state.epoch + (steps[1] == count)
    return TrainState(params, opt_state, epoch, state.key, averages), sums


def _train_member(
    ensemble: Ensemble,
    state: TrainState,
    split: Int[Array, ""],
    own: MemberSettings,
    data: StoredData | FreshData,
    first: Int[Array, ""],
    num_steps: Int[Array, ""],
    batch_axis: str | None,
) -> tuple[TrainState, EpochStats]:
    """So many steps from batch ``first`` of the epoch that the state is in."""
    count = num_batches(ensemble.training, data.num_rows)
    end = first + num_steps

    def body(epoch, carry):
        start = jnp.where(epoch == 0, first, 0)
        steps = start, jnp.minimum(end - epoch * count, count)
        return train_in_epoch(ensemble, carry[0], split, own, data, steps, carry[1], batch_axis)

    zero = jnp.zeros((), jax.tree.leaves(state.params)[0].dtype)
    sums = _Sums(zero, zero, zero, jnp.full((), -1, jnp.int32), zero, zero)
    state, sums = jax.lax.fori_loop(0, -(-end // count), body, (state, sums))
    stats = EpochStats(
        sums.loss / jnp.maximum(sums.rows, 1),
        sums.grad_norm / num_steps.astype(zero.dtype),
        sums.failed_step,
        sums.failed_grad_norm,
        sums.largest_grad_norm,
    )
    return state, stats


def training_mesh(num_members: int) -> Mesh:
    """All devices: as many along "member" as divide the members evenly, the rest along "batch".

    Where batches are not shared out, only as many devices as can take equally many members.
    """
    devices = np.array(jax.devices())
    along = math.gcd(num_members, len(devices))
    if not shares_batches():
        along = max(n for n in range(1, len(devices) + 1) if num_members % n == 0)
        devices = devices[:along]
    return Mesh(devices.reshape(along, -1), ("member", "batch"))


def shares_batches() -> bool:
    """Whether rows of a batch are shared out to devices that members leave idle."""
    return jax.devices()[0].platform != "cpu" or jax.process_count() > 1


def padded(num_members: int) -> int:
    """How many members to stack for so many: more, where that lets more devices work."""
    at_once = 1 if shares_batches() else min(num_members, jax.device_count())
    return -(-num_members // at_once) * at_once


def place_members(states: TrainState, num_members: int) -> TrainState:
    """Spread stacked members over the devices that will train them."""
    return _place(states, NamedSharding(training_mesh(num_members), PartitionSpec("member")))


def wait_for_all() -> None:
    """Go on when every process has come here."""
    if jax.process_count() > 1:
        multihost_utils.sync_global_devices("wait_for_all")


def _place(states: TrainState, sharding: NamedSharding) -> TrainState:
    if jax.process_count() == 1:
        return jax.device_put(states, sharding)
    # Typed keys can be put on devices of other processes only by a program of all of them.
    return jax.jit(lambda states: states, out_shardings=sharding)(states)


def agree(value: int) -> int:
    """What the first process says: for decisions by the clock, which processes must share."""
    if jax.process_count() == 1:
        return value
    return int(multihost_utils.broadcast_one_to_all(np.int32(value)))


def agree_all(values: Sequence[int]) -> list[int]:
    """What the first process says, for several values."""
    if jax.process_count() == 1:
        return list(values)
    return multihost_utils.broadcast_one_to_all(np.array(values, np.int32)).tolist()


def runs_side_by_side(platform: str) -> bool:
    """Whether a device's members run side by side (vmap) rather than one by one (lax.map).

    Side by side they fill an accelerator. On a CPU each alone keeps it busy, and small arrays stay
    in its cache.
    """
    return platform != "cpu"


def batch_members(train_member, states, splits, own):
    """Run ``train_member(state, split, own, batch_axis)`` for all members: here alone is said how.

    States come back where they were, the rest of what ``train_member`` returns on every device.
    """
    mesh = training_mesh(splits.shape[0])
    side_by_side = runs_side_by_side(mesh.devices.flat[0].platform)
    batch_axis = "batch" if mesh.shape["batch"] > 1 else None

    def run_here(*members):
        if side_by_side:
            return jax.vmap(lambda *member: train_member(*member, batch_axis))(*members)
        return jax.lax.map(lambda member: train_member(*member, batch_axis), members)

    if mesh.size == 1:
        return run_here(states, splits, own)
    spec = PartitionSpec("member")
    states, stats = jax.shard_map(
        run_here, mesh=mesh, in_specs=(spec, spec, spec), out_specs=spec, check_vma=False
    )(states, splits, own)
    return states, jax.lax.with_sharding_constraint(stats, NamedSharding(mesh, PartitionSpec()))


@functools.partial(jax.jit, donate_argnames="states")
def train_epochs(
    ensemble: Ensemble,
    states: TrainState,
    sequences: Any,
    num_epochs: Int[Array, ""],
    splits: Int[Array, " members"] | None = None,
) -> tuple[TrainState, EpochStats]:
    """Train all members for some more epochs; compiles once for any number of them.

    How a training is cut into calls changes nothing, to the last bit.

    Args:
        ensemble: what is trained.
        states: stacked members; their memory is reused, so they cannot be used afterwards.
        sequences: (num_splits, n, ...) symbols or images of every split; or StoredData or FreshData
            (``hiermodel.training.data``) of every split.
        num_epochs: int32, how many epochs, at least 1.
        splits: which split each member trains on; None for the ensemble's own order.
    """
    count = num_batches(ensemble.training, as_data(sequences).num_rows)
    return _train(ensemble, states, sequences, jnp.int32(0), count * num_epochs, splits)


@functools.partial(jax.jit, donate_argnames="states")
def train_steps(
    ensemble: Ensemble,
    states: TrainState,
    sequences: Any,
    first: Int[Array, ""],
    num_steps: Int[Array, ""],
    splits: Int[Array, " members"] | None = None,
) -> tuple[TrainState, EpochStats]:
    """As ``train_epochs``, by steps: from batch ``first``, int32, of the epoch reached so far."""
    return _train(ensemble, states, sequences, first, num_steps, splits)


def _train(ensemble, states, sequences, first, num_steps, splits):
    if splits is None:
        splits = jnp.arange(ensemble.num_members, dtype=jnp.int32) // ensemble.num_seeds
    data = as_data(sequences)
    return batch_members(
        lambda state, split, own, batch_axis: _train_member(
            ensemble, state, split, own, data, first, num_steps, batch_axis
        ),
        states,
        splits,
        ensemble.own,
    )
