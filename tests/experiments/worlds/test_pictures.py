"""Pictures on disk: good, grey, colour, damaged, empty and huge ones; array files; the cache."""

import io
import json
import pickle
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from experiments.worlds.pictures import (
    MAX_PIXELS,
    BadPictureError,
    Preprocessing,
    check_images,
    checksum_of,
    prepare_images,
    read_array,
    read_folder,
    read_picture,
)

HOW = Preprocessing(size=4)
NOISE = np.random.default_rng(0).integers(0, 256, (8, 8, 3)).astype(np.uint8)


def save(path, pixels, **options):
    Image.fromarray(pixels).save(path, **options)
    return path


def test_colour_is_cut_to_its_centre_reduced_by_means_and_made_grey(tmp_path):
    wide = np.zeros((8, 12, 3), np.uint8)
    wide[:, 2:10] = np.repeat(np.repeat(NOISE[:4, :4], 2, 0), 2, 1)  # blocks of 2 × 2 alike
    wide[:, :2] = wide[:, 10:] = 255  # outside the centre
    read = read_picture(save(tmp_path / "wide.png", wide), HOW)
    assert (read.shape, read.dtype) == ((4, 4, 1), np.uint8)
    luma = NOISE[:4, :4] @ np.array([299, 587, 114]) / 1000
    assert np.abs(read[..., 0] - luma).max() <= 1  # rounded
    colour = read_picture(tmp_path / "wide.png", Preprocessing(size=4, channels=3))
    np.testing.assert_array_equal(colour, NOISE[:4, :4])


def test_grey_pictures_stay_as_they_are(tmp_path):
    read = read_picture(save(tmp_path / "grey.png", NOISE[:4, :4, 0]), HOW)
    np.testing.assert_array_equal(read[..., 0], NOISE[:4, :4, 0])


def png_header(width, height):
    """A PNG that says it is huge, and holds nothing."""

    def chunk(kind, data):
        body = kind + data
        return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))

    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    parts = (chunk(b"IHDR", head), chunk(b"IDAT", zlib.compress(b"\0")), chunk(b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def bad_pictures():
    """Content by name of the file."""
    good = io.BytesIO()
    Image.fromarray(NOISE).resize((64, 64)).save(good, "JPEG")
    return {
        "empty.png": b"",
        "text.jpg": b"no picture at all",
        "truncated.jpg": good.getvalue()[:-200],
        "huge.png": png_header(5000, 5000),
        "bomb.png": png_header(100_000, 100_000),
        "vector.png": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 4 4\n",
    }


@pytest.mark.parametrize("name", bad_pictures())
def test_bad_pictures_are_named_and_skipped_or_stop(tmp_path, name, caplog):
    (tmp_path / name).write_bytes(bad_pictures()[name])
    save(tmp_path / "a.png", NOISE)
    with pytest.raises(BadPictureError, match=name):
        read_folder(tmp_path, Preprocessing(size=4, on_bad="stop"), progress=False)
    with caplog.at_level("WARNING"):
        read = read_folder(tmp_path, HOW, progress=False)
    assert len(read) == 1
    assert name in caplog.text


def test_a_picture_is_refused_by_its_size_before_it_is_decoded(tmp_path):
    assert MAX_PIXELS < 5000 * 5000
    (tmp_path / "huge.png").write_bytes(png_header(5000, 5000))
    with pytest.raises(BadPictureError, match="5000 × 5000"):
        read_picture(tmp_path / "huge.png", HOW)


def test_a_folder_is_read_once_and_again_when_it_or_the_cache_changes(tmp_path):
    folder, cache = tmp_path / "pictures", tmp_path / "cache"
    folder.mkdir()
    for index in range(3):
        save(folder / f"{index}.png", NOISE + index)
    (folder / "notes.txt").write_text("not a picture")
    file, checksum = prepare_images(folder, cache, HOW, progress=False)
    images = read_array(file)
    assert (images.shape, images.dtype) == ((3, 4, 4, 1), np.uint8)
    assert checksum == checksum_of(images)
    time = file.stat().st_mtime_ns
    assert prepare_images(folder, cache, HOW, progress=False) == (file, checksum)
    assert file.stat().st_mtime_ns == time
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    assert prepare_images(folder, cache, HOW, progress=False) == (file, checksum)
    save(folder / "3.png", NOISE)
    other, _ = prepare_images(folder, cache, HOW, progress=False)
    assert other != file
    assert json.loads(other.with_suffix(".json").read_text())["shape"] == [4, 4, 4, 1]


def test_a_folder_without_pictures_is_refused(tmp_path):
    with pytest.raises(ValueError, match="one with pictures"):
        prepare_images(tmp_path, tmp_path / "cache", HOW, progress=False)
    with pytest.raises(ValueError, match="a folder of pictures"):
        prepare_images(tmp_path / "nowhere", tmp_path / "cache", HOW, progress=False)


@pytest.mark.parametrize("suffix", [".npy", ".npz"])
def test_arrays_are_taken_as_they_are(tmp_path, suffix):
    grey = NOISE[..., 0][None].repeat(2, 0)
    path = tmp_path / f"a{suffix}"
    save_array = np.save if suffix == ".npy" else np.savez
    save_array(path, grey)
    np.testing.assert_array_equal(read_array(path), grey[..., None])
    assert prepare_images(path, tmp_path)[0] == path


def test_the_array_named_images_is_taken(tmp_path):
    np.savez(tmp_path / "a.npz", labels=np.zeros(2), images=NOISE[None] / np.float64(255))
    assert read_array(tmp_path / "a.npz").dtype == np.float32
    np.savez(tmp_path / "b.npz", labels=np.zeros(2), pictures=NOISE[None])
    with pytest.raises(ValueError, match="images"):
        read_array(tmp_path / "b.npz")


@pytest.mark.parametrize(
    "images",
    [
        np.zeros((0, 2, 2)),
        np.zeros((2, 2)),
        np.zeros((1, 2, 2, 1, 1)),
        np.full((1, 2, 2), np.nan),
        np.full((1, 2, 2), 1.5),
        np.zeros((1, 2, 2), np.int64),
        np.zeros((1, 2, 2), complex),
    ],
)
def test_arrays_that_are_no_images_are_refused(images):
    with pytest.raises(ValueError, match="images"):
        check_images(images)


def test_damaged_files_and_pickles_are_refused(tmp_path):
    (tmp_path / "a.npy").write_bytes(b"\x93NUMPY")
    (tmp_path / "b.npz").write_bytes(b"no archive")
    np.save(tmp_path / "c.npy", np.array([{}]), allow_pickle=True)
    (tmp_path / "d.npy").write_bytes(pickle.dumps([1, 2]))
    for name in ("a.npy", "b.npz", "c.npy", "d.npy"):
        with pytest.raises(ValueError, match=name[0]):
            read_array(tmp_path / name)
