"""What a run is trained on: its keys, its data and its epochs, from the configuration alone."""

import functools
import zlib
from typing import overload

import jax
import numpy as np

from experiments import configs
from experiments.configs import AnyRunConfig
from experiments.images.configs import ImageRunConfig
from experiments.images.data import ImageSplits, load_images, split_images
from hiermodel.grammar.splits import Splits, make_splits
from hiermodel.inference.resampling import redraw_leaves
from hiermodel.random_bits import THREEFRY
from hiermodel.training.loop import checkpoint_epochs


def run_key(config: AnyRunConfig, purpose: str) -> jax.Array:
    """The key of one purpose of a run, such as "data", "networks", or a stage's own name."""
    root = jax.random.key(config.seed, impl=THREEFRY)
    return jax.random.fold_in(root, zlib.crc32(purpose.encode()))


def epochs_of(config: AnyRunConfig) -> list[int]:
    """Epochs at which the run keeps its networks, the untrained ones at 0 included."""
    last = config.training.num_epochs
    return [0, *checkpoint_epochs(config.first_checkpoint, last, config.num_checkpoints)]


@overload
def make_data(config: configs.RunConfig) -> Splits: ...
@overload
def make_data(config: ImageRunConfig) -> ImageSplits: ...
def make_data(config: AnyRunConfig) -> Splits | ImageSplits:
    """The run's training splits and test set."""
    if isinstance(config, ImageRunConfig):
        return split_images(
            run_key(config, "data"),
            load_images(config.data),
            num_splits=config.num_splits,
            split_size=config.split_size,
            test_size=config.test_size,
        )
    return make_splits(
        run_key(config, "data"),
        config.grammar.build(),
        num_splits=config.num_splits,
        split_size=config.split_size,
        test_size=config.test_size,
        filter_level=config.filter_level,
    )


def num_training_rows(config: AnyRunConfig) -> int:
    """Examples of each split that an epoch passes over, copies and variants included."""
    if isinstance(config, ImageRunConfig):
        return config.split_size
    copies = (config.num_copies - 1) * config.num_duplicated
    return config.augmentation * (config.split_size + copies)


def steps_per_epoch(config: AnyRunConfig) -> int:
    """Optimiser steps of one epoch."""
    rows = num_training_rows(config)
    return -(-rows // min(config.training.batch_size, rows))


def training_rows(config: AnyRunConfig, splits: Splits | ImageSplits) -> np.ndarray:
    """What is trained on: the splits, with the copies and variants that a run asks for.

    All originals come first, then further copies of the first ``num_duplicated``, then variants of
    all of these, which copies have each of their own.

    Returns:
        (num_splits, rows, num_leaves), or images (num_splits, rows, height, width, channels).
    """
    train = np.asarray(splits.train)
    if isinstance(config, ImageRunConfig):
        return train
    copies = [train[:, : config.num_duplicated]] * (config.num_copies - 1)
    rows = np.concatenate([train, *copies], axis=1)
    if config.augmentation == 1:
        return rows
    grammar, key = config.grammar.build(), run_key(config, "augmentation")
    redraw = functools.partial(redraw_leaves, filter_level=config.filter_level)
    augmented = []
    for split, own in enumerate(rows):
        keys = jax.random.split(jax.random.fold_in(key, split), config.augmentation - 1)
        variants = [np.asarray(redraw(one, grammar, own)).astype(own.dtype) for one in keys]
        augmented.append(np.concatenate([own, *variants]))
    return np.stack(augmented)
