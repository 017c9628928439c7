"""Settings of the reproduction at every scale.

``paper`` holds the paper's numbers (SPEC sections 5 and 6); the others are smaller by the factors
that can be read off beside them, and keep everything else.
"""

import dataclasses

from experiments.configs import EvaluationConfig, GenerationConfig, GrammarConfig, RunConfig
from hiermodel.checks import require
from hiermodel.networks.transformer import TransformerConfig
from hiermodel.training.state import TrainingConfig


@dataclasses.dataclass(frozen=True)
class Protocol:
    """All that a reproduction depends on.

    Attributes:
        run: data, networks and training.
        evaluation: losses and divergences at checkpoints.
        generation: samples at checkpoints.
        purpose: what this scale is for, and what it costs.
    """

    run: RunConfig
    evaluation: EvaluationConfig
    generation: GenerationConfig
    purpose: str


def smoke() -> Protocol:
    """Every part once, in about a minute; its numbers mean nothing."""
    return Protocol(
        run=RunConfig(
            grammar=GrammarConfig(depth=2),
            network=TransformerConfig(
                num_leaves=4, vocab_size=6, width=16, num_layers=1, num_heads=2, dropout=0.1
            ),
            training=TrainingConfig(num_epochs=60, batch_size=32, learning_rate=3e-3),
            num_splits=2,
            num_seeds=3,
            split_size=48,
            test_size=64,
            num_steps=40,
            first_checkpoint=4,
            num_checkpoints=6,
        ),
        evaluation=EvaluationConfig(num_sequences=64, num_noises=2, num_loss_noises=2),
        generation=GenerationConfig(num_samples=64, num_floor_repeats=4),
        purpose="a test of the machinery in under 90 seconds; its numbers mean nothing",
    )


def laptop() -> Protocol:
    """The paper's experiment in small: at most 10 minutes and 4 GiB on 2 cores.

    A shallower tree, a hundredth of the sequences and a narrower, pre-norm network without dropout;
    the rate schedule is the paper's. Settings were chosen on runs with other seeds than this one.
    """
    return Protocol(
        run=RunConfig(
            grammar=GrammarConfig(depth=3),
            network=TransformerConfig(
                num_leaves=8,
                vocab_size=6,
                width=64,
                num_layers=3,
                num_heads=4,
                dropout=0.0,
                pre_norm=True,
            ),
            training=TrainingConfig(num_epochs=1500, batch_size=112, learning_rate=2e-3),
            num_splits=2,
            num_seeds=4,
            split_size=112,
            test_size=1000,
            num_steps=60,
            first_checkpoint=24,
            num_checkpoints=22,
            seed=1,
        ),
        evaluation=EvaluationConfig(num_sequences=500, num_noises=2, num_loss_noises=4),
        generation=GenerationConfig(num_samples=1000, every=2),
        purpose="the phenomenon on a laptop",
    )


def paper() -> Protocol:
    """The paper's numbers for n = 12k: for a GPU or TPU."""
    return Protocol(
        run=RunConfig(
            grammar=GrammarConfig(),
            network=TransformerConfig(num_leaves=16, vocab_size=6),
            training=TrainingConfig(num_epochs=30_000),
            num_splits=15,
            num_seeds=2,
            split_size=12_000,
            test_size=3000,
            num_steps=500,
            first_checkpoint=100,
            num_checkpoints=25,
        ),
        evaluation=EvaluationConfig(),
        generation=GenerationConfig(),
        purpose="the paper's own protocol",
    )


SCALES = {"smoke": smoke, "laptop": laptop, "paper": paper}


def protocol(scale: str) -> Protocol:
    """The settings of a scale.

    Raises:
        ValueError: for a scale that does not exist.
    """
    require(scale in SCALES, "scale", scale, f"one of {sorted(SCALES)}")
    return SCALES[scale]()
