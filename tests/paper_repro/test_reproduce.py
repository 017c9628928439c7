"""The main job at smoke scale, end to end, as a newcomer starts it."""

import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from experiments.store import load_measurements
from paper_repro.claims import Claim
from paper_repro.gallery import BEGIN, END, fill, results_table
from paper_repro.protocol import SCALES, protocol

PROJECT = Path(__file__).parents[2]


def run(folder: Path, *arguments: str) -> str:
    """Run ``python ...`` in a process of its own, in a folder; return what it printed."""
    environment = {**os.environ, "JAX_ENABLE_X64": "0", "PYTHONPATH": str(PROJECT)}
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def readme_blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", (PROJECT / "README.md").read_text(), re.DOTALL)


@pytest.fixture(scope="module")
def smoke(tmp_path_factory) -> tuple[Path, str]:
    folder = tmp_path_factory.mktemp("work")
    return folder / "runs", run(folder, "-m", "paper_repro", "--scale", "smoke")


def test_smoke_run_prints_claims_and_the_report(smoke):
    root, printed = smoke
    assert "report: runs/report-smoke/report.html" in printed
    summary = json.loads((root / "report-smoke" / "report.json").read_text())
    assert all(claim["statement"] in printed for claim in summary["claims"])
    assert {claim["figure"] for claim in summary["claims"]} == {"1b", "4a"}
    assert set(summary["seconds"]) >= {"train", "evaluation", "samples", "comparison"}


def test_report_is_self_contained(smoke):
    root, _ = smoke
    page = (root / "report-smoke" / "report.html").read_text()
    assert page.count("src='data:image/png;base64,") == 2
    assert "src='http" not in page
    assert "href=" not in page
    for wanted in ("jaxlib", "splits", "own–other gap", "verdict", "nats"):
        assert wanted in page


def test_measurements_have_named_dimensions(smoke):
    root, _ = smoke
    evaluation = load_measurements(root / "report-smoke" / "evaluation.npz")
    settings = protocol("smoke").run
    num_members = settings.num_splits * settings.num_seeds
    oracle = evaluation["model_oracle"]
    assert oracle.dims == ("checkpoint", "member", "set", "level")
    assert oracle.values.shape[1:] == (num_members, 2, settings.grammar.depth + 1)
    assert np.isfinite(oracle.values).all()
    # The exact denoiser is the best there is, up to the sampling error of the test inputs.
    excess = evaluation["loss"].values[..., 1] - evaluation["loss_floor"].values[:, 1]
    assert (excess > -0.02).all()
    comparison = load_measurements(root / "report-smoke" / "comparison.npz")
    assert (comparison["validity"].values[..., -1] == 1).all()


def test_finished_stages_are_not_run_again(smoke):
    root, _ = smoke
    files = {path: path.stat().st_mtime_ns for path in root.glob("*/measurements/*.npz")}
    checkpoints = {p: p.stat().st_mtime_ns for p in root.glob("*/checkpoints/params/*")}
    start = time.monotonic()
    run(root.parent, "-m", "paper_repro", "--scale", "smoke")
    seconds = time.monotonic() - start
    assert files
    assert files == {path: path.stat().st_mtime_ns for path in files}
    assert checkpoints == {path: path.stat().st_mtime_ns for path in checkpoints}
    assert seconds < 60


def test_commands_of_the_readme_run(smoke):
    root, _ = smoke
    lines = "".join(readme_blocks("sh")).splitlines()
    commands = [line.split("#")[0].split() for line in lines]
    modules = [command[1:] for command in commands if command[0] == "python"]
    assert len(modules) >= 3
    for arguments in modules:
        small = ["smoke" if word in ("laptop", "paper") else word for word in arguments]
        assert "report: runs/" in run(root.parent, *small)
    for target in (command[1] for command in commands if command[0] == "make"):
        make = subprocess.run(["make", "-n", target], cwd=PROJECT, capture_output=True, check=False)
        assert make.returncode == 0


def test_example_of_the_readme_runs(tmp_path):
    (example,) = readme_blocks("python")
    assert "(8, 16, 6)" in run(tmp_path, "-c", example)


def test_unknown_scale_is_refused():
    with pytest.raises(ValueError, match=r"scale='huge'.*laptop.*paper.*smoke"):
        protocol("huge")


def test_paper_scale_holds_the_papers_numbers():
    settings = SCALES["paper"]()
    ours, network, training = settings.run, settings.run.network, settings.run.training
    assert (ours.num_splits, ours.num_seeds, ours.split_size) == (15, 2, 12_000)
    assert (ours.num_steps, ours.first_checkpoint, ours.num_checkpoints) == (500, 100, 25)
    assert (network.width, network.num_layers, network.num_heads) == (512, 8, 4)
    assert (network.dropout, network.pre_norm) == (0.1, False)
    assert (training.num_epochs, training.batch_size, training.learning_rate) == (30_000, 512, 3e-4)
    assert (settings.evaluation.num_sequences, settings.evaluation.num_noises) == (3000, 5)
    assert settings.generation.num_samples == 50_000


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [(0.1, 0.5, "shown"), (-0.1, 0.5, "not shown"), (-0.5, -0.1, "contradicted")],
)
def test_verdict_follows_the_interval(low, high, verdict):
    from hiermodel.measures.uncertainty import Interval

    interval = Interval((low + high) / 2, low, high, 0.95)
    claim = Claim("name", "1b", "statement", "statistic", interval, np.array([low, high]))
    assert claim.verdict == verdict


def test_readme_shows_the_committed_results():
    summary = json.loads((PROJECT / "figures" / "gallery" / "report.json").read_text())
    readme = (PROJECT / "README.md").read_text()
    assert fill(readme, results_table(summary)) == readme
    assert readme.index(BEGIN) < readme.index(END)
