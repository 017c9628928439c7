"""Epochs of an ensemble: order of the data, independence of members, devices, learning."""

import dataclasses
import os
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hiermodel.training.epochs import epoch_batches, train_epochs
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


DEVICES_PROGRAM = """
import sys
import jax, jax.numpy as jnp, numpy as np
sys.path.insert(0, sys.argv[1])
from conftest import NETWORK, SCHEDULE, TRAINING
from hiermodel.training.epochs import member_mesh, place_members, train_epochs
from hiermodel.training.state import Ensemble, init_ensemble

assert len(jax.devices()) == 4
assert member_mesh(4).size == 4 and member_mesh(6).size == 2 and member_mesh(5).size == 1
ensemble = Ensemble(NETWORK, TRAINING, SCHEDULE, num_splits=2, num_seeds=2)
sequences = jax.random.randint(jax.random.key(7), (2, 20, 4), 0, 3).astype(jnp.int8)
states = place_members(init_ensemble(jax.random.key(3), ensemble), 4)
states, stats = train_epochs(ensemble, states, sequences, jnp.int32(2))
assert len(states.params["output_projection.kernel"].sharding.device_set) == 4
np.savez(sys.argv[2], **states.params, loss=stats.loss)
"""


def test_four_devices_train_the_same_networks(ensemble, sequences, assert_same_params, tmp_path):
    environment = os.environ | {
        "XLA_FLAGS": os.environ["XLA_FLAGS"] + " --xla_force_host_platform_device_count=4",
        "JAX_PLATFORMS": "cpu",
        "JAX_ENABLE_X64": str(int(jax.config.jax_enable_x64)),
    }
    here, result = os.path.dirname(__file__), tmp_path / "params.npz"
    subprocess.run(
        [sys.executable, "-c", DEVICES_PROGRAM, here, str(result)], env=environment, check=True
    )
    on_four = dict(np.load(result))
    states, stats = run(ensemble, sequences, 2)
    np.testing.assert_allclose(on_four.pop("loss"), stats.loss, atol=1e-6)
    assert_same_params(states.params, on_four, 1e-6)


def test_an_ensemble_is_a_pytree(ensemble):
    leaves, structure = jax.tree.flatten(ensemble)
    assert isinstance(jax.tree.unflatten(structure, leaves), Ensemble)
