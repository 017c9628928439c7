"""What networks have wrong alike, what their training sets do, and what their seeds do."""

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from experiments.store import trained_checkpoints
from figures import style
from figures.figure import FigureSpec
from figures.style import Results

CAPTION = (
    "Mean divergence of networks from the exact denoiser on test sequences, in parts that add up "
    "to it: what all networks have wrong alike (the divergence of their geometric mean), how "
    "training sets differ from it, and how the networks of one training set differ from each "
    "other. With one network per training set the last part is contained in the one before. Two "
    "training sets show no more than half of what many would."
)

STAGES = ("spread",)

PARTS = {
    "common": ("common to all", style.BLUE),
    "by_set": ("by training set", style.VERMILION),
    "by_seed": ("by seed", style.GREY),
}

ROUNDING = 1e-6
"""Of the sum: a part that is no larger is none."""


def draw(results: Mapping[str, Results]) -> Figure:
    """Draw the figure from the stage "spread" of each run, by its label."""
    figure = style.draw_runs(results, [(None, STAGES, _draw_parts)], 2.4)
    style.legend_below(figure, figure.axes[-1:])
    return figure


def _draw_parts(axis: Axes, results: Results) -> None:
    spread = results["spread"]
    trained, epochs = trained_checkpoints(spread)
    parts = {name: spread[name].values[trained] for name in PARTS}
    total = np.sum(list(parts.values()), axis=0)
    for name, values in parts.items():
        if (values > ROUNDING * total).any():
            label, color = PARTS[name]
            axis.plot(epochs, values, color=color, label=label)
    axis.plot(epochs, total, color="black", ls=":", label="sum")
    axis.set_ylabel(f"{spread['common'].units}\n↓ nearer the truth")
    style.training_axis(axis)
    style.log_height(axis)


FIGURE = FigureSpec(
    title="Spread of networks",
    content="divergence from the exact denoiser: what all networks share, what training sets and "
    "seeds add",
    caption=CAPTION,
    sizes=("middle", "seeds"),
    stages=STAGES,
    draw=draw,
)
