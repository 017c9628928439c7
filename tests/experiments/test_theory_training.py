"""Many networks as one program, and what the families that train read off their curves."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import hiermodel as hm
from experiments.store import Measurement
from experiments.theory import f3, f4
from experiments.theory.training import Regime, along_training, follow, tree_u_net
from figures.theory import f3 as staircase
from figures.theory import f4 as times
from figures.theory import f7 as order
from figures.theory.family import all_families
from figures.theory.rises import first_rise


def measurement(values, *dims):
    return Measurement(np.asarray(values, float), dims, "", "")


def test_checkpoints_are_multiples_up_to_the_last_step():
    regime = Regime(num_steps=400, every=20, num_checkpoints=5)
    assert regime.checkpoints.tolist() == [20, 40, 80, 180, 400]


def test_networks_of_sets_of_any_size_are_measured_on_inputs_of_their_own():
    """A network that has seen one sequence only gives it back; its neighbour gives back its own."""
    process = hm.DiscreteProcess.masked(3, 4)
    one, other = np.array([[0, 1, 2, 0]]), np.array([[2, 2, 1, 1], [2, 2, 1, 1], [2, 2, 1, 1]])
    regime = Regime(
        width=8, num_steps=120, batch_size=4, average=0.9, every=40, num_checkpoints=2,
        learning_rate=1e-2,
    )  # fmt: skip
    hidden = jnp.full((2, 2, 4), 3)
    network, t = tree_u_net(regime, 2, process), jnp.array([4, 3])
    found = along_training(
        jax.random.key(0), regime, network, process, [one, other], hidden, t, np.asarray
    )
    assert found.shape == (2, 2, 2, 4, 3)
    np.testing.assert_allclose(np.exp(found).sum(-1), 1, atol=1e-5)
    assert (found[-1, 0].argmax(-1) == one).all()
    assert (found[-1, 1].argmax(-1) == other[0]).all()
    assert found[-1].max(-1).mean() > found[0].max(-1).mean()


def test_levels_are_learned_where_oracles_change_places():
    """KL from the oracle of level k is |ln P − (k-th place)|: places change halfway between."""
    sequences = np.geomspace(4, 4000, 13)
    measured = {}
    for rules in f3.RULES:
        places = np.array([(4 - k) * np.log(rules) for k in range(4)])  # k = 3 first
        curves = np.abs(np.log(sequences)[:, None] - places) + 0.1
        tiled = np.tile(curves[None, :, None], (5, 1, 3, 1))
        tiled[:, :, 0] += 7  # of a first checkpoint, further from all
        measured[f"m{rules}_sequences"] = measurement(sequences, "P")
        measured[f"m{rules}_divergence"] = measurement(tiled, "r", "P", "c", "k")
    for level in (2, 3):
        found = staircase.learned_at(level, 4, measured)
        np.testing.assert_allclose(found, (level + 0.5) * np.log(4), atol=0.05)
    assert staircase.learned_at(1, 2, measured)[0] == pytest.approx(np.log(4))  # below all sizes
    np.testing.assert_allclose(staircase.slope(2, measured), 2.5, atol=0.2)
    family = all_families()["f3"]
    assert len(family.claims(measured)) == len(family.predictions)
    assert family.draw(measured).axes


def test_levels_are_included_where_oracles_change_places_along_training():
    """KL from the oracle of level k is lowest at a step of its own, coarser ones first."""
    steps = order.STEPS
    places = np.log(steps)[[9, 6, 3, 1]]  # of k = 0 … 3
    curves = 1 + np.abs(np.log(steps)[:, None] - places)
    measured = {
        f"m{rules}_divergence": measurement(np.tile(curves, (6, 7, 1, 1)), "r", "P", "c", "k")
        for rules in f3.RULES
    }
    np.testing.assert_allclose(np.exp(order.nearest_at(1, 3, measured)), steps[6])
    np.testing.assert_allclose(order.included_at(2, 3, measured), places[1:3].mean(), atol=0.15)
    family = all_families()["f7"]
    assert {claim.verdict for claim in family.claims(measured)} == {"shown"}
    assert family.draw(measured).axes


def test_exponents_of_times_are_those_of_the_curves():
    """τ_mem = 32 n / W steps, less with the controls; τ_gen = 640 / W."""
    steps, numbers = np.geomspace(2, 4000, 100), np.array([12, 26, 56, 120])
    measured = {}
    trainings = [(f4.name_of(width), width, 1.0) for width in f4.WIDTHS]
    controls = [("control", f4.WIDTHS[1], 0.25), ("falling", f4.WIDTHS[1], 0.8)]
    for name, width, factor in trainings + controls:
        memory = times.SHARE + np.log(steps / (factor * 32 * numbers[:, None] / width))
        pairs = np.tile(np.log(steps / (640 / width)), (4, 1))
        levels = np.stack([pairs * 0 + 1, pairs * 0, -pairs, pairs * 0], -1)
        measured[f"{name}_step"] = measurement(steps, "c")
        measured[f"{name}_sequences"] = measurement(numbers, "n")
        measured[f"{name}_memory"] = measurement(np.tile(memory, (6, 1, 1)), "r", "n", "c")
        tiled = np.tile(levels, (6, 1, 1, 1))
        measured[f"{name}_divergence"] = measurement(tiled, "r", "n", "c", "k")
    family = all_families()["f4"]
    claims = {claim.name: claim.to_json() for claim in family.claims(measured)}
    for name, expected in (("memory-n-width-24", 1), ("law-n-width-12", 0), ("law-width", -1)):
        assert claims[name]["estimate"] == pytest.approx(expected, abs=0.02), name
        assert claims[name]["verdict"] == "shown"
    assert claims["batch"]["estimate"] == pytest.approx(-np.log(4), abs=0.02)
    assert claims["decay"]["estimate"] == pytest.approx(np.log(0.8), abs=0.02)
    assert claims["memory-n-falling"]["verdict"] == "shown"
    assert family.draw(measured).axes


def test_times_of_a_falling_rate_are_sums_of_rates():
    regime = Regime(num_steps=400, every=20, num_checkpoints=8)
    np.testing.assert_array_equal(regime.times, regime.checkpoints)
    falling = dataclasses.replace(regime, falling=True).times
    assert np.all(falling < regime.checkpoints)
    assert falling[-1] == pytest.approx(200, abs=1)  # half, over a whole cosine
    process = hm.DiscreteProcess.masked(3, 4)
    short = dataclasses.replace(regime, num_steps=4, every=2, num_checkpoints=2, falling=True)
    key, rows = jax.random.key(0), np.zeros((4, 2), int)
    network = tree_u_net(dataclasses.replace(short, width=4), 1, process)
    assert len(follow(key, short, network, process, [rows], lambda _: 0.0)) == 2


def test_what_never_happens_is_put_at_the_last_step():
    curves = np.array([[[-1.0, -0.5, -0.1], [-1.0, 1.0, 2.0], [1.0, 1.0, 1.0]]])
    found = np.exp(first_rise(np.array([10.0, 100.0, 1000.0]), curves))
    np.testing.assert_allclose(found, [[1000, np.sqrt(1000), 10]])
