"""Onsets and claims from curves whose answers are known."""

import numpy as np
import pytest

from experiments.onsets import find_onsets
from experiments.store import Measurement
from paper_repro.claims import examine

EPOCHS = np.concatenate([[0], np.geomspace(10, 1000, 25).round()])
NUM_LEVELS = 3


def valley(position: float, members: int, seed: int) -> np.ndarray:
    """Curves (checkpoint, member) with a minimum near a position, a little apart per member."""
    rng = np.random.default_rng(seed)
    shift = np.exp(0.05 * rng.normal(size=members))
    return 1 + np.log(np.maximum(EPOCHS, 1)[:, None] / (position * shift)) ** 2


def measured(values, *dims) -> Measurement:
    return Measurement(values, ("checkpoint", *dims), "nats", "made up")


def make_results(tau_level, tau_split, tau_test, tau_neighbour):
    """Results of 2 splits × 2 seeds with given minima."""
    levels = np.stack([valley(tau, 4, 1) for tau in tau_level], -1)
    split = valley(tau_split, 2, 2) * (EPOCHS > 0)[:, None]
    split[1:3] = [[2.0, 2.0], [60.0, 60.0]]  # untrained networks agree, then part in a transient
    evaluation = {
        "epoch": measured(EPOCHS),
        "loss": measured(np.stack([valley(tau_test, 4, 3)] * 2, -1), "member", "set"),
        "model_oracle": measured(np.stack([levels] * 2, 2), "member", "set", "level"),
        "sample_split": measured(np.stack([split] * 2, -1), "pair", "set"),
        "split_excess": measured(np.stack([valley(tau_split, 2, 4)] * 2, -1), "pair", "set"),
    }
    gap = np.linspace(0, 1, len(EPOCHS))[:, None] + 0.01 * np.arange(4)
    blocks = np.broadcast_to(gap[..., None], (*gap.shape, NUM_LEVELS))
    comparison = {
        "epoch": measured(EPOCHS),
        "neighbour_divergence": measured(valley(tau_neighbour, 4, 5), "member"),
        "gap": measured(gap, "member"),
        "block_reproduction": measured(blocks, "member", "level"),
    }
    onsets = find_onsets(evaluation, comparison)
    return {"evaluation": evaluation, "comparison": comparison, "onsets": onsets}


def test_minima_are_found_where_they_are():
    results = make_results((400, 200, 60), 90, 500, 100)
    onsets = results["onsets"]
    for name, expected in (("tau_test", 500), ("tau_neighbour", 100), ("tau_split", 90)):
        # The members' own shifts have a spread of 5 %.
        assert onsets[name].values == pytest.approx(expected, rel=0.25)
        assert onsets[f"{name}_located"].values.all()
    assert onsets["tau_level"].values.mean(0) == pytest.approx([400, 200, 60], rel=0.15)


def test_claims_that_hold_are_shown():
    claims = examine(make_results((400, 200, 60), 90, 500, 100), 2, 2)
    assert {claim.verdict for claim in claims} == {"shown"}


def test_claims_that_do_not_hold_are_contradicted():
    claims = examine(make_results((60, 200, 400), 300, 100, 500), 2, 2)
    verdicts = {claim.name: claim.verdict for claim in claims}
    for name in ("order-2-1", "order-1-0", "excess-before-fit", "neighbour-before-test"):
        assert verdicts[name] == "contradicted"


def test_minima_on_the_border_are_said_to_be():
    claims = examine(make_results((400, 200, 60), 90, 5000, 100), 2, 2)
    (claim,) = (claim for claim in claims if claim.name == "neighbour-before-test")
    assert claim.verdict == "shown"  # the border understates how late the minimum is
    assert "τ_test 4 of 4" in claim.note
