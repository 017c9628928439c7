"""Onsets and claims from curves whose answers are known."""

import numpy as np
import pytest

from experiments.claim import Statistic
from experiments.onsets import find_onsets
from experiments.store import Measurement
from figures.claims import Run, of_other_units
from figures.figure import all_figures, examine_runs
from hiermodel.measures.units import by_training_set

EPOCHS = np.concatenate([[0], np.geomspace(10, 1000, 25).round()])
NUM_LEVELS = 3


def examine(results, num_splits, num_seeds):
    """All claims that the measurements of one ensemble can speak to."""
    return examine_runs({"middle": Run(results, num_splits, num_seeds)}, tuple(all_figures()))


def valley(position: float, members: int, seed: int) -> np.ndarray:
    """Curves (checkpoint, member) with a minimum near a position, a little apart per member."""
    rng = np.random.default_rng(seed)
    shift = np.exp(0.05 * rng.normal(size=members))
    return 1 + np.log(np.maximum(EPOCHS, 1)[:, None] / (position * shift)) ** 2


def measured(values, *dims) -> Measurement:
    return Measurement(values, ("checkpoint", *dims), "nats", "made up")


NUM_SPLITS = 8
NETWORKS, PAIRS = 2 * NUM_SPLITS, NUM_SPLITS
"""With two seeds on each split."""


def make_results(tau_level, tau_split, tau_test, tau_neighbour):
    """Results of 8 splits × 2 seeds with given minima."""
    levels = np.stack([valley(tau, NETWORKS, 1) for tau in tau_level], -1)
    split = valley(tau_split, PAIRS, 2) * (EPOCHS > 0)[:, None]
    split[1], split[2] = 2.0, 60.0  # untrained networks agree, then part in a transient
    excess = valley(tau_split, PAIRS, 4)
    excess[1] = -1.0  # nor does it matter to them on what they will be trained
    evaluation = {
        "epoch": measured(EPOCHS),
        "loss": measured(np.stack([valley(tau_test, NETWORKS, 3)] * 2, -1), "member", "set"),
        "model_oracle": measured(np.stack([levels] * 2, 2), "member", "set", "level"),
        "sample_split": measured(np.stack([split] * 2, -1), "pair", "set"),
        "split_excess": measured(np.stack([excess] * 2, -1), "pair", "set"),
    }
    gap = np.linspace(0, 1, len(EPOCHS))[:, None] + 0.01 * np.arange(NETWORKS)
    blocks = np.broadcast_to(gap[..., None], (*gap.shape, NUM_LEVELS))
    comparison = {
        "epoch": measured(EPOCHS),
        "neighbour_divergence": measured(valley(tau_neighbour, NETWORKS, 5), "member"),
        "gap": measured(gap, "member"),
        "gap_of_sets": measured(by_training_set(gap, NUM_SPLITS, axis=1), "split"),
        "block_reproduction": measured(blocks, "member", "level"),
    }
    onsets = find_onsets(evaluation, comparison)
    return {"evaluation": evaluation, "comparison": comparison, "onsets": onsets}


def test_of_all_pairs_only_those_count_that_share_no_network():
    results = make_results((400, 200, 60), 90, 500, 100)
    alike = np.concatenate([valley(30, PAIRS, 6), valley(300, 5 * PAIRS, 7)], 1)
    comparison = {**results["comparison"], "dissimilarity": measured(alike, "pair")}
    found = find_onsets(results["evaluation"], comparison)["tau_pair"].values
    assert found.shape == (PAIRS,)
    assert found == pytest.approx(30, rel=0.25)


def test_minima_are_found_where_they_are():
    results = make_results((400, 200, 60), 90, 500, 100)
    onsets = results["onsets"]
    for name, expected in (
        ("tau_test", 500),
        ("tau_neighbour", 100),
        ("tau_split", 90),
        ("tau_excess", 90),  # not where untrained networks agree
    ):
        # The members' own shifts have a spread of 5 %.
        assert onsets[name].values == pytest.approx(expected, rel=0.25)
        assert onsets[f"{name}_located"].values.all()
    assert onsets["tau_level"].values.mean(0) == pytest.approx([400, 200, 60], rel=0.15)


def verdicts(claims) -> dict[str, str]:
    return {claim.name: claim.verdict for claim in claims}


def test_claims_that_hold_are_shown():
    claims = examine(make_results((400, 200, 60), 90, 500, 100), NUM_SPLITS, 2)
    assert set(verdicts(claims).values()) == {"shown"}
    assert {len(claim.values) for claim in claims} == {8, 4}  # training sets, pairs of them


def test_claims_that_do_not_hold_are_contradicted():
    claims = verdicts(examine(make_results((60, 200, 400), 300, 100, 500), NUM_SPLITS, 2))
    for name in ("order-2-1", "order-1-0", "excess-before-fit", "neighbour-before-test"):
        assert claims[name] == "contradicted"


def test_two_training_sets_are_too_few_for_any_claim():
    results = make_results((400, 200, 60), 90, 500, 100)
    several = examine(results, 2, NUM_SPLITS)  # as many networks, on two training sets
    assert set(verdicts(several).values()) == {"too few training sets"}


def test_minima_closer_than_checkpoints_are_told_apart_by_none():
    """The checkpoints stand 0.19 apart in ln; the minima 0.1, or three times that."""
    tau = [300 * np.exp(0.1 * step) for step in (4, 1, 0)]
    claims = verdicts(examine(make_results(tau, 90, 500, 100), NUM_SPLITS, 2))
    assert claims["order-2-1"] == "not shown"
    assert claims["order-1-0"] == "shown"


def test_minima_on_the_border_show_only_what_they_bound():
    claims = examine(make_results((400, 200, 60), 90, 5000, 100), NUM_SPLITS, 2)
    (claim,) = (claim for claim in claims if claim.name == "neighbour-before-test")
    assert claim.verdict == "shown"  # the border understates how late the minimum is
    assert "τ_test 16 of 16" in claim.note
    # Where bias sets in only after the last checkpoint, nothing is known of the order.
    found = verdicts(examine(make_results((400, 200, 60), 90, 5000, 5000), NUM_SPLITS, 2))
    assert found["neighbour-before-test"] == "not located"
    assert found["gap-at-test"] == "not located"
    # And where it is known to be the other way round, that is said.
    found = verdicts(examine(make_results((400, 200, 60), 90, 100, 5000), NUM_SPLITS, 2))
    assert found["neighbour-before-test"] == "contradicted"


def test_a_place_found_on_other_pairs_knows_nothing_of_ones_own_noise():
    """Curves of noise alone: each pair's own maximum lies above the rest, others' maxima do not.

    800 draws of 4 pairs; the means over draws have standard errors of 0.018.
    """
    rng = np.random.default_rng(0)
    own, others = [], []
    for _ in range(800):
        curves = rng.normal(size=(6, 4))
        best = Statistic.known(np.log(1.0 + curves.argmax(0)))
        elsewhere = of_other_units(best, 4)
        for found, place in ((own, best), (others, elsewhere)):
            rows = np.rint(np.exp(place.values) - 1).astype(int)
            found.append((curves[rows, np.arange(4)] - curves[0]).mean())
    assert np.mean(own) > 1
    assert abs(np.mean(others)) < 0.08
