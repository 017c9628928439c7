"""How a process uses its machine: devices, the compilation cache, and the log.

The cache holds machine code. It lies beside the run folders, not in them: a run folder from a
stranger cannot execute code, a cache could.
"""

import collections
import logging
import os
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import jax
import jax.monitoring
from filelock import FileLock
from tqdm import tqdm

from experiments.store import RunFolder
from hiermodel.training.folders import hold

CACHE_BYTES = 512 * 2**20
"""Bound on the size of the compilation cache; the least recently used programs go first."""

CACHE_SECONDS = 0.05
"""Programs that compile faster are not kept: reading one takes a few milliseconds."""

LOG_SECONDS = 0.5
"""Programs that compile faster are only counted in the log, not named."""

_LOG = logging.getLogger(__name__)
_LOGGERS = ("experiments", "hiermodel", "py.warnings")
_COMPILED = "/jax/core/compile/backend_compile_duration"
_HIT = "/jax/compilation_cache/cache_hits"


def prepare(root: Path | str) -> None:
    """Use every core as a device of its own, keep compiled programs under the root, and log.

    To be called once, before any array exists.

    On a CPU, small networks leave most of a second core idle; with one device per core, members of
    an ensemble run side by side. On GPU and TPU the setting has no effect.

    Args:
        root: where run folders are; compiled programs go to ``root/.compiled``.
    """
    jax.config.update("jax_num_cpu_devices", len(os.sched_getaffinity(0)))
    cache = Path(root).absolute() / ".compiled"
    _remove_unfinished(cache)
    jax.config.update("jax_compilation_cache_dir", str(cache))
    jax.config.update("jax_compilation_cache_max_size", CACHE_BYTES)
    jax.config.update("jax_persistent_cache_min_compile_time_secs", CACHE_SECONDS)
    jax.monitoring.register_event_listener(_COMPILATIONS.on_event)
    jax.monitoring.register_event_duration_secs_listener(_COMPILATIONS.on_duration)
    logging.captureWarnings(True)
    _add_handler(_Terminal())


@contextmanager
def stage(run: RunFolder, name: str, share: float = 1.0, *, alone: bool = True) -> Iterator[None]:
    """Work on one stage of a run: alone in its folder, timed, and logged to its ``log.txt``.

    Args:
        run: the run's folder.
        name: of the stage.
        share: of the time that counts as this run's, where others are worked on together with it.
        alone: False where other processes may work on the same run meanwhile.

    Raises:
        FolderInUseError: if another process works in the folder.
    """
    if jax.process_index() > 0:  # of processes that train together, the first keeps the folder
        yield
        return
    held = hold(run.path) if alone else nullcontext()
    with held, _logged_to(run.log_file), run.timed(name, share):
        if alone:
            run.remove_unfinished()
        before, start = _COMPILATIONS.totals.copy(), time.monotonic()
        _LOG.info("%s: process %d", name, os.getpid())
        try:
            yield
        finally:
            seconds, found = time.monotonic() - start, _COMPILATIONS.totals - before
            _LOG.info(
                f"{name}: {seconds:.1f} s, with {found['compiled']} programs compiled in "
                f"{found['compile seconds']:.1f} s and {found['read']} read from the cache in "
                f"{found['read seconds']:.1f} s"
            )


class _Compilations:
    """Listens to what JAX compiles; a hit in the cache is announced within its compilation."""

    def __init__(self):
        self.totals: Any = collections.Counter()  # programs, and seconds
        self._thread = threading.local()

    def on_event(self, event: str, **kwargs: Any) -> None:
        if event == _HIT:
            self._thread.hit = True

    def on_duration(self, event: str, duration_secs: float, **kwargs: Any) -> None:
        if event != _COMPILED:
            return
        name = kwargs.get("fun_name", "a program")
        if getattr(self._thread, "hit", False):
            self._thread.hit = False
            self.totals += {"read": 1, "read seconds": duration_secs}
            message = "read %s from the compilation cache in %.1f s"
        else:
            self.totals += {"compiled": 1, "compile seconds": duration_secs}
            message = "compiled %s in %.1f s"
        if duration_secs >= LOG_SECONDS:
            _LOG.info(message, name, duration_secs)


_COMPILATIONS = _Compilations()


def _remove_unfinished(cache: Path) -> None:
    """Remove programs whose writing was cut short: JAX would neither replace nor evict them.

    JAX writes a program into its place, and then the time of its last use beside it.
    """
    if not cache.exists():
        return
    with FileLock(cache / ".lockfile"):  # JAX's own
        for program in cache.glob("*-cache"):
            if not program.with_name(program.name.removesuffix("-cache") + "-atime").exists():
                program.unlink()


class _Terminal(logging.StreamHandler):
    """Writes above progress bars instead of into them."""

    def emit(self, record: logging.LogRecord) -> None:
        tqdm.write(self.format(record), file=sys.stderr)


def _add_handler(handler: logging.Handler) -> None:
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s", "%Y-%m-%d %H:%M:%S"))
    for name in _LOGGERS:
        logging.getLogger(name).addHandler(handler)
        logging.getLogger(name).setLevel(logging.INFO)
        logging.getLogger(name).propagate = False  # other libraries put handlers on the root


@contextmanager
def _logged_to(file: Path) -> Iterator[None]:
    handler = logging.FileHandler(file, encoding="utf-8", delay=True)
    _add_handler(handler)
    try:
        yield
    finally:
        for name in _LOGGERS:
            logging.getLogger(name).removeHandler(handler)
        handler.close()
