"""Every command says in one line what is wrong with its input, and leaves with code 2."""

import dataclasses
import json
import re
import runpy
import sys
from pathlib import Path

import pytest
import submitit  # noqa: F401 - now: it sets up logging anew, which pytest would not outlive

from experiments import command, runtime, signals
from hiermodel.checks import InputError
from hiermodel.training.folders import FolderInUseError

PROJECT = Path(__file__).parents[2]

BAD_INPUT = """
paper_repro                 --list 99                           99 4a levels
paper_repro                 99                                  99 4a levels
paper_repro                 4b --scale foo                      foo smoke laptop paper
paper_repro                 4b --sizes foo                      foo small middle large
paper_repro                 4b --seed -1                        -1 at.least.0
paper_repro                 4b --seed x                         x INT
paper_repro                 --bogus                             bogus help
paper_repro                 4b --root {file}                    root folder
paper_repro                 1a --images {nothing}               nothing folder .npz
paper_repro                 1a --images {file}                  file folder .npz
paper_repro                 1a --images {empty}                 empty .png
paper_repro                 1a --images {broken}/images.npy     cannot array
paper_repro                 1a --scale paper                    images 1a
paper_repro                 --scale paper --seeds 0:1           images 1a --sizes
paper_repro                 --splits 3:2                        3:2 a:b
paper_repro                 --seeds 0:99                        0:99 a:b
paper_repro                 oracles --root {file}               root folder
paper_repro                 oracles --study.num-times 0         num_times=0 2…500
paper_repro                 oracles --study.grammar.kind foo    foo paper random hierarchy
paper_repro                 publish {nothing}                   report.json exists
paper_repro                 publish {broken}                    report.json damaged
paper_repro                 publish {other}                     scale figures claims runs
paper_repro                 publish {nothing}.json              nothing exists
paper_repro                 publish {other}/bench.json          provenance rows
paper_repro                 publish {other}/study.json          answer question tables
experiments                 foo                                 foo run status report card
experiments                 card                                run folder
experiments                 card nothing                        nothing run.folder
experiments                 card {other}                        config types RunConfig
experiments                 card {broken}                       config.json damaged
experiments                 card {older}                        bogus num_epochs
experiments                 card nothing --out {file}           out folder
experiments                 bench --suites foo                  foo inference training
experiments                 bench --root {file}                 root folder
experiments                 status nothing                      nothing .py set_size
experiments                 foo set_size                        foo run status
experiments                 status {nothing}.py                 nothing exists
experiments                 status {other}/study.py             STUDY must.define RUN
experiments                 status {other}/config.json          config types RunConfig
experiments                 run set_size --seed -1              seed at.least.0
experiments                 run set_size --processes 0          0 at.least.1
experiments                 run set_size --memory -1            -1 positive
experiments                 report set_size                     set_size run.it
experiments                 submit nothing                      nothing .py set_size
experiments                 submit set_size --tasks 0           tasks=0 at.least.1
experiments                 submit set_size --minutes -1        minutes above.0
experiments                 submit set_size --cluster foo       foo slurm local
"""
"""Command, arguments, and what its message must name."""

COLUMNS = (0, 28, 64)
CASES = [
    tuple(line[start:end].strip() for start, end in zip(COLUMNS, (*COLUMNS[1:], None), strict=True))
    for line in BAD_INPUT.strip().splitlines()
]


@pytest.fixture(scope="module")
def places(tmp_path_factory):
    """Files and folders that no command can use, by name."""
    root = tmp_path_factory.mktemp("places")
    for name in ("empty", "broken", "other", "older"):
        (root / name).mkdir()
    (root / "file").write_text("words")
    for name in ("config.json", "report.json", "images.npy"):
        (root / "broken" / name).write_text("{")
    (root / "other/config.json").write_text('{"config": {"type": "Bogus"}}')
    (root / "other/report.json").write_text("{}")
    (root / "other/bench.json").write_text('{"rows": []}')
    (root / "other/study.json").write_text('{"study": "a"}')
    (root / "other/study.py").write_text("STUDY = 1")
    training = {"type": "TrainingConfig", "bogus": 1}
    config = {"type": "RunConfig", "training": training}
    (root / "older/config.json").write_text(json.dumps({"config": config}))
    names = ("file", "nothing", "empty", "broken", "other", "older")
    return {name: str(root / name) for name in names}


@pytest.fixture
def start(monkeypatch, tmp_path, capsys):
    """Run a command in this process, in an empty folder: its exit code, and what it said."""
    prepared = []
    monkeypatch.setattr(signals, "install", lambda: None)
    monkeypatch.setattr(runtime, "prepare", prepared.append)
    monkeypatch.chdir(tmp_path)

    def run(module, *arguments):
        monkeypatch.setattr(sys, "argv", [module, *arguments])
        place = PROJECT / module.replace(".", "/")
        file = place / "__main__.py" if place.is_dir() else place.with_suffix(".py")
        with pytest.raises(SystemExit) as stop:
            runpy.run_path(str(file), run_name="__main__")
        said = capsys.readouterr()
        return stop.value.code, said.err, said.out, prepared

    return run


@pytest.mark.parametrize(
    ("module", "arguments", "named"), CASES, ids=[f"{m} {a}" for m, a, _ in CASES]
)
def test_bad_input_gives_one_line_and_code_2(start, places, module, arguments, named):
    given = arguments.format(**places).split()
    code, errors, printed, _ = start(module, *given)
    assert (code, printed) == (2, ""), errors
    assert errors.count("\n") == 1, errors
    assert "Traceback" not in errors
    for words in named.split():
        assert re.search(words.replace(".", "[ .]"), errors), (words, errors)


def test_every_entry_point_is_a_command_and_is_tested():
    files = [
        path
        for folder in ("experiments", "paper_repro", "figures")
        for path in (PROJECT / folder).rglob("*.py")
        if 'if __name__ == "__main__"' in path.read_text()
    ]
    modules = {
        ".".join(path.relative_to(PROJECT).with_suffix("").parts).removesuffix(".__main__")
        for path in files
    }
    assert modules == {module for module, _, _ in CASES}
    for path in files:
        text = path.read_text()
        assert re.search(r"command\.(run|choose)\(", text), path
        assert "tyro.cli" not in text, path


def test_the_card_keeps_compiled_programs_under_its_root(start, tmp_path):
    root = tmp_path / "elsewhere"
    _, errors, _, prepared = start("experiments", "card", "nothing", "--root", str(root))
    assert prepared == [root]
    assert str(root) in errors


@dataclasses.dataclass(frozen=True)
class Arguments:
    """Of a command for these tests.

    Attributes:
        number: any.
    """

    number: int = 0


def raising(error):
    def do(arguments):
        raise error

    return do


@pytest.fixture
def no_arguments(monkeypatch):
    monkeypatch.setattr(signals, "install", lambda: None)
    monkeypatch.setattr(sys, "argv", ["command"])


@pytest.mark.parametrize("error", [ValueError("a fault"), KeyError("k"), RuntimeError("a fault")])
def test_a_fault_of_the_program_shows_its_traceback(no_arguments, error):
    with pytest.raises(type(error)):
        command.run(Arguments, raising(error))


def test_what_is_refused_and_what_is_in_use_end_in_one_line(no_arguments, capsys):
    with pytest.raises(SystemExit) as stop:
        command.run(Arguments, raising(InputError("number=0 is\nnot allowed")))
    assert (stop.value.code, capsys.readouterr().err) == (2, "number=0 is not allowed\n")
    with pytest.raises(SystemExit) as stop:
        command.run(Arguments, raising(FolderInUseError("in use by process 1")))
    assert stop.value.code == "in use by process 1"  # which Python prints, with exit code 1


def test_the_code_that_a_command_returns_is_its_exit_code(no_arguments):
    command.run(Arguments, lambda arguments: None)
    command.run(Arguments, lambda arguments: arguments.number)
    with pytest.raises(SystemExit) as stop:
        command.run(Arguments, lambda arguments: 3)
    assert stop.value.code == 3


def test_help_is_printed_in_full(no_arguments, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["command", "--help"])
    with pytest.raises(SystemExit) as stop:
        command.run(Arguments, raising(AssertionError))
    assert stop.value.code in (0, None)
    assert "--number" in capsys.readouterr().out
