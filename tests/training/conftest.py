"""One small ensemble shared by the tests, so that it compiles once."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hiermodel.diffusion.schedule import Schedule
from hiermodel.networks.mlp import MLPConfig
from hiermodel.training.in_folder import member_checkpoints, train
from hiermodel.training.state import Ensemble, TrainingConfig

SCHEDULE = Schedule.linear(50)
NETWORK = MLPConfig(4, 3, width=8, num_blocks=1, dropout=0.1)
TRAINING = TrainingConfig(num_epochs=8, batch_size=8, learning_rate=1e-2, decay_epochs=3)


@pytest.fixture
def ensemble() -> Ensemble:
    return Ensemble(NETWORK, TRAINING, SCHEDULE, num_splits=2, num_seeds=2)


@pytest.fixture
def sequences():
    """Two splits of 20 sequences: two full batches and one of 4."""
    return jax.random.randint(jax.random.key(7), (2, 20, 4), 0, 3).astype(jnp.int8)


@pytest.fixture
def train_in_parts(tmp_path):
    """Train an ensemble for three epochs at one go, and again stopped after the first."""

    def run(key, ensemble, sequences):
        def one(folder, epochs):
            return train(
                key,
                ensemble,
                sequences,
                tmp_path / folder,
                identity="a",
                checkpoint_epochs=epochs,
                progress=False,
            )

        whole = one("whole", [1, 3])
        one("parts", [1])
        return whole.states, one("parts", [1, 3]).states

    return run


@pytest.fixture
def saved(ensemble, tmp_path):
    """What ``train`` has kept of the shared ensemble under tmp_path."""
    return lambda folder, identity="a": member_checkpoints(tmp_path / folder, ensemble, identity)


@pytest.fixture
def assert_same_params():
    def check(one, other, tolerance=0.0):
        assert one.keys() == other.keys()
        for name, value in one.items():
            np.testing.assert_allclose(value, other[name], rtol=0, atol=tolerance, err_msg=name)

    return check
