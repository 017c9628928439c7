"""Pictures on disk: a folder or an array file becomes one array, cached with its checksum.

What comes from outside is read with care: only raster formats that Pillow decodes itself, headers
before pixels, bounded sizes, nothing pickled.
"""

import dataclasses
import hashlib
import json
import logging
import os
import warnings
import zipfile
from pathlib import Path
from typing import Any, Literal

import numpy as np
from tqdm import tqdm

from experiments.store import write_json
from hiermodel.checks import InputError, check_integer, require

MAX_PIXELS = 2**24
"""Largest picture that is decoded: 4096 × 4096."""

MAX_BYTES = 8 * 2**30
"""Largest array that is read."""

FORMATS = ("JPEG", "PNG", "BMP", "PPM", "GIF", "WEBP")

ENDINGS = (".jpg", ".jpeg", ".png", ".bmp", ".pgm", ".ppm", ".gif", ".webp")

_LOG = logging.getLogger(__name__)


class BadPictureError(ValueError):
    """A picture that cannot be used, named."""


@dataclasses.dataclass(frozen=True)
class Preprocessing:
    """From a picture of any size to one of ``size`` × ``size``.

    The largest centred square is cut out and reduced, each pixel of the result being the mean of
    those it covers. Grey is ITU-R 601-2 luma.

    Attributes:
        size: height and width of the result.
        channels: 1 for grey, 3 for colour.
        on_bad: what to do at a picture that cannot be used: leave it out, with a warning that
            names it, or stop.
    """

    size: int = 32
    channels: Literal[1, 3] = 1
    on_bad: Literal["skip", "stop"] = "skip"

    def __post_init__(self):
        check_integer("size", self.size, 1)
        require(self.channels in (1, 3), "channels", self.channels, "1 or 3")
        require(self.on_bad in ("skip", "stop"), "on_bad", self.on_bad, "'skip' or 'stop'")


def read_picture(path: Path, how: Preprocessing) -> np.ndarray:
    """One picture as (size, size, channels) uint8.

    Raises:
        BadPictureError: if it is empty, damaged, truncated, too large, or of another format.
    """
    from PIL import Image, UnidentifiedImageError  # an extra

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path, formats=FORMATS) as picture:  # reads the header alone
                width, height = picture.size
                if width * height > MAX_PIXELS:
                    raise BadPictureError(
                        f"{path} has {width} × {height} pixels; at most {MAX_PIXELS} are allowed"
                    )
                side = min(width, height)
                left, top = (width - side) // 2, (height - side) // 2
                square = picture.convert("L" if how.channels == 1 else "RGB").crop(
                    (left, top, left + side, top + side)
                )
                small = square.resize((how.size, how.size), Image.Resampling.BOX)
    except BadPictureError:
        raise
    except (
        OSError,
        ValueError,
        SyntaxError,
        EOFError,
        UnidentifiedImageError,
        Image.DecompressionBombError,
        Image.DecompressionBombWarning,
    ) as error:
        raise BadPictureError(f"{path} cannot be read as a picture: {error}") from error
    return np.asarray(small, np.uint8).reshape(how.size, how.size, how.channels)


def read_folder(folder: Path, how: Preprocessing, *, progress: bool = True) -> np.ndarray:
    """All pictures of a folder, by name: (n, size, size, channels) uint8.

    Raises:
        BadPictureError: at the first bad picture, if ``how`` says so.
        ValueError: if there is no picture.
    """
    found, bad = [], 0
    paths = pictures_in(folder)
    for path in tqdm(paths, desc="reading", unit="picture", disable=None if progress else True):
        try:
            found.append(read_picture(path, how))
        except BadPictureError as error:
            if how.on_bad == "stop":
                raise
            bad += 1
            _LOG.warning("left out: %s", error)
    require(bool(found), "folder", str(folder), f"one with pictures ({', '.join(ENDINGS)})")
    _LOG.info("%s: %d pictures read, %d left out", folder, len(found), bad)
    return np.stack(found)


def pictures_in(folder: Path) -> list[Path]:
    """Files of a folder that are pictures by their name, in the order of their names."""
    return sorted(p for p in folder.iterdir() if p.suffix.lower() in ENDINGS and p.is_file())


def read_array(path: Path) -> np.ndarray:
    """Images from a .npy file, or from a .npz with one array or one named "images".

    Returns:
        (n, height, width, channels), uint8 or float32; an array without channels is grey.

    Raises:
        ValueError: for a damaged file, one that is too large, another shape or dtype, or floating
            pixels outside −1…1.
    """
    try:
        if path.suffix == ".npz":
            with zipfile.ZipFile(path) as archive:
                size = sum(entry.file_size for entry in archive.infolist())
            require(size <= MAX_BYTES, str(path), f"{size} bytes", f"at most {MAX_BYTES} bytes")
            with np.load(path, allow_pickle=False) as arrays:
                name = arrays.files[0] if len(arrays.files) == 1 else "images"
                require(name in arrays.files, str(path), arrays.files, 'one with "images"')
                images = arrays[name]
        else:
            images = np.load(path, mmap_mode="r", allow_pickle=False)
            size = images.nbytes
            require(size <= MAX_BYTES, str(path), f"{size} bytes", f"at most {MAX_BYTES} bytes")
    except (OSError, EOFError, ValueError, zipfile.BadZipFile) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{path} cannot be read as an array ({error})") from error
    return check_images(np.asarray(images))


def check_images(images: np.ndarray) -> np.ndarray:
    """Images with an axis of channels, as uint8 or float32, after checking them."""
    allowed = "of shape (n, height, width) or (n, height, width, channels), not empty"
    require(images.ndim in (3, 4) and images.size > 0, "images", images.shape, allowed)
    images = images if images.ndim == 4 else images[..., None]
    if images.dtype == np.uint8:
        return images
    floating = np.issubdtype(images.dtype, np.floating)
    require(bool(floating), "images", images.dtype, "uint8, or floating within −1…1")
    inside = bool((np.abs(images) <= 1).all())
    require(inside, "images", "pixels outside", "uint8, or floating within −1…1")
    return images.astype(np.float32)


def checksum_of(images: np.ndarray) -> str:
    """SHA-256 of the pixels, with their shape and dtype."""
    head = f"{images.dtype} {images.shape} ".encode()
    return hashlib.sha256(head + np.ascontiguousarray(images).tobytes()).hexdigest()


def prepare_images(
    path: Path, cache: Path, how: Preprocessing = Preprocessing(), *, progress: bool = True
) -> tuple[Path, str]:
    """The array file that stands for a folder of pictures or an array file, and its checksum.

    A folder is read once: its pixels are kept in the cache, under a name made of the pictures'
    names and sizes and of how they are preprocessed.

    Args:
        path: a folder of pictures, a .npy or a .npz file.
        cache: folder for what is read of a folder of pictures.
        how: preprocessing of pictures; arrays are taken as they are.
        progress: show a progress bar.

    Raises:
        ValueError: if the path is neither, or what it holds cannot be used.
    """
    if path.suffix in (".npy", ".npz"):
        return path, checksum_of(read_array(path))
    require(path.is_dir(), "images", str(path), "a folder of pictures, a .npy or a .npz file")
    name = _name_of(path, how)
    array, about = cache / f"{name}.npy", cache / f"{name}.json"
    if about.exists():
        known = json.loads(about.read_text())["checksum"]
        if array.exists() and checksum_of(read_array(array)) == known:
            return array, known
        _LOG.warning("%s is damaged; the pictures are read again", array)
    images = read_folder(path, how, progress=progress)
    cache.mkdir(parents=True, exist_ok=True)
    temporary = array.with_name(f".{array.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as file:
            np.save(file, images, allow_pickle=False)
        os.replace(temporary, array)
    finally:
        temporary.unlink(missing_ok=True)
    checksum = checksum_of(images)
    write_json(about, {"checksum": checksum, "shape": images.shape, **_settings(how)})
    return array, checksum


def _settings(how: Preprocessing) -> dict[str, Any]:
    return {"size": how.size, "channels": how.channels}


def _name_of(folder: Path, how: Preprocessing) -> str:
    listed = [[path.name, path.stat().st_size] for path in pictures_in(folder)]
    text = json.dumps([listed, _settings(how)])
    return f"images-{hashlib.sha256(text.encode()).hexdigest()[:16]}"
