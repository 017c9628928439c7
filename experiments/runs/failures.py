"""What is written down when a run or a network fails, in its folder."""

import os
import socket
import time
import traceback

from experiments import store
from experiments.store import RunFolder


def record_failure(folder: RunFolder, stage: str, error: Exception) -> None:
    """Write down why something failed."""
    lines = traceback.format_exception(error)
    _write(folder, stage, type(error).__name__, str(error), "".join(lines))


def record_death(folder: RunFolder, process: int, code: int) -> None:
    """Write down that the process that worked on a run ended without a word."""
    how = f"was killed by signal {-code}" if code < 0 else f"ended with code {code}"
    message = f"process {process} {how}; of memory, perhaps, if that is the system's doing"
    _write(folder, "process", "Died", message, "")


def _write(folder: RunFolder, stage: str, error: str, message: str, trace: str) -> None:
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
