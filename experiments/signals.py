"""SIGTERM and SIGINT: keep what is done, and leave with an exit code that says so."""

import logging
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

EXIT_CODES = {signal.SIGTERM: os.EX_TEMPFAIL, signal.SIGINT: 130}
"""75 after SIGTERM (preemption: start the same command again), 130 after SIGINT (Ctrl-C)."""

_LOG = logging.getLogger(__name__)


class Stopped(SystemExit):
    """Leaves the process with the exit code of a signal."""


class _Stopper:
    """What this process has been asked; signal handlers are the process's own."""

    def __init__(self):
        self.received: signal.Signals | None = None
        self.deferring = False

    def handle(self, number: int, frame: FrameType | None) -> None:
        again = self.received is not None
        self.received = signal.Signals(number)
        if again or not self.deferring:
            self.leave_if_asked()
        _LOG.warning("%s: saving, then stopping (once more: at once)", self.received.name)

    def leave_if_asked(self) -> None:
        if self.received is not None:
            _LOG.warning("stopped by %s; the same command goes on from here", self.received.name)
            raise Stopped(EXIT_CODES[self.received])


_STOPPER = _Stopper()

leave_if_asked = _STOPPER.leave_if_asked
"""Raise ``Stopped`` if a signal came; for after calls in which another library may catch it."""


def install() -> None:
    """From now on SIGTERM and SIGINT raise ``Stopped``. For entry points; main thread only."""
    for number in EXIT_CODES:
        signal.signal(number, _STOPPER.handle)


@contextmanager
def deferred() -> Iterator[Callable[[], bool]]:
    """Let a signal only be noted inside; it takes effect on leaving.

    Yields:
        A function that says whether to come to an end.
    """
    _STOPPER.deferring = True
    try:
        yield lambda: _STOPPER.received is not None
    finally:
        _STOPPER.deferring = False
    leave_if_asked()
