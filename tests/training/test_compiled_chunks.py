"""A training compiles once, and what is compiled takes nothing from the host unasked."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hiermodel.training import chunks
from hiermodel.training.epochs import place_members, train_epochs
from hiermodel.training.in_folder import train
from hiermodel.training.state import init_ensemble

KEY = jax.random.key(3)


def run(ensemble, sequences, folder, epochs):
    return train(
        KEY,
        ensemble,
        sequences,
        folder,
        identity="a",
        checkpoint_epochs=epochs,
        progress=False,
    )


def test_chunks_of_a_training_transfer_nothing_unasked(guard, ensemble, sequences, tmp_path):
    calls = guard(chunks, "train_epochs")
    assert run(ensemble, np.asarray(sequences), tmp_path, [1, 3]).finished
    assert len(calls) >= 2


def test_the_guard_sees_what_comes_from_the_host(ensemble, sequences):
    states = place_members(init_ensemble(KEY, ensemble), ensemble.num_members)
    with (
        jax.transfer_guard("disallow"),
        pytest.raises(RuntimeError, match="host-to-device transfer"),
    ):
        train_epochs(ensemble, states, np.asarray(sequences), jnp.int32(1))


def test_any_number_of_epochs_and_runs_is_one_program(
    count_compilations, ensemble, sequences, tmp_path
):
    run(ensemble, sequences, tmp_path / "first", [2])
    again = count_compilations(lambda: run(ensemble, sequences, tmp_path / "second", [1, 3]))
    assert again == 0
