"""A new measure is one file, a new figure is one file, a new study is one file."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[1]

STAGE = '''
"""How often samples begin with each symbol."""

import dataclasses

import numpy as np

from experiments.stages.generation import sampled_epochs
from experiments.stages.pipeline import Context, Plan, Recipe, along_checkpoints
from experiments.stages.registry import Stage
from experiments.store import Measurement


@dataclasses.dataclass(frozen=True)
class FirstSymbolConfig:
    """Which place is looked at."""

    leaf: int = 0


def plan(context: Context) -> Plan:
    """The stage "first_symbol"."""
    leaf = context.own["first_symbol"].leaf
    epochs = sampled_epochs(context.config, context.own["samples"])

    def prepare() -> Recipe:
        drawn = context.load("samples")["sequences"].values

        def at_epoch(epoch: int):
            found = (drawn[epochs.index(epoch), :, :, leaf] == 0).mean(-1)
            return {"zeros": Measurement(found, ("member",), "fraction", "samples with a 0 there")}

        return Recipe(at_epoch)

    return along_checkpoints(epochs, prepare)


STAGES = (Stage("first_symbol", FirstSymbolConfig, plan, reads=("samples",)),)
'''

FIGURE = '''
"""How often samples begin with each symbol, along training."""

from experiments.claim import Statistic
from experiments.store import trained_checkpoints
from figures import style
from figures.claims import per_network
from figures.figure import FigureSpec


def draw(results):
    """Draw the figure from the stage "first_symbol" of each run."""
    return style.draw_runs(results, [("zeros", ("first_symbol",), _draw)], 2.5)


def _draw(axis, results):
    trained, epochs = trained_checkpoints(results["first_symbol"])
    curves = style.by_set(results, results["first_symbol"]["zeros"].values[trained])
    style.curve_with_band(axis, epochs, curves)


def begins_with_zero(run):
    """A claim about the last checkpoint."""
    last = Statistic.known(run.results["first_symbol"]["zeros"].values[-1])
    about = {"name": "zeros", "statement": "some samples begin with a zero", "about": "fraction"}
    return [per_network(run, last, **about)]


FIGURE = FigureSpec(
    title="First symbols",
    content="how often samples begin with a zero",
    caption="The fraction of samples that begin with a zero.",
    sizes=("middle",),
    stages=("first_symbol",),
    draw=draw,
    claims=((("first_symbol",), begins_with_zero),),
)
'''

STUDY = '''
"""Two rates."""

from experiments.configs import RunConfig
from experiments.stages.evaluation import EvaluationConfig
from experiments.study import Grid, Study
from experiments.worlds.grammar import GrammarConfig
from hiermodel.networks.mlp import MLPConfig
from hiermodel.training.state import TrainingConfig

BASE = RunConfig(
    GrammarConfig(depth=2),
    MLPConfig(4, 6, width=8, num_blocks=1),
    TrainingConfig(num_epochs=40, batch_size=8),
    split_size=16,
    test_size=8,
    num_steps=20,
    first_checkpoint=2,
    num_checkpoints=4,
)
RATES = Grid("training.learning_rate", (1e-3, 2e-3))
MEASURES = {"evaluation": EvaluationConfig(num_examples=8, num_noises=1, num_loss_noises=1)}
STUDY = Study("two_rates", "does the rate matter?", BASE, (RATES,), MEASURES)
'''


@pytest.fixture
def checkout(tmp_path):
    """A copy of the project with three new files, and nothing else changed."""
    for folder in ("hiermodel", "experiments", "figures", "paper_repro"):
        ignored = shutil.ignore_patterns("__pycache__", "gallery")
        shutil.copytree(PROJECT / folder, tmp_path / folder, ignore=ignored)
    (tmp_path / "experiments/stages/first_symbol.py").write_text(STAGE)
    (tmp_path / "figures/figure_symbols.py").write_text(FIGURE)
    (tmp_path / "experiments/studies/two_rates.py").write_text(STUDY)
    return tmp_path


def run(checkout, *arguments):
    command = [sys.executable, "-m", *arguments]
    done = subprocess.run(command, cwd=checkout, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.long
def test_one_file_each_makes_a_measure_and_a_figure_with_its_claim(checkout):
    printed = run(checkout, "paper_repro", "symbols", "--scale", "smoke", "--no-progress")
    assert "[symbols] some samples begin with a zero" in printed
    page = (checkout / "runs/report-smoke/report.html").read_text()
    assert 'id="figure-symbols"' in page
    assert "some samples begin with a zero" in page
    (claim,) = json.loads((checkout / "runs/report-smoke/report.json").read_text())["claims"]
    assert claim["figure"] == "symbols"
    assert 0 <= claim["estimate"] <= 1


@pytest.mark.long
def test_one_file_makes_a_study(checkout):
    before = run(checkout, "experiments", "status", "two_rates")
    assert "2 runs: 0 done, 0 running, 0 failed, 2 waiting" in before
    after = run(checkout, "experiments", "run", "two_rates", "--no-progress")
    assert "2 runs: 2 done" in after
    run(checkout, "experiments", "report", "two_rates")
    page = (checkout / "runs/studies/two_rates/report.html").read_text()
    assert "does the rate matter?" in page
    summary = json.loads((checkout / "runs/studies/two_rates/report.json").read_text())
    rates = {made["settings"]["training"]["learning_rate"] for made in summary["runs"].values()}
    assert rates == {1e-3, 2e-3}
    assert all(figure["state"] == "finished" for figure in summary["figures"].values())
