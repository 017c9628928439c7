"""The oracle study at toy size: measured once, part by part, and drawn."""

import numpy as np
import pytest

from experiments import oracle_study
from experiments.oracle_study import OracleStudy, run_study
from experiments.store import load_measurements
from experiments.worlds.grammar import GrammarConfig
from paper_repro.oracles import as_text, write

STUDY = OracleStudy(
    grammar=GrammarConfig(depth=2),
    hierarchy=GrammarConfig(kind="hierarchy", vocab_size=4, rules_per_symbol=2, depth=2),
    shallow=(1,),
    num_times=8,
    num_sequences=100,
    num_hierarchy_sequences=100,
)


@pytest.mark.long
def test_a_study_is_measured_once_and_drawn(tmp_path, monkeypatch):
    folder = write(STUDY, tmp_path)
    assert {path.name for path in folder.iterdir()} == {
        f"figure_ancestors.{kind}" for kind in ("npz", "pdf", "png")
    }
    measured = load_measurements(folder / "figure_ancestors.npz")
    assert measured["grammar_success"].values.shape == (3, len(STUDY.steps), 3)
    assert measured["depth_1_unchanged"].values.shape == (3, len(STUDY.steps), 2)
    assert measured["loss"].values.shape == (3, 3, len(STUDY.steps))
    for name, found in measured.items():
        if "bound" in found.dims:
            low, estimate, high = np.moveaxis(found.values, found.dims.index("bound"), 0)
            assert np.all((low <= estimate) & (estimate <= high)), name
    assert "depth_2_success" in as_text(measured)

    monkeypatch.setattr(oracle_study, "reconstruct_ancestors", None)  # would fail if called
    monkeypatch.setattr(oracle_study, "loss_floor", None)
    again = run_study(STUDY, tmp_path)
    for name, found in measured.items():
        np.testing.assert_array_equal(again[name].values, found.values)


def test_steps_begin_and_end_where_the_noise_does():
    steps = OracleStudy().steps
    assert steps[0] == 1
    assert steps[-1] == 500
    assert np.all(np.diff(steps) > 0)
    with pytest.raises(ValueError, match="num_times=1"):
        OracleStudy(num_times=1)
