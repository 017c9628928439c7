"""``python -m experiments COMMAND …``: studies, cards and benchmarks.

Every command has its own arguments, which ``--help`` after it lists.
"""

import dataclasses
import importlib
import sys

from experiments import command


@dataclasses.dataclass(frozen=True)
class Command:
    """One of the commands.

    Attributes:
        module: where its arguments and its function are, loaded when it is called.
        function: its name there; the arguments are ``Arguments``.
        about: what it does.
        example: how it is typed.
    """

    module: str
    function: str
    about: str
    example: str


COMMANDS = {
    "plan": Command("study.commands", "plan", "what a study costs", "plan set_size"),
    "run": Command(
        "study.commands", "run", "run a study; goes on where it stopped", "run set_size"
    ),
    "status": Command("study.commands", "status", "how far a study is", "status set_size"),
    "report": Command("study.commands", "report", "a study's table and page", "report set_size"),
    "publish": Command(
        "study.commands", "publish", "a study's result into the project", "publish set_size"
    ),
    "submit": Command(
        "launch", "submit_and_say", "a study as jobs of a cluster", "submit set_size --tasks 8"
    ),
    "card": Command("audit", "write_card", "one page about a run", "card 1b3f"),
    "mitigations": Command(
        "mitigations", "make", "what helps against copying", "mitigations --scale smoke"
    ),
    "bench": Command(
        "benchmarks.command", "measure", "time the library", "bench --suites training"
    ),
    "kill-test": Command(
        "kill_test", "kill_and_compare", "kill a run again and again", "kill-test --kills 3"
    ),
}


def main() -> None:
    """Do what the command line says."""
    name = sys.argv[1] if len(sys.argv) > 1 else ""
    if name in ("", "-h", "--help"):
        print(listing())
        sys.exit(0 if name else command.BAD_INPUT)
    if name not in COMMANDS:
        command.refuse(f"command={name!r} is not allowed: it must be one of {list(COMMANDS)}")
    chosen = COMMANDS[name]
    module = importlib.import_module(f"experiments.{chosen.module}")
    do = getattr(module, chosen.function)
    command.run(module.Arguments, do, sys.argv[2:], f"python -m experiments {name}")


def listing() -> str:
    """All commands, with an example each."""
    rows = [
        f"  {name:<12} {each.about:<40} python -m experiments {each.example}"
        for name, each in COMMANDS.items()
    ]
    return "\n".join(
        ["python -m experiments COMMAND [arguments]; --help after it lists them", *rows]
    )


if __name__ == "__main__":
    main()
