"""Answers of the shipped studies, on made-up tables whose truth is known."""

import importlib
import itertools

import numpy as np
import pandas as pd
import pytest

from experiments.study.answers import effects, log_times, make_claim
from experiments.study.axes import label, value_at
from experiments.study.files import load_study, shipped
from experiments.study.outcome import Outcome

TIMES = ("bias", "turn", "test")
BORDERS = tuple(itertools.product(TIMES, ("start", "end")))


def made_up(name, tau_bias, tau_test, levels=None, noise=0.02, num_splits=6, num_seeds=1):
    """What would come out of the study, with the given laws of a run's configuration."""
    study, draws = load_study(name), np.random.default_rng(0)
    rows = []
    for run in study.runs():
        settings = {path: label(value_at(run, path)) for path in (*study.varied, "seed")}
        for split, member in itertools.product(range(num_splits), range(num_seeds)):
            bias, test, *rest = (
                value * np.exp(noise * draws.normal())
                for value in (tau_bias(run), tau_test(run), *(levels(run) if levels else ()))
            )
            row = {**settings, "split": split, "member": member}
            row |= {"tau_bias": bias, "tau_test": test, "ratio": test / bias}
            row |= {"tau_turn": bias, "log_spacing": 0.01}
            row |= {f"tau_{which}_located": True for which in TIMES}
            row |= {f"tau_{which}_at_{end}": False for which, end in BORDERS}
            row |= {"steps_per_epoch": -(-run.split_size // run.training.batch_size)}
            row |= {"test_loss_above_floor": 0.1 + 0.01 * draws.normal()}
            row |= {"excess_copies": 0.05 + 0.001 * draws.normal()}
            for level in range(6):
                row[f"tau_level_{level}"] = rest[level] if level < len(rest) else np.nan
                row[f"tau_level_located_{level}"] = level < len(rest)
                row |= {f"tau_level_at_{end}_{level}": False for end in ("start", "end")}
                row[f"beaten_{level}"] = level < len(rest)
            rows.append(row)
    return Outcome(study, [], pd.DataFrame(rows))


def verdicts(answer):
    return {claim.name: claim.verdict for claim in answer.claims}


def test_exponents_are_found():
    table = made_up(
        "set_size", lambda run: 20 * run.split_size**0.4, lambda run: 5 * run.split_size**0.9
    )
    answer = load_study("set_size").answer(table)
    found = {claim.name: claim.interval for claim in answer.claims}
    # Noise of 0.02 over a factor of 16 in n, six networks: standard errors below 0.01.
    assert found["turn-grows"].estimate == pytest.approx(0.4, abs=0.05)
    assert found["test-grows"].estimate == pytest.approx(0.9, abs=0.05)
    assert found["ratio-grows"].estimate == pytest.approx(0.5, abs=0.07)
    assert set(verdicts(answer).values()) == {"shown"}
    assert "lengthens with n" in answer.paragraph
    assert "From n = 64 to 1024" in answer.paragraph


def test_the_exponent_of_the_turn_is_found_between_all_sizes_and_neighbouring_ones():
    table = made_up("turn", lambda run: 900 * run.split_size**-0.3, lambda _: 1.0, num_splits=12)
    answer = load_study("turn").answer(table)
    found = {claim.name: claim.interval.estimate for claim in answer.claims}
    # Noise of 0.02, twelve sets: standard errors below 0.01 between neighbours.
    assert found.pop("turn-steps") == pytest.approx(0.7, abs=0.02)
    assert len(found) == 5
    assert all(estimate == pytest.approx(-0.3, abs=0.05) for estimate in found.values())
    assert verdicts(answer)["turn-epochs"] == "contradicted"
    assert "comes earlier the larger the training set" in answer.paragraph


def test_what_does_not_move_is_not_shown_to_change():
    table = made_up("set_size", lambda run: 100.0, lambda run: 300.0, noise=0.1)
    answer = load_study("set_size").answer(table)
    # Each interval holds zero in 95 of 100 draws; this draw is fixed.
    assert verdicts(answer)["ratio-grows"] == "not shown"
    assert "is not shown to change with n" in answer.paragraph


def test_order_of_levels_and_what_moves_it():
    def levels(run):
        depth, rules = run.data.depth, run.data.rules_per_symbol
        delay = np.exp(0.3 * depth) * rules**0.5
        return [100 * delay ** (1 - k / depth) for k in range(depth + 1)]

    table = made_up("depth_and_rules", lambda _: 1.0, lambda _: 2.0, levels)
    answer = load_study("depth_and_rules").answer(table)
    found = {claim.name: claim.interval for claim in answer.claims}
    assert found["delay-grows-with-depth"].estimate == pytest.approx(0.3, abs=0.03)
    assert found["delay-grows-with-rules"].estimate == pytest.approx(0.5, abs=0.05)
    assert len(answer.claims) == 2 + 2 * 3 + 3 * 4 + 1 * 5
    assert set(verdicts(answer).values()) == {"shown"}
    assert "in 23, after it in 0" in answer.paragraph


def test_levels_that_are_not_beaten_are_not_ordered():
    def levels(run):
        return [2.0 ** (run.data.depth - k) for k in range(run.data.depth + 1)]

    table = made_up("depth_and_rules", lambda _: 1.0, lambda _: 2.0, levels)
    table.table["beaten_1"] = False
    names = [claim.name for claim in load_study("depth_and_rules").answer(table).claims]
    assert any(name.startswith("order-2-1") for name in names)
    assert not any(name.startswith("order-1-0") for name in names)


def test_effects_that_cannot_be_told_apart_are_refused():
    table = made_up("set_size", lambda _: 1.0, lambda _: 2.0)
    rows = table.table[table.table["split_size"] == 64]
    with pytest.raises(ValueError, match="cannot be told apart"):
        effects(rows, log_times(rows, "tau_bias"), {"n": np.log(rows["split_size"])})


def test_what_compares_own_with_other_has_pairs_for_units():
    rows = made_up("set_size", lambda run: run.split_size**0.5, lambda _: 1.0).table
    log_n = np.log(rows["split_size"])
    found = effects(rows, log_times(rows, "tau_bias"), {"n": log_n}, pairs=True)["n"]
    assert found.values == pytest.approx([0.5] * 3, abs=0.05)  # of six training sets
    claim = make_claim("set_size", "grows", "it grows", "exponent", found, pairs=True)
    assert claim.statistic == "exponent, per pair of training sets"


def test_minima_on_the_border_bound_what_is_said():
    """Where the largest sets' minima lie beyond the range, exponents are only larger still."""

    def tau(run):
        return 10.0 * run.split_size**0.5

    table = made_up("set_size", lambda _: 1.0, tau)
    rows = table.table
    largest = rows["split_size"] == 1024
    rows.loc[largest, "tau_test_located"] = False
    rows.loc[largest, "tau_test_at_end"] = True
    found = {claim.name: claim for claim in load_study("set_size").answer(table).claims}
    assert found["test-grows"].note == "on the border: tau_test 6 of 30"
    assert found["test-grows"].verdict == "shown"
    assert found["turn-grows"].note == ""
    # Bounded from the other side at the small sizes, they might be anything.
    rows.loc[rows["split_size"] == 512, "tau_test_at_start"] = True
    rows.loc[rows["split_size"] == 64, "tau_test_at_end"] = True
    answer = load_study("set_size").answer(table)
    assert verdicts(answer)["test-grows"] == "not located"
    assert "is not shown to change (not located) with n" in answer.paragraph


def test_a_delay_opposite_to_the_claim_is_contradicted_though_minima_lie_on_the_border():
    table = made_up("set_size", lambda run: 8.0 / run.split_size, lambda _: 400.0)
    largest = table.table["split_size"] == 1024
    table.table.loc[largest, "tau_turn_located"] = False
    table.table.loc[largest, "tau_turn_at_start"] = True  # earlier still
    found = verdicts(load_study("set_size").answer(table))
    assert found["turn-grows"] == "contradicted"
    assert found["ratio-grows"] == "shown"


def test_many_seeds_on_two_training_sets_are_too_few():
    table = made_up(
        "set_size", lambda run: run.split_size, lambda _: 2.0, num_splits=2, num_seeds=9
    )
    answer = load_study("set_size").answer(table)
    assert set(verdicts(answer).values()) == {"too few training sets"}
    assert "is not shown to change (too few training sets) with n" in answer.paragraph


def test_five_studies_are_shipped():
    assert shipped() == ["architecture", "depth_and_rules", "mitigations", "set_size", "turn"]


def test_shipped_studies_start_from_one_run():
    from experiments.laptop import BASE

    for name in ("set_size", "depth_and_rules", "architecture", "mitigations"):
        base = importlib.import_module(f"experiments.studies.{name}").STUDY.base
        for field in ("num_steps", "num_checkpoints", "seed"):
            assert getattr(base, field) == getattr(BASE, field)
