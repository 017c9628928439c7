"""The small run from which studies and mitigations start.

A shallow tree, few sequences and a narrow, pre-norm network without dropout; chosen on seeds from
1000. Studies measure it lightly.
"""

import dataclasses

from experiments.configs import RunConfig
from experiments.stages.evaluation import EvaluationConfig
from experiments.stages.generation import ComparisonConfig, SamplesConfig
from experiments.worlds.grammar import GrammarConfig
from hiermodel.networks.transformer import TransformerConfig
from hiermodel.networks.tree_unet import TreeUNetConfig
from hiermodel.training.state import TrainingConfig

NETWORK = TransformerConfig(
    num_leaves=8, vocab_size=6, width=64, num_layers=3, num_heads=4, dropout=0.0, pre_norm=True
)

BASE = RunConfig(
    data=GrammarConfig(depth=3),
    network=NETWORK,
    training=TrainingConfig(num_epochs=1500, batch_size=112, learning_rate=2e-3),
    num_splits=2,
    num_seeds=3,
    split_size=112,
    test_size=1000,
    num_steps=60,
    first_checkpoint=24,
    num_checkpoints=22,
    seed=1,
)

EVALUATION = EvaluationConfig(num_examples=300, num_noises=2, num_loss_noises=3)

SAMPLES = SamplesConfig(num_samples=400, every=2)

TREE = RunConfig(
    data=GrammarConfig(),
    network=TreeUNetConfig(depth=4, branching=2, vocab_size=6, width=32),
    training=TrainingConfig(
        num_epochs=1700,
        batch_size=64,
        learning_rate=2e-3,
        rate_schedule="constant",
        ema_decays=(0.998,),
    ),
    num_splits=6,
    num_seeds=1,
    split_size=320,
    test_size=2000,
    num_steps=60,
    first_checkpoint=12,
    num_checkpoints=22,
    seed=1,
)
"""In the regime (science.md#regime): the paper's grammar at its full depth, which a tree U-Net
learns close to the exact denoiser."""

MEASURES = {"evaluation": EVALUATION, "samples": SAMPLES, "comparison": ComparisonConfig()}


def longer(run: RunConfig, num_epochs: int) -> RunConfig:
    """The run with another length."""
    training = dataclasses.replace(run.training, num_epochs=num_epochs)
    return dataclasses.replace(run, training=training)
