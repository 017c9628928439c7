"""Rows on training and on sampling with a trained network.

A step is one forward and backward pass and Adam update on one batch of one member, its data
gathered, noise drawn and rate computed inside the compiled program.

What was learned, on 2 cores (AMD EPYC with AVX-512) with nothing else running:

- Dropout costs the small network about an eighth of its time, drawn by rows as it is.
- Sampling with the small network stays below 3 times the reference. Of the 8 ms of one step, the
  matrix products take about 4 at the machine's full rate; attention over 16 leaves, changes of
  layout and norms take the rest. Half the batch at a time gained little.
- Whether sharing a batch out between two CPU devices beats one device with two threads is open:
  timings in alternation came out at 0.92, separate runs at up to 1.7.
"""

import dataclasses
import math
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
from jax.extend.core import jaxprs_in_params

import hiermodel as hm
from experiments.benchmarks.public_code import (
    SAMPLING_64,
    TRAINING_64,
    TRAINING_512,
    Reference,
)
from experiments.benchmarks.timing import Row, measure
from hiermodel.networks.learned import learned_denoiser
from hiermodel.networks.network import Network, apply, init_params
from hiermodel.networks.transformer import TransformerConfig
from hiermodel.networks.tree_unet import TreeUNetConfig
from hiermodel.training.epochs import place_members, train_epochs
from hiermodel.training.state import Ensemble, TrainingConfig, init_ensemble

BATCH = 128
SMALL = TransformerConfig(16, 6, width=64, num_layers=3)
PAPER = TransformerConfig(16, 6)
TREE = TreeUNetConfig(4, 2, 6)
NUM_MEMBERS = 6


def rows() -> Iterator[Row]:
    """All rows of this file, one after the other."""
    for dropout in (0.1, 0.0):
        network = dataclasses.replace(SMALL, dropout=dropout)
        name = f"training, width 64, 3 blocks, batch {BATCH}, dropout {dropout:g}"
        theirs = TRAINING_64 if dropout else None  # theirs was timed with dropout
        yield training(name, network, BATCH, reference=theirs)
    yield from members()
    yield paper_network()
    yield sampling(reference=SAMPLING_64)
    yield from tree_networks()
    yield first_step()


class Trainer:
    """Members of one network, trained further by every call.

    Args:
        network: of every member.
        batch_size: sequences per step.
        num_steps: steps per call, one epoch.
        num_members: seeds on one split.
    """

    def __init__(self, network: Network, batch_size: int, num_steps: int, num_members: int):
        training = TrainingConfig(num_epochs=1000, batch_size=batch_size)
        schedule = hm.Schedule.linear(500)
        self.ensemble = Ensemble(network, training, schedule, num_seeds=num_members)
        leaves = hm.sample_leaves(jax.random.key(0), hm.paper_grammar(), batch_size * num_steps)
        self.sequences = leaves[None].astype(jnp.int8)
        states = init_ensemble(jax.random.key(1), self.ensemble)
        self.states = place_members(states, num_members)

    def __call__(self) -> jax.Array:
        """Train one epoch; the loss."""
        self.states, stats = train_epochs(self.ensemble, self.states, self.sequences, jnp.int32(1))
        return stats.loss


def training(
    name: str,
    network: Network,
    batch_size: int,
    *,
    num_steps: int = 25,
    num_members: int = 1,
    reference: Reference | None = None,
) -> Row:
    """Steps of all members together, with the share of the machine's matrix product rate."""
    trainer = Trainer(network, batch_size, num_steps, num_members)
    row = measure(
        name,
        trainer,
        count=num_steps * num_members,
        unit="steps",
        repeats=5,
        reference=reference,
    )
    share = row.rate * step_flops(network, batch_size) / (row.matmul * 1e9)
    return dataclasses.replace(row, note=f"{share:.0%} of the matmul rate")


def step_flops(network: Network, batch_size: int) -> float:
    """Floating-point operations in the matrix products of one step: three times those forward."""
    params = jax.eval_shape(lambda: init_params(jax.random.key(0), network))
    x_t = jax.ShapeDtypeStruct((batch_size, *network.target.event_shape), jnp.float32)
    t = jax.ShapeDtypeStruct((batch_size,), jnp.int32)
    forward = jax.make_jaxpr(lambda *inputs: apply(network, *inputs))(params, x_t, t)
    return 3.0 * product_flops(forward.jaxpr)


def product_flops(program: Any) -> float:
    """Operations in the matrix products of a program: 2 for each term of their sums."""
    total = 0.0
    for equation in program.eqns:
        if equation.primitive.name == "dot_general":
            (summed, _), _ = equation.params["dimension_numbers"]
            left = equation.invars[0].aval.shape
            terms = math.prod(left[axis] for axis in summed)
            total += 2.0 * terms * equation.outvars[0].aval.size
        total += sum(map(product_flops, jaxprs_in_params(equation.params)))
    return total


def members() -> Iterator[Row]:
    """Several members at once, against one."""
    network = SMALL
    alone = training("one member of them by itself", network, BATCH, reference=TRAINING_64)
    together = training(
        f"{NUM_MEMBERS} members of it at once, steps of all",
        network,
        BATCH,
        num_steps=10,
        num_members=NUM_MEMBERS,
        reference=TRAINING_64,
    )
    times = NUM_MEMBERS * alone.rate / together.rate
    yield dataclasses.replace(together, note=f"{times:.2f} times the time of one")


def tree_networks() -> Iterator[Row]:
    """The tree U-Net: training one, several at once against one, and sampling."""
    name = "training, tree U-Net of width 128, batch 64"
    alone = training(name, TREE, 64)
    yield alone
    together = training(f"{NUM_MEMBERS} of them at once", TREE, 64, num_members=NUM_MEMBERS)
    times = NUM_MEMBERS * alone.rate / together.rate
    yield dataclasses.replace(together, note=f"{times:.2f} times the time of one")
    yield sampling("tree U-Net of width 128", TREE)


def paper_network() -> Row:
    """The paper's network, at an eighth of its batch."""
    name = "training, width 512, 8 blocks, batch 64, dropout 0.1"
    return training(name, PAPER, 64, num_steps=2, reference=TRAINING_512)


def sampling(
    name: str = "width 64", network: Network = SMALL, reference: Reference | None = None
) -> Row:
    """All 500 steps with a network."""
    schedule = hm.Schedule.linear(500)
    denoiser = learned_denoiser(network, init_params(jax.random.key(0), network), schedule)
    key, count = jax.random.key(1), 256

    def sample() -> jax.Array:
        return hm.sample_ancestral(key, denoiser, schedule, count)

    name = f"ancestral sampling, 500 steps, batch {count}, {name}"
    return measure(name, sample, count=count, unit="sequences", repeats=3, reference=reference)


FIRST_STEP = f"""
import sys
from pathlib import Path
from experiments import configs, runtime
from experiments.runs.training import train_run
from experiments.worlds.grammar import GrammarConfig
from hiermodel.networks.transformer import TransformerConfig
from hiermodel.training.state import TrainingConfig
root, seed = Path(sys.argv[1]), int(sys.argv[2])
runtime.prepare(root)
config = configs.RunConfig(
    GrammarConfig(),
    TransformerConfig(16, 6, width=64, num_layers=3),
    TrainingConfig(num_epochs=1, batch_size={BATCH}),
    num_splits=1, num_seeds=1, split_size={BATCH}, test_size=1, first_checkpoint=1, seed=seed,
)
train_run(config, root, progress=False)
"""


def first_step() -> Row:
    """A whole run of one step: imports, data, initial values, the step, and two checkpoints."""
    with tempfile.TemporaryDirectory() as root:
        starts = iter(range(1000))

        def start() -> None:
            # Each start is a new run by its seed; compiled programs are shared.
            command = [sys.executable, "-c", FIRST_STEP, root, str(next(starts))]
            subprocess.run(command, check=True)

        return measure(
            "start, one training step of width 64, checkpoints",
            start,
            count=1,
            unit="starts",
            repeats=3,
            note="first: with an empty compilation cache",
        )
