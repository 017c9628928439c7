"""Train the ensemble of a run: from a configuration to checkpoints."""

from pathlib import Path

import jax

from experiments import configs, store
from hiermodel.grammar.splits import Splits, make_splits
from hiermodel.training.checkpoints import Checkpoints
from hiermodel.training.loop import checkpoint_epochs, train
from hiermodel.training.state import Ensemble

(
    DATA,
    NETWORKS,
    EVALUATION,
    GENERATION,
    FRESH,
    DECOMPOSITION,
    ALONG_TIME,
    U_TURNS,
    RANDOM_U_TURNS,
    LEVELS,
) = range(10)
"""What a run's key is folded with, so that no two uses share randomness."""


def run_key(config: configs.RunConfig, purpose: int) -> jax.Array:
    """The key of one purpose of a run."""
    return jax.random.fold_in(jax.random.key(config.seed), purpose)


def open_run(config: configs.RunConfig, root: Path | str) -> store.RunFolder:
    """The folder of a run."""
    return store.RunFolder.open(root, configs.identity(config), configs.to_json(config))


def epochs_of(config: configs.RunConfig) -> list[int]:
    """Epochs at which the run keeps its networks, the untrained ones at 0 included."""
    last = config.training.num_epochs
    return [0, *checkpoint_epochs(config.first_checkpoint, last, config.num_checkpoints)]


def make_data(config: configs.RunConfig) -> Splits:
    """The run's training splits and test set."""
    return make_splits(
        run_key(config, DATA),
        config.grammar.build(),
        num_splits=config.num_splits,
        split_size=config.split_size,
        test_size=config.test_size,
        filter_level=config.filter_level,
    )


def ensemble_of(config: configs.RunConfig) -> Ensemble:
    """All networks of a run."""
    return Ensemble(
        config.network, config.training, config.schedule, config.num_splits, config.num_seeds
    )


def checkpoints_of(config: configs.RunConfig, run: store.RunFolder) -> Checkpoints:
    """The networks that a run has kept."""
    return Checkpoints(run.checkpoints, configs.identity(config))


def train_run(config: configs.RunConfig, root: Path | str, *, progress: bool = True) -> None:
    """Train all members of a run to the end, going on from the newest checkpoint there is."""
    run = open_run(config, root)
    epochs = epochs_of(config)
    if set(epochs) <= set(checkpoints_of(config, run).saved_epochs()):
        return
    with run.timed("train"):
        train(
            run_key(config, NETWORKS),
            ensemble_of(config),
            make_data(config).train,
            run.checkpoints,
            identity=configs.identity(config),
            checkpoint_epochs=epochs[1:],
            progress=progress,
        )
