"""Rows on training and on sampling with a trained network.

Reference rates are those of the paper's public PyTorch code on 2 cores of the same kind. A step is
one forward and backward pass and Adam update on one batch of one member, its data gathered, noise
drawn and rate computed inside the compiled program.

What was learned, on 2 cores (AMD EPYC with AVX-512) with nothing else running:

- Dropout costs the small network about an eighth of its time, drawn by rows as it is.
- Sampling with the small network stays below 3 times the reference. Of the 8 ms of one step, the
  matrix products take about 4 at the machine's full rate; attention over 16 leaves, changes of
  layout and norms take the rest. Half the batch at a time gained little.
- Whether sharing a batch out between two CPU devices beats one device with two threads is open:
  timings in alternation came out at 0.92, separate runs at up to 1.7.
"""

import dataclasses
import subprocess
import sys
import tempfile
from collections.abc import Iterator

import jax
import jax.numpy as jnp

import hiermodel as hm
from experiments.benchmarks.timing import Row, measure
from hiermodel.networks.learned import SymbolNetworkConfig, init_params, learned_denoiser
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
        yield training(name, network, BATCH, reference=21.2)
    yield from members()
    yield paper_network()
    yield sampling(reference=31.4)
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

    def __init__(
        self, network: SymbolNetworkConfig, batch_size: int, num_steps: int, num_members: int
    ):
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
    network: SymbolNetworkConfig,
    batch_size: int,
    *,
    num_steps: int = 25,
    num_members: int = 1,
    reference: float | None = None,
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


def step_flops(network: SymbolNetworkConfig, batch_size: int) -> float:
    """Floating-point operations in the matrix products of one step.

    A product costs two per weight and use forward, and twice that backward: 6 · weights · uses, the
    weights being those of kernels, used once per token; in a tree U-Net once per block of a level.
    Attention adds products of 2 · leaves · width per token and block, both for scores and for mixed
    values.
    """
    params = jax.eval_shape(lambda: init_params(jax.random.key(0), network))
    kernels = {name: value.size for name, value in params.items() if name.endswith(".kernel")}
    if isinstance(network, TreeUNetConfig):
        products = sum(size * uses(network, name) for name, size in kernels.items())
    else:
        assert isinstance(network, TransformerConfig)
        attention = 2 * network.num_layers * network.num_leaves * network.width
        products = (sum(kernels.values()) + attention) * network.num_leaves
    return 6.0 * products * batch_size


def uses(network: TreeUNetConfig, name: str) -> int:
    """How often a sequence meets a kernel of a tree U-Net."""
    parts = name.split(".")
    if parts[0] != "blocks":
        return network.num_leaves
    if "time" in parts:
        return 1
    index, depth = int(parts[1]), network.depth
    return network.branching ** (depth - 1 - index if index < depth else index - depth)


def members() -> Iterator[Row]:
    """Several members at once, against one."""
    network = SMALL
    alone = training("one member of them by itself", network, BATCH, reference=21.2)
    together = training(
        f"{NUM_MEMBERS} members of it at once, steps of all",
        network,
        BATCH,
        num_steps=10,
        num_members=NUM_MEMBERS,
        reference=21.2,
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
    return training(name, PAPER, 64, num_steps=2, reference=0.99)


def sampling(
    name: str = "width 64", network: SymbolNetworkConfig = SMALL, reference: float | None = None
) -> Row:
    """All 500 steps with a network."""
    denoiser = learned_denoiser(network, init_params(jax.random.key(0), network), 500)
    schedule, key, count = hm.Schedule.linear(500), jax.random.key(1), 256

    def sample() -> jax.Array:
        return hm.sample_ancestral(key, denoiser, schedule, count)

    name = f"ancestral sampling, 500 steps, batch {count}, {name}"
    return measure(name, sample, count=count, unit="sequences", repeats=3, reference=reference)


FIRST_STEP = f"""
import sys
from pathlib import Path
from experiments import configs, runtime, train
from hiermodel.networks.transformer import TransformerConfig
from hiermodel.training.state import TrainingConfig
root, seed = Path(sys.argv[1]), int(sys.argv[2])
runtime.prepare(root)
config = configs.RunConfig(
    configs.GrammarConfig(),
    TransformerConfig(16, 6, width=64, num_layers=3),
    TrainingConfig(num_epochs=1, batch_size={BATCH}),
    num_splits=1, num_seeds=1, split_size={BATCH}, test_size=1, first_checkpoint=1, seed=seed,
)
train.train_run(config, root, progress=False)
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
