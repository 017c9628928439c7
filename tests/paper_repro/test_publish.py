"""The README shows the committed results, and its commands work."""

import json
import re
import subprocess
from pathlib import Path

import tyro

from experiments.store import write_json
from figures.figure import all_figures, figure_named
from figures.markdown import fill
from paper_repro.__main__ import COMMANDS
from paper_repro.gallery import copy_report, counts_text, pages
from paper_repro.job import Job
from paper_repro.protocol import quick
from paper_repro.publish import STUDIES, speed_text, studies_text

PROJECT = Path(__file__).parents[2]
README = (PROJECT / "README.md").read_text()
FOLDER = PROJECT / "figures" / "gallery"
GALLERY = (FOLDER / "README.md").read_text()


def readme_blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


def test_readme_shows_the_committed_results():
    assert fill(README, counts_text(FOLDER), "results") == README
    assert len(pages(FOLDER)) >= 2
    for page, text in pages(FOLDER).items():
        assert page.read_text() == text


def test_runs_that_no_figure_shows_any_more_go(tmp_path):
    """The second report has 4a of one size alone; 1a is of a run that only the first one has."""
    both = {"1a": {"settings": {"images": {}}}, "4a": {"settings": {"middle": {}, "large": {}}}}
    one = {"4a": {"settings": {"middle": {}}}}
    for figures, runs in ((both, ("images", "middle", "large")), (one, ("middle",))):
        report = {
            "figures": {name: own | {"pictures": []} for name, own in figures.items()},
            "claims": [],
            "runs": {size: {} for size in runs},
        }
        (tmp_path / "new").mkdir(exist_ok=True)
        write_json(tmp_path / "new" / "report.json", report)
        summary = copy_report(tmp_path / "new", tmp_path / "gallery")
    assert list(summary["runs"]) == ["images", "middle"]


def test_the_page_of_the_studies_shows_the_committed_results():
    folder = PROJECT / STUDIES
    assert (folder / "README.md").read_text() == studies_text(folder)


def test_readme_shows_the_committed_timings():
    timings = json.loads((PROJECT / "figures" / "gallery" / "benchmarks.json").read_text())
    assert fill(README, speed_text(timings, compared=True), "speed") == README
    assert fill(GALLERY, speed_text(timings), "speed") == GALLERY
    assert len(timings["rows"]) > 10


def test_pictures_of_the_readme_are_there():
    for name in re.findall(r"\]\((figures/[^)]*)\)", README):
        assert (PROJECT / name.split("#")[0]).exists(), name


def test_commands_of_the_readme_work():
    lines = "".join(readme_blocks("sh")).splitlines()
    commands = [line.split("#")[0].split() for line in lines]
    modules = [command[1:] for command in commands if command[:1] == ["python"]]
    assert len(modules) >= 3
    for _, module, *words in modules:
        assert module == "paper_repro"
        if words and words[0] in COMMANDS:
            tyro.cli(COMMANDS[words[0]].load()[0], args=words[1:])
        else:
            figures = tyro.cli(Job, args=words).figures
            assert set(map(figure_named, figures)) <= set(all_figures())
    for target in (command[1] for command in commands if command[:1] == ["make"]):
        make = subprocess.run(["make", "-n", target], cwd=PROJECT, capture_output=True, check=False)
        assert make.returncode == 0


def test_the_main_job_makes_the_figures_of_the_middle_size():
    done = subprocess.run(["make", "-n", "repro"], cwd=PROJECT, capture_output=True, text=True)
    (line,) = (line for line in done.stdout.splitlines() if "-m paper_repro" in line)
    arguments = tyro.cli(Job, args=line.split("-m paper_repro")[1].split())
    assert (arguments.figures, arguments.sizes, arguments.scale) == (quick(), ("middle",), "laptop")


def test_example_of_the_readme_runs(run_python, tmp_path):
    (example,) = readme_blocks("python")
    assert "(8, 16, 6)" in run_python(tmp_path, "-c", example)
