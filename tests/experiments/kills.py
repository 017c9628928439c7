"""Kill a run again and again, and compare how it ends.

Kills fall at random moments of the whole run, into the writing of checkpoints and into the stages
that measure, in turn. Between them the same command is started again, as a user would. The arrays
at the end must equal, to the last bit, those of a run that was left alone.
"""

import contextlib
import json
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from experiments.store import load_measurements
from hiermodel.training.checkpoints import Checkpoints

_POLL_SECONDS = 0.001


def arrays_of(root: Path) -> dict[str, np.ndarray]:
    """Everything that runs under a root have kept: parameters, last states, measurements."""
    arrays = {}
    for folder in root.glob("members/*"):
        identity = json.loads((folder / "identity.json").read_text())["identity"]
        checkpoints = Checkpoints(folder, identity)
        for epoch in checkpoints.saved_epochs():
            for name, array in checkpoints.load_params(epoch).items():
                arrays[f"{folder.name}/{epoch}/{name}"] = array
        for name, array in (checkpoints.latest() or {}).items():
            arrays[f"{folder.name}/state/{name}"] = array
    for file in root.glob("*/measurements/*.npz"):
        for name, measured in load_measurements(file).items():
            arrays[f"{file.stem}/{name}"] = measured.values
    return arrays


def different_arrays(one: dict[str, np.ndarray], other: dict[str, np.ndarray]) -> list[str]:
    """Names of arrays that are not the same to the last bit, or not in both."""
    return sorted(
        name
        for name in {*one, *other}
        if name not in one or name not in other or one[name].tobytes() != other[name].tobytes()
    )


def forget(root: Path) -> None:
    """Remove all runs under a root, but not the compiled programs."""
    for folder in root.glob("[!.]*"):
        shutil.rmtree(folder)


def kill_again_and_again(
    command: Sequence[str],
    root: Path,
    num_kills: int,
    seconds: float,
    seed: int,
    environment: Mapping[str, str] | None = None,
) -> Iterator[tuple[str, dict[str, np.ndarray]]]:
    """Start a command until it has been killed ``num_kills`` times, then once more to its end.

    Args:
        command: works under ``root``, and goes on where it stopped.
        root: its runs are removed when the command has ended before it could be killed.
        num_kills: how many must hit.
        seconds: that the command takes if left alone.
        seed: of the moments.
        environment: of the command; this process's own by default.

    Yields:
        Where the kills fell since the last end, and the arrays, each time that the command ends.

    Raises:
        RuntimeError: if the command ends with an error.
    """
    rng = np.random.default_rng(seed)
    hits = []
    forget(root)
    while True:
        process = subprocess.Popen(
            command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
        )
        hit = None
        if len(hits) < num_kills:
            hit = _wait_for_a_moment(len(hits), root, process, seconds, rng)
        if hit is not None:
            process.send_signal(signal.SIGKILL)
        _, errors = process.communicate()
        if process.returncode == -signal.SIGKILL:
            hits.append(hit)
            continue
        if process.returncode != 0:
            raise RuntimeError(f"after kills {hits}: {errors.decode()}")
        yield ", ".join(map(str, hits)), arrays_of(root)
        if len(hits) >= num_kills:
            return
        forget(root)


def _wait_for_a_moment(
    count: int, root: Path, process: subprocess.Popen, seconds: float, rng: np.random.Generator
) -> str | None:
    """Wait until it is time to kill; None if the process has ended first."""
    kind = ("any time", "writing checkpoints", "measuring")[count % 3]
    if kind == "writing checkpoints":  # not always the first
        _poll(process, rng.uniform(0, seconds / 2))
    already, saved = _count(root, "*/measurements/**/*.npz"), _count(root, "members/*/*.npz")
    reached: Callable[[], bool] = {
        "any time": lambda: any(root.glob("**/holder.json")),
        "writing checkpoints": lambda: _count(root, "members/*/*.npz") > saved,
        "measuring": lambda: _count(root, "*/measurements/**/*.npz") > already,
    }[kind]
    delay = rng.uniform(0, {"any time": seconds, "writing checkpoints": 0.02}.get(kind, 0.5))
    while not reached():
        if process.poll() is not None:
            return None
        time.sleep(_POLL_SECONDS)
    _poll(process, delay)
    return kind if process.poll() is None else None


def _poll(process: subprocess.Popen, seconds: float) -> None:
    """Wait for a time, or for the end of the process if that comes first."""
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(seconds)


def _count(root: Path, pattern: str) -> int:
    return sum(1 for _ in root.glob(pattern))
