"""Families of the theory study that train nothing: one program for all realisations of a size."""

import dataclasses

import jax
import numpy as np
import pytest

from experiments.theory import f1, f2, f6, f11, f12
from experiments.theory.study import realisations
from experiments.theory.u_turns import u_turns

NOISE = np.array([0.1, 0.4])
SIZES = {"vocab_size": 4, "rules_per_symbol": 3, "depth": 2}


def test_u_turns_of_several_realisations_compile_as_often_as_those_of_one(count_compilations):
    (key, first), *others = realisations(0, 5, **SIZES)
    jax.clear_caches()
    assert count_compilations(lambda: u_turns(key, first, NOISE, "equal", 9)) > 0

    def further():
        for own_key, grammar in others:
            u_turns(own_key, grammar, NOISE, "gaussian", 9)  # nor does the noise matter

    assert count_compilations(further) == 0


STUDIES = {
    "f1": f1.F1Study(depth=3, num_sequences=8, num_noises=3),
    "f2": f2.F2Study(depth=3, num_sequences=8, num_chains=2, num_draws=2),
    "f6": f6.F6Study(num_u_turns=8, num_noises=3, num_starts=4, num_information=4),
    "f12": f12.F12Study(num_pairs=1, num_sizes=2),
}
"""Of very small trees, see ``shallow``."""


@pytest.fixture
def shallow(monkeypatch):
    """Trees of which a program is soon compiled, in families whose studies do not say how deep."""
    classes = {name: sizes | {"depth": 2} for name, sizes in f6.CLASSES.items()}
    monkeypatch.setattr(f6, "CLASSES", classes)
    monkeypatch.setattr(f6, "MEMORISED", f6.MEMORISED | {"depth": 2})
    monkeypatch.setattr(f6, "NUM_SEQUENCES", (8, 16))
    monkeypatch.setattr(f12, "SIZES", ((8, 3, 2),))
    monkeypatch.setattr(f11, "SIZES", f11.SIZES | {"depth": 2})
    monkeypatch.setattr(f11, "CALLS", (2, 4))


@pytest.mark.long
@pytest.mark.usefixtures("shallow")
@pytest.mark.parametrize("name", STUDIES)
def test_families_of_many_realisations_compile_as_often_as_those_of_one(name, count_compilations):
    family = {"f1": f1, "f2": f2, "f6": f6, "f12": f12}[name]
    one, many = (
        family.parts(dataclasses.replace(STUDIES[name], num_realisations=number))
        for number in (1, 4)
    )
    jax.clear_caches()
    assert count_compilations(lambda: [measure() for measure in one.values()]) > 0
    assert count_compilations(lambda: [measure() for measure in many.values()]) == 0


@pytest.mark.long
@pytest.mark.usefixtures("shallow")
def test_samplers_of_few_steps_compile_as_often_for_many_realisations(count_compilations):
    study = f11.F11Study(num_realisations=3, num_samples=64, num_steps=500)
    first, *others = f11.parts(study).values()
    jax.clear_caches()
    assert count_compilations(first) > 0
    assert count_compilations(lambda: [measure() for measure in others]) == 0
