"""Runs that are packed end as runs trained alone."""

import dataclasses
import json

import numpy as np
import pytest

from experiments import packing
from experiments.blocks import Block
from experiments.configs import GrammarConfig, RunConfig
from experiments.packing import RunsFailedError, pack, pack_ensemble, pack_key, train_pack
from experiments.train import checkpoints_of, epochs_of, open_run, train_block, train_run
from hiermodel.networks.mlp import MLPConfig
from hiermodel.training import loop
from hiermodel.training.state import ALL_ALIKE, TrainingConfig

CONFIG = RunConfig(
    grammar=GrammarConfig(depth=1),
    network=MLPConfig(num_leaves=2, vocab_size=6, width=8, dropout=0.1),
    training=TrainingConfig(num_epochs=4, batch_size=4),
    num_splits=1,
    num_seeds=2,
    split_size=6,
    test_size=4,
    num_steps=20,
    first_checkpoint=2,
    num_checkpoints=2,
)


def with_rate(rate, config=CONFIG):
    return dataclasses.replace(
        config, training=dataclasses.replace(config.training, learning_rate=rate)
    )


def with_decay(decay):
    return dataclasses.replace(
        CONFIG, training=dataclasses.replace(CONFIG.training, weight_decay=decay)
    )


def with_dropout(rate, config=CONFIG):
    return dataclasses.replace(config, network=dataclasses.replace(config.network, dropout=rate))


VARIED = [
    CONFIG,
    with_rate(1e-2, with_decay(0.1)),
    dataclasses.replace(
        CONFIG, grammar=GrammarConfig(depth=1, sigma=2.0, seed=3), seed=1, num_splits=2, test_size=5
    ),
]


def saved(config, root):
    """All that a run has kept: parameters at every checkpoint, and the last state."""
    checkpoints = checkpoints_of(config, open_run(config, root))
    assert checkpoints.complete(epochs_of(config))
    assert checkpoints.saved_epochs() == epochs_of(config)
    arrays = {f"state/{n}": a for n, a in checkpoints.load_state(4).items()}
    for epoch in epochs_of(config):
        arrays |= {f"{epoch}/{n}": a for n, a in checkpoints.load_params(epoch).items()}
    return arrays


def assert_same_run(config, root, other):
    ours, theirs = saved(config, root), saved(config, other)
    assert ours.keys() == theirs.keys()
    for name, array in ours.items():
        np.testing.assert_array_equal(array, theirs[name], err_msg=name)


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """Every run of ``VARIED``, trained by itself."""
    root = tmp_path_factory.mktemp("alone")
    for config in VARIED:
        train_run(config, root, progress=False)
    return root


def test_packed_runs_end_to_the_last_bit_as_runs_alone(tmp_path, alone):
    assert pack(VARIED) == [VARIED]
    train_pack(VARIED, tmp_path, progress=False)
    for config in VARIED:
        assert_same_run(config, tmp_path, alone)
        assert open_run(config, tmp_path).timings()["train"] > 0
    train_pack(VARIED, tmp_path, progress=False)  # nothing is left to do


def test_rates_of_dropout_within_a_pack_change_only_rounding(tmp_path):
    runs = [with_dropout(rate) for rate in (0.0, 0.5)]
    train_pack(runs, tmp_path / "packed", progress=False)
    for config in runs:
        train_run(config, tmp_path / "alone", progress=False)
        ours, theirs = saved(config, tmp_path / "packed"), saved(config, tmp_path / "alone")
        for name, array in ours.items():
            np.testing.assert_allclose(array, theirs[name], rtol=0, atol=1e-5, err_msg=name)
    # The rates did reach the networks.
    kernels = [saved(c, tmp_path / "packed")["4/output_projection.kernel"] for c in runs]
    assert np.abs(kernels[0] - kernels[1]).max() > 1e-4


def test_settings_that_runs_share_stay_part_of_the_program():
    ensemble = pack_ensemble(VARIED)
    assert ensemble.num_splits == 4
    assert ensemble.own.dropout is None
    assert ensemble.network == CONFIG.network
    rates = [3e-4, 3e-4, 1e-2, 1e-2, *[3e-4] * 4]
    np.testing.assert_allclose(ensemble.own.learning_rate, rates, rtol=1e-6)
    np.testing.assert_allclose(ensemble.own.weight_decay, [0, 0, 0.1, 0.1, 0, 0, 0, 0], rtol=1e-6)
    assert pack_ensemble(VARIED[::2]).own == ALL_ALIKE


@pytest.mark.parametrize(
    ("stopped_at", "then"),
    [(1, [(3, 2), (4, None)]), (3, [(3, None)])],  # those behind catch up; the first is finished
)
def test_a_pack_goes_on_where_it_was(tmp_path, alone, stopped_at, then, monkeypatch):
    """Stopped within the saving of a pack: one run has the checkpoint, the others have not."""
    save = packing._PackCheckpoints.save

    def stop(self, states, *, keep_params=True):
        if int(np.asarray(states.epoch)[0]) < stopped_at:
            return save(self, states, keep_params=keep_params)
        self._parts, self._ends = self._parts[:1], self._ends[:1]
        save(self, states, keep_params=keep_params)
        raise KeyboardInterrupt

    monkeypatch.setattr(packing._PackCheckpoints, "save", stop)
    with pytest.raises(KeyboardInterrupt):
        train_pack(VARIED, tmp_path, progress=False)
    monkeypatch.undo()
    stand = [checkpoints_of(c, open_run(c, tmp_path)).resume_epochs()[-1] for c in VARIED]
    assert stand[0] > stand[1] == stand[2]
    trained = []
    train_from = packing.train_from
    monkeypatch.setattr(
        packing,
        "train_from",
        lambda *args, **options: (
            trained.append((args[1].num_splits, options["pause_at"]))
            or train_from(*args, **options)
        ),
    )
    train_pack(VARIED, tmp_path, progress=False)
    assert trained == then
    for config in VARIED:
        assert_same_run(config, tmp_path, alone)


def test_runs_join_from_where_they_stand(tmp_path, alone, monkeypatch):
    """One run is finished, one was stopped between checkpoints, one has not begun."""
    train_run(VARIED[0], tmp_path, progress=False)
    asked = []
    monkeypatch.setattr(packing.signals, "deferred", lambda: contextlib_once(asked))
    train_pack([VARIED[1]], tmp_path, progress=False)
    monkeypatch.undo()
    stand = [checkpoints_of(c, open_run(c, tmp_path)).resume_epochs() for c in VARIED]
    assert stand[0][-1] == 4
    assert stand[1][-1] in (1, 3)
    assert stand[2] == []
    train_pack(VARIED, tmp_path, progress=False)
    for config in VARIED:
        assert_same_run(config, tmp_path, alone)


def contextlib_once(asked):
    """Signals that ask to stop the second time that they are looked at."""
    import contextlib

    @contextlib.contextmanager
    def deferred():
        yield lambda: asked.append(None) or len(asked) == 2

    return deferred()


def test_a_run_that_fails_does_not_stop_the_others(tmp_path, alone, monkeypatch):
    """Its rate is far too high for float32."""
    wild = with_rate(1e38, dataclasses.replace(CONFIG, seed=2))
    with pytest.raises(RunsFailedError, match="not finite") as raised:
        train_pack([VARIED[0], wild, VARIED[2]], tmp_path, progress=False)
    assert list(raised.value.errors) == [wild]
    assert isinstance(raised.value.errors[wild], loop.NotFiniteError)
    for config in (VARIED[0], VARIED[2]):
        assert_same_run(config, tmp_path, alone)


def test_only_runs_of_the_same_shapes_share_a_pack(tmp_path):
    others = [
        dataclasses.replace(CONFIG, split_size=7),
        dataclasses.replace(CONFIG, num_seeds=1),
        dataclasses.replace(CONFIG, num_steps=30),
        dataclasses.replace(CONFIG, num_checkpoints=3),
        dataclasses.replace(CONFIG, network=dataclasses.replace(CONFIG.network, width=9)),
        dataclasses.replace(CONFIG, training=TrainingConfig(num_epochs=4, batch_size=3)),
    ]
    assert len({pack_key(run) for run in (CONFIG, *others)}) == 7
    assert pack([*others, CONFIG, *VARIED]) == [*([other] for other in others), VARIED]
    with pytest.raises(ValueError, match="pack_key"):
        train_pack([CONFIG, others[0]], tmp_path)


def test_packs_are_cut_to_what_fits(monkeypatch):
    runs = [dataclasses.replace(CONFIG, seed=seed) for seed in range(7)]  # of two members each
    for most, sizes in ((1, [1] * 7), (6, [3, 3, 1]), (9, [4, 3]), (100, [7])):
        monkeypatch.setattr(packing, "members_that_fit", lambda config, most=most: most)
        packs = pack(runs)
        assert [len(each) for each in packs] == sizes
        assert [run for each in packs for run in each] == runs


def test_memory_bounds_the_number_of_members(monkeypatch):
    fit = {}
    for free in (0, 2**24, 2**26):
        monkeypatch.setattr(packing, "free_bytes", lambda free=free: free)
        monkeypatch.setattr(packing, "MOST_ON_CPU", 10**9)
        fit[free] = packing.members_that_fit(CONFIG)
    assert fit[0] == 1
    assert 3.5 < fit[2**26] / fit[2**24] < 4.5


def test_a_run_in_blocks_is_not_packed(tmp_path):
    train_block(CONFIG, tmp_path, Block((0, 1), (0, 1)), progress=False)
    with pytest.raises(ValueError, match="holds blocks"):
        train_pack(VARIED[:2], tmp_path, progress=False)


def test_identity_of_a_packed_run_is_its_own(tmp_path):
    train_pack(VARIED[:2], tmp_path, progress=False)
    for config in VARIED[:2]:
        file = open_run(config, tmp_path).checkpoints / "identity.json"
        rate = json.loads(file.read_text())["identity"]["training"]["learning_rate"]
        assert rate == config.training.learning_rate
