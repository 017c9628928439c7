"""Whose a folder is: one configuration for good, one process at a time."""

import json
import logging
import os
import socket
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from hiermodel.checks import InputError

Identity = str | Mapping[str, Any]
"""Of everything that a result depends on, in JSON values; a mapping is refused field by field."""

_IDENTITY_FILE = "identity.json"
_HOLDER_FILE = "holder.json"
_LOCK_FILE = ".lock"
_ABSENT = object()
_LOG = logging.getLogger(__name__)


class FolderInUseError(RuntimeError):
    """Another process works in the folder."""


def differences(there: Any, here: Any, name: str = "") -> list[str]:
    """What two JSON values differ in, field by field: ``training.batch_size: 8 there, 16 here``."""
    if isinstance(there, Mapping) and isinstance(here, Mapping):
        return [
            line
            for field in sorted({*there, *here})
            for line in differences(
                there.get(field, _ABSENT),
                here.get(field, _ABSENT),
                f"{name}.{field}" if name else field,
            )
        ]
    if there == here:
        return []
    values = f"{_shown(there)} there, {_shown(here)} here"
    return [f"{name}: {values}" if name else values]


def _shown(value: Any) -> str:
    return "absent" if value is _ABSENT else repr(value)


def check_identity(place: object, there: Identity, here: Identity) -> None:
    """Refuse what belongs to another configuration.

    Raises:
        ValueError: naming every field that differs.
    """
    lines = differences(there, here)
    if lines:
        raise InputError(
            f"identity is not allowed: {place} belongs to another configuration "
            f"({'; '.join(lines)}); give another folder, or remove this one"
        )


def claim(folder: Path, identity: Identity) -> None:
    """Tie a folder to a configuration, kept readable in ``identity.json``.

    Raises:
        ValueError: if it is tied to another one.
    """
    file = folder / _IDENTITY_FILE
    if file.exists():
        check_identity(folder, json.loads(file.read_text())["identity"], identity)
        return
    _write(file, {"identity": identity})


def _write(file: Path, value: Any) -> None:
    """Write JSON, whole or not at all."""
    part = file.with_suffix(f".{os.getpid()}.part")
    try:
        part.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n")
        part.replace(file)
    except OSError as error:  # on a full disk, the system's does not name the file
        raise OSError(error.errno, error.strerror, str(file)) from error
    finally:
        part.unlink(missing_ok=True)


@contextmanager
def hold(folder: str | os.PathLike[str]) -> Iterator[None]:
    """Work in a folder as the only process that does; a process may hold one several times over.

    The lock is the operating system's, so it ends with the process however that ends: nothing
    stale is left on one machine. ``holder.json`` says who holds it, and alone decides where
    machines share a file system but not its locks.

    Args:
        folder: made if it does not exist.

    Raises:
        FolderInUseError: naming host and process id of the holder.
    """
    folder = Path(folder).absolute()
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / _LOCK_FILE, is_singleton=True)
    if lock.is_locked:
        yield
        return
    file = folder / _HOLDER_FILE
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise FolderInUseError(f"{folder} is in use by {_described(_holder(file))}") from None
    try:
        _check_stale(file)
        _write(file, _this_process())
        try:
            yield
        finally:
            file.unlink(missing_ok=True)
    finally:
        lock.release()


def _this_process() -> dict[str, Any]:
    now = time.strftime("%Y-%m-%d %H:%M:%S%z")
    return {"host": socket.gethostname(), "process": os.getpid(), "since": now}


def _holder(file: Path) -> dict[str, Any] | None:
    """Who wrote the file; None if nobody did, or was killed while writing it."""
    try:
        holder = json.loads(file.read_text())
    except (FileNotFoundError, ValueError):
        return None
    return holder if isinstance(holder, dict) else None


def _described(holder: Mapping[str, Any] | None) -> str:
    if holder is None:
        return "a process that is just starting"
    return (
        f"process {holder.get('process')} on host {holder.get('host')}, since {holder.get('since')}"
    )


def _check_stale(file: Path) -> None:
    """Whose lock is free is gone, if it ran on this host; another host's is left to the user."""
    holder = _holder(file)
    if holder is None:
        return
    if holder.get("host") == socket.gethostname():
        _LOG.info("taking over %s: %s has ended", file.parent, _described(holder))
        return
    raise FolderInUseError(
        f"{file.parent} is in use by {_described(holder)}; whether it still runs cannot be seen "
        f"from here. If it has ended, remove {file}"
    )
