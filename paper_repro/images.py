"""Settings of the reproduction on images, at every scale that has them."""

import dataclasses
from collections.abc import Mapping

from experiments.configs import Protocol, RunConfig
from experiments.stages.evaluation import EvaluationConfig
from experiments.stages.generation import SamplesConfig
from experiments.worlds.images import ImageDataConfig
from hiermodel.networks.unet import UNetConfig
from hiermodel.training.state import TrainingConfig

NOISE_LEVELS = (0.1, 0.2, 0.4)
"""t/T at which the noises that networks predict in images are compared."""


def smoke() -> dict[str, Protocol]:
    """Every part once; its numbers mean nothing."""
    images = Protocol(
        run=RunConfig(
            data=ImageDataConfig(),
            network=UNetConfig(8, 8, base_width=8, multipliers=(1,), num_res_blocks=1),
            training=TrainingConfig(num_epochs=24, batch_size=16, learning_rate=3e-3),
            num_splits=2,
            num_seeds=2,
            split_size=16,
            test_size=32,
            num_steps=40,
            first_checkpoint=4,
            num_checkpoints=4,
        ),
        stages={
            "evaluation": EvaluationConfig(16, 1, NOISE_LEVELS, num_loss_noises=2),
            "samples": SamplesConfig(num_samples=8),
        },
    )
    return _with_filtered(images, haar=1, pca=8)


def laptop() -> dict[str, Protocol]:
    """Handwritten digits, 8 × 8: the paper's experiment in small. Chosen on seeds from 1000."""
    images = Protocol(
        run=RunConfig(
            data=ImageDataConfig(),
            network=UNetConfig(8, 8, base_width=16, multipliers=(1, 2), num_res_blocks=1),
            training=TrainingConfig(
                num_epochs=600, batch_size=64, learning_rate=2e-3, rate_schedule="constant"
            ),
            num_splits=8,
            num_seeds=1,
            split_size=64,
            test_size=500,
            num_steps=50,
            first_checkpoint=12,
            num_checkpoints=15,
            seed=1,
        ),
        stages={
            "evaluation": EvaluationConfig(200, 1, NOISE_LEVELS, num_loss_noises=3),
            # None of 96 means, with 95 %, fewer than one in 20, as the claim on copies asks.
            "samples": SamplesConfig(num_samples=96),
        },
    )
    # Coarse images are learned by heart later. The checkpoints of 600 epochs are among these.
    return _with_filtered(images, haar=1, pca=8, lengths={"haar": (1049, 17), "pca": (1834, 19)})


def paper() -> dict[str, Protocol]:
    """CelebA, 32 × 32 grey: 10k steps are 5k epochs of 2 batches.

    What the paper does not say is this project's choice: halvings and blocks of the U-Net, the test
    set, what is filtered away.
    """
    images = Protocol(
        run=RunConfig(
            data=ImageDataConfig(source="file", checksum="not given: --images PATH"),
            network=UNetConfig(
                32, 32, base_width=32, multipliers=(1, 2, 4), attention_heights=(16,)
            ),
            training=TrainingConfig(
                num_epochs=5000, batch_size=512, learning_rate=1e-4, rate_schedule="constant"
            ),
            num_splits=15,
            num_seeds=1,
            split_size=1024,
            test_size=2048,
            num_steps=1000,
            first_checkpoint=20,
        ),
        stages={
            "evaluation": EvaluationConfig(2048, 1, NOISE_LEVELS),
            "samples": SamplesConfig(num_samples=512),
        },
    )
    return _with_filtered(images, haar=2, pca=64)


def _with_filtered(
    images: Protocol,
    haar: int,
    pca: int,
    lengths: Mapping[str, tuple[int, int]] | None = None,
) -> dict[str, Protocol]:
    """The run, and those on filtered images, otherwise the same but for epochs and checkpoints."""
    sizes, like = {"images": images}, images.run
    for filtering, level in (("haar", haar), ("pca", pca)):
        as_long = like.training.num_epochs, like.num_checkpoints
        num_epochs, num_checkpoints = (lengths or {}).get(filtering, as_long)
        run = dataclasses.replace(
            like,
            data=dataclasses.replace(like.data, filtering=filtering, filter_level=level),
            training=dataclasses.replace(like.training, num_epochs=num_epochs),
            num_checkpoints=num_checkpoints,
        )
        sizes[f"images_{filtering}"] = dataclasses.replace(images, run=run)
    return sizes
