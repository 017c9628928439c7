"""Splits of images: disjoint, nested, each image once; filters; what names a run."""

import dataclasses
from pathlib import Path

import jax
import numpy as np
import pytest

from experiments import configs
from experiments.worlds.images import ImageDataConfig, load_images, split_images
from experiments.worlds.pictures import checksum_of

KEY = jax.random.key(5)


def rows(images):
    return {image.tobytes() for image in images.reshape(-1, *images.shape[-3:])}


def test_digits_are_the_embedded_ones():
    images = load_images(ImageDataConfig())
    assert (images.shape, images.dtype) == ((1797, 8, 8, 1), np.float32)
    assert (images.min(), images.max()) == (-1, 1)
    assert len(rows(images)) == 1797


def test_splits_and_test_set_are_disjoint_and_nested():
    images = load_images(ImageDataConfig())
    few = split_images(KEY, images, num_splits=2, split_size=100, test_size=300)
    many = split_images(KEY, images, num_splits=4, split_size=100, test_size=300)
    np.testing.assert_array_equal(few.train, many.train[:2])
    np.testing.assert_array_equal(few.test, many.test)
    assert len(rows(many.train) | rows(many.test)) == 700
    other = split_images(jax.random.key(6), images, num_splits=2, split_size=100, test_size=300)
    assert not np.array_equal(few.test, other.test)


def test_an_image_that_occurs_twice_is_used_once():
    images = load_images(ImageDataConfig())[:50]
    doubled = np.concatenate([images, images[:20]])
    splits = split_images(KEY, doubled, num_splits=2, split_size=20, test_size=10)
    assert len(rows(splits.train) | rows(splits.test)) == 50
    with pytest.raises(ValueError, match="different images, 50"):
        split_images(KEY, doubled, num_splits=2, split_size=20, test_size=11)


def test_filtered_sources_are_filtered_images():
    plain = load_images(ImageDataConfig())
    coarse = load_images(ImageDataConfig(filtering="haar", filter_level=1))
    np.testing.assert_allclose(coarse[:, 0, 0], plain[:, :2, :2].mean((1, 2)), atol=1e-6)
    components = load_images(ImageDataConfig(filtering="pca", filter_level=5))
    centred = (components - components.mean(0)).reshape(len(plain), -1)
    assert np.linalg.matrix_rank(centred, tol=1e-2) == 5


def test_where_a_file_lies_is_no_part_of_what_a_run_is(tmp_path):
    images = np.arange(4 * 4, dtype=np.uint8).reshape(4, 2, 2, 1)
    np.save(tmp_path / "a.npy", images)
    config = ImageDataConfig("file", checksum_of(images), tmp_path / "a.npy")
    np.testing.assert_array_equal(load_images(config), images)
    moved = dataclasses.replace(config, file=Path("elsewhere.npy"))
    assert configs.identity(config) == configs.identity(moved)
    assert "file" not in configs.to_json(config)
    with pytest.raises(ValueError, match=r"elsewhere.npy"):
        load_images(moved)
    np.save(tmp_path / "a.npy", images[::-1])
    with pytest.raises(ValueError, match="checksum"):
        load_images(config)


@pytest.mark.parametrize(
    ("fields", "complaint"),
    [
        ({"source": "cats"}, "source"),
        ({"source": "file"}, "checksum"),
        ({"checksum": "ab"}, "checksum"),
        ({"filtering": "blur"}, "filtering"),
        ({"filtering": "pca"}, "filter_level=0"),
        ({"filter_level": 1}, "filter_level=1"),
    ],
)
def test_settings_that_do_not_fit_are_refused(fields, complaint):
    with pytest.raises(ValueError, match=complaint):
        ImageDataConfig(**fields)
