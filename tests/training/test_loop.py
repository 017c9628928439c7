"""Training from the host: checkpoints, resuming, stopping, damage."""

import dataclasses
import errno
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp
import pytest

from hiermodel.training import loop
from hiermodel.training.checkpoints import Checkpoints, flatten_state, unflatten_state
from hiermodel.training.loop import checkpoint_epochs, train
from hiermodel.training.state import init_ensemble

KEY = jax.random.key(3)
# Orbax's reader may be cut short by damage while its event loop still has work.
CUT_SHORT = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


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


def test_a_resumed_training_equals_an_uninterrupted_one(run, tmp_path, assert_same_params):
    whole = run("whole", [2, 4])
    half = run("parts", [2])
    assert (half.finished, half.epoch) == (True, 2)
    parts = run("parts", [2, 4])
    assert (parts.finished, parts.epoch) == (True, 4)
    assert_same_params(whole.states.params, parts.states.params)
    moments = [flatten_state(result.states) for result in (whole, parts)]
    assert_same_params(*moments)
    checkpoints = Checkpoints(tmp_path / "parts", "a")
    assert checkpoints.saved_epochs() == [0, 2, 4]
    assert checkpoints.resume_epochs() == [2, 4]
    assert_same_params(checkpoints.load_params(4), whole.states.params)


def test_the_untrained_networks_are_saved(run, ensemble, tmp_path, assert_same_params):
    run("run", [1])
    saved = Checkpoints(tmp_path / "run", "a").load_params(0)
    assert_same_params(saved, init_ensemble(KEY, ensemble).params)


def test_a_finished_training_does_nothing_again(run):
    first = run("run", [2])
    again = run("run", [2])
    assert again.finished
    assert again.loss is None
    np.testing.assert_array_equal(first.states.epoch, again.states.epoch)


def test_a_training_killed_within_its_last_checkpoint_is_not_complete(run, tmp_path):
    run("run", [1, 2])
    checkpoints = Checkpoints(tmp_path / "run", "a")
    assert checkpoints.complete([0, 1, 2])
    assert not checkpoints.complete([0, 1, 2, 3])
    shutil.rmtree(tmp_path / "run" / "resume" / "2")  # the part that is written last
    assert not Checkpoints(tmp_path / "run", "a").complete([0, 1, 2])
    shutil.rmtree(tmp_path / "run" / "resume")  # what is only measured needs none
    assert Checkpoints(tmp_path / "run", "a").complete([0, 1, 2])


def test_a_stopped_training_goes_on_where_it_was(run, tmp_path, assert_same_params):
    asked = []

    def should_stop(epoch):
        asked.append(epoch)
        return epoch >= 1

    stopped = run("run", [4], should_stop=should_stop)
    assert not stopped.finished
    assert 1 <= stopped.epoch < 4
    assert asked[0] == 0
    checkpoints = Checkpoints(tmp_path / "run", "a")
    assert checkpoints.saved_epochs() == [0]
    assert checkpoints.resume_epochs()[-1] == stopped.epoch
    whole, finished = run("whole", [4]), run("run", [4])
    assert finished.finished
    assert_same_params(whole.states.params, finished.states.params)


def test_time_can_be_limited(run):
    result = run("run", [4], max_seconds=0.0)
    assert (result.finished, result.epoch) == (False, 0)


# Damage.


def damaged(content, how):
    if how == "truncated":
        return content[: len(content) // 2]
    at = len(content) // 2
    return content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :]


def all_files(folder):
    return [file for file in sorted(folder.rglob("*")) if file.is_file()]


def damage(folder, how):
    """Damage every file of a checkpoint that holds array data (tensorstore's ``d`` folders)."""
    files = [file for file in all_files(folder) if file.parent.name == "d"]
    assert files
    for file in files:
        if how == "missing":
            file.unlink()
        else:
            file.write_bytes(damaged(file.read_bytes(), how))


@CUT_SHORT
@pytest.mark.parametrize("how", ["truncated", "flipped", "missing"])
def test_a_damaged_checkpoint_is_passed_over(run, tmp_path, how, assert_same_params):
    whole = run("run", [2, 4])
    damage(tmp_path / "run" / "resume" / "4", how)
    with pytest.warns(UserWarning, match=r"resume/4.*going back"):
        again = run("run", [2, 4])
    assert (again.epoch, again.finished) == (4, True)
    assert again.loss is not None  # it did train epochs 3 and 4 once more
    assert_same_params(whole.states.params, again.states.params)
    assert Checkpoints(tmp_path / "run", "a").resume_epochs() == [2, 4]


@CUT_SHORT
@pytest.mark.parametrize("how", ["truncated", "flipped"])
def test_damage_to_any_file_is_reported_or_harmless(
    ensemble, tmp_path, how, assert_same_params, recwarn
):
    """Of every file in turn: either the checkpoint is passed over, or it reads as it was."""
    states = init_ensemble(KEY, ensemble)
    checkpoints = Checkpoints(tmp_path, "a")
    checkpoints.save(states)
    checkpoints.save(dataclasses.replace(states, epoch=states.epoch + 1))
    expected = flatten_state(states)
    passed_over = []
    for file in all_files(tmp_path / "resume" / "1"):
        content = file.read_bytes()
        file.write_bytes(damaged(content, how))
        recwarn.clear()
        found = Checkpoints(tmp_path, "a").latest(states)
        file.write_bytes(content)
        assert found is not None
        arrays = flatten_state(found)
        back = int(arrays["epoch"][0]) == 0
        assert back == any("resume/1" in str(warning.message) for warning in recwarn)
        assert_same_params(arrays | {"epoch": 0}, expected | {"epoch": 0})
        passed_over += [file.name] * back
    assert "metadata" in passed_over  # the checksums
    assert "manifest.ocdbt" in passed_over


@CUT_SHORT
def test_damaged_parameters_are_refused(run, tmp_path):
    run("run", [2])
    damage(tmp_path / "run" / "params" / "2", "flipped")
    with pytest.raises(ValueError, match=r"params/2.*remove"):
        Checkpoints(tmp_path / "run", "a").load_params(2)


def test_a_full_disk_is_said_and_leaves_earlier_checkpoints(run, tmp_path, monkeypatch):
    run("run", [1])

    def no_space(*_, **__):
        (tmp_path / "run" / "resume" / "2.orbax-checkpoint-tmp").mkdir()
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(ocp.CheckpointManager, "save", no_space)
        with pytest.raises(OSError, match=r"params/2 .*No space left.*intact: make room"):
            run("run", [2])
    assert not list(tmp_path.glob("run/*/*tmp*"))
    assert Checkpoints(tmp_path / "run", "a").resume_epochs() == [0, 1]
    assert run("run", [2]).finished


def test_an_unfinished_save_is_no_checkpoint(run, tmp_path):
    run("run", [2])
    left = tmp_path / "run" / "resume" / "9.orbax-checkpoint-tmp"
    left.mkdir()
    assert Checkpoints(tmp_path / "run", "a").resume_epochs() == [0, 2]
    assert left.exists()  # who only reads removes nothing: another process may be writing it
    run("run", [2])
    assert not left.exists()


def test_another_configuration_is_refused_by_the_differing_field(run, tmp_path):
    identity = {"training": {"learning_rate": 0.002, "epochs": (1, 2)}, "seed": 0}
    run("run", [1], identity=identity)
    run("run", [1], identity=identity)
    other = {"training": {"learning_rate": 0.001, "epochs": (1, 2)}, "seed": 0}
    complaint = r"\(training.learning_rate: 0.002 there, 0.001 here\)"
    with pytest.raises(ValueError, match=complaint):
        run("run", [1], identity=other)
    # A checkpoint carries its own: one that was copied here is refused too.
    Checkpoints(tmp_path / "other", other)
    shutil.copytree(tmp_path / "run/resume/1", tmp_path / "other/resume/1")
    with pytest.raises(ValueError, match=f"resume/1.*{complaint}"):
        run("other", [1], identity=other)


def test_epochs_that_were_not_saved_are_refused(run, tmp_path):
    run("run", [2])
    with pytest.raises(ValueError, match=r"epoch=3.*\[0, 2\]"):
        Checkpoints(tmp_path / "run", "a").load_params(3)


def test_a_state_of_another_shape_is_refused(ensemble):
    arrays = flatten_state(init_ensemble(KEY, ensemble))
    template = init_ensemble(KEY, dataclasses.replace(ensemble, num_seeds=3))
    with pytest.raises(ValueError, match="does not fit"):
        unflatten_state(arrays, template)
    arrays.pop("epoch")
    with pytest.raises(ValueError, match="epoch"):
        unflatten_state(arrays, template)


# What goes wrong.


def test_a_loss_that_is_not_finite_stops_training(run, ensemble, tmp_path, monkeypatch):
    real, calls = loop.train_epochs, []

    def spoil(ensemble, states, sequences, num_epochs):
        calls.append(int(num_epochs))
        if len(calls) > 1:
            kernel = states.params["output_projection.kernel"].at[3].set(jnp.inf)
            params = states.params | {"output_projection.kernel": kernel}
            states = dataclasses.replace(states, params=params)
        return real(ensemble, states, sequences, num_epochs)

    monkeypatch.setattr(loop, "train_epochs", spoil)
    complaint = (
        r"member 3 \(split 1, seed 1\), step 3 \(epoch 1\), learning rate 0.00833, "
        "gradient norm nan"
    )
    with pytest.raises(RuntimeError, match=complaint):
        run("run", [1, 4])
    checkpoints = Checkpoints(tmp_path / "run", "a")
    assert checkpoints.saved_epochs() == [0, 1]
    assert np.all(np.isfinite(checkpoints.load_params(1)["output_projection.kernel"]))


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
