"""Epochs of an ensemble: order of the data, independence of members, devices, learning."""

import dataclasses
import itertools
import os
import socket
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hiermodel.networks.transformer import TransformerConfig
from hiermodel.training import epochs
from hiermodel.training.epochs import epoch_batches, train_epochs
from hiermodel.training.in_folder import member_checkpoints
from hiermodel.training.state import Ensemble, init_ensemble, member_key

KEY = jax.random.key(3)


def run(ensemble, sequences, *chunks, key=KEY):
    states = init_ensemble(key, ensemble)
    stats = None
    for num_epochs in chunks:
        states, stats = train_epochs(ensemble, states, sequences, jnp.int32(num_epochs))
    return states, stats


def member(params, index):
    return {name: np.asarray(value)[index] for name, value in params.items()}


@pytest.mark.parametrize(
    ("num_sequences", "batch_size", "shape", "last"),
    [(20, 8, (3, 8), 4), (16, 8, (2, 8), 8), (5, 8, (1, 5), 5), (9, 1, (9, 1), 1)],
)
def test_an_epoch_visits_every_row_once(num_sequences, batch_size, shape, last):
    rows, weights = epoch_batches(KEY, num_sequences, batch_size)
    assert rows.shape == weights.shape == shape
    real = np.asarray(rows)[np.asarray(weights) == 1]
    assert sorted(real) == list(range(num_sequences))
    assert weights[-1].sum() == last
    assert np.all((np.asarray(weights) == 0) | (np.asarray(weights) == 1))


def test_epochs_differ_in_order():
    orders = [epoch_batches(jax.random.fold_in(KEY, epoch), 20, 8)[0] for epoch in range(2)]
    assert not np.array_equal(*orders)


def test_training_in_pieces_changes_nothing(ensemble, sequences, assert_same_params):
    whole, stats = run(ensemble, sequences, 4)
    parts, _ = run(ensemble, sequences, 1, 3)
    assert list(whole.epoch) == list(parts.epoch) == [4] * 4
    assert_same_params(whole.params, parts.params)
    assert np.all(np.isfinite(stats.loss))
    assert np.all(stats.grad_norm > 0)
    assert list(stats.failed_step) == [-1] * 4


def test_members_differ_by_seed_and_by_split(ensemble, sequences):
    states, _ = run(ensemble, sequences, 1)
    values = np.asarray(states.params["output_projection.kernel"])
    assert len(np.unique(values.reshape(4, -1), axis=0)) == 4
    assert ensemble.member(split=1, seed=0) == 2


def test_members_do_not_depend_on_others(ensemble, sequences, assert_same_params):
    many, _ = run(ensemble, sequences, 2)
    alone = dataclasses.replace(ensemble, num_splits=1, num_seeds=1)
    one, _ = run(alone, sequences[:1], 2)
    assert_same_params(member(many.params, 0), member(one.params, 0), 1e-6)
    # Split 1, seed 1, on its own data and from its own key, whatever else there is.
    wide = dataclasses.replace(ensemble, num_seeds=3)
    more, _ = run(wide, sequences, 2)
    index = wide.member(split=1, seed=1)
    assert_same_params(member(many.params, 3), member(more.params, index), 1e-6)


def test_a_member_key_is_folded_from_split_and_seed():
    expected = jax.random.fold_in(jax.random.fold_in(KEY, 4), 2)
    assert member_key(KEY, 4, 2) == expected


def test_a_split_trains_its_own_members_only(ensemble, sequences, assert_same_params):
    before, _ = run(ensemble, sequences, 1)
    changed = sequences.at[1].set((sequences[1] + 1) % 3)
    after, _ = run(ensemble, changed, 1)
    for index in (0, 1):
        assert_same_params(member(before.params, index), member(after.params, index))
    assert np.any(
        before.params["output_projection.kernel"][2] != after.params["output_projection.kernel"][2]
    )


def test_networks_learn(ensemble):
    constant = jnp.tile(jnp.array([0, 1, 2, 0], jnp.int8), (2, 20, 1))
    states = init_ensemble(KEY, ensemble)
    states, first = train_epochs(ensemble, states, constant, jnp.int32(1))
    _, last = train_epochs(ensemble, states, constant, jnp.int32(40))
    assert np.all(last.loss < 0.5 * first.loss)


@pytest.mark.long
def test_networks_learn_as_well_with_bfloat16_products(ensemble):
    """Loss after training, against parameters' own precision: the same to a few per cent."""
    network = TransformerConfig(4, 3, width=8, num_layers=1, num_heads=2, dropout=0.0)
    sequences = jnp.tile(jnp.array([0, 1, 2, 0], jnp.int8), (1, 24, 1))
    losses = {}
    for compute_dtype in ("parameters", "bfloat16"):
        training = dataclasses.replace(ensemble.training, compute_dtype=compute_dtype)
        one = Ensemble(network, training, ensemble.schedule)
        states, first = train_epochs(one, init_ensemble(KEY, one), sequences, jnp.int32(1))
        states, last = train_epochs(one, states, sequences, jnp.int32(20))
        assert all(value.dtype == jnp.float32 for value in states.params.values())
        losses[compute_dtype] = float(first.loss[0]), float(last.loss[0])
    assert losses["bfloat16"] != losses["parameters"]
    np.testing.assert_allclose(losses["bfloat16"], losses["parameters"], rtol=0.03)
    assert losses["bfloat16"][1] < 0.5 * losses["bfloat16"][0]


def test_a_loss_that_is_not_finite_is_located(ensemble, sequences):
    states, _ = run(ensemble, sequences, 1)
    kernel = states.params["output_projection.kernel"].at[2].set(jnp.nan)
    params = states.params | {"output_projection.kernel": kernel}
    states = dataclasses.replace(states, params=params)
    _, stats = train_epochs(ensemble, states, sequences, jnp.int32(2))
    assert list(stats.failed_step) == [-1, -1, 3, -1]  # the first step of the second epoch


@pytest.mark.parametrize(("field", "value"), [("num_splits", 0), ("num_seeds", 0)])
def test_empty_ensembles_are_refused(ensemble, field, value):
    with pytest.raises(ValueError, match=field):
        dataclasses.replace(ensemble, **{field: value})


def test_members_that_do_not_exist_are_refused(ensemble):
    with pytest.raises(ValueError, match="seed"):
        ensemble.member(0, 2)
    with pytest.raises(ValueError, match="split"):
        ensemble.member(2, 0)


# Devices and processes.


DEVICES_PROGRAM = """
import sys
import jax, jax.numpy as jnp, numpy as np
here, folder, port, rank, processes, devices = sys.argv[1], sys.argv[2], *map(int, sys.argv[3:])
sys.path.insert(0, here)
if processes > 1:
    jax.config.update("jax_cpu_collectives_implementation", "gloo")
    jax.distributed.initialize(f"localhost:{port}", processes, rank)
from conftest import NETWORK, SCHEDULE, TRAINING
from jax.sharding import NamedSharding, PartitionSpec
from hiermodel.training.checkpoints import flatten_members
from hiermodel.training.epochs import place_members, train_epochs, training_mesh
from hiermodel.training.in_folder import train
from hiermodel.networks.transformer import TransformerConfig
from hiermodel.training.state import Ensemble, init_ensemble

assert len(jax.devices()) == devices
shared = {
    4: ((4, 4, 1), (6, 2, 2), (2, 2, 2), (1, 1, 4), (8, 4, 1)),
    8: ((4, 4, 2), (6, 2, 4), (2, 2, 4), (1, 1, 8), (8, 8, 1)),
}
alone = {
    4: ((4, 4, 1), (6, 3, 1), (2, 2, 1), (1, 1, 1), (8, 4, 1)),
    8: ((4, 4, 1), (6, 6, 1), (2, 2, 1), (1, 1, 1), (8, 8, 1)),
}
for num_members, members, batch in (shared if processes > 1 else alone)[devices]:
    assert dict(training_mesh(num_members).shape) == {"member": members, "batch": batch}
sequences = jax.random.randint(jax.random.key(7), (2, 20, 4), 0, 3).astype(jnp.int8)
num_seeds = devices // 2
for num_splits in (2, 1):
    ensemble = Ensemble(NETWORK, TRAINING, SCHEDULE, num_splits=num_splits, num_seeds=num_seeds)
    states = init_ensemble(jax.random.key(3), ensemble)
    states = place_members(states, ensemble.num_members)
    states, stats = train_epochs(ensemble, states, sequences[:num_splits], jnp.int32(2))
    kernel = states.params["output_projection.kernel"]
    busy = devices if processes > 1 else num_seeds * num_splits
    assert len(kernel.sharding.device_set) == busy
    assert kernel.addressable_data(0).shape[0] == 1
    everywhere = NamedSharding(training_mesh(ensemble.num_members), PartitionSpec())
    params = jax.jit(lambda params: params, out_shardings=everywhere)(states.params)
    kept = flatten_members(states)
    for place, own in kept.items():
        for name, array in params.items():
            np.testing.assert_array_equal(own[f"params/{name}"], array[place])
    places = sorted(kept)
    np.savez(f"{folder}/{num_splits}_{rank}.npz", **params, loss=stats.loss, places=places)
if processes > 1:
    for epochs in ([1], [1, 2]):
        result = train(
            jax.random.key(3), ensemble, sequences[:1], f"{folder}/run", identity="a",
            checkpoint_epochs=epochs, progress=False,
        )
    assert result.finished
"""


@pytest.mark.long
@pytest.mark.parametrize("devices", [4, 8])
@pytest.mark.parametrize("processes", [1, 2])
def test_many_devices_train_the_same_networks(
    ensemble, sequences, assert_same_params, tmp_path, processes, devices
):
    """Members and rows of a batch spread over devices, of one process or of two."""
    ensemble = dataclasses.replace(ensemble, num_seeds=devices // 2)
    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        port = str(probe.getsockname()[1])
    environment = os.environ | {
        "XLA_FLAGS": os.environ["XLA_FLAGS"]
        + f" --xla_force_host_platform_device_count={devices // processes}",
        "JAX_PLATFORMS": "cpu",
        "JAX_ENABLE_X64": str(int(jax.config.jax_enable_x64)),
        "JAX_COMPILATION_CACHE_DIR": str(jax.config.jax_compilation_cache_dir),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
    }
    command = [sys.executable, "-c", DEVICES_PROGRAM, os.path.dirname(__file__), str(tmp_path)]
    running = [
        subprocess.Popen([*command, port, str(rank), str(processes), str(devices)], env=environment)
        for rank in range(processes)
    ]
    try:
        assert [process.wait(timeout=600) for process in running] == [0] * processes
    finally:
        for process in running:
            process.kill()
    states, stats = run(ensemble, sequences, 2)
    kept: dict[int, list[int]] = {2: [], 1: []}
    for num_splits, rank in itertools.product((2, 1), range(processes)):
        found = dict(np.load(tmp_path / f"{num_splits}_{rank}.npz"))
        kept[num_splits] += found.pop("places").tolist()
        loss = found.pop("loss")
        np.testing.assert_allclose(loss, stats.loss[: len(loss)], atol=1e-6)
        expected = {name: value[: len(loss)] for name, value in states.params.items()}
        assert_same_params(expected, found, 1e-6)
    # Every member is written by one process alone, the one on whose devices it lies.
    assert kept == {2: [*range(devices)], 1: [*range(devices // 2)]}
    if processes > 1:
        one = dataclasses.replace(ensemble, num_splits=1)
        saved = member_checkpoints(tmp_path / "run", one, "a").load_params(2)
        assert_same_params(found, saved, 1e-6)


def test_members_side_by_side_equal_members_in_turn(
    ensemble, sequences, assert_same_params, monkeypatch
):
    """What accelerators do (vmap), made to run here."""
    in_turn, stats = run(ensemble, sequences, 1)
    monkeypatch.setattr(epochs, "runs_side_by_side", lambda platform: True)
    train = jax.jit(train_epochs.__wrapped__)
    states = init_ensemble(KEY, ensemble)
    beside, beside_stats = train(ensemble, states, sequences, jnp.int32(1))
    np.testing.assert_allclose(beside_stats.loss, stats.loss, atol=1e-6)
    assert_same_params(in_turn.params, beside.params, 1e-6)


def test_other_platforms_than_cpu_run_members_side_by_side():
    assert [epochs.runs_side_by_side(platform) for platform in ("cpu", "gpu")] == [False, True]


def test_an_ensemble_is_a_pytree(ensemble):
    leaves, structure = jax.tree.flatten(ensemble)
    assert isinstance(jax.tree.unflatten(structure, leaves), Ensemble)
