"""Where each run of a study stands, as its folder says."""

import dataclasses
import enum
import socket
from pathlib import Path
from typing import Any

from experiments import store
from experiments.progress import Progress, progress_of_run
from experiments.runs.members import members
from experiments.runs.training import folder_of
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


def standing(study: Study, config: Any, root: Path) -> Standing:
    """Where a run of a study stands. A finished run is done, even if it failed before."""
    folder = folder_of(config, root)
    stages = progress_of_run(study.protocol_of(config), root)
    if all(progress.finished for progress in stages.values()):
        return Standing(config, folder, State.DONE, stages)
    if (holder := _at_work(config, root)) is not None:
        about = "process {process} on {host} since {since}".format(**holder)
        return Standing(config, folder, State.RUNNING, stages, about)
    if folder.error_file.exists():
        error = store.read_json(folder.error_file)
        about = "{stage}: {error}: {message}".format(**error)
        return Standing(config, folder, State.FAILED, stages, about)
    return Standing(config, folder, State.WAITING, stages)


def holder_of(folder: RunFolder) -> dict[str, Any] | None:
    """Host, process id and start of the process that works in a folder, or last did."""
    try:
        return store.read_json(folder.holder_file)
    except (FileNotFoundError, ValueError):
        return None


def folders_of(config: Any, root: Path) -> list[RunFolder]:
    """Folders held by those who work on a run: the run's own and those of its networks."""
    return [folder_of(config, root), *(own.folder(root) for own in members(config))]


def _at_work(config: Any, root: Path) -> dict[str, Any] | None:
    """A process that works on a run; None if there is none."""
    holders = map(_living_holder, folders_of(config, root))
    return next((holder for holder in holders if holder is not None), None)


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
