"""An ensemble trained in blocks is the ensemble trained as a whole."""

import dataclasses

import numpy as np
import pytest

from experiments.blocks import Block
from experiments.configs import GrammarConfig, RunConfig
from experiments.train import (
    available_splits,
    checkpoints_of,
    epochs_of,
    open_run,
    train_block,
    train_run,
)
from hiermodel.networks.mlp import MLPConfig
from hiermodel.training.state import TrainingConfig

CONFIG = RunConfig(
    grammar=GrammarConfig(depth=1),
    network=MLPConfig(num_leaves=2, vocab_size=6, width=8),
    training=TrainingConfig(num_epochs=4, batch_size=4),
    num_splits=2,
    num_seeds=2,
    split_size=6,
    test_size=4,
    num_steps=20,
    first_checkpoint=2,
    num_checkpoints=2,
)
BLOCKS = [Block((1, 2), (0, 2)), Block((0, 1), (0, 1)), Block((0, 1), (1, 2))]


def test_blocks_hold_the_members_of_the_whole(tmp_path):
    train_run(CONFIG, tmp_path / "whole", progress=False)
    whole = checkpoints_of(CONFIG, open_run(CONFIG, tmp_path / "whole"))
    for block in BLOCKS:
        train_block(CONFIG, tmp_path / "blocks", block, progress=False)
    joined = checkpoints_of(CONFIG, open_run(CONFIG, tmp_path / "blocks"))
    train_run(CONFIG, tmp_path / "blocks", progress=False)  # there is nothing left to do
    assert joined.saved_epochs() == whole.saved_epochs() == epochs_of(CONFIG)
    for epoch in epochs_of(CONFIG):
        ours, theirs = joined.load_params(epoch), whole.load_params(epoch)
        assert ours.keys() == theirs.keys()
        for name in ours:
            np.testing.assert_array_equal(ours[name], theirs[name])


def test_blocks_that_are_missing_are_named(tmp_path):
    train_block(CONFIG, tmp_path, BLOCKS[0], progress=False)
    with pytest.raises(ValueError, match=r"\(0, 0\), \(0, 1\)\] are in none"):
        train_run(CONFIG, tmp_path, progress=False)
    assert available_splits(CONFIG, tmp_path) == 0
    joined = checkpoints_of(CONFIG, open_run(CONFIG, tmp_path))
    assert joined.saved_epochs() == []
    with pytest.raises(ValueError, match=r"blocks=.*\(0, 0\), \(0, 1\)\]"):
        joined.load_params(2)


def test_the_first_splits_can_be_measured_before_the_others_are_there(tmp_path):
    more = dataclasses.replace(CONFIG, num_splits=3)
    assert available_splits(more, tmp_path) == 3  # not begun: it may be trained as a whole
    for block in BLOCKS:
        train_block(more, tmp_path, block, progress=False)
    assert available_splits(more, tmp_path) == 2
    # They are the networks and the training sets of an ensemble of two splits.
    train_run(CONFIG, tmp_path, progress=False)
    fewer = checkpoints_of(CONFIG, open_run(CONFIG, tmp_path))
    train_run(CONFIG, tmp_path / "whole", progress=False)
    whole = checkpoints_of(CONFIG, open_run(CONFIG, tmp_path / "whole"))
    last = epochs_of(CONFIG)[-1]
    for name, values in whole.load_params(last).items():
        np.testing.assert_array_equal(fewer.load_params(last)[name], values)


def test_a_run_is_trained_as_a_whole_or_in_blocks(tmp_path):
    short = dataclasses.replace(CONFIG, training=TrainingConfig(num_epochs=2, batch_size=4))
    train_run(short, tmp_path, progress=False)
    with pytest.raises(ValueError, match="as a whole"):
        train_block(short, tmp_path, BLOCKS[0], progress=False)


@pytest.mark.parametrize(("splits", "seeds"), [((0, 3), (0, 1)), ((0, 1), (1, 3))])
def test_members_that_do_not_exist_are_refused(tmp_path, splits, seeds):
    with pytest.raises(ValueError, match="within 0…2"):
        train_block(CONFIG, tmp_path, Block(splits, seeds), progress=False)


@pytest.mark.parametrize("splits", [(1, 1), (-1, 2)])
def test_ranges_hold_something(splits):
    with pytest.raises(ValueError, match="splits"):
        Block(splits, (0, 1))


def test_names_of_blocks_can_be_read_back():
    assert all(Block.from_name(block.name) == block for block in BLOCKS)
