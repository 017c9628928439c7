"""Settings of the runs on images, at every scale: figures 1a, 2 and 7.

``images`` are the images themselves; ``images_haar`` and ``images_pca`` hold only their coarse
structure, by wavelets or by principal components. ``paper`` holds the paper's numbers
(science.md#images), with CelebA in place of the digits (``--images``). What the paper does not say
is this project's choice: halvings and blocks of the U-Net, the test set, what is filtered away.
"""

import dataclasses
from collections.abc import Mapping
from pathlib import Path

from experiments.configs import Protocol
from experiments.images.configs import (
    ImageDataConfig,
    ImageRunConfig,
    image_config,
)
from experiments.images.files import prepare_images, read_array
from experiments.stages.image_evaluation import ImageEvaluationConfig
from experiments.stages.image_generation import ImageSamplesConfig
from hiermodel.networks.unet import UNetConfig
from hiermodel.training.state import TrainingConfig

IMAGE_SIZES = ("images", "images_haar", "images_pca")
"""The runs on images, by what is left in them."""


def smoke_images() -> dict[str, Protocol]:
    """Every part once; its numbers mean nothing."""
    images = Protocol(
        run=ImageRunConfig(
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
            "evaluation": ImageEvaluationConfig(num_images=16, num_loss_noises=2),
            "samples": ImageSamplesConfig(num_samples=8),
        },
    )
    return _filtered(images, haar=1, pca=8)


def laptop_images() -> dict[str, Protocol]:
    """Handwritten digits, 8 × 8: the paper's experiment in small. Chosen on seeds from 1000."""
    images = Protocol(
        run=ImageRunConfig(
            data=ImageDataConfig(),
            network=UNetConfig(8, 8, base_width=16, multipliers=(1, 2), num_res_blocks=1),
            training=TrainingConfig(
                num_epochs=600, batch_size=64, learning_rate=2e-3, rate_schedule="constant"
            ),
            num_splits=4,
            num_seeds=2,
            split_size=64,
            test_size=500,
            num_steps=50,
            first_checkpoint=12,
            num_checkpoints=15,
            seed=1,
        ),
        stages={
            "evaluation": ImageEvaluationConfig(num_images=200, num_loss_noises=3),
            "samples": ImageSamplesConfig(num_samples=48),
        },
    )
    return _filtered(images, haar=1, pca=8, num_splits=2)


def paper_images() -> dict[str, Protocol]:
    """CelebA, 32 × 32 grey: 10k steps are 5k epochs of 2 batches."""
    images = Protocol(
        run=ImageRunConfig(
            data=ImageDataConfig(source="file", checksum="not given: --images PATH"),
            network=UNetConfig(
                32, 32, base_width=32, multipliers=(1, 2, 4), attention_heights=(16,)
            ),
            training=TrainingConfig(
                num_epochs=5000, batch_size=512, learning_rate=1e-4, rate_schedule="constant"
            ),
            first_checkpoint=20,
        ),
        stages={},
    )
    return _filtered(images, haar=2, pca=64)


def with_images(
    sizes: Mapping[str, Protocol], path: Path, root: Path, *, progress: bool = True
) -> dict[str, Protocol]:
    """The same settings for images of the user's own.

    Args:
        sizes: settings; those of other runs stay as they are.
        path: a folder of pictures (CelebA's ``img_align_celeba``), a .npy or a .npz file.
        root: what is read of pictures is kept in its folder ``images``.
        progress: show a progress bar.

    Raises:
        ValueError: if there are no images, or the network cannot take their size.
    """
    file, checksum = prepare_images(path, root / "images", progress=progress)
    height, width, channels = read_array(file).shape[1:]
    changed = dict(sizes)
    for name, own in sizes.items():
        if isinstance(own.run, ImageRunConfig):
            shape = {"height": height, "width": width, "channels": channels}
            network = dataclasses.replace(own.run.network, **shape)
            place = {"source": "file", "checksum": checksum, "file": file}
            data = dataclasses.replace(own.run.data, **place)
            run = dataclasses.replace(own.run, network=network, data=data)
            changed[name] = dataclasses.replace(own, run=run)
    return changed


def _filtered(images: Protocol, haar: int, pca: int, **changes: int) -> dict[str, Protocol]:
    """The run, and those on filtered images, otherwise the same up to ``changes``."""
    sizes, run = {"images": images}, image_config(images.run)
    for filtering, level in (("haar", haar), ("pca", pca)):
        filters = {"filtering": filtering, "filter_level": level}
        data = dataclasses.replace(run.data, **filters)
        own = dataclasses.replace(run, data=data, **changes)
        sizes[f"images_{filtering}"] = dataclasses.replace(images, run=own)
    return sizes
