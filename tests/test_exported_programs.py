"""Training and evaluation, exported for machines that are not here and looked through.

Budgets are counts of operations in StableHLO, a fifth above what they were when written down. They
grow with the network's layers alone, never with steps, epochs, members or sequences.
"""

import functools

import jax
import jax.numpy as jnp
import pytest
from own_module import OwnModule
from programs import EVALUATIONS, PLATFORMS, evaluation_program, exported, operations, precisions

import hiermodel as hm
from hiermodel.networks.learned import learned_denoiser
from hiermodel.networks.mlp import MLPConfig
from hiermodel.networks.modules import from_module
from hiermodel.networks.network import init_params
from hiermodel.networks.targets import SymbolLogits
from hiermodel.networks.transformer import TransformerConfig
from hiermodel.networks.tree_unet import TreeUNetConfig
from hiermodel.networks.unet import UNetConfig
from hiermodel.training import epochs
from hiermodel.training.state import Ensemble, TrainingConfig, init_ensemble

pytestmark = pytest.mark.usefixtures("unchecked_types")  # JAX puts descriptions for arrays

NETWORKS = {
    "transformer": TransformerConfig(4, 3, width=8, num_layers=2, num_heads=2),
    "mlp": MLPConfig(4, 3, width=8, num_blocks=1, dropout=0.1),
    "tree U-Net": TreeUNetConfig(2, 2, 3, width=8, dropout=0.1),
    "U-Net": UNetConfig(
        4, 4, base_width=4, multipliers=(1,), num_res_blocks=1, num_groups=2, dropout=0.1
    ),
    "own module": from_module(lambda rngs: OwnModule(4, 3, rngs), SymbolLogits(4, 3)),
}
MOST_OPERATIONS = {
    "transformer": 6500,
    "mlp": 3200,
    "tree U-Net": 5400,
    "U-Net": 8800,
    "own module": 3100,
}
"""Of the program of an epoch."""

MOST_GATHERS = 4
"""Rows of a batch and their weights, and the schedule's signal and noise at each row's t: none in a
network, whose symbols become vectors by comparison."""

MOST_IN_SAMPLING = {
    "transformer": 1900,
    "mlp": 1700,
    "tree U-Net": 1900,
    "U-Net": 2350,
    "own module": 1650,
}
MOST_IN_EVALUATION = {
    "transformer": {"members": 1650, "pairs": 2000, "all pairs": 440},
    "mlp": {"members": 920, "pairs": 900, "all pairs": 240},
    "tree U-Net": {"members": 1600, "pairs": 2000, "all pairs": 420},
    "U-Net": {"members": 2000, "pairs": 5200, "all pairs": 1100},
    "own module": {"members": 560, "pairs": 350, "all pairs": 150},
}

FIRST_ALONE = [
    pytest.param(name, marks=[] if name == "transformer" else [pytest.mark.long])
    for name in NETWORKS
]
"""All networks, of which ``make test`` looks at one."""

SHAPE = jax.ShapeDtypeStruct


@functools.cache
def ensemble_of(name, **options):
    with jax.enable_x64(False):
        training = TrainingConfig(num_epochs=4, batch_size=8, **options)
        return Ensemble(NETWORKS[name], training, hm.Schedule.linear(20), num_seeds=2)


@functools.cache
def states_of(name):
    with jax.enable_x64(False):
        return jax.eval_shape(lambda: init_ensemble(jax.random.key(0), ensemble_of(name)))


def example(name, *axes):
    """Clean data with leading axes."""
    target = NETWORKS[name].target
    dtype = jnp.int8 if isinstance(target, SymbolLogits) else target.dtype
    return SHAPE((*axes, *target.shape), dtype)


def check(text, precision="HIGHEST"):
    assert "f64" not in text
    assert "callback" not in text
    assert set(precisions(text)) == {precision}


@pytest.fixture
def epoch_program(monkeypatch):
    """An epoch of two members, side by side where the platform has them so."""

    def program(platform, name, **options):
        monkeypatch.setattr(epochs, "runs_side_by_side", lambda _: platform != "cpu")

        def run(*arguments):  # a new function: what was traced for another platform is another
            return epochs.train_epochs.__wrapped__(*arguments)

        data, count = example(name, 1, 20), SHAPE((), jnp.int32)
        return exported(platform, run, ensemble_of(name, **options), states_of(name), data, count)

    return program


@pytest.mark.parametrize("platform", PLATFORMS)
@pytest.mark.parametrize("name", NETWORKS)
def test_an_epoch_of_training(epoch_program, name, platform):
    text = epoch_program(platform, name)
    check(text)
    found = operations(text)
    assert found.total() < MOST_OPERATIONS[name]
    assert found["gather"] + found["dynamic_gather"] <= MOST_GATHERS
    assert found["sort"] == 1  # the order of the rows
    assert not found["scatter"]


@pytest.mark.parametrize("name", ["mlp", pytest.param("U-Net", marks=pytest.mark.long)])
def test_an_epoch_takes_the_precision_that_is_asked_for(epoch_program, name):
    text = epoch_program("cuda", name, matmul_precision="high")
    check(text, "HIGH")
    assert (operations(text)["convolution"] > 0) == (name == "U-Net")


@pytest.mark.parametrize("platform", PLATFORMS)
@pytest.mark.parametrize("name", FIRST_ALONE)
def test_samples_of_a_network(name, platform):
    network = NETWORKS[name]

    def sample(params, schedule):
        denoiser = learned_denoiser(network, params, schedule)
        return hm.sample_ancestral(jax.random.key(0), denoiser, schedule, 3)

    with jax.enable_x64(False):
        params = jax.eval_shape(lambda: init_params(jax.random.key(0), network))
        schedule = hm.Schedule.linear(50)
    text = exported(platform, sample, params, schedule)
    check(text)
    found = operations(text)
    assert found.total() < MOST_IN_SAMPLING[name]
    assert not found["gather"] + found["dynamic_gather"] + found["scatter"]


@pytest.mark.parametrize("platform", PLATFORMS)
@pytest.mark.parametrize("kind", EVALUATIONS)
@pytest.mark.parametrize("name", FIRST_ALONE)
def test_evaluation(name, kind, platform):
    text = exported(platform, *evaluation_program(NETWORKS[name], 2, kind))
    check(text)
    found = operations(text)
    assert found.total() < MOST_IN_EVALUATION[name][kind]
    assert found["gather"] + found["dynamic_gather"] <= 1  # the inputs of a member's split
    assert not found["scatter"]
