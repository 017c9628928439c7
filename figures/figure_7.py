"""Figure 7: as figure 1a for images with all, and with only coarse structure; more pairs."""

from collections.abc import Mapping

from matplotlib.figure import Figure

from figures import figure_1a, pictures, style
from figures.style import Results

CAPTION = (
    "Top: as in figure 1a, a row for each data set: the images themselves, and images with only "
    "their coarse structure left, by wavelets or by principal components. Below: samples of two "
    "networks on disjoint splits A and B from the same noise, each with its nearest training "
    "image, where the test loss is lowest."
)

STAGES = ("evaluation", "comparison")
SIZES = ("images", "images_haar", "images_pca")
SHOWN = 6


def draw(results: Mapping[str, Results]) -> Figure:
    """Draw the figure from the stages of each data set, by its name."""
    count = len(results)
    figure = Figure(figsize=(style.COLUMN_WIDTH, 1.9 * count + 1.7), layout="constrained")
    parts = figure.subfigures(2, 1, squeeze=False, height_ratios=(1.9 * count, 1.7))
    axes = parts[0, 0].subplots(count, 3, squeeze=False)
    mosaics = parts[1, 0].subplots(1, count, squeeze=False)[0]
    for row, mosaic, (name, own) in zip(axes, mosaics, results.items(), strict=True):
        figure_1a.draw_row(list(row), own)
        row[0].set_ylabel(f"{name}\n{row[0].get_ylabel()}")
        _, (_, checkpoint), _ = figure_1a.moments(own)
        style.draw_panel(
            mosaic,
            own,
            STAGES,
            lambda axis, found, at=checkpoint: pictures.draw_pairs(
                axis, found["comparison"], at, SHOWN
            ),
        )
        mosaic.set_title(name)
    for axis in (a for row in axes[1:] for a in row):
        axis.set_title("")
    return figure
