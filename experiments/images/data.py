"""The images of a run: loaded, filtered, and cut into disjoint splits and a test set."""

import dataclasses
import logging

import jax
import numpy as np
from jaxtyping import Array, Key

from experiments.images.configs import ImageDataConfig
from experiments.images.files import checksum_of, read_array
from hiermodel.checks import InputError, check_integer, require
from hiermodel.diffusion.image_filters import haar_filter, pca_filter

_LOG = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class ImageSplits:
    """Training sets and a test set; no image occurs twice in all of them.

    Attributes:
        train: (num_splits, split_size, height, width, channels), uint8 or float32.
        test: (test_size, height, width, channels).
    """

    train: np.ndarray
    test: np.ndarray


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

    Of images that are the same, pixel by pixel, one is used. The test set comes first and the
    splits follow block by block, so more splits leave test set and earlier splits as they are.

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
