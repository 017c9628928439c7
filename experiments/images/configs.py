"""What a run on images is: the counterparts of RunConfig and of the settings of its stages."""

import dataclasses
from pathlib import Path
from typing import ClassVar, Literal, cast

import numpy as np

from hiermodel.checks import check_integer, require
from hiermodel.diffusion.schedule import Schedule
from hiermodel.networks.unet import UNetConfig
from hiermodel.training.state import TrainingConfig

OF_RUN = {"of_run": lambda value: 1}
"""Metadata of settings that the networks of a run do not depend on: what stands in their place.
(Images for training are those that a test set leaves, so here its size is none of them.)"""


@dataclasses.dataclass(frozen=True)
class ImageDataConfig:
    """Which images, and how much of their structure is left.

    Attributes:
        source: "digits", scikit-learn's 1797 handwritten digits of 8 × 8 pixels; or "file".
        checksum: SHA-256 of the pixels of the file (``experiments.images.files.prepare_images``).
        file: the array file; where it lies is no part of a run's identity.
        filtering: "haar" leaves out the finest scales, "pca" keeps the leading components.
        filter_level: number of scales left out, or of components kept.

    Raises:
        ValueError: for any value outside these.
    """

    source: Literal["digits", "file"] = "digits"
    checksum: str = ""
    file: Path | None = dataclasses.field(default=None, metadata={"place": True})
    filtering: Literal["none", "haar", "pca"] = "none"
    filter_level: int = 0

    def __post_init__(self):
        require(self.source in ("digits", "file"), "source", self.source, "'digits' or 'file'")
        kinds = ("none", "haar", "pca")
        require(self.filtering in kinds, "filtering", self.filtering, f"one of {kinds}")
        lowest = 0 if self.filtering == "none" else 1
        highest = 0 if self.filtering == "none" else None
        check_integer("filter_level", self.filter_level, lowest, highest)
        named = (self.source == "file") == bool(self.checksum)
        require(named, "checksum", self.checksum, "given for a file, and only for one")


@dataclasses.dataclass(frozen=True)
class ImageRunConfig:
    """One ensemble of networks on images: splits × seeds, trained alike (science.md#images).

    Attributes:
        data: the images.
        network: architecture of every member.
        training: optimiser, rate, batch and number of epochs.
        num_splits: disjoint training sets.
        num_seeds: networks per training set.
        split_size: n, images per training set.
        test_size: images in the test set.
        num_steps: T, diffusion steps.
        first_checkpoint: epoch of the first checkpoint after the initial one.
        num_checkpoints: log-spaced checkpoints, both ends included.
        seed: of splits, initialisation and noise.
    """

    data: ImageDataConfig
    network: UNetConfig
    training: TrainingConfig
    num_splits: int = dataclasses.field(default=15, metadata=OF_RUN)
    num_seeds: int = dataclasses.field(default=1, metadata=OF_RUN)
    split_size: int = 1024
    test_size: int = 2048
    num_steps: int = 1000
    first_checkpoint: int = 10
    num_checkpoints: int = 25
    seed: int = 0
    world: ClassVar[str] = "images"

    def __post_init__(self):
        for name in ("num_splits", "num_seeds", "split_size", "test_size", "first_checkpoint"):
            check_integer(name, getattr(self, name), 1)
        check_integer("num_checkpoints", self.num_checkpoints, 2)

    @property
    def schedule(self) -> Schedule:
        """The noise schedule."""
        return Schedule.linear(self.num_steps)


def image_config(config: object) -> ImageRunConfig:
    """The configuration, of which the caller knows that it is one of images."""
    require(isinstance(config, ImageRunConfig), "config", config, "an ImageRunConfig")
    return cast(ImageRunConfig, config)


Images = np.ndarray
"""(n, height, width, channels), uint8, or floating within −1…1."""
