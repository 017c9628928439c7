"""Networks of runs: what they depend on, who shares them, and who trains them."""

import dataclasses
import json

import numpy as np
import pytest

from experiments import configs
from experiments.configs import RunConfig
from experiments.runs import training
from experiments.runs.data import epochs_of, make_data, training_rows
from experiments.runs.members import available_splits, checkpoints_of, member, members
from experiments.runs.training import (
    MembersFailedError,
    cut,
    members_that_fit,
    open_run,
    shape_of,
    train_run,
    train_runs,
)
from experiments.worlds.grammar import GrammarConfig
from experiments.worlds.images import ImageDataConfig
from hiermodel.networks.mlp import MLPConfig
from hiermodel.networks.unet import UNetConfig
from hiermodel.training import loop
from hiermodel.training.folders import FolderInUseError, hold
from hiermodel.training.state import TrainingConfig

CONFIG = RunConfig(
    data=GrammarConfig(depth=2),
    network=MLPConfig(num_leaves=4, vocab_size=6, width=8, dropout=0.1),
    training=TrainingConfig(num_epochs=4, batch_size=4),
    num_splits=3,
    num_seeds=1,
    split_size=6,
    test_size=4,
    num_steps=20,
    first_checkpoint=2,
    num_checkpoints=2,
)
EPOCHS = [0, 2, 4]


def with_training(config=CONFIG, **settings):
    return dataclasses.replace(config, training=dataclasses.replace(config.training, **settings))


MORE = dataclasses.replace(CONFIG, num_splits=4, test_size=5)
OTHER_DATA = dataclasses.replace(
    with_training(learning_rate=1e-2, weight_decay=0.1),
    data=GrammarConfig(depth=2, sigma=2.0, seed=3),
    num_splits=1,
    num_seeds=1,
    seed=1,
)
IMAGES = RunConfig(
    ImageDataConfig(),
    UNetConfig(8, 8, base_width=4, multipliers=(1,), num_res_blocks=1, num_groups=2),
    TrainingConfig(num_epochs=1),
)


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """All networks of ``MORE`` and ``OTHER_DATA``, each trained by itself."""
    root = tmp_path_factory.mktemp("alone")
    for config in (MORE, OTHER_DATA):
        for own in members(config):
            split, seed = (range(place, place + 1) for place in (own.split, own.seed))
            train_run(config, root, splits=split, seeds=seed, progress=False)
    return root


@pytest.fixture
def groups(monkeypatch):
    """How many networks were trained together, call by call."""
    sizes, train = [], training.loop.train_members

    def counted(members, **options):
        sizes.append(len(members))
        return train(members, **options)

    monkeypatch.setattr(training.loop, "train_members", counted)
    monkeypatch.setattr(training, "POLL_SECONDS", 0.01)
    return sizes


def saved(config, root):
    """All that a run has kept: parameters at every checkpoint, and the last states."""
    checkpoints = checkpoints_of(config, open_run(config, root))
    assert checkpoints.complete(EPOCHS)
    assert checkpoints.saved_epochs() == epochs_of(config) == EPOCHS
    arrays = {f"state/{name}": array for name, array in checkpoints.latest().items()}
    for epoch in EPOCHS:
        arrays |= {f"{epoch}/{n}": a for n, a in checkpoints.load_params(epoch).items()}
    return arrays


def assert_same_run(config, root, other):
    ours, theirs = saved(config, root), saved(config, other)
    assert ours.keys() == theirs.keys()
    for name, array in ours.items():
        np.testing.assert_array_equal(array, theirs[name], err_msg=name)


# What a network depends on.


@pytest.mark.parametrize(
    ("field", "value"), [("num_splits", 4), ("num_seeds", 7), ("test_size", 7)]
)
def test_a_network_is_the_same_in_runs_that_differ_in(field, value):
    other = dataclasses.replace(CONFIG, **{field: value})
    assert member(other, 1, 0) == member(CONFIG, 1, 0)
    assert member(other, 1, 0).name == member(CONFIG, 1, 0).name
    assert configs.identity(other) != configs.identity(CONFIG)


@pytest.mark.parametrize(
    "other",
    [
        member(CONFIG, 0, 0),
        member(dataclasses.replace(CONFIG, num_seeds=2), 1, 1),
        member(dataclasses.replace(CONFIG, num_splits=5), 1, 0),  # other training sets
        *(
            member(dataclasses.replace(CONFIG, **{field: value}), 1, 0)
            for field, value in (("seed", 3), ("split_size", 7), ("num_checkpoints", 3))
        ),
        member(with_training(learning_rate=1e-2), 1, 0),
    ],
)
def test_a_network_is_another_in_runs_that_differ_otherwise(other):
    assert other.name != member(CONFIG, 1, 0).name


def test_training_images_depend_on_the_size_of_their_test_set():
    names = {
        member(dataclasses.replace(IMAGES, **{field: 9}), 0, 0).name
        for field in ("num_splits", "num_seeds", "test_size")
    }
    assert len(names) == 2


@pytest.mark.parametrize(("splits", "seeds"), [(range(4), None), (None, range(1, 3))])
def test_networks_that_do_not_exist_are_refused(tmp_path, splits, seeds):
    with pytest.raises(ValueError, match="within 0…"):
        train_run(CONFIG, tmp_path, splits=splits, seeds=seeds, progress=False)


# Together.


def test_networks_of_many_runs_train_as_one_program(tmp_path, alone, groups):
    """CONFIG's are among MORE's; those of OTHER_DATA see other data at other rates."""
    assert train_runs([MORE, CONFIG, OTHER_DATA], tmp_path, progress=False) == 5
    assert groups == [5]
    for config in (MORE, CONFIG, OTHER_DATA):
        assert_same_run(config, tmp_path, alone)
        assert open_run(config, tmp_path).timings()["train"] > 0
    assert train_runs([MORE, CONFIG], tmp_path, progress=False) == 0  # nothing is left to do
    file = member(OTHER_DATA, 0, 0).folder(tmp_path).path / "identity.json"
    identity = json.loads(file.read_text())["identity"]
    assert identity["run"]["training"]["learning_rate"] == 1e-2


def test_only_networks_of_the_same_shapes_train_together():
    others = [
        dataclasses.replace(CONFIG, split_size=7),
        dataclasses.replace(CONFIG, num_steps=30),
        dataclasses.replace(CONFIG, num_checkpoints=3),
        dataclasses.replace(CONFIG, network=dataclasses.replace(CONFIG.network, width=9)),
        with_training(batch_size=3),
    ]
    assert len({shape_of(run) for run in (CONFIG, *others)}) == 6
    assert shape_of(OTHER_DATA) == shape_of(MORE) == shape_of(CONFIG)
    wanted = [own for run in (CONFIG, others[4], OTHER_DATA) for own in members(run)]
    assert [len(part) for part in training._parts(wanted, 1)] == [4, 3]


def test_the_first_splits_can_be_measured_before_the_others_are_there(tmp_path, alone):
    assert available_splits(MORE, tmp_path) == 0
    train_run(MORE, tmp_path, splits=range(1, 3), progress=False)
    assert available_splits(MORE, tmp_path) == 0
    train_run(MORE, tmp_path, splits=range(1), progress=False)
    assert available_splits(MORE, tmp_path) == 3
    assert_same_run(CONFIG, tmp_path, alone)
    with pytest.raises(ValueError, match="epoch=2 is not allowed"):
        checkpoints_of(MORE, open_run(MORE, tmp_path)).load_params(2)


def test_networks_are_cut_to_what_fits_and_shared_out_evenly():
    wanted = members(dataclasses.replace(CONFIG, num_splits=7, num_seeds=1))
    for most, shares, sizes in (
        (1, 1, [1] * 7),
        (3, 1, [2, 3, 2]),
        (100, 1, [7]),
        (100, 2, [4, 3]),
        (100, 9, [1] * 7),
    ):
        parts = cut(wanted, most, shares)
        assert [len(part) for part in parts] == sizes
        assert [own for part in parts for own in part] == wanted


def test_memory_bounds_the_number_of_networks(monkeypatch):
    fit = {}
    for free in (0, 2**24, 2**26):
        monkeypatch.setattr(training, "free_bytes", lambda free=free: free)
        monkeypatch.setattr(training, "MOST", {"cpu": 10**9})
        fit[free] = members_that_fit(CONFIG)
    assert fit[0] == 1
    assert 3.5 < fit[2**26] / fit[2**24] < 4.5


# Failures.


def test_a_network_that_fails_does_not_stop_the_others(tmp_path, alone, groups):
    """Its rate is far too high for float32."""
    wild = dataclasses.replace(with_training(learning_rate=1e38), num_splits=1, num_seeds=1)
    with pytest.raises(MembersFailedError, match="not finite") as raised:
        train_runs([CONFIG, wild], tmp_path, progress=False)
    assert list(raised.value.errors) == members(wild)
    assert_same_run(CONFIG, tmp_path, alone)
    error = json.loads(members(wild)[0].folder(tmp_path).error_file.read_text())
    assert (error["stage"], error["error"]) == ("train", loop.NotFiniteError.__name__)
    with pytest.raises(MembersFailedError):  # it is left alone
        train_runs([wild], tmp_path, wait=False, progress=False)
    assert groups == [4]
    with pytest.raises(MembersFailedError):  # it is tried again
        train_run(wild, tmp_path, progress=False)
    assert groups == [4, 1]


# Several processes.


def test_networks_that_another_process_holds_are_left_to_it(
    tmp_path, alone, groups, monkeypatch, caplog
):
    """The other process is made up; the lock itself is tested with ``folders``."""
    theirs = {own.folder(tmp_path).path for own in members(CONFIG)[1:]}

    def refuse(folder):
        if folder in theirs:
            raise FolderInUseError(f"{folder} is in use by process 7")
        return hold(folder)

    def sleep(seconds):
        """They are finished while this process waits."""
        assert theirs
        theirs.clear()
        train_run(CONFIG, tmp_path, progress=False)

    monkeypatch.setattr("hiermodel.training.checkpoints.hold", refuse)
    monkeypatch.setattr(training.time, "sleep", sleep)
    assert train_runs([CONFIG], tmp_path, wait=False, progress=False) == 1
    assert groups == [1]
    train_run(CONFIG, tmp_path, progress=False)
    assert "waiting for 2 networks" in caplog.text
    assert "in use by process 7" in caplog.text
    assert groups == [1, 2]
    assert_same_run(CONFIG, tmp_path, alone)


def test_a_network_that_another_process_finished_just_now_is_not_trained_again(
    tmp_path, groups, monkeypatch
):
    train_run(CONFIG, tmp_path, progress=False)
    monkeypatch.setattr(training, "_unfinished", lambda *_: members(CONFIG))
    assert train_runs([CONFIG], tmp_path, wait=False, progress=False) == 0
    assert groups == [3]


def test_processes_take_a_share_each(tmp_path, groups):
    train_runs([CONFIG], tmp_path, wait=False, shares=2, progress=False)
    assert groups == [2, 1]


@pytest.mark.parametrize("num_splits", [1, 2, 3, 5])
def test_a_network_trains_on_its_split_of_the_run(tmp_path, num_splits):
    config = dataclasses.replace(CONFIG, num_splits=num_splits)
    rows = training_rows(config, make_data(config))
    for own in members(config):
        (one,) = training._with_data([own], tmp_path)
        np.testing.assert_array_equal(one.sequences, rows[own.split])
