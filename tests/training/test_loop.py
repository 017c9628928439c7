"""Training from the host: checkpoints, resuming, stopping, damage."""

import contextlib
import dataclasses
import errno
import itertools
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hiermodel.training import chunks
from hiermodel.training.checkpoints import Checkpoints, flatten_state, unflatten_state
from hiermodel.training.folders import hold
from hiermodel.training.in_folder import train
from hiermodel.training.loop import Member, checkpoint_epochs, ensemble_of, train_members
from hiermodel.training.state import ALL_ALIKE, init_ensemble, init_member, member_key

KEY = jax.random.key(3)


@pytest.fixture
def run(ensemble, sequences, tmp_path):
    """Train the shared ensemble into a folder under tmp_path."""

    def start(folder, epochs, ensemble=ensemble, sequences=sequences, identity="a", **options):
        return train(
            KEY,
            ensemble,
            sequences,
            tmp_path / folder,
            identity=identity,
            checkpoint_epochs=epochs,
            progress=False,
            **options,
        )

    return start


# Which epochs.


def test_checkpoint_epochs_of_the_paper():
    epochs = checkpoint_epochs(100, 20_000, 25)
    assert len(epochs) == 25
    assert (epochs[0], epochs[-1]) == (100, 20_000)
    ratios = np.array(epochs[1:]) / epochs[:-1]
    np.testing.assert_allclose(ratios, 200 ** (1 / 24), rtol=0.01)


@pytest.mark.parametrize(
    ("first", "last", "count"), [(1, 10, 25), (1, 1, 1), (5, 6, 2), (1, 1000, 2), (3, 7, 3)]
)
def test_checkpoint_epochs_are_unique_and_hold_both_ends(first, last, count):
    epochs = checkpoint_epochs(first, last, count)
    assert epochs == sorted(set(epochs))
    assert (epochs[0], epochs[-1]) == (first, last)
    assert len(epochs) <= count


@pytest.mark.parametrize(("first", "last", "count"), [(0, 5, 3), (5, 4, 3), (1, 5, 1)])
def test_wrong_checkpoint_epochs_are_refused(first, last, count):
    with pytest.raises(ValueError, match="not allowed"):
        checkpoint_epochs(first, last, count)


# Saving and resuming.


def test_a_resumed_training_equals_an_uninterrupted_one(run, saved, assert_same_params):
    whole = run("whole", [2, 4])
    half = run("parts", [2])
    assert (half.finished, half.epoch) == (True, 2)
    parts = run("parts", [2, 4])
    assert (parts.finished, parts.epoch) == (True, 4)
    assert_same_params(flatten_state(whole.states), flatten_state(parts.states))
    checkpoints = saved("parts")
    assert checkpoints.saved_epochs() == [0, 2, 4]
    assert [one.resume_epochs() for one in checkpoints.members] == [[2, 4]] * 4
    assert_same_params(checkpoints.load_params(4), whole.states.params)


def test_the_untrained_networks_are_saved(run, ensemble, saved, assert_same_params):
    run("run", [1])
    assert_same_params(saved("run").load_params(0), init_ensemble(KEY, ensemble).params)


def test_a_finished_training_does_nothing_again(run):
    first = run("run", [2])
    again = run("run", [2])
    assert again.finished
    assert again.loss is None
    np.testing.assert_array_equal(first.states.epoch, again.states.epoch)


def test_a_training_killed_within_its_last_checkpoint_is_not_complete(run, saved):
    run("run", [1, 2])
    assert saved("run").complete([0, 1, 2])
    assert not saved("run").complete([0, 1, 2, 3])
    last = saved("run").members[3]
    last._file("resume", 2).unlink()  # the part that is written last
    assert not saved("run").complete([0, 1, 2])
    last._file("resume", 1).unlink()  # what is only measured needs none
    assert saved("run").complete([0, 1, 2])


def test_a_stopped_training_goes_on_where_it_was(run, saved, assert_same_params):
    asked = []

    def should_stop(epoch):
        asked.append(epoch)
        return epoch >= 1

    stopped = run("run", [4], should_stop=should_stop)
    assert not stopped.finished
    assert 1 <= stopped.epoch < 4
    assert asked[0] == 0
    assert saved("run").saved_epochs() == [0]
    assert saved("run").members[0].resume_epochs()[-1] == stopped.epoch
    whole, finished = run("whole", [4]), run("run", [4])
    assert finished.finished
    assert_same_params(whole.states.params, finished.states.params)


def test_time_can_be_limited(run):
    result = run("run", [4], max_seconds=0.0)
    assert (result.finished, result.epoch) == (False, 0)


# Company: members of any set, on their own or together, ahead or behind.


@pytest.fixture
def members(ensemble, sequences, tmp_path):
    """Members that differ in all that may differ in one program, but for dropout."""
    rates, decays = (1e-2, 1e-3, 1e-2), (0.0, 0.1, 0.0)

    def make(folder, wild=False):
        return [
            Member(
                ensemble.network,
                dataclasses.replace(
                    ensemble.training,
                    learning_rate=1e38 if wild and one == 1 else rate,
                    weight_decay=decay,
                ),
                ensemble.schedule,
                member_key(KEY, one, 0),
                np.asarray(sequences)[one % 2],
                Checkpoints(tmp_path / folder / str(one), f"{one}"),
            )
            for one, (rate, decay) in enumerate(zip(rates, decays, strict=True))
        ]

    return make


def train_held(members, epochs, **options):
    with contextlib.ExitStack() as held:
        for member in members:
            held.enter_context(member.checkpoints.hold())
        return train_members(members, checkpoint_epochs=epochs, progress=False, **options)


def kept(member):
    """All that a member has kept: parameters at every checkpoint, and the last state."""
    saved = member.checkpoints
    arrays = {f"state/{name}": array for name, array in (saved.latest() or {}).items()}
    for epoch in saved.saved_epochs():
        arrays |= {f"{epoch}/{name}": array for name, array in saved.load_params(epoch).items()}
    return arrays


def assert_same_members(ours, theirs, assert_same_params):
    for one, other in zip(ours, theirs, strict=True):
        assert_same_params(kept(one), kept(other))


def test_a_member_is_the_same_in_any_company(members, assert_same_params):
    alone, together, joined = members("alone"), members("together"), members("joined")
    for one in alone:
        train_held([one], [2, 4])
    train_held(together[::-1], [2, 4])
    assert_same_members(alone, together, assert_same_params)
    # One is finished, one stands between, one has not begun: those behind catch up.
    train_held(joined[:1], [2, 4])
    train_held(joined[1:2], [2])
    train_held(joined, [2, 4])
    assert_same_members(alone, joined, assert_same_params)


def test_a_save_cut_short_between_members_changes_nothing(members, assert_same_params, monkeypatch):
    alone, cut = members("alone"), members("cut")
    train_held(alone, [2, 4])
    saves, save = itertools.count(), Checkpoints.save

    def dies(self, *arguments, **options):
        if next(saves) == 4:  # the second member, at epoch 2
            raise KeyboardInterrupt
        save(self, *arguments, **options)

    with monkeypatch.context() as patch:
        patch.setattr(Checkpoints, "save", dies)
        with pytest.raises(KeyboardInterrupt):
            train_held(cut, [2, 4])
    assert [one.checkpoints.resume_epochs()[-1] for one in cut] == [2, 0, 0]
    train_held(cut, [2, 4])
    assert_same_members(alone, cut, assert_same_params)


def test_a_member_that_fails_does_not_stop_the_others(members, assert_same_params):
    alone, wild = members("alone"), members("wild", wild=True)
    train_held(alone, [2, 4])
    done = train_held(wild, [2, 4])
    assert done.finished
    assert list(done.failed) == [1]
    assert "learning rate 1e+38" in str(done.failed[1])
    assert wild[1].checkpoints.saved_epochs() == [0]
    assert_same_members(alone[::2], wild[::2], assert_same_params)


@pytest.mark.long
def test_rates_of_dropout_that_differ_change_only_rounding(members, assert_same_params):
    def with_dropout(folder):
        return [
            dataclasses.replace(one, network=dataclasses.replace(one.network, dropout=rate))
            for one, rate in zip(members(folder)[::2], (0.0, 0.5), strict=True)
        ]

    together, alone = with_dropout("together"), with_dropout("alone")
    train_held(together, [4])
    for one, member in zip(together, alone, strict=True):
        train_held([member], [4])
        assert_same_params(kept(one), kept(member), 1e-5)


def test_settings_that_members_share_stay_part_of_the_program(members, ensemble):
    three = members("run")
    own = ensemble_of(three).own
    assert own.dropout is None
    np.testing.assert_allclose(own.learning_rate, [1e-2, 1e-3, 1e-2], rtol=1e-6)
    np.testing.assert_allclose(own.weight_decay, [0, 0.1, 0], rtol=1e-6)
    assert ensemble_of(three[::2]).own == ALL_ALIKE
    assert ensemble_of(three[::2]).training == ensemble.training
    wide = dataclasses.replace(three[0], network=dataclasses.replace(ensemble.network, width=9))
    with pytest.raises(ValueError, match="of one program"):
        train_members([wide, three[1]], checkpoint_epochs=[1])


# Damage.


def damage(file, how):
    content = file.read_bytes()
    middle = len(content) // 2
    if how == "truncated":
        file.write_bytes(content[:middle])
    else:
        file.write_bytes(content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :])


@pytest.mark.parametrize("how", ["truncated", "flipped"])
def test_a_damaged_checkpoint_is_passed_over(run, saved, how, assert_same_params):
    whole = run("run", [2, 4])
    damage(saved("run").members[2]._file("resume", 4), how)
    with pytest.warns(UserWarning, match=r"resume-0+4.npz is damaged.*going back"):
        again = run("run", [2, 4])
    assert (again.epoch, again.finished) == (4, True)
    assert again.loss is not None  # it did train epochs 3 and 4 once more
    assert_same_params(whole.states.params, again.states.params)
    assert saved("run").members[2].resume_epochs() == [2, 4]


def test_damage_to_any_byte_is_reported_or_harmless(ensemble, tmp_path, assert_same_params):
    """Of every 7th byte in turn: either the checkpoint is refused, or it reads as it was."""
    checkpoints = Checkpoints(tmp_path, "a")
    state = {"epoch": np.array(1), "params/weight": np.arange(6.0), "key": np.arange(2)}
    with checkpoints.hold():
        checkpoints.save(state)
    file = checkpoints._file("resume", 1)
    content, refused = file.read_bytes(), 0
    for place in range(0, len(content), 7):
        file.write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
        try:
            assert_same_params(checkpoints._read("resume", 1), state)
        except ValueError as error:
            assert "resume-000000001.npz" in str(error)  # noqa: PT017 - either is right
            refused += 1
    assert refused > len(content) / 7 / 2


def test_damaged_parameters_are_refused(run, saved):
    run("run", [2])
    damage(saved("run").members[0]._file("params", 2), "flipped")
    with pytest.raises(ValueError, match=r"params-0+2.npz.*remove"):
        saved("run").load_params(2)


def test_a_full_disk_is_said_and_leaves_earlier_checkpoints(run, saved, tmp_path, monkeypatch):
    run("run", [1])

    def no_space(stream, **_):
        stream.write(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(np, "savez", no_space)
        with pytest.raises(OSError, match=r"No space left.*intact: make room.*params-0+2.npz"):
            run("run", [2])
    assert not list(tmp_path.glob("run/*/.*.part"))
    assert saved("run").members[0].resume_epochs() == [0, 1]
    assert run("run", [2]).finished


def test_an_unfinished_save_is_no_checkpoint(run, saved):
    run("run", [2])
    first = saved("run").members[0]
    left = first.folder / ".resume-000000009.npz.1.part"
    left.write_bytes(b"half")
    assert first.resume_epochs() == [0, 2]
    assert left.exists()  # who only reads removes nothing: another process may be writing it
    run("run", [2])
    assert not left.exists()


def test_another_configuration_is_refused_by_the_differing_field(run, saved):
    identity = {"training": {"learning_rate": 0.002, "epochs": (1, 2)}, "seed": 0}
    run("run", [1], identity=identity)
    run("run", [1], identity=identity)
    other = {"training": {"learning_rate": 0.001, "epochs": (1, 2)}, "seed": 0}
    complaint = r"training.learning_rate: 0.002 there, 0.001 here\)"
    with pytest.raises(ValueError, match=complaint):
        run("run", [1], identity=other)
    # A checkpoint carries its own: one that was copied here is refused too.
    here, there = (saved(*where).members[0] for where in (("run", identity), ("other", other)))
    there.folder.mkdir(parents=True)
    shutil.copy(here._file("resume", 1), there.folder)
    with pytest.raises(ValueError, match=f"resume-0+1.*{complaint}"):
        run("other", [1], identity=other)


def test_a_member_in_use_is_refused(run, saved, monkeypatch):
    def refuse(folder):
        raise RuntimeError(f"{folder} is in use")

    monkeypatch.setattr("hiermodel.training.checkpoints.hold", refuse)
    with pytest.raises(RuntimeError, match="split-0-seed-0 is in use"):
        run("run", [1])
    monkeypatch.undo()
    with hold(saved("run").members[0].folder):  # this process may hold it several times
        run("run", [1])


def test_epochs_that_were_not_saved_are_refused(run, saved):
    run("run", [2])
    with pytest.raises(ValueError, match=r"epoch=3.*\[0, 2\]"):
        saved("run").load_params(3)


def test_a_state_of_another_shape_is_refused(ensemble):
    arrays = flatten_state(init_ensemble(KEY, ensemble))
    wide = dataclasses.replace(ensemble.network, width=9)
    with pytest.raises(ValueError, match="does not fit"):
        unflatten_state(arrays, init_member(KEY, wide))
    arrays.pop("epoch")
    with pytest.raises(ValueError, match="epoch"):
        unflatten_state(arrays, init_member(KEY, ensemble.network))


# What goes wrong.


def test_a_loss_that_is_not_finite_stops_its_member(run, saved, monkeypatch):
    real, calls = chunks.train_epochs, []

    def spoil(ensemble, states, sequences, num_epochs, splits):
        calls.append(ensemble.num_members)
        if len(calls) == 2:
            kernel = states.params["output_projection.kernel"].at[3].set(jnp.inf)
            params = states.params | {"output_projection.kernel": kernel}
            states = dataclasses.replace(states, params=params)
        return real(ensemble, states, sequences, num_epochs, splits)

    monkeypatch.setattr(chunks, "train_epochs", spoil)
    complaint = (
        r"member 3 \(split 1, seed 1\): the loss or its gradient is not finite: step 3 "
        r"\(epoch 1\), learning rate 0.00833, gradient norm nan"
    )
    with pytest.raises(RuntimeError, match=complaint):
        run("run", [1, 4])
    assert set(calls[2:]) <= {3}  # the others go on without it, if there is anything left
    assert [one.saved_epochs() for one in saved("run").members] == [[0, 1, 4]] * 3 + [[0, 1]]
    assert np.all(np.isfinite(saved("run").load_params(1)["output_projection.kernel"]))


@pytest.mark.parametrize("epochs", [[], [2, 2], [3, 1], [0, 4]])
def test_wrong_lists_of_epochs_are_refused(run, epochs):
    with pytest.raises(ValueError, match="checkpoint_epochs"):
        run("run", epochs)


@pytest.mark.parametrize(
    "change",
    [lambda s: s[:1], lambda s: s[:, :0], lambda s: s[..., :3], lambda s: s[0], lambda s: s + 1],
)
def test_wrong_sequences_are_refused(run, sequences, change, unchecked_types):
    with pytest.raises(ValueError, match="sequences"):
        run("run", [1], sequences=change(sequences))
