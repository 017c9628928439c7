"""Pictures in figures: pairs of samples with their nearest training images, side by side."""

import numpy as np
from matplotlib.axes import Axes

from experiments.store import Measurements

ROWS = ("A", "nearest to A", "B", "nearest to B")
"""What a mosaic shows from top to bottom."""


def draw_pairs(axis: Axes, comparison: Measurements, checkpoint: int, count: int) -> None:
    """The first samples of a network of each of two splits, with their nearest training images.

    Args:
        axis: where to draw.
        comparison: measurements of that stage.
        checkpoint: its number.
        count: samples, side by side.
    """
    pictures = comparison["pictures"].values[checkpoint]
    nearest = comparison["nearest_pictures"].values[checkpoint]
    rows = [images[:count] for pair in zip(pictures, nearest, strict=True) for images in pair]
    height = rows[0].shape[1]
    grey = mosaic(np.stack(rows))
    axis.imshow(grey, cmap="gray_r" if grey.ndim == 2 else None, vmin=0, vmax=1)
    axis.set(xticks=[])
    centres = [(height + 1) * (row + 0.5) for row in range(len(rows))]
    axis.set_yticks(centres, ROWS[: len(rows)], size=6.5)
    axis.tick_params(length=0)
    axis.spines[:].set_visible(False)


def mosaic(images: np.ndarray) -> np.ndarray:
    """Images in −1…1, (rows, columns, height, width, channels), as one picture in 0…1.

    Between them is a line of one pixel, as light as paper.
    """
    rows, columns, height, width, channels = images.shape
    scaled = np.clip((images + 1) / 2, 0, 1)
    paper = 0.0 if channels == 1 else 1.0
    framed = np.full((rows, columns, height + 1, width + 1, channels), paper)
    framed[:, :, :height, :width] = scaled
    whole = framed.transpose(0, 2, 1, 3, 4).reshape(rows * (height + 1), -1, channels)
    return whole[..., 0] if channels == 1 else whole
