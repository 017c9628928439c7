"""A run is killed, stopped, refused and starved of disk space, as a process of its own.

The run is ``tiny_run.py``; ``python -m experiments.kill_test`` does the same to the main job.
"""

import os
import re
import resource
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from experiments.kill_test import arrays_of, different_arrays, forget, kill_again_and_again

PROJECT = Path(__file__).parents[2]
SCRIPT = Path(__file__).with_name("tiny_run.py")
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(PROJECT), "JAX_ENABLE_X64": "0"}


class Reference(NamedTuple):
    """A run that was left alone, whose compiled programs the others use."""

    root: Path
    arrays: dict[str, np.ndarray]

    @property
    def command(self) -> list[str]:
        return [sys.executable, str(SCRIPT), str(self.root)]


def start(command: list[str], **options) -> subprocess.Popen:
    return subprocess.Popen(
        command, env=ENVIRONMENT, stderr=subprocess.PIPE, stdout=subprocess.PIPE, **options
    )


def wait_for(process: subprocess.Popen, root: Path, pattern: str) -> Path:
    """The first file of a pattern under a root, as soon as it is there."""
    while process.poll() is None:
        for found in root.glob(pattern):
            return found
        time.sleep(0.005)
    pytest.fail(f"ended before there was {pattern}: {process.communicate()[1].decode()}")


@pytest.fixture(scope="module")
def reference(tmp_path_factory) -> Reference:
    root = tmp_path_factory.mktemp("root")
    process = start([sys.executable, str(SCRIPT), str(root)])
    _, errors = process.communicate()
    assert process.returncode == 0, errors.decode()
    return Reference(root, arrays_of(root))


def test_log_says_what_compiled_and_how_long_it_took(reference):
    # First of all: the others forget the run. Times are not known, but the sum is some seconds.
    (log,) = (file.read_text() for file in reference.root.glob("*/log.txt"))
    assert re.search(r"compiled jit\(train_epochs\) in \d+\.\d s", log)
    total = re.search(
        r"train: (\S+) s, with (\d+) programs compiled in (\S+) s and (\d+) read", log
    )
    assert total
    seconds, compiled, compile_seconds, _ = map(float, total.groups())
    assert compiled > 10
    assert 0 < compile_seconds < seconds
    assert "norms: " in log


@pytest.mark.parametrize(
    "num_kills", [5, pytest.param(20, marks=pytest.mark.long)], ids=["few", "many"]
)
def test_a_killed_run_ends_as_one_never_interrupted(reference, num_kills):
    assert len(reference.arrays) > 100
    ends = kill_again_and_again(
        reference.command, reference.root, num_kills, 2.0, seed=num_kills, environment=ENVIRONMENT
    )
    for hits, arrays in ends:
        assert different_arrays(reference.arrays, arrays) == [], hits


def test_sigterm_and_sigint_keep_what_is_done_and_say_so(reference):
    root = reference.root
    forget(root)
    for number, pattern, code in (
        (signal.SIGTERM, "*/checkpoints/resume/0", 75),
        (signal.SIGINT, "*/measurements/*/epoch_*2.npz", 130),
    ):
        process = start(reference.command)
        found = wait_for(process, root, pattern)
        process.send_signal(number)
        _, errors = process.communicate()
        assert process.returncode == code, errors.decode()
        assert f"stopped by {signal.Signals(number).name}" in errors.decode()
        if number == signal.SIGTERM:
            assert not list(root.glob("*/measurements"))
            log = found.parents[2] / "log.txt"
            assert "SIGTERM: saving" in log.read_text()
        else:
            assert found.exists()
            kept = found.stat().st_mtime_ns
    process = start(reference.command)
    _, errors = process.communicate()
    assert process.returncode == 0, errors.decode()
    assert different_arrays(reference.arrays, arrays_of(root)) == []
    assert kept > 0
    # The later starts found what the first had compiled.
    last = re.findall(r"with (\d+) programs compiled in \S+ s and (\d+) read", log.read_text())
    compiled, read = np.array(last, int).sum(0)
    assert read > compiled


def test_a_second_process_is_refused_with_the_name_of_the_first(reference):
    root = reference.root
    forget(root)
    first = start(reference.command)
    wait_for(first, root, "*/holder.json")
    second = start(reference.command)
    _, errors = second.communicate()
    _, first_errors = first.communicate()
    assert first.returncode == 0, first_errors.decode()
    assert second.returncode == 1
    assert f"in use by process {first.pid} on host {socket.gethostname()}" in errors.decode()
    assert different_arrays(reference.arrays, arrays_of(root)) == []


def test_a_full_disk_is_said_and_leaves_earlier_checkpoints(reference):
    """A limit on the size of a file stands for the end of the disk."""
    root = reference.root
    forget(root)
    first = start(reference.command)
    wait_for(first, root, "*/checkpoints/resume/2")
    first.send_signal(signal.SIGKILL)
    first.communicate()
    before = {path: path.stat().st_mtime_ns for path in root.glob("*/checkpoints/resume/*")}

    def limit():
        resource.setrlimit(resource.RLIMIT_FSIZE, (2000, resource.RLIM_INFINITY))

    starved = start(reference.command, preexec_fn=limit)
    _, errors = starved.communicate()
    assert starved.returncode == 1
    message = errors.decode().splitlines()[-1]
    assert "OSError: cannot write" in message
    assert str(root) in message
    assert "make room and start again" in message
    after = {path: path.stat().st_mtime_ns for path in root.glob("*/checkpoints/resume/*")}
    assert after == {path: time for path, time in before.items() if "tmp" not in path.name}
    last = start(reference.command)
    _, errors = last.communicate()
    assert last.returncode == 0, errors.decode()
    assert different_arrays(reference.arrays, arrays_of(root)) == []
