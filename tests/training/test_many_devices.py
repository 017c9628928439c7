"""Eight devices: who talks to whom, and what each of them holds, read in the compiled programs."""

import json
import os
import subprocess
import sys
from pathlib import Path

import jax
import pytest

PROGRAM = """
import dataclasses, json, re, sys
from collections import Counter
import jax, jax.numpy as jnp
sys.path[:0] = sys.argv[1:]
from conftest import NETWORK, SCHEDULE, TRAINING
from programs import evaluation_program
from hiermodel.training import epochs
from hiermodel.training.epochs import place_members
from hiermodel.training.state import Ensemble, init_ensemble

def about(compiled):
    text = compiled.as_text()
    names = r"(all-reduce|all-gather|all-to-all|collective-permute|reduce-scatter)(?:-start)?"
    found = re.findall(r"= (.*?) " + names + r"\\(", text)
    memory = compiled.memory_analysis()
    return {
        "collectives": Counter(name for _, name in found),
        "largest": max((size(shapes) for shapes, _ in found), default=0),
        "arguments": memory.argument_size_in_bytes,
        "temporary": memory.temp_size_in_bytes,
    }

def size(shapes):
    dims = re.findall(r"[a-z]+\\d*\\[([\\d,]*)\\]", shapes)
    return max(eval("*".join(d.split(",")) or "1") for d in dims)

def training(num_members, num_rows=20, **settings):
    own = dataclasses.replace(TRAINING, **settings)
    ensemble = Ensemble(NETWORK, own, SCHEDULE, num_splits=1, num_seeds=num_members)
    states = place_members(init_ensemble(jax.random.key(0), ensemble), num_members)
    data = jnp.zeros((1, num_rows, 4), jnp.int8)
    train = jax.jit(lambda *arguments: epochs.train_epochs.__wrapped__(*arguments))
    return about(train.lower(ensemble, states, data, jnp.int32(1)).compile())

def evaluating(num_members):
    function, *arguments = evaluation_program(NETWORK, num_members)
    return about(jax.jit(function).lower(*arguments).compile())

def example(described):
    if jnp.issubdtype(described.dtype, jnp.integer):
        return jnp.ones(described.shape, described.dtype)
    drawn = jax.random.normal(jax.random.key(described.size), described.shape)
    return jax.nn.log_softmax(drawn)

def evaluation_differs_by():
    function, *described = evaluation_program(NETWORK, 8)
    inputs, params, _, pairs = jax.tree.map(example, described)
    splits = jnp.zeros(8, jnp.int32)
    evaluate = jax.jit(function)
    together = evaluate(inputs, params, splits, pairs)
    assert len(jax.tree.leaves(together)[0].sharding.device_set) == 8
    together, largest = jax.device_get(together), 0.0
    for place in range(8):
        own = jax.tree.map(lambda leaf: leaf[place : place + 1], (params, splits, pairs))
        alone = jax.device_get(evaluate(inputs, *own))
        gaps = jax.tree.map(lambda many, one: abs(many[place] - one[0]).max(), together, alone)
        largest = max(largest, *map(float, jax.tree.leaves(gaps)))
    return largest

large = {"num_rows": 4096, "batch_size": 4096}
found = {"members": training(8), "fewer": training(1)}
found |= {"evaluation": evaluating(8), "evaluation of one": evaluating(1)}
found["evaluation differs by"] = evaluation_differs_by()
epochs.runs_side_by_side = lambda platform: True  # as on accelerators
found["whole batch"] = training(1, **large)
epochs.shares_batches = lambda: True
found["batches"] = training(2, **large)
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def programs():
    """What the programs hold, by name."""
    environment = os.environ | {
        "XLA_FLAGS": os.environ["XLA_FLAGS"] + " --xla_force_host_platform_device_count=8",
        "JAX_PLATFORMS": "cpu",
        "JAX_ENABLE_X64": "0",
        "JAX_COMPILATION_CACHE_DIR": str(jax.config.jax_compilation_cache_dir),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0.1",
    }
    here = Path(__file__).parent
    command = [sys.executable, "-c", PROGRAM, str(here), str(here.parent)]
    done = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
    return json.loads(done.stdout.splitlines()[-1])


def test_members_on_devices_of_their_own_share_only_their_statistics(programs):
    found = programs["members"]
    assert found["collectives"] == {"all-gather": 5}  # the arrays of EpochStats
    assert found["largest"] <= 8  # a number per member


def test_devices_that_share_a_batch_add_up_its_gradient_and_no_more(programs):
    found = programs["batches"]
    assert found["collectives"].pop("all-reduce") == 1  # of loss and gradient, once a step
    assert found["collectives"] == programs["members"]["collectives"]


def test_memory_of_a_device_is_that_of_its_members(programs):
    """Eight members on eight devices take of each what one takes of one."""
    for together, alone in (("members", "fewer"), ("evaluation", "evaluation of one")):
        together, alone = programs[together], programs[alone]
        assert together["arguments"] < 1.1 * alone["arguments"]
        assert together["temporary"] < 1.1 * alone["temporary"] + 1024


def test_memory_of_a_device_is_that_of_its_rows(programs):
    """Of a large batch, four devices hold a quarter each, and its network as a whole."""
    shared, whole = programs["batches"], programs["whole batch"]
    assert shared["arguments"] == whole["arguments"]
    assert shared["temporary"] < 1.1 * whole["temporary"] / 4


def test_evaluation_is_shared_out_without_a_word_and_changes_nothing(programs):
    assert programs["evaluation"]["collectives"] == {}
    assert programs["evaluation differs by"] < 1e-6
