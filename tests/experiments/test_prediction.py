"""Predictions of time and memory elsewhere, from programs that are lowered and never run."""

import dataclasses

import jax
import jax.numpy as jnp
import pytest
from jax.sharding import SingleDeviceSharding

from experiments.benchmarks.compiled import cells, chip, compile_for
from experiments.benchmarks.prediction import (
    MACHINES,
    Work,
    as_text,
    predict,
    step_program,
    step_work,
    work_of,
)
from experiments.configs import Protocol, RunConfig
from experiments.worlds.grammar import GrammarConfig
from hiermodel.networks.tree_unet import TreeUNetConfig
from hiermodel.training.state import TrainingConfig

pytestmark = pytest.mark.usefixtures("unchecked_types")  # JAX puts descriptions for arrays

TREE = RunConfig(
    data=GrammarConfig(depth=2),
    network=TreeUNetConfig(2, 2, 6, width=8),
    training=TrainingConfig(num_epochs=10, batch_size=8),
    num_splits=3,
    num_seeds=1,
    split_size=20,
    test_size=4,
    num_steps=20,
    first_checkpoint=2,
    num_checkpoints=2,
)


@pytest.mark.parametrize("platform", ["cpu", "cuda", "tpu"])
def test_work_of_a_product_and_what_follows(platform):
    left, right = (jax.ShapeDtypeStruct(shape, jnp.float32) for shape in ((4, 8), (8, 2)))
    work = work_of(lambda x, y: jnp.tanh(x @ y), left, right, platform=platform)
    assert work.operations >= 2 * 4 * 8 * 2
    assert work.operations < 3 * 4 * 8 * 2
    assert work.fewest_bytes == 4 * (4 * 8 + 8 * 2 + 4 * 2)
    assert work.most_bytes >= work.fewest_bytes + 4 * 2 * (4 * 2)  # tanh reads and writes


def test_time_is_that_of_the_slower_of_operations_and_traffic():
    work = Work(operations=100, fewest_bytes=10, most_bytes=1000)
    assert work.seconds(rate=10, bandwidth=10) == (10, 100)
    assert (work * 2 + work).seconds(rate=10, bandwidth=10) == (30, 300)


def test_any_run_is_predicted_and_scales_as_it_must():
    own = Protocol(TREE, {})
    for machine in MACHINES.values():
        found = predict(own, ["evaluation"], machine)
        assert 0 < found.training[0] <= found.training[1]
        assert 0 < found.measuring[0] <= found.measuring[1]
        assert found.at_once == found.num_members == 3
    longer = dataclasses.replace(TREE, training=dataclasses.replace(TREE.training, num_epochs=30))
    twice = predict(Protocol(longer, {}), [], machine)
    assert twice.training == pytest.approx([3 * each for each in found.training])
    assert "bandwidth" in as_text({"tree": found})


def test_micro_batches_change_no_operations():
    training = dataclasses.replace(TREE.training, micro_batch_size=2)
    cut = dataclasses.replace(TREE, training=training)
    assert step_work(cut, "cuda") == step_work(TREE, "cuda")


def test_members_that_do_not_fit_are_trained_in_equal_parts():
    small = dataclasses.replace(MACHINES["h100"], memory=1.0)
    found = predict(Protocol(TREE, {}), [], small)
    assert found.at_once == 1


def test_a_compiled_program_says_what_it_takes():
    where = SingleDeviceSharding(jax.devices()[0])  # as for a chip that is not here
    machine = dataclasses.replace(MACHINES["v5e"], bandwidth=1e3)
    left, right = (jax.ShapeDtypeStruct(shape, jnp.float32) for shape in ((4, 8), (8, 2)))
    program = lambda x, y: x @ y, (left, right)
    found = compile_for(where, machine, 1e12, "product", program)
    assert found.arguments == 4 * (4 * 8 + 8 * 2)
    assert found.operations == pytest.approx(2 * 4 * 8 * 2, rel=0.2)
    assert found.traffic >= found.arguments + 4 * (4 * 2)
    assert found.seconds == found.traffic / 1e3
    assert found.bound == "bandwidth"
    assert cells(found)[0] == "product"


def test_a_step_of_several_members_does_the_work_of_each():
    one, three = (
        work_of(function, *arguments, platform="tpu").operations
        for function, arguments in (step_program(TREE, 1), step_program(TREE, 3))
    )
    assert three == pytest.approx(3 * one, rel=0.02)


def test_what_cannot_be_compiled_for_is_named():
    with pytest.raises(ValueError, match=r"predict='h100' is not allowed.*v5e"):
        chip("h100")
