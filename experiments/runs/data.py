"""What a run is trained on: its keys, its data and its epochs, from the configuration alone."""

import zlib
from collections.abc import Sequence

import jax
import numpy as np

from experiments.configs import RunConfig
from experiments.worlds.registry import world_of
from experiments.worlds.world import Splits
from hiermodel.checks import InputError, require
from hiermodel.random_bits import THREEFRY
from hiermodel.training.data import FreshData
from hiermodel.training.loop import checkpoint_epochs


def run_key(config: RunConfig, purpose: str) -> jax.Array:
    """The key of one purpose of a run, such as "data", "networks", or a stage's own name."""
    root = jax.random.key(config.seed, impl=THREEFRY)
    return jax.random.fold_in(root, zlib.crc32(purpose.encode()))


def epochs_of(config: RunConfig) -> list[int]:
    """Epochs at which the run keeps its networks, the untrained ones at 0 included."""
    last = config.training.num_epochs
    return [0, *checkpoint_epochs(config.first_checkpoint, last, config.num_checkpoints)]


def make_data(config: RunConfig) -> Splits:
    """The run's training splits and test set, as networks are trained on them."""
    return world_of(config).splits(run_key(config, "data"), config)


def data_as_drawn(config: RunConfig) -> Splits:
    """The same, laid out as samples are."""
    return world_of(config).as_drawn(make_data(config))


def num_training_rows(config: RunConfig) -> int:
    """Examples of each split that an epoch passes over, copies and variants included."""
    copies = (config.num_copies - 1) * config.num_duplicated
    return config.augmentation * (config.split_size + copies)


def steps_per_epoch(config: RunConfig) -> int:
    """Optimiser steps of one epoch."""
    rows = num_training_rows(config)
    return -(-rows // min(config.training.batch_size, rows))


def training_data(config: RunConfig) -> Sequence[np.ndarray | FreshData]:
    """What each split's networks are trained on.

    Raises:
        ValueError: as ``training_rows``; for fresh examples of a law that is not known.
    """
    if not config.fresh:
        return list(training_rows(config, make_data(config)))
    endless = world_of(config).endless(config)
    if endless is None:
        raise InputError(f"fresh=True is not allowed: {world_of(config).examples} of no known law")
    return [endless] * config.num_splits


def training_rows(config: RunConfig, splits: Splits) -> np.ndarray:
    """What is trained on: the splits, with the copies and variants that a run asks for.

    All originals come first, then further copies of the first ``num_duplicated``, then variants of
    all of these; every copy has variants of its own.

    Returns:
        (num_splits, rows, ...), the axes of an example last.

    Raises:
        ValueError: for variants of data that have none.
    """
    train = np.asarray(splits.train)
    copies = [train[:, : config.num_duplicated]] * (config.num_copies - 1)
    rows = np.concatenate([train, *copies], axis=1)
    if config.augmentation == 1:
        return rows
    key = run_key(config, "augmentation")
    augmented = []
    for split, own in enumerate(rows):
        keys = jax.random.split(jax.random.fold_in(key, split), config.augmentation - 1)
        augmented.append(np.concatenate([own, *(_varied(config, each, own) for each in keys)]))
    return np.stack(augmented)


def _varied(config: RunConfig, key: jax.Array, rows: np.ndarray) -> np.ndarray:
    varied = world_of(config).vary(key, config.data, rows)
    if varied is None:
        require(False, "augmentation", config.augmentation, "1 for data without known variants")
    return np.asarray(varied)
