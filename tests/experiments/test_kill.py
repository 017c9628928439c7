"""A run is killed, stopped, refused and starved of disk space, as a process of its own.

The run is ``tiny_run.py``.
"""

import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from kills import arrays_of, different_arrays, forget, kill_again_and_again

PROJECT = Path(__file__).parents[2]
SCRIPT = Path(__file__).with_name("tiny_run.py")
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(PROJECT), "JAX_ENABLE_X64": "0"}
# Runs a command that cannot write large files, which stands for the end of the disk.
STARVED = """
import os, resource, sys
resource.setrlimit(resource.RLIMIT_FSIZE, (2000, resource.RLIM_INFINITY))
os.execv(sys.argv[1], sys.argv[1:])
"""


class Reference(NamedTuple):
    """A run that was left alone, whose compiled programs the others use."""

    root: Path
    arrays: dict[str, np.ndarray]

    @property
    def command(self) -> list[str]:
        return [sys.executable, str(SCRIPT), str(self.root)]


class Ended(NamedTuple):
    """A process that has ended."""

    pid: int
    code: int
    errors: str
    found: Path | None = None


def start(command: list[str]) -> subprocess.Popen:
    return subprocess.Popen(
        command, env=ENVIRONMENT, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL
    )


def end(process: subprocess.Popen, found: Path | None = None) -> Ended:
    _, errors = process.communicate()
    return Ended(process.pid, process.returncode, errors.decode(), found)


def wait_for(process: subprocess.Popen, root: Path, pattern: str) -> Path:
    """The first file of a pattern under a root, as soon as it is there."""
    while process.poll() is None:
        for found in root.glob(pattern):
            return found
        time.sleep(0.005)
    pytest.fail(f"ended before there was {pattern}: {end(process).errors}")


@pytest.fixture(scope="module")
def reference(tmp_path_factory) -> Reference:
    root = tmp_path_factory.mktemp("root")
    alone = end(start([sys.executable, str(SCRIPT), str(root)]))
    assert alone.code == 0, alone.errors
    return Reference(root, arrays_of(root))


@pytest.mark.long
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
    "num_kills", [3, pytest.param(20, marks=pytest.mark.long)], ids=["few", "many"]
)
def test_a_killed_run_ends_as_one_never_interrupted(reference, num_kills):
    """Three are one of each kind: at any time, writing checkpoints, measuring."""
    assert len(reference.arrays) > 100
    ends = kill_again_and_again(
        reference.command, reference.root, num_kills, 2.0, seed=num_kills, environment=ENVIRONMENT
    )
    for hits, arrays in ends:
        assert different_arrays(reference.arrays, arrays) == [], hits


@pytest.mark.long
def test_processes_share_the_networks_and_end_as_one_alone(reference):
    """In other company, each of two processes trains the very same networks."""
    forget(reference.root)
    both = [start([*reference.command, "2"]) for _ in range(2)]
    ended = [end(process) for process in both]
    assert 0 in {one.code for one in ended}  # whoever measures refuses the other
    assert all("in use by process" in one.errors for one in ended if one.code != 0)
    assert different_arrays(reference.arrays, arrays_of(reference.root)) == []
    (log,) = (file.read_text() for file in reference.root.glob("*/log.txt"))
    assert log.count("training 2 networks together") == 2


class Story(NamedTuple):
    """One run that went through everything but SIGKILL, start after start."""

    terminated: Ended
    resumable: dict[Path, int]
    starved: Ended
    resumable_after: dict[Path, int]
    interrupted: Ended
    refused: Ended
    finished: Ended
    arrays: dict[str, np.ndarray]
    log: str


@pytest.fixture(scope="module")
def story(reference) -> Story:
    root, command = reference.root, reference.command

    def signalled(number, pattern):
        process = start(command)
        found = wait_for(process, root, pattern)
        process.send_signal(number)
        return end(process, found)

    def resumable():
        return {path: path.stat().st_mtime_ns for path in root.glob("members/*/resume-*.npz")}

    forget(root)
    terminated = signalled(signal.SIGTERM, "members/*/resume-000000000.npz")
    before = resumable()
    starved = end(start([sys.executable, "-c", STARVED, *command]))
    after = resumable()
    interrupted = signalled(signal.SIGINT, "*/measurements/*/piece_*2.npz")
    last = start(command)
    wait_for(last, root, "*/holder.json")
    last.send_signal(signal.SIGSTOP)  # or it might be done before the other has started
    refused = end(start(command))
    last.send_signal(signal.SIGCONT)
    finished = end(last)
    (log,) = (file.read_text() for file in root.glob("*/log.txt"))
    return Story(
        *(terminated, before, starved, after, interrupted, refused, finished),
        arrays_of(root),
        log,
    )


@pytest.mark.long
def test_sigterm_saves_and_exits_with_75(story):
    assert story.terminated.code == 75, story.terminated.errors
    assert "SIGTERM: saving, then stopping" in story.log
    assert "the same command goes on from here" in story.terminated.errors
    assert story.resumable


@pytest.mark.long
def test_sigint_keeps_what_is_measured_and_exits_with_130(story):
    assert story.interrupted.code == 130, story.interrupted.errors
    assert "stopped by SIGINT" in story.interrupted.errors
    assert "Traceback" not in story.interrupted.errors


@pytest.mark.long
def test_a_full_disk_is_said_and_leaves_earlier_checkpoints(story):
    assert story.starved.code == 1
    message = story.starved.errors.splitlines()[-1]
    assert re.search(r"OSError: .*cannot write checkpoint of .*File too large.*make room", message)
    assert "members/" in message
    assert story.resumable_after == story.resumable


@pytest.mark.long
def test_a_second_process_is_refused_with_the_name_of_the_first(story):
    assert story.refused.code == 1
    first = f"in use by process {story.finished.pid} on host {socket.gethostname()}"
    assert first in story.refused.errors
    assert "Traceback" not in story.refused.errors


@pytest.mark.long
def test_after_all_that_the_run_ends_as_one_left_alone(story, reference):
    assert story.finished.code == 0, story.finished.errors
    assert different_arrays(reference.arrays, story.arrays) == []


@pytest.mark.long
def test_later_starts_read_what_the_first_has_compiled(story):
    totals = re.findall(r"with (\d+) programs compiled in \S+ s and (\d+) read", story.log)
    compiled, read = np.array(totals, int).sum(0)
    assert read > 3 * compiled
