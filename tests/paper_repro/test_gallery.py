"""The README shows the committed results, and its commands work."""

import json
import re
import subprocess
from pathlib import Path

from paper_repro.gallery import BEGIN, END, copy_report, fill, results_text

PROJECT = Path(__file__).parents[2]
README = (PROJECT / "README.md").read_text()


def readme_blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


def test_readme_shows_the_committed_results():
    summary = json.loads((PROJECT / "figures" / "gallery" / "report.json").read_text())
    assert fill(README, results_text(summary)) == README
    assert README.index(BEGIN) < README.index(END)


def test_pictures_of_the_readme_are_there():
    for name in re.findall(r"\]\((figures/[^)]*)\)", README):
        assert (PROJECT / name).exists(), name


def test_commands_of_the_readme_work(run_python, tmp_path):
    lines = "".join(readme_blocks("sh")).splitlines()
    commands = [line.split("#")[0].split() for line in lines]
    modules = [command[1:] for command in commands if command[:1] == ["python"]]
    assert len(modules) >= 3
    for arguments in modules:  # parsed, and its figures looked up; the smoke run makes them
        assert "FLOP" in run_python(tmp_path, *arguments, "--list")
    for target in (command[1] for command in commands if command[0] == "make"):
        make = subprocess.run(["make", "-n", target], cwd=PROJECT, capture_output=True, check=False)
        assert make.returncode == 0


def test_example_of_the_readme_runs(run_python, tmp_path):
    (example,) = readme_blocks("python")
    assert "(8, 16, 6)" in run_python(tmp_path, "-c", example)


def test_a_report_can_be_shown(smoke, tmp_path):
    root, _ = smoke
    summary = copy_report(root / "report-smoke", tmp_path)
    (tmp_path / "figure_old.png").touch()
    copy_report(root / "report-smoke", tmp_path)
    names = {path.name for path in tmp_path.iterdir()}
    assert "figure_old.png" not in names
    assert {"report.json", "figure_levels.png", "figure_9.pdf"} <= names
    text = results_text(summary)
    assert all(claim["statement"] in text for claim in summary["claims"])
    assert "n = 32 sequences" in text
