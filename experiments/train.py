"""Train the ensemble of a run: from a configuration to checkpoints."""

import dataclasses
import functools
import zlib
from pathlib import Path
from typing import overload

import jax
import numpy as np

from experiments import configs, runtime, signals, store
from experiments.blocks import Block, JoinedCheckpoints
from experiments.configs import AnyRunConfig
from experiments.images.configs import ImageRunConfig
from experiments.images.data import ImageSplits, load_images, split_images
from hiermodel.checks import require
from hiermodel.grammar.splits import Splits, make_splits
from hiermodel.inference.resampling import redraw_leaves
from hiermodel.training.checkpoints import Checkpoints
from hiermodel.training.loop import checkpoint_epochs, train
from hiermodel.training.privacy import epsilon_spent
from hiermodel.training.state import Ensemble


def run_key(config: AnyRunConfig, purpose: str) -> jax.Array:
    """The key of one purpose of a run, such as "data", "networks", or a stage's own name."""
    return jax.random.fold_in(jax.random.key(config.seed), zlib.crc32(purpose.encode()))


def open_run(config: AnyRunConfig, root: Path | str) -> store.RunFolder:
    """The folder of a run."""
    return store.RunFolder.open(root, configs.identity(config), configs.to_json(config))


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


def ensemble_of(config: AnyRunConfig) -> Ensemble:
    """All networks of a run."""
    return Ensemble(
        config.network, config.training, config.schedule, config.num_splits, config.num_seeds
    )


def checkpoints_of(config: AnyRunConfig, run: store.RunFolder) -> Checkpoints | JoinedCheckpoints:
    """The networks that a run has kept, whether it was trained as a whole or in blocks."""
    blocks = blocks_folder(config, run)
    if run.checkpoints.exists() or not blocks.exists():
        return Checkpoints(run.checkpoints, configs.to_json(config))
    found = [Block.from_name(name) for name in sorted(path.name for path in blocks.iterdir())]
    parts = [(block, _block_checkpoints(config, run, block)) for block in found]
    return JoinedCheckpoints(parts, config.num_splits, config.num_seeds)


def available_splits(config: AnyRunConfig, root: Path | str) -> int:
    """How many splits can be measured: all, unless the run is trained in blocks.

    Then those, from the first on, of which all networks are finished. An ensemble of the first
    splits is one in its own right, with the same networks and training sets.
    """
    run = store.RunFolder(Path(root) / configs.identity(config)[:16])
    if run.checkpoints.exists() or not blocks_folder(config, run).exists():
        return config.num_splits
    for count in range(config.num_splits, 0, -1):
        fewer = dataclasses.replace(config, num_splits=count)
        if checkpoints_of(fewer, run).complete(epochs_of(config)):
            return count
    return 0


def blocks_folder(config: AnyRunConfig, run: store.RunFolder) -> Path:
    """Members are the same in any number of splits and seeds, so ensembles share their blocks."""
    alike = dataclasses.replace(config, num_splits=1, num_seeds=1)
    return run.path.with_name(f"blocks-{configs.identity(alike)[:16]}")


def _block_checkpoints(config: AnyRunConfig, run: store.RunFolder, block: Block) -> Checkpoints:
    alike = dataclasses.replace(config, num_splits=1, num_seeds=1)
    folder = blocks_folder(config, run) / block.name
    identity = {"run": configs.to_json(alike), "block": configs.to_json(block)}
    return Checkpoints(folder, identity)


def report_privacy(config: AnyRunConfig, run: store.RunFolder) -> None:
    """Write what a private run gives away, for adding or removing one sequence, by checkpoint."""
    privacy, training = config.training.privacy, config.training
    if privacy is None or run.privacy_file.exists():
        return
    spent = functools.partial(epsilon_spent, privacy, config.split_size, training.batch_size)
    epsilons = {epoch: spent(epoch) for epoch in epochs_of(config)}
    store.write_json(run.privacy_file, {"delta": 1 / config.split_size, "epsilon": epsilons})


def to_train(config: AnyRunConfig, run: store.RunFolder) -> Checkpoints | None:
    """Checkpoints of a run that is to be trained as a whole; None if all its networks are there.

    Raises:
        ValueError: if the run is being trained in blocks, and not all of them are finished.
    """
    checkpoints = checkpoints_of(config, run)
    if checkpoints.complete(epochs_of(config)):
        return None
    if isinstance(checkpoints, JoinedCheckpoints):
        state = f"(split, seed) {checkpoints.missing} are in none"
        state = state if checkpoints.missing else "not all are finished"
        folder = blocks_folder(config, run)
        raise ValueError(f"{folder} holds blocks of this run, of which {state}: train them")
    return checkpoints


def train_run(config: AnyRunConfig, root: Path | str, *, progress: bool = True) -> None:
    """Train all members of a run to the end, going on from the newest checkpoint there is.

    Raises:
        ValueError: if the run is being trained in blocks, and not all of them are finished.
        FolderInUseError: if another process works in the run's folder.
        Stopped: after saving, if a signal asks to stop (``signals.install``).
    """
    run = open_run(config, root)
    report_privacy(config, run)
    if to_train(config, run) is None:
        return
    with runtime.stage(run, "train"), signals.deferred() as asked_to_stop:
        train(
            run_key(config, "networks"),
            ensemble_of(config),
            training_rows(config, make_data(config)),
            run.checkpoints,
            identity=configs.to_json(config),
            checkpoint_epochs=epochs_of(config)[1:],
            progress=progress,
            should_stop=lambda _: asked_to_stop(),
        )


def train_block(
    config: AnyRunConfig, root: Path | str, block: Block, *, progress: bool = True
) -> None:
    """Train some members of a run, in a folder of their own; several jobs may do so at once.

    Raises:
        ValueError: if the run does not have these members, or is being trained as a whole.
    """
    for name, count in (("splits", config.num_splits), ("seeds", config.num_seeds)):
        wanted = getattr(block, name)
        require(wanted[1] <= count, name, wanted, f"within 0…{count}")
    run = open_run(config, root)
    report_privacy(config, run)
    epochs = epochs_of(config)
    if run.checkpoints.exists():
        raise ValueError(f"block={block} is not allowed: {run.path} was trained as a whole")
    checkpoints = _block_checkpoints(config, run, block)
    if checkpoints.complete(epochs):
        return
    whole, key = ensemble_of(config), run_key(config, "networks")
    if not checkpoints.saved_epochs():
        checkpoints.save(block.untrained(key, whole))
    checkpoints.close()
    with signals.deferred() as asked_to_stop:
        train(
            key,
            block.ensemble(whole),
            training_rows(config, make_data(config))[slice(*block.splits)],
            checkpoints.folder,
            identity=checkpoints.identity,
            checkpoint_epochs=epochs[1:],
            progress=progress,
            should_stop=lambda _: asked_to_stop(),
        )
