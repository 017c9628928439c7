"""Compiled stages take nothing from the host unasked, and each compiles once.

For epochs of training and for evaluation see ``training/test_compiled_chunks.py`` and
``experiments/test_evaluation_program.py``.
"""

import jax
import numpy as np
import pytest

import hiermodel as hm
from experiments.configs import RunConfig
from experiments.stages import generation
from experiments.stages.u_turns import overlaps
from experiments.theory import u_turns as theory
from experiments.worlds.grammar import GrammarConfig
from hiermodel.diffusion import compiled
from hiermodel.networks.learned import learned_denoiser
from hiermodel.networks.mlp import MLPConfig
from hiermodel.networks.network import init_params
from hiermodel.training import fitting
from hiermodel.training.state import TrainingConfig

KEY, OTHER = jax.random.key(0), jax.random.key(1)
GRAMMAR = hm.Grammar.random(KEY, vocab_size=4, depth=2, rules_per_symbol=3)
LEAVES = np.asarray(hm.sample_leaves(KEY, GRAMMAR, 12))
NETWORK = MLPConfig(4, 4, width=8, num_blocks=1)
GAUSSIAN = hm.Schedule.linear(20)
MASKED = hm.DiscreteProcess.masked(4, 5)


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(LEAVES, id="stored"),
        pytest.param(hm.training.fresh(GRAMMAR, 12), id="fresh", marks=pytest.mark.long),
    ],
)
def test_steps_of_fit(count_compilations, guard, data):
    calls = guard(fitting, "train_steps")

    def fit(key, points):
        hm.fit(
            key,
            NETWORK,
            data,
            GAUSSIAN,
            num_steps=7,
            batch_size=5,
            learning_rate=1e-3,
            points=points,
            progress=False,
        )

    fit(KEY, 1)
    assert count_compilations(lambda: fit(OTHER, 4)) == 0
    assert len(calls) == 1 + 4


SAMPLERS = {
    "network": lambda key, start: hm.sample_ancestral(
        key, learned_denoiser(NETWORK, init_params(KEY, NETWORK)), GAUSSIAN, 3, start=start
    ),
    "masked, joint": lambda key, start: hm.sample_ancestral(
        key, hm.exact_denoiser(GRAMMAR, MASKED), MASKED, 3, start=start, joint=True
    ),
    "any order": lambda key, start: hm.sample_any_order(
        key, hm.exact_denoiser(GRAMMAR, MASKED), MASKED, 3
    ),
    "DDIM": lambda key, start: hm.sample_ddim(
        key, hm.exact_denoiser(GRAMMAR, GAUSSIAN), GAUSSIAN, 3, start=start, num_steps=2
    ),
    "ODE": lambda key, start: hm.sample_ode(
        key, hm.exact_denoiser(GRAMMAR, GAUSSIAN), GAUSSIAN, 3, start=start, num_steps=2
    ),
}


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[] if name == "network" else [pytest.mark.long])
        for name in SAMPLERS
    ],
)
def test_samplers(count_compilations, guard, name):
    calls = guard(compiled, "_call")
    SAMPLERS[name](KEY, 5)
    assert count_compilations(lambda: SAMPLERS[name](OTHER, 4)) == 0
    assert len(calls) == 2


def test_samples_of_checkpoints(count_compilations, guard, monkeypatch):
    monkeypatch.setattr(generation, "MAX_BATCH", 4)
    calls = guard(generation, "_generate_block")
    config = RunConfig(
        data=GrammarConfig(kind="random", vocab_size=4, depth=2, rules_per_symbol=3),
        network=NETWORK,
        training=TrainingConfig(num_epochs=2, batch_size=8),
        num_steps=20,
    )

    def generate(key):
        one_by_one = [init_params(own, NETWORK) for own in jax.random.split(key, 2)]
        read = {name: np.stack([own[name] for own in one_by_one]) for name in one_by_one[0]}
        return generation.generate(key, config, read, 8)

    generate(KEY)
    assert count_compilations(lambda: generate(OTHER)) == 0
    assert len(calls) == 2 * 2


def test_u_turns_of_a_run(count_compilations, guard):
    calls = guard(compiled, "_call")
    exact = hm.exact_denoiser(GRAMMAR, GAUSSIAN)
    overlaps(KEY, exact, GAUSSIAN, LEAVES, 5, 2)
    assert count_compilations(lambda: overlaps(OTHER, exact, GAUSSIAN, LEAVES, 9, 2)) == 0
    assert len(calls) == 2


def test_u_turns_of_the_theory(count_compilations, guard):
    calls = guard(theory, "_u_turns")

    def measure(key, noise, corruption):
        theory.u_turns(key, GRAMMAR, np.array([noise]), corruption, 9)

    measure(KEY, 0.1, "equal")
    assert count_compilations(lambda: measure(OTHER, 0.4, "gaussian")) == 0
    assert len(calls) == 2 * 2
