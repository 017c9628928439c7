"""The program that evaluates a checkpoint: compiled once, fed by explicit transfers alone."""

import jax
import numpy as np
import pytest

from experiments.configs import RunConfig
from experiments.runs.data import data_as_drawn, run_key
from experiments.stages import evaluation
from experiments.stages.noisy_inputs import EvaluationConfig, make_inputs
from experiments.worlds.grammar import GrammarConfig
from hiermodel.networks.mlp import MLPConfig
from hiermodel.networks.network import init_params
from hiermodel.training.state import TrainingConfig

CONFIG = RunConfig(
    data=GrammarConfig(kind="random", vocab_size=4, depth=2, rules_per_symbol=3),
    network=MLPConfig(4, 4, width=8, num_blocks=1),
    training=TrainingConfig(num_epochs=2, batch_size=8),
    split_size=8,
    test_size=4,
    num_steps=20,
    first_checkpoint=1,
    num_checkpoints=2,
)
SETTINGS = EvaluationConfig(num_examples=4, num_noises=2, num_loss_noises=2)
PROGRAMS = ("_evaluate_members", "_evaluate_pairs")


@pytest.fixture(scope="module")
def inputs():
    key = run_key(CONFIG, "evaluation")
    return make_inputs(key, CONFIG, SETTINGS, data_as_drawn(CONFIG))


def checkpoint(seed):
    """Parameters of four members, as they are read from files."""
    keys = jax.random.split(jax.random.key(seed), 4)
    one_by_one = [init_params(key, CONFIG.network) for key in keys]
    return {name: np.stack([own[name] for own in one_by_one]) for name in one_by_one[0]}


def test_every_checkpoint_goes_through_the_same_programs_by_explicit_transfers(
    count_compilations, guard, inputs
):
    for name in PROGRAMS:
        guard(evaluation, name)

    def evaluate(seed):
        return evaluation.evaluate(CONFIG, SETTINGS, inputs, checkpoint(seed))

    first = evaluate(0)
    assert count_compilations(lambda: evaluate(1)) == 0
    assert first["loss"].values.shape == (4, 2)
