"""The small run from which studies start, in the regime (science.md#regime).

The paper's grammar at its full depth, which a narrow tree U-Net learns close to the exact denoiser
in a minute or two. Six training sets are six units. Chosen on seeds from 1000.
"""

from experiments.configs import RunConfig
from experiments.stages.evaluation import EvaluationConfig
from experiments.stages.generation import ComparisonConfig, SamplesConfig
from experiments.worlds.grammar import GrammarConfig
from hiermodel.networks.transformer import TransformerConfig
from hiermodel.networks.tree_unet import TreeUNetConfig
from hiermodel.training.state import TrainingConfig

BASE = RunConfig(
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

TRANSFORMER = TransformerConfig(
    num_leaves=16,
    vocab_size=6,
    width=64,
    num_layers=3,
    num_heads=4,
    dropout=0.0,
    pre_norm=True,
)
"""The transformer that stands beside tree U-Nets, on the same training sets."""

EVALUATION = EvaluationConfig(num_examples=400, num_noises=2, num_loss_noises=4)

SAMPLES = SamplesConfig(num_samples=400)

MEASURES = {"evaluation": EVALUATION, "samples": SAMPLES, "comparison": ComparisonConfig()}
"""Losses and divergences, samples, and what they copy."""
