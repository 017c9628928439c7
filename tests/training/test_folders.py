"""Whose a folder is: configurations and processes."""

import json
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from hiermodel.training import folders
from hiermodel.training.folders import FolderInUseError, claim, differences, hold

HERE = {"training": {"learning_rate": 0.001, "batch_size": 8}, "seed": 0, "kind": "paper"}
# Holds the folder until it is told to end; the file is run alone, which is fast.
HOLDER = """
import runpy, sys
with runpy.run_path(sys.argv[1])["hold"](sys.argv[2]):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def holder(tmp_path):
    """Another process that holds tmp_path."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, folders.__file__, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert process.stdout
    assert process.stdout.readline() == b"held\n"
    yield process
    process.kill()
    process.communicate()


# Configurations.


@pytest.mark.parametrize(
    ("there", "expected"),
    [
        (HERE, []),
        ({**HERE, "seed": 1}, ["seed: 1 there, 0 here"]),
        (
            {**HERE, "training": {"learning_rate": 0.002, "loss": "squared_error"}},
            [
                "training.batch_size: absent there, 8 here",
                "training.learning_rate: 0.002 there, 0.001 here",
                "training.loss: 'squared_error' there, absent here",
            ],
        ),
        ({**HERE, "training": None}, [f"training: None there, {HERE['training']} here"]),
        ("a hash", [f"'a hash' there, {HERE} here"]),
    ],
)
def test_differences_are_named_by_field(there, expected):
    assert differences(there, HERE) == expected


def test_a_folder_of_another_configuration_is_refused_by_field(tmp_path):
    claim(tmp_path, HERE)
    claim(tmp_path, HERE)
    with pytest.raises(ValueError, match=r"\(seed: 0 there, 1 here\)") as refusal:
        claim(tmp_path, {**HERE, "seed": 1})
    assert str(tmp_path) in str(refusal.value)
    assert json.loads((tmp_path / "identity.json").read_text()) == {"identity": HERE}


# Processes.


def test_a_folder_held_by_another_process_is_refused(holder, tmp_path):
    expected = f"in use by process {holder.pid} on host {socket.gethostname()}"
    with pytest.raises(FolderInUseError, match=expected), hold(tmp_path):
        pass
    holder.communicate()  # it ends as it should
    with hold(tmp_path):
        assert json.loads((tmp_path / "holder.json").read_text())["process"] != holder.pid
    assert not (tmp_path / "holder.json").exists()


def test_the_lock_of_a_killed_process_is_recognised_as_stale(holder, tmp_path, caplog):
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    assert (tmp_path / "holder.json").exists()
    with caplog.at_level("INFO"), hold(tmp_path):
        pass
    assert f"process {holder.pid} on host" in caplog.text
    assert "has ended" in caplog.text


def test_a_folder_of_another_host_is_left_to_the_user(tmp_path):
    file = tmp_path / "holder.json"
    file.write_text(json.dumps({"host": "elsewhere", "process": 7, "since": "yesterday"}))
    with pytest.raises(FolderInUseError, match=r"process 7 on host elsewhere.*remove") as refusal:
        hold(tmp_path).__enter__()
    assert str(file) in str(refusal.value)
    file.unlink()
    with hold(tmp_path):
        pass


def test_a_process_may_hold_a_folder_several_times(tmp_path):
    with hold(tmp_path):
        with hold(tmp_path):
            pass
        assert (tmp_path / "holder.json").exists()
    assert not (tmp_path / "holder.json").exists()


@pytest.mark.parametrize("content", ["", "{", "[]"])
def test_an_unreadable_holder_is_nobody(tmp_path, content):
    Path(tmp_path / "holder.json").write_text(content)
    with hold(tmp_path):
        pass
