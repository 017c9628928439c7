"""F2, with networks: the chunks that change together grow while a network learns the tree."""

import math

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from experiments.store import Measurements
from experiments.theory import f2b
from figures import style
from figures.theory.family import Family, Prediction
from figures.theory.rises import first_rise

HEIGHTS = range(1, f2b.SIZES["depth"])
"""Of common ancestors below the root, in the panel of covariances."""


def _networks(measured: Measurements) -> np.ndarray:
    return measured["network_susceptibility"].values


def growth(measured: Measurements) -> np.ndarray:
    """Ln of the susceptibility after training over that at the first look, means over noise."""
    found = _networks(measured).mean(-1)
    return np.log(found[:, -1] / found[:, 0])


def shortfall(measured: Measurements) -> np.ndarray:
    """Ln of the networks' susceptibility after training over the exact one, means over noise."""
    exact = measured["exact_susceptibility"].values.mean(-1)
    return np.log(_networks(measured)[:, -1].mean(-1) / exact)


def centre(masked: np.ndarray, susceptibility: np.ndarray) -> np.ndarray:
    """Mean masked share, weighted by what the susceptibility has above independent leaves' 1."""
    excess = susceptibility - 1
    return (excess * masked).sum(-1) / excess.sum(-1)


def shift(measured: Measurements) -> np.ndarray:
    """How much more is masked where networks' leaves change together than where exact ones do."""
    masked = measured["masked"].values
    exact = measured["exact_susceptibility"].values
    return centre(masked, _networks(measured)[:, -1]) - centre(masked, exact)


def share_of_covariance(height: int, measured: Measurements) -> np.ndarray:
    """(realisation, checkpoint): the networks' over the exact one, means over noise."""
    exact = measured["exact_covariance"].values[..., height].mean(-1)
    return measured["network_covariance"].values[..., height].mean(-1) / exact[:, None]


def reached_at(height: int, measured: Measurements) -> np.ndarray:
    """Ln of the step where half of the exact covariance is reached, per realisation."""
    return first_rise(measured["step"].values, share_of_covariance(height, measured) - 0.5)


def _later(measured: Measurements) -> np.ndarray:
    return reached_at(2, measured) - reached_at(1, measured)


PREDICTIONS = (
    Prediction(
        name="grows",
        statement="leaves change together in larger chunks, the longer a network is trained",
        source="2410.13770",
        about="ln of the susceptibility after training over that after 100 steps, means over noise",
        values=growth,
    ),
    Prediction(
        name="near-before-far",
        statement="siblings come to change together before cousins do",
        source="derived here",
        about="ln of the step where half of the exact covariance is reached, height 2 over 1",
        values=_later,
    ),
    Prediction.near(
        0.0,
        math.log(1.1),
        name="as-exact",
        statement="after training, the susceptibility is that of the exact denoiser, within 10 %",
        source="2410.13770",
        about="ln of the networks' over the exact one, means over noise",
        values=shortfall,
    ),
    Prediction.near(
        0.0,
        0.05,
        name="where-exact",
        statement="after training, leaves change together at the same noise as with the exact "
        "denoiser",
        source="2410.13770",
        about="difference of mean masked shares, weighted by the susceptibility above 1",
        values=shift,
    ),
)


def draw(measured: Measurements) -> Figure:
    """Susceptibility against noise, and covariances along training."""
    figure, axes = style.new_figure(3, 2.9)
    _draw_susceptibility(axes[0], measured)
    _draw_covariances(axes[1], measured)
    _draw_shares(axes[2], measured)
    style.letter(axes)
    style.legend_below(figure, axes[:1])
    return figure


def _draw_susceptibility(axis: Axes, measured: Measurements) -> None:
    masked, steps = measured["masked"].values, measured["step"].values
    for place, step in enumerate(steps):
        color = style.level_color(len(steps) - 1 - place, len(steps))
        curves = _networks(measured)[:, place].T
        style.curve_with_band(axis, masked, curves, color=color, label=f"{step:.0f} steps")
    exact = measured["exact_susceptibility"].values.T
    style.curve_with_band(axis, masked, exact, color=style.GREY, ls="--", label="exact")
    axis.set(xlabel="masked share", ylabel="susceptibility (leaves)", title="chunks")


def _curves(height: int) -> dict[str, object]:
    return {"color": style.level_color(height - 1, len(HEIGHTS)), "label": f"{2**height} leaves"}


def _draw_covariances(axis: Axes, measured: Measurements) -> None:
    steps = measured["step"].values
    for height in HEIGHTS:
        found = measured["network_covariance"].values[..., height].mean(-1)
        style.curve_with_band(axis, steps, found.T, **_curves(height))
        exact = measured["exact_covariance"].values[..., height].mean()
        axis.axhline(exact, color=style.level_color(height - 1, len(HEIGHTS)), lw=0.8, ls="--")
    axis.set(xscale="log", xlabel="training step", ylabel="covariance of change")
    axis.set_title("by size of the common block")
    axis.legend(handlelength=1.2, labelspacing=0.2)


def _draw_shares(axis: Axes, measured: Measurements) -> None:
    for height in HEIGHTS[:2]:
        shares = share_of_covariance(height, measured)
        style.curve_with_band(axis, measured["step"].values, shares.T, **_curves(height))
    axis.axhline(1, color=style.GREY, lw=0.8, ls="--")
    axis.axhline(0.5, color=style.GREY, lw=0.8, ls=":")
    axis.set(xscale="log", xlabel="training step", ylabel="share of the exact covariance")
    axis.set_title("near before far")


FAMILY = Family(
    title="Chunks of trained networks",
    papers=("2410.13770",),
    settings=(
        "What was found of 2410.13770 says nothing of networks on the tree (its own are of text "
        "and images). Ours: v = 8, m = 3, s = 2, L = 4, 6 grammars, 4096 sequences each; masked "
        "leaves, T = 32; tree U-Nets of width 32, 6000 steps of Adam at 3e-3, batch 32, running "
        "average of decay 0.998. 256 test sequences, each drawn anew twice from each of 8 steps "
        "of noise, position by position, by network and exact denoiser alike. Settings and sizes "
        "were chosen on seed 1000. The published run was started just before its predictions were "
        "committed, and these are as they were."
    ),
    caption=(
        "(a) Variance of the number of leaves that change in a U-turn, over the sum of their "
        "variances, along training (light to dark); dashed: with the exact denoiser. (b) "
        "Covariance of change of two leaves by the size of the smallest block that holds both, "
        "mean over noise; dashed: exact. (c) The same over the exact one. Bands: 95 % over "
        "grammars."
    ),
    study=f2b.F2bStudy(),
    parts=f2b.parts,
    predictions=PREDICTIONS,
    draw=draw,
)
