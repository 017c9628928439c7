"""Where each run of a study stands, read from its folder alone."""

import dataclasses
import enum
import os
import socket
import time
import traceback
from pathlib import Path
from typing import Any

from experiments import configs, store
from experiments.progress import Progress
from experiments.store import RunFolder
from experiments.study.design import Study


class State(enum.StrEnum):
    """What can be said of a run."""

    DONE = "done"
    RUNNING = "running"
    FAILED = "failed"
    WAITING = "waiting"


@dataclasses.dataclass(frozen=True)
class Standing:
    """Where one run stands.

    Attributes:
        config: the run.
        folder: its folder, which may not be there yet.
        state: in a word.
        stages: how far each stage is, by name.
        about: who works on it, or why it failed.
    """

    config: Any
    folder: RunFolder
    state: State
    stages: dict[str, Progress]
    about: str = ""

    @property
    def unfinished(self) -> list[str]:
        """Stages that are still to be made."""
        return [stage for stage, progress in self.stages.items() if not progress.finished]


def folder_of(config: Any, root: Path) -> RunFolder:
    """Where a run is, or will be; creates nothing."""
    return RunFolder(root / configs.identity(config)[:16])


def standing(study: Study, config: Any, root: Path) -> Standing:
    """Where a run of a study stands. What is finished counts, whatever failed before."""
    folder = folder_of(config, root)
    stages = study.kind.progress(config, study.measures, root)
    if all(progress.finished for progress in stages.values()):
        return Standing(config, folder, State.DONE, stages)
    if (holder := _living_holder(folder)) is not None:
        about = "process {process} on {host} since {since}".format(**holder)
        return Standing(config, folder, State.RUNNING, stages, about)
    if folder.error_file.exists():
        error = store.read_json(folder.error_file)
        about = "{stage}: {error}: {message}".format(**error)
        return Standing(config, folder, State.FAILED, stages, about)
    return Standing(config, folder, State.WAITING, stages)


def record_failure(folder: RunFolder, stage: str, error: Exception) -> None:
    """Write down why a run failed, in its folder."""
    lines = traceback.format_exception(error)
    _write_failure(folder, stage, type(error).__name__, str(error), "".join(lines))


def record_death(folder: RunFolder, process: int, code: int) -> None:
    """Write down that the process that worked on a run ended without a word."""
    how = f"was killed by signal {-code}" if code < 0 else f"ended with code {code}"
    message = f"process {process} {how}; of memory, perhaps, if that is the system's doing"
    _write_failure(folder, "process", "Died", message, "")


def holder_of(folder: RunFolder) -> dict[str, Any] | None:
    """Host, process id and start of who works in a folder, or last did; None if nobody."""
    try:
        return store.read_json(folder.holder_file)
    except (FileNotFoundError, ValueError):
        return None


def _living_holder(folder: RunFolder) -> dict[str, Any] | None:
    """The holder, unless it ran on this host and has ended."""
    holder = holder_of(folder)
    if holder is None or holder.get("host") != socket.gethostname():
        return holder
    return (
        holder
        if Path(f"/proc/{holder['process']}").exists() or not Path("/proc").exists()
        else None
    )


def _write_failure(folder: RunFolder, stage: str, error: str, message: str, trace: str) -> None:
    store.write_json(
        folder.error_file,
        {
            "stage": stage,
            "error": error,
            "message": message,
            "traceback": trace,
            "host": socket.gethostname(),
            "process": os.getpid(),
            "time": time.strftime("%Y-%m-%d %H:%M:%S%z"),
        },
    )
