"""The answer of the study of architectures, on made-up curves whose differences are known."""

import numpy as np
import pandas as pd
import pytest

from experiments.costs import forward_operations
from experiments.onsets import beaten_levels
from experiments.store import Measurement, RunFolder
from experiments.studies.architecture import STUDY, TREE, answer, best_within, curves_of
from experiments.study.outcome import Made, Outcome

EPOCHS = np.array([0, 100, 200, 400, 800])
LOSS = np.array([1.0, 0.5, 0.3, 0.2, 0.3])
SETS = STUDY.base.num_splits
APART = 1 + 0.01 * np.arange(SETS)


def measured(values, *dims):
    return Measurement(np.asarray(values, float), dims, "1", "test")


def made(run, name, folder, above=0.0, closer=0.0):
    """A run with these losses, ``above`` nats more, whose samples are ``closer`` to their set."""
    loss, gap = (np.outer(curve, APART) for curve in (LOSS + above, 1 - LOSS + closer))
    evaluation = {
        "epoch": measured(EPOCHS, "checkpoint"),
        "distillation": measured(np.stack([loss, loss], -1), "checkpoint", "member", "set"),
        "model_oracle": measured(
            np.stack([loss, loss], -1)[..., None] * np.ones(3),
            *("checkpoint", "member", "set", "level"),
        ),
        "oracle_line": measured([0.0, 0.1, 0.4], "level"),
    }
    comparison = {
        "epoch": measured(EPOCHS, "checkpoint"),
        "gap_of_sets": measured(gap, "checkpoint", "split"),
        "block_reproduction": measured(
            0.1 * gap[..., None] * np.ones(3), "checkpoint", "member", "level"
        ),
    }
    return Made(name, run, {"evaluation": evaluation, "comparison": comparison}, folder)


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    folder = RunFolder(tmp_path_factory.mktemp("runs"))
    above, closer = (0.0, 0.1, 0.1), (0.0, -0.1, 0.4)
    runs = [
        made(run, STUDY.settings(run)["architecture"], folder, *more)
        for run, *more in zip(STUDY.runs(), above, closer, strict=True)
    ]
    rows = [
        {"seed": 1, "split": split, "architecture": each.name, "tau_test": test, "tau_turn": 100.0}
        | {f"tau_{time}_at_{end}": False for time in ("turn", "test") for end in ("start", "end")}
        for each, test in zip(runs, (400.0, 400.0, 200.0), strict=True)
        for split in range(SETS)
    ]
    return Outcome(STUDY, runs, pd.DataFrame(rows))


def test_differences_are_found_at_equal_loss_and_at_equal_compute(found):
    made_up = answer(found)
    claims = {claim.name: claim for claim in made_up.claims}
    assert len(claims) == 10
    assert claims["transformer-loss"].interval.estimate == pytest.approx(0.1, abs=0.02)
    # A gap 0.1 lower at a loss 0.1 higher: no other than the tree U-Net's on its way.
    assert claims["transformer-gap"].interval.estimate == pytest.approx(0.0, abs=0.03)
    assert claims["perceptron-gap"].interval.estimate == pytest.approx(0.5, abs=0.05)
    assert claims["perceptron-gap"].verdict == "shown"
    assert claims["perceptron-phase"].interval.estimate == pytest.approx(-np.log(2))
    (table,) = made_up.tables.values()
    assert list(table["beaten levels k"]) == ["2", "2", "2"]
    assert "transformer against the tree U-Net" in made_up.paragraph


def test_compute_is_that_of_training_and_bounds_the_loss(found):
    first = found.runs[0]
    assert first.name == TREE
    curves = curves_of(first)
    passes = 3 * 100 * first.config.split_size  # 100 epochs, forward and twice as much backward
    expected = passes * forward_operations(first.config.network) / 1e12
    np.testing.assert_allclose(curves["compute"][0], expected)
    np.testing.assert_allclose(best_within(curves, 2.5 * curves["compute"][0]), 0.3 * APART)
    np.testing.assert_allclose(best_within(curves, np.zeros(SETS)), 0.5 * APART)  # the first known


def test_levels_are_beaten_by_networks_nearer_to_the_exact_denoiser(found):
    assert beaten_levels(found.runs[0].results["evaluation"]) == {1: False, 2: True}
    assert beaten_levels({}) == {}
