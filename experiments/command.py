"""How every command starts and ends: its arguments, signals, errors and exit codes.

Exit codes: 0 done; 1 an error that is no fault of the input, or some runs failed; 2 bad input; 3 a
study would take longer than it may; 75 stopped by SIGTERM, 130 by SIGINT, with all that is done
kept: the same command goes on. Bad input gives one line that says what is wrong and what
is allowed. Any other error is a fault of the program and shows its traceback, as bad input does
under ``python -X dev``.
"""

import contextlib
import dataclasses
import importlib
import inspect
import io
import os
import sys
import typing
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import tyro

from experiments import signals

T = TypeVar("T")

BAD_INPUT = 2
"""Exit code for input that is refused."""

_FRAME = "│╭╮╰╯─ "
"""What tyro draws around its messages."""


@dataclasses.dataclass(frozen=True)
class Command:
    """One of several commands of a program, loaded when it is called.

    Attributes:
        place: the function that does it, as "module:function"; the type of its one argument
            describes the command line.
        about: what it does.
        example: how it is typed, after the program's name.
    """

    place: str
    about: str
    example: str

    def load(self) -> tuple[type[Any], Callable[[Any], int | None]]:
        """Its arguments and its function."""
        module, _, name = self.place.partition(":")
        function = getattr(importlib.import_module(module), name)
        return typing.get_type_hints(function)["arguments"], function


def choose(program: str, commands: Mapping[str, Command]) -> None:
    """Do the command that the first word names, or list all of them."""
    name = sys.argv[1] if len(sys.argv) > 1 else ""
    if name in ("", "-h", "--help"):
        print(listing(program, commands))
        sys.exit(0 if name else BAD_INPUT)
    if name not in commands:
        refuse(f"command={name!r} is not allowed: it must be one of {list(commands)}")
    chosen = commands[name]
    run(*chosen.load(), sys.argv[2:], f"{program} {name}", f"{program} {chosen.example}")


def listing(program: str, commands: Mapping[str, Command]) -> str:
    """All commands, with an example each."""
    rows = [
        f"  {name:<10} {each.about:<40} {program} {each.example}" for name, each in commands.items()
    ]
    return "\n".join([f"{program} COMMAND [arguments]; --help after it lists them", *rows])


def run(
    arguments: type[T],
    do: Callable[[T], int | None],
    words: Sequence[str] | None = None,
    program: str | None = None,
    example: str | None = None,
) -> None:
    """Read the command line, and do what it says. Signals are caught from the start.

    Args:
        arguments: a dataclass that describes the command line; a field ``root`` must be a folder,
            or a place where one can be made.
        do: takes the arguments, and returns the exit code; None for 0.
        words: the arguments as typed; those of the process for None.
        program: what is typed before them.
        example: of the whole line, for ``--help``.

    Raises:
        SystemExit: with the exit code, unless it is 0.
    """
    signals.install()  # first of all: imports take seconds
    try:
        given = parse(arguments, words, program, example)
        check_folder("root", getattr(given, "root", None))
        code = do(given)
    except ValueError as error:
        from hiermodel.checks import InputError  # loads JAX, which --help need not wait for

        if not isinstance(error, InputError) or sys.flags.dev_mode:
            raise
        refuse(str(error))
    except RuntimeError as error:
        from hiermodel.training.folders import FolderInUseError

        if not isinstance(error, FolderInUseError):
            raise
        sys.exit(_one_line(str(error)))
    if code:
        sys.exit(code)


def parse(
    arguments: type[T],
    words: Sequence[str] | None = None,
    program: str | None = None,
    example: str | None = None,
) -> T:
    """The arguments on the command line; what tyro refuses is said in one line.

    Raises:
        SystemExit: for bad arguments, or after ``--help``.
    """
    said = io.StringIO()
    about = inspect.cleandoc(arguments.__doc__ or "").partition("\n\nAttributes:")[0]
    about += f"\n\nExample: {example}" if example else ""
    try:
        with contextlib.redirect_stderr(said):
            program = program or _program()
            return tyro.cli(arguments, args=words, prog=program, description=about)
    except SystemExit as stop:
        if stop.code != BAD_INPUT:
            raise
    refuse(f"{_message(said.getvalue())} (--help lists what is allowed)")


def _program() -> str:
    """The command as it is typed."""
    spec = getattr(sys.modules["__main__"], "__spec__", None)
    return f"python -m {spec.name.removesuffix('.__main__')}" if spec else sys.argv[0]


def check_folder(name: str, path: Path | None) -> None:
    """Refuse a path that is no folder and cannot become one."""
    if path is None:
        return
    there = next(place for place in (path, *path.absolute().parents) if place.exists())
    if not there.is_dir() or not os.access(there, os.W_OK):
        allowed = "a folder that can be written to, or the name of a new one"
        refuse(f"{name}={str(path)!r} is not allowed: {name} must be {allowed}")


def refuse(message: str) -> NoReturn:
    """Say in one line what is wrong with the input, and leave."""
    print(_one_line(message), file=sys.stderr)
    sys.exit(BAD_INPUT)


def _message(drawn: str) -> str:
    """The words of tyro's message, without its frame, heading and hints."""
    rows = [row.strip(_FRAME) for row in drawn.splitlines()[1:]]  # the heading is in the frame
    words = [row for row in rows if row]
    hints = (place for place, row in enumerate(words) if row.startswith("For full helptext"))
    words = words[: next(hints, len(words))]
    further = ("Got errors:", "Argument helptext:")
    return " ".join(words[: next((n for n, row in enumerate(words) if row in further), None)])


def _one_line(message: str) -> str:
    return " ".join(message.split())
