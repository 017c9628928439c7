"""Names of ``experiments.runs`` that stages use: data, networks and training of a run."""

from experiments.configs import AnyRunConfig
from experiments.runs.data import (
    epochs_of,
    make_data,
    num_training_rows,
    run_key,
    steps_per_epoch,
    training_rows,
)
from experiments.runs.members import available_splits, checkpoints_of
from experiments.runs.training import open_run, train_run

__all__ = [
    "AnyRunConfig",
    "available_splits",
    "checkpoints_of",
    "epochs_of",
    "make_data",
    "num_training_rows",
    "open_run",
    "run_key",
    "steps_per_epoch",
    "train_run",
    "training_rows",
]
