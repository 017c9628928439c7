"""Real images: loaded, filtered, cut into disjoint splits and a test set (science.md#images)."""

import dataclasses
import functools
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import jax
import numpy as np
from jaxtyping import Array, Float, Key

from experiments.configs import RunConfig
from experiments.store import Measurement, Measurements
from experiments.worlds.pictures import checksum_of, prepare_images, read_array
from experiments.worlds.world import Comparison, Reference, Splits, World
from hiermodel.checks import InputError, check_integer, require
from hiermodel.diffusion.corruption import pixels
from hiermodel.diffusion.image_filters import haar_filter, pca_filter
from hiermodel.diffusion.pixels import empirical_pixel_denoiser, gaussian_pixel_denoiser
from hiermodel.measures.neighbours import nearest_images
from hiermodel.measures.several_neighbours import neighbour_ratio
from hiermodel.measures.uncertainty import bootstrap_interval

_LOG = logging.getLogger(__name__)

SHOWN = 8
"""Samples whose pictures are kept, with their nearest training images."""


@dataclasses.dataclass(frozen=True)
class ImageDataConfig:
    """Which images, and how much of their structure is left.

    Attributes:
        source: "digits", scikit-learn's 1797 handwritten digits of 8 × 8 pixels; or "file".
        checksum: SHA-256 of the pixels of the file (``pictures.prepare_images``).
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
class ImageSplits:
    """Training sets and a test set; no image occurs twice in all of them.

    Attributes:
        train: (num_splits, split_size, height, width, channels), uint8 or float32.
        test: (test_size, height, width, channels).
    """

    train: np.ndarray
    test: np.ndarray

    @property
    def unseen(self) -> np.ndarray:
        """The test set, none of which was trained on."""
        return self.test


def load_images(config: ImageDataConfig) -> np.ndarray:
    """All images of a source, filtered: (n, height, width, channels), uint8 or float32 in −1…1.

    Raises:
        ValueError: if the file is not there, or holds other pixels than the checksum says.
        ModuleNotFoundError: without scikit-learn, which holds the digits.
    """
    images = _digits() if config.source == "digits" else _of_file(config)
    if config.filtering == "none":
        return images
    reals = images.astype(np.float32)
    if images.dtype == np.uint8:
        reals = reals / np.float32(127.5) - 1
    if config.filtering == "haar":
        return haar_filter(reals, config.filter_level)
    return pca_filter(reals, config.filter_level)


def split_images(
    key: Key[Array, ""],
    images: np.ndarray,
    *,
    num_splits: int,
    split_size: int,
    test_size: int,
) -> ImageSplits:
    """Disjoint splits and a test set, in a random order that depends on the key alone.

    An image that occurs several times, pixel by pixel, is used once. The test set comes first and
    the splits follow block by block, so more splits leave test set and earlier splits as they are.

    Raises:
        ValueError: if there are not enough different images.
    """
    for name, value in (("num_splits", num_splits), ("split_size", split_size)):
        check_integer(name, value, 1)
    check_integer("test_size", test_size, 1)
    order = np.asarray(jax.random.permutation(key, len(images)))
    shuffled = images[order]
    rows = shuffled.reshape(len(shuffled), -1)
    whole = np.ascontiguousarray(rows).view(f"V{rows.shape[1] * rows.dtype.itemsize}")[:, 0]
    _, first = np.unique(whole, return_index=True)
    if len(first) < len(images):
        _LOG.info("%d images occur more than once and are used once", len(images) - len(first))
    distinct = shuffled[np.sort(first)]
    needed = test_size + num_splits * split_size
    require(
        needed <= len(distinct),
        "num_splits · split_size + test_size",
        needed,
        f"at most the number of different images, {len(distinct)}",
    )
    train = distinct[test_size:needed].reshape(num_splits, split_size, *images.shape[1:])
    return ImageSplits(train, distinct[:test_size])


def _digits() -> np.ndarray:
    """Scikit-learn's digits: (1797, 8, 8, 1) float32, 16 grey levels from −1 (paper) to 1 (ink)."""
    from sklearn.datasets import load_digits  # an extra

    rows, _ = load_digits(return_X_y=True)
    return np.asarray(rows, np.float32).reshape(-1, 8, 8, 1) / 8 - 1


def _of_file(config: ImageDataConfig) -> np.ndarray:
    file = config.file
    if file is None or not file.exists():
        raise InputError(f"file={file!r} is not allowed: it must hold the images (--images PATH)")
    images = read_array(file)
    found = checksum_of(images)
    require(found == config.checksum, f"checksum of {file}", found, config.checksum)
    return images


class ImageWorld(World):
    """Images, laid out as pixels; networks give their noise."""

    config = ImageDataConfig
    examples = "images"
    axes = ("pixel", "channel")
    units: Mapping[str, str] = {
        **World.units,
        "value": "grey value",
        "loss": "squared error per pixel",
        "distance": "pixel units",
    }

    def shape(self, data: ImageDataConfig) -> dict[str, int]:
        """Pixels and channels."""
        whole = dataclasses.replace(data, filtering="none", filter_level=0)
        return dict(zip(("height", "width", "channels"), _size_of(whole), strict=True))

    def splits(self, key: Key[Array, ""], run: RunConfig) -> ImageSplits:
        """Disjoint splits and a test set, in a random order."""
        return split_images(
            key,
            load_images(run.data),
            num_splits=run.num_splits,
            split_size=run.split_size,
            test_size=run.test_size,
        )

    def shared(self, run: RunConfig) -> dict[str, int]:
        """The test set is drawn first and training sets from the rest, so its size matters."""
        return {"num_splits": 1, "num_seeds": 1}

    def as_drawn(self, splits: Splits) -> ImageSplits:
        """Pixels along one axis, float32."""
        train, test = (np.asarray(pixels(part), np.float32) for part in (splits.train, splits.test))
        return ImageSplits(train, test)

    def references(self, run: RunConfig) -> Mapping[str, Reference]:
        """The two ends: the linear denoiser and the memoriser."""
        names = {"gaussian": gaussian_pixel_denoiser, "empirical": empirical_pixel_denoiser}
        return {
            f"{name}_loss": Reference(
                f"denoising loss of the {name} denoiser of the split, on the same noisy images",
                functools.partial(make, run.schedule),
            )
            for name, make in names.items()
        }

    def comparison(
        self, key: Key[Array, ""], run: RunConfig, settings: Any, splits: Splits, count: int
    ) -> Comparison:
        """Memorised samples, and pictures of some with their nearest training images."""

        def measure(samples: np.ndarray, distance: np.ndarray) -> Measurements:
            return {
                **memorised(key, settings, samples, splits.train, run.num_seeds),
                **_pictures(samples, splits.train, run),
            }

        below = settings.memorised_below
        shares = [
            np.mean(neighbour_ratio(splits.test, own, metric=self.metric) < below)
            for own in splits.train
        ]
        about = "test images much nearer to one training image than to any other"
        chance = Measurement(np.array(shares), ("split",), "fraction", about)
        return Comparison(measure, {"memorised_test": chance})

    def with_files(
        self, run: RunConfig, path: Path, root: Path, *, progress: bool = True
    ) -> RunConfig:
        """The same run on a folder of pictures, a .npy or a .npz file.

        What is read of pictures is kept in the root's folder ``images``.

        Raises:
            ValueError: if there are no images, or the network cannot take their size.
        """
        file, checksum = prepare_images(path, root / "images", progress=progress)
        place: dict[str, Any] = {"source": "file", "checksum": checksum, "file": file}
        data = dataclasses.replace(run.data, **place)
        network = dataclasses.replace(run.network, **self.shape(data))
        return dataclasses.replace(run, network=network, data=data)

    def label(self, run: RunConfig) -> str:
        """What is left of the images."""
        level = run.data.filter_level
        coarse = f"blocks of {2**level} × {2**level}"
        return {"none": "whole", "haar": coarse, "pca": f"{level} components"}[run.data.filtering]

    def describe(self, run: RunConfig) -> str:
        """Where the images are from, and what is left of them."""
        return f"{run.data.source}, {self.label(run)}"

    def missing(self, data: ImageDataConfig) -> str | None:
        """Where the images are."""
        if data.source == "digits" or data.file is not None:
            return None
        return "the images themselves: name them (--images PATH)"


def memorised(
    key: Key[Array, ""],
    settings: Any,
    samples: Float[np.ndarray, "member sample ..."],
    train: Float[np.ndarray, "split n ..."],
    num_seeds: int,
) -> Measurements:
    """Samples of every member that are much nearer to one training example than to any other.

    Args:
        key: for the bootstrap intervals.
        settings: a ``ComparisonConfig``.
        samples: of all members.
        train: training sets.
        num_seeds: members per training set.
    """
    found = []
    for member, drawn in enumerate(samples):
        ratio = neighbour_ratio(drawn, train[member // num_seeds], metric="euclidean")
        copies = ratio < settings.memorised_below
        found.append(bootstrap_interval(jax.random.fold_in(key, member), copies)[:3])
    about = {
        "memorised": "samples much nearer to one training image than to any other",
        "memorised_low": "lower end of its 95 % bootstrap interval",
        "memorised_high": "upper end of its 95 % bootstrap interval",
    }
    return {
        name: Measurement(values, ("member",), "fraction", definition)
        for values, (name, definition) in zip(np.array(found).T, about.items(), strict=True)
    }


def _pictures(
    samples: Float[np.ndarray, "member sample pixels channels"],
    train: Float[np.ndarray, "split n pixels channels"],
    run: RunConfig,
) -> Measurements:
    """The first samples of one network of each of the first two splits, to be looked at."""
    shape = run.network.height, run.network.width, run.network.channels
    drawn = [samples[split * run.num_seeds][:SHOWN] for split in range(min(2, len(train)))]
    nearest = [
        train[split][np.asarray(nearest_images(images, train[split]).row)]
        for split, images in enumerate(drawn)
    ]
    dims = ("network", "sample", "height", "width", "channel")
    return {
        name: Measurement(
            np.stack(images).reshape(len(images), -1, *shape), dims, "grey value", about
        )
        for name, images, about in (
            ("pictures", drawn, "samples of a network of each split, paired by their noise"),
            ("nearest_pictures", nearest, "the nearest training image of each"),
        )
    }


@functools.cache
def _size_of(data: ImageDataConfig) -> tuple[int, ...]:
    return load_images(data).shape[1:]


WORLD = ImageWorld()
