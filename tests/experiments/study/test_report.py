"""From a finished study to its report, and into the project."""

import dataclasses
import json
import re
from pathlib import Path

import pandas as pd
import pytest
import tiny
import tyro

from experiments.__main__ import COMMANDS
from experiments.claim import Claim, Statistic
from experiments.command import listing
from experiments.store import read_json
from experiments.study.answers import Answer, make_claim, per_unit
from experiments.study.files import load_study, shipped
from figures import study_report
from figures.study_report import write_report
from paper_repro import __main__ as reproduction
from paper_repro.publish import STUDIES, publish, studies_text

pytestmark = pytest.mark.long

PROJECT = Path(__file__).parents[3]
GUIDE = (PROJECT / "experiments" / "README.md").read_text()


def answer(found) -> Answer:
    ratios = per_unit(found.table, Statistic.known(found.table["ratio"]))
    claim: Claim = make_claim("tiny", "ratio", "the ratio is positive", "ratio", ratios)
    further = pd.DataFrame({"what": ["c < d"], "how much": [3]})
    return Answer(f"It is {claim.interval.estimate:.3g}, a < b.", [claim], {"Further": further})


@pytest.fixture
def answered(monkeypatch):
    """The tiny study, with an answer, whatever source is given."""
    study = dataclasses.replace(tiny.STUDY, answer=answer)
    monkeypatch.setattr(study_report, "load_study", lambda *_: study)
    return study


def test_a_report_holds_everything_in_one_file(answered, finished):
    path = write_report("tiny.py", finished)
    text = path.read_text()
    summary = read_json(path.with_name("report.json"))
    assert "does anything come out?" in text
    assert summary["answer"].replace("<", "&lt;") in text
    assert text.count("<img alt=") == 3  # phases, levels, curves
    assert "the ratio is positive" in text
    assert "tau_bias_low" in text  # the table of runs
    assert "c &lt; d" in text
    assert len(summary["runs"]) == 2
    for name in ("phases.pdf", "levels.png", "curves.png", "networks.csv", "runs.csv"):
        assert path.with_name(name).exists()


def test_a_study_that_is_not_finished_is_reported_as_partial(answered, finished, monkeypatch):
    more = dataclasses.replace(answered, axes=(tiny.Grid("training.learning_rate", (0.01, 0.5)),))
    monkeypatch.setattr(study_report, "load_study", lambda *_: more)
    path = write_report("tiny.py", finished)
    assert "partial: 1 done, 0 running, 0 failed, 1 waiting" in path.read_text()
    assert read_json(path.with_name("report.json"))["answer"] is None
    with pytest.raises(ValueError, match="is not finished"):
        publish(path.parent)


def test_without_results_there_is_no_report(tmp_path):
    with pytest.raises(ValueError, match="nothing of study 'tiny' is measured"):
        write_report(Path(tiny.__file__), tmp_path)


def test_a_result_can_be_published(answered, finished, tmp_path):
    written = publish(write_report("tiny.py", finished).parent, tmp_path)
    names = {path.name for path in written}
    assert names == {"tiny.png", "tiny.pdf", "tiny.csv", "tiny.json", "README.md"}
    summary = read_json(tmp_path / STUDIES / "tiny.json")
    text = (tmp_path / STUDIES / "README.md").read_text()
    assert f"## tiny\n\n**{summary['question']}** {summary['answer']}" in text
    assert text == studies_text(tmp_path / STUDIES)
    assert "2 runs" in text
    assert (tmp_path / STUDIES / "tiny.csv").read_text().startswith("run,training.learning_rate")


@pytest.mark.parametrize("name", shipped())
def test_the_results_of_every_shipped_study_are_committed(name):
    file = PROJECT / STUDIES / f"{name}.json"
    assert json.loads(file.read_text())["answer"] in file.with_name("README.md").read_text()
    assert f"studies/README.md#{name})" in GUIDE
    for ending in ("png", "pdf", "csv"):
        assert file.with_suffix(f".{ending}").exists()


def test_studies_of_the_guide_are_studies(tmp_path):
    rates, more = re.findall(r"```python\n(.*?)```", GUIDE, re.DOTALL)[:2]
    (tmp_path / "rates.py").write_text(rates)
    study = load_study(tmp_path / "rates.py")
    assert (study.name, len(study.runs())) == ("rates", 4)
    (tmp_path / "more.py").write_text(rates + more)
    assert len(load_study(tmp_path / "more.py").runs()) == 4 * 3 * 8


def test_commands_of_the_guide_parse():
    lines = [
        line.split("#")[0].strip()
        for block in re.findall(r"```sh\n(.*?)```", GUIDE, re.DOTALL)
        for line in block.splitlines()
    ]
    parsed = 0
    for line in lines:
        if "-m experiments " in line:
            name, *words = line.split("-m experiments ")[1].strip('"').split()
            tyro.cli(COMMANDS[name].load()[0], args=words)
            parsed += 1
    assert parsed >= 9


@pytest.mark.parametrize(
    ("program", "commands"),
    [("python -m experiments", COMMANDS), (reproduction.PROGRAM, reproduction.COMMANDS)],
)
def test_every_command_has_an_example_that_parses(program, commands):
    for name, each in commands.items():
        first, *words = each.example.split()
        arguments, function = each.load()
        tyro.cli(arguments, args=words)
        assert first == name
        assert callable(function)
        assert each.about in listing(program, commands)
