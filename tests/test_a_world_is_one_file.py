"""A new data world is one file: it is trained on, measured, drawn and reported like the others."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[1]

USE = """
import json
from pathlib import Path

from experiments.configs import Protocol, RunConfig, to_json
from experiments.measure import measure_run
from experiments.runs.training import open_run, train_run
from experiments.stages.evaluation import EvaluationConfig
from experiments.stages.generation import ComparisonConfig, SamplesConfig
from experiments.worlds.mixture import MixtureConfig
from experiments.study.columns import rows_of
from experiments.worlds.registry import complete, from_json, world_of
from figures import card
from figures.figure import all_figures
from hiermodel.networks.unet import UNetConfig
from hiermodel.training.state import TrainingConfig

network = UNetConfig(4, 4, base_width=4, multipliers=(1,), num_res_blocks=1, num_groups=2)
training = TrainingConfig(num_epochs=40, batch_size=8, learning_rate=1e-2)
run = complete(RunConfig(
    MixtureConfig(), network, training, num_splits=2, num_seeds=2, split_size=16, test_size=40,
    num_steps=40, first_checkpoint=5, num_checkpoints=3,
))
assert from_json(to_json(run)) == run
train_run(run, "runs", progress=False)
own = Protocol(run, {
    "evaluation": EvaluationConfig(40, 2, (0.1, 0.5), 4),
    "samples": SamplesConfig(20),
    "comparison": ComparisonConfig(),
})
results = measure_run(own, "runs", progress=False)
for name in ("1a", "2"):
    figure = all_figures()[name].draw({"toy": results})
    figure.draw_without_rendering()
page = card.main(card.Arguments(open_run(run, "runs").path.name, Path("runs"), Path("card")))
evaluation = results["evaluation"]
print(json.dumps({
    "loss": evaluation["loss"].values[..., 1].mean(1).tolist(),
    "floor": float(evaluation["loss_floor"].values[:, 1].mean()),
    "divergence": evaluation["model_oracle"].values.shape,
    "dissimilarity": results["comparison"]["dissimilarity"].values.mean(1).tolist(),
    "onsets": sorted(results["onsets"]),
    "columns": sorted(rows_of(run, world_of(run), results)[0]),
    "page": page.read_text(),
}))
"""


@pytest.mark.long
def test_one_file_makes_a_data_world(tmp_path):
    for folder in ("hiermodel", "experiments", "figures"):
        ignored = shutil.ignore_patterns("__pycache__", "gallery")
        shutil.copytree(PROJECT / folder, tmp_path / folder, ignore=ignored)
    shutil.copy(PROJECT / "tests/mixture_world.py", tmp_path / "experiments/worlds/mixture.py")
    (tmp_path / "use.py").write_text(USE)
    command = [sys.executable, "use.py"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["floor"] < found["loss"][-1] < found["loss"][0]
    assert found["divergence"] == [4, 4, 2, 1, 2]  # checkpoints, members, sets, level, noise levels
    assert abs(found["dissimilarity"][0]) < 1e-5  # untrained networks draw the same
    assert found["dissimilarity"][-1] > 1e-4
    assert {"tau_pair", "tau_test", "tau_level", "tau_split"} <= set(found["onsets"])
    assert {"tau_bias", "ratio", "test_loss_above_floor", "gap"} <= set(found["columns"])
    for words in (
        "divergence from the exact denoiser",
        "own–other gap at τ_test",
        "AUC of the calibrated attack",
        "first alarm",
        "points about ±1",
    ):
        assert words in found["page"], words
