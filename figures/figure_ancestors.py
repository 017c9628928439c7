"""What noise leaves of the tree: ancestors level by level, and the floor of the denoising loss."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from experiments.store import Measurements
from figures import style

CAPTION = (
    "Exact inference on noised sequences; no network. Top: probability that the best possible "
    "guess of a node is right, per level, for the grammar of the experiments (left) and a random "
    "hierarchy model of 32 symbols (right); ticks below mark where a level is halfway from 1 to "
    "chance. Bottom left: probability that the root of the random hierarchy model is unchanged "
    "after a U-turn, for trees of several depths; the deeper the tree, the sharper the loss of the "
    "root. Bottom right: least possible denoising loss of the experiments' grammar (k = 0), and "
    "the losses at which denoisers rest that know only its filtered models. Bands are 95 % "
    "intervals over sequences."
)

LOW, ESTIMATE, HIGH = range(3)
"""Along the axis "bound" of a measurement."""


def draw(measured: Measurements) -> Figure:
    """Draw the figure from the measurements of ``experiments.oracle_study``."""
    figure = Figure(figsize=(style.COLUMN_WIDTH, 4.6), layout="constrained")
    (paper, hierarchy), (root, floor) = figure.subplots(2, 2)
    depths = _depths(measured)
    _draw_levels(paper, measured, "grammar")
    _draw_levels(hierarchy, measured, f"depth_{depths[-1]}")
    _draw_root(root, measured, depths)
    _draw_floor(floor, measured)
    style.letter((paper, hierarchy, root, floor))
    return figure


def _depths(measured: Measurements) -> list[int]:
    """Depths of the random hierarchy models that were measured."""
    names = [name.removesuffix("_success") for name in measured if name.endswith("_success")]
    return sorted(int(name.removeprefix("depth_")) for name in names if name != "grammar")


def _draw_levels(axis: Axes, measured: Measurements, name: str) -> None:
    times, curves = measured["time"].values, measured[f"{name}_success"].values
    halfway = measured[f"{name}_success_halfway"].values
    num_levels = curves.shape[-1]
    for level in range(num_levels):
        color = style.level_color(level, num_levels)
        label = {0: "0 (root)", num_levels - 1: f"{level} (leaves)"}.get(level, str(level))
        _curve(axis, times, curves[..., level], color=color, label=label)
        axis.plot([halfway[ESTIMATE, level]] * 2, [0, 0.03], color=color, lw=1.2)
    title = "paper's grammar" if name == "grammar" else "random hierarchy model"
    limit = 1.0 if name == "grammar" else 0.4
    axis.set(title=title, xlabel="diffusion time $t/T$", xlim=(0, limit), ylim=(0, 1.03))
    axis.set_ylabel("probability of a right guess\n↑ knows more")
    axis.legend(title="level", handlelength=1.2, labelspacing=0.25, loc="upper right")


def _draw_root(axis: Axes, measured: Measurements, depths: list[int]) -> None:
    times = measured["time"].values
    colors = (style.SKY, style.BLUE, style.BLACK, style.PURPLE)
    for depth, color in zip(depths, colors, strict=False):
        curves = measured[f"depth_{depth}_unchanged"].values[..., 0]
        _curve(axis, times, curves, color=color, label=str(depth))
    chance = measured[f"depth_{depths[-1]}_unchanged_chance"].values[0]
    axis.axhline(chance, color=style.GREY, lw=0.8, ls=":")
    axis.set(xlabel="diffusion time $t/T$", xlim=(0, 0.4), ylim=(0, 1.03))
    axis.set(title="root after a U-turn", ylabel="probability of no change\n↑ knows more")
    axis.legend(title="depth of the tree", handlelength=1.2, labelspacing=0.25)


def _draw_floor(axis: Axes, measured: Measurements) -> None:
    times, losses = measured["time"].values, measured["loss"].values
    for level in reversed(range(len(losses))):
        color = style.level_color(level, len(losses))
        label = f"$k={level}$" + (" (floor)" if level == 0 else "")
        _curve(axis, times, losses[level], color=color, label=label)
    axis.set(title="loss of the exact denoisers", xlabel="diffusion time $t/T$", xlim=(0, 1))
    axis.set_ylabel("loss (nats per position)\n↓ better")
    axis.set_ylim(bottom=0)
    axis.legend(handlelength=1.2, labelspacing=0.25, loc="lower right")


def _curve(axis: Axes, times: np.ndarray, curves: np.ndarray, color, label: str) -> None:
    """An estimate (bound, time) with the band of its interval."""
    axis.plot(times, curves[ESTIMATE], color=color, label=label)
    axis.fill_between(times, curves[LOW], curves[HIGH], color=color, alpha=0.2, lw=0)
