"""F2: leaves change in chunks when noised sequences are drawn anew, most at the threshold."""

import functools
import math

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from experiments.store import Measurements
from experiments.theory import f2
from figures import style
from figures.theory.collapse import collapse
from figures.theory.family import Family, Prediction

# By hm.theory, typed here so that they cannot follow a later change of it.
THRESHOLDS = {"v32_m8": 0.731, "v16_m4": 0.800, "masked": 0.272}
EXPONENTS = {"v32_m8": 1.893, "v16_m4": 2.254}
WORDS = {"v32_m8": "v = 32, m = 8", "v16_m4": "v = 16, m = 4", "masked": "masked leaves"}

DEPTHS = (4, 5, 6, 7, 8, 9)
"""Trees whose curves are laid over each other."""

HEIGHTS = slice(1, 7)
"""Distances of the power law: beyond, the top of the tree is felt."""

FAR = 6
"""Height of r = 32, where short-range correlations are gone."""


def exponent(name: str, measured: Measurements) -> np.ndarray:
    """ν of each realisation: ln s / ln λ of the best collapse."""
    noise, beliefs = measured[f"{name}_noise"].values, measured[f"{name}_beliefs"].values
    guess = {"centre": THRESHOLDS[name], "growth": 2 ** (1 / EXPONENTS[name])}
    grown = [collapse(noise, each[:, list(DEPTHS)], DEPTHS, **guess)[1] for each in beliefs]
    return math.log(2) / np.log(grown)


def _peak(name: str, measured: Measurements) -> np.ndarray:
    spread = measured[f"{name}_susceptibility"].values
    return measured[f"{name}_noise"].values[spread.argmax(1)]


def _largest(name: str, measured: Measurements) -> np.ndarray:
    return measured[f"{name}_susceptibility"].values.max(1)


def _larger(name: str, other: str, measured: Measurements) -> np.ndarray:
    return np.log(_largest(name, measured) / _largest(other, measured))


def _at_threshold(name: str, measured: Measurements) -> np.ndarray:
    """Covariance by height at the noise next to the predicted threshold."""
    place = np.abs(measured[f"{name}_noise"].values - THRESHOLDS[name]).argmin()
    return measured[f"{name}_covariance"].values[:, place]


def _decay(name: str, measured: Measurements) -> np.ndarray:
    """The exponent of r in C(r), r = 2^h, by a straight line in logarithms."""
    found = _at_threshold(name, measured)[:, HEIGHTS]
    heights = np.arange(HEIGHTS.start, HEIGHTS.stop)
    return -np.polyfit(heights, np.log(found).T, 1)[0] / math.log(2)


def _bend(name: str, measured: Measurements) -> np.ndarray:
    """Share of the variance of ln C that a straight line leaves."""
    logs = np.log(_at_threshold(name, measured)[:, HEIGHTS]).T
    heights = np.arange(len(logs))
    line = np.polynomial.polynomial.polyval(
        heights, np.polynomial.polynomial.polyfit(heights, logs, 1)
    )
    return np.square(logs - line.T).sum(0) / np.square(logs - logs.mean(0)).sum(0)


def _far(measured: Measurements) -> np.ndarray:
    found = _at_threshold("v32_m8", measured)
    return found[:, FAR] / found[:, 0]


def _far_in_chain(measured: Measurements) -> np.ndarray:
    found = measured["chain_covariance"].values
    return (found[..., FAR] / found[..., 0]).mean(1)


def _chain_growth(measured: Measurements) -> np.ndarray:
    whole, quarter = (measured[f"chain_{part}susceptibility"].values for part in ("", "quarter_"))
    return np.log(whole / quarter).mean(1)


def _predictions() -> tuple[Prediction, ...]:
    found = []
    for name, nu in EXPONENTS.items():
        of = functools.partial
        found += [
            Prediction.near(
                nu,
                0.1 * nu,
                name=f"nu-{name}",
                statement=f"{WORDS[name]}: ν = ln s / ln F'(p*) = {nu}, within 10 %",
                source="2410.13770",
                about="ν of the best collapse of root curves at depths 4 to 9",
                values=of(exponent, name),
            ),
            Prediction.near(
                2 - 2 / nu,
                0.1 * (2 - 2 / nu),
                name=f"decay-{name}",
                statement=f"{WORDS[name]}: at ε*, C(r) falls as r^(−2 (1 − 1/ν)), within 10 %",
                source="derived here",
                about="exponent of r from 2 to 64",
                values=of(_decay, name),
            ),
            Prediction(
                name=f"power-law-{name}",
                statement=f"{WORDS[name]}: at ε*, C(r) is a power of r",
                source="2410.13770",
                about="share of the variance of ln C, r from 2 to 64, that a power leaves",
                values=of(_bend, name),
                low=-1.0,
                high=0.01,
            ),
        ]
    for name, threshold in THRESHOLDS.items():
        found.append(
            Prediction.near(
                threshold,
                0.03,
                name=f"peak-{name}",
                statement=f"{WORDS[name]}: the susceptibility peaks at the threshold",
                source="2410.13770" if name != "masked" else "2410.13770, threshold derived here",
                about="noise at which it is largest",
                values=functools.partial(_peak, name),
            )
        )
    found += [
        Prediction(
            name="peak-grows",
            statement="the peak grows with the depth of the tree",
            source="2410.13770",
            about="ln of the peak at depth 9 over that at depth 5",
            values=functools.partial(_larger, "v32_m8", "depth_5"),
        ),
        Prediction(
            name="far-tree",
            statement="at ε* leaves of a tree at r = 64 still change together",
            source="2410.13770",
            about="covariance at height 6 over the variance",
            values=_far,
            low=0.01,
        ),
        Prediction(
            name="far-chain",
            statement="symbols of a Markov chain at distance 32 do not",
            source="control",
            about="covariance at that distance over the variance, mean over noise",
            values=_far_in_chain,
            low=-0.005,
            high=0.005,
        ),
        Prediction(
            name="chain-does-not-grow",
            statement="a chain's susceptibility does not grow with its length",
            source="control",
            about="ln of that of 512 symbols over that of the first 128, mean over noise",
            values=_chain_growth,
            low=-0.1,
            high=0.1,
        ),
        Prediction(
            name="blocks-stay-small",
            statement="independent blocks of 8 leaves peak at less than half of the trees' height",
            source="control",
            about="ln of their peak over the trees'",
            values=functools.partial(_larger, "blocks", "v32_m8"),
            low=-np.inf,
            high=-math.log(2),
        ),
    ]
    return tuple(found)


def draw(measured: Measurements) -> Figure:
    """Susceptibility, covariance by distance, and collapses."""
    figure, axes = style.new_figure(3, 4.8, 2)
    _draw_susceptibility(axes[0], measured)
    _draw_covariance(axes[1], measured)
    _draw_masked(axes[2], measured)
    _draw_collapse(axes[3], measured, "v32_m8")
    _draw_collapse(axes[4], measured, "v16_m4")
    _draw_exponents(axes[5], measured)
    style.letter(axes)
    return figure


def _draw_susceptibility(axis: Axes, measured: Measurements) -> None:
    curves = (
        ("v32_m8", "depth 9", style.level_color(0, 3), "-"),
        ("depth_7", "depth 7", style.level_color(1, 3), "-"),
        ("depth_5", "depth 5", style.level_color(2, 3), "-"),
        ("blocks", "blocks", style.VERMILION, "--"),
        ("chain", "chain", style.GREY, ":"),
    )
    for name, label, color, line in curves:
        noise, found = (measured[f"{name}_{part}"].values for part in ("noise", "susceptibility"))
        style.curve_with_band(axis, noise, found.T, color=color, ls=line, label=label)
    axis.axvline(THRESHOLDS["v32_m8"], color=style.GREY, lw=0.8, ls=":")
    axis.set(title="v = 32, m = 8", xlabel="noise $\\epsilon$", ylabel="susceptibility (leaves)")
    axis.legend(handlelength=1.4, labelspacing=0.2, loc="upper left")


def _draw_covariance(axis: Axes, measured: Measurements) -> None:
    heights = np.arange(1, measured["v32_m8_covariance"].values.shape[-1])
    for name, color in (("v32_m8", style.BLUE), ("v16_m4", style.GREEN)):
        found = _at_threshold(name, measured).mean(0)
        axis.plot(2.0**heights, found[1:], "o", ms=3.5, color=color, label=WORDS[name])
        slope = 2.0 ** (-(2 - 2 / EXPONENTS[name]) * (heights - 1))
        axis.plot(2.0**heights, found[1] * slope, color=color, lw=0.9)
    noise = measured["chain_noise"].values
    place = np.abs(noise - THRESHOLDS["v32_m8"]).argmin()
    chain = measured["chain_covariance"].values[:, place].mean(0)[1:]
    shown = chain > 1e-3  # below, it is sampling noise
    axis.plot(
        2.0 ** (heights - 1)[shown], chain[shown], "s:", ms=3, color=style.GREY, label="chain"
    )
    axis.set(xscale="log", yscale="log", ylim=(1e-4, 0.3), title="at $\\epsilon^*$")
    axis.set(xlabel="distance $r$", ylabel="covariance of change")
    axis.legend(handlelength=1.2, labelspacing=0.2, loc="upper right")


def _draw_masked(axis: Axes, measured: Measurements) -> None:
    noise, found = (measured[f"masked_{part}"].values for part in ("noise", "susceptibility"))
    style.curve_with_band(axis, noise, found.T, color=style.PURPLE)
    axis.axvline(THRESHOLDS["masked"], color=style.GREY, lw=0.8, ls=":")
    axis.set(title="masked leaves", xlabel="masked share", ylabel="susceptibility (leaves)")
    axis.set_ylim(bottom=0)


def _draw_collapse(axis: Axes, measured: Measurements, name: str) -> None:
    noise, beliefs = measured[f"{name}_noise"].values, measured[f"{name}_beliefs"].values
    for place, depth in enumerate(DEPTHS):
        scaled = (noise - THRESHOLDS[name]) * 2 ** (depth / EXPONENTS[name])
        color = style.level_color(len(DEPTHS) - 1 - place, len(DEPTHS))
        axis.plot(scaled, beliefs[..., depth].mean(0), color=color, lw=1, label=str(depth))
    axis.set(title=f"collapse, {WORDS[name]}", xlim=(-2, 2), ylim=(0, 1.03))
    axis.set_xlabel("$(\\epsilon - \\epsilon^*)\\, 2^{L/\\nu}$")
    axis.set_ylabel("root unchanged")
    axis.legend(title="depth", handlelength=1.2, labelspacing=0.2)


def _draw_exponents(axis: Axes, measured: Measurements) -> None:
    found = [exponent(name, measured) for name in EXPONENTS]
    predicted, places = np.array(list(EXPONENTS.values())), np.arange(len(EXPONENTS))
    within = {"bottom": 0.9 * predicted, "width": 0.6, "color": style.ORANGE, "alpha": 0.2}
    axis.bar(places, 0.2 * predicted, **within, lw=0, label="± 10 %")
    axis.use_sticky_edges = False
    axis.hlines(predicted, places - 0.3, places + 0.3, style.ORANGE, "--", label="predicted")
    means = [each.mean() for each in found]
    axis.hlines(means, places - 0.2, places + 0.2, style.BLUE, label="measured")
    for place, each in zip(places, found, strict=True):
        axis.plot(np.full(len(each), place), each, "o", ms=3, alpha=0.5, color=style.BLUE)
    axis.set(title="exponent", ylabel="$\\nu$", xlim=(-0.6, 1.6))
    axis.set_xticks(places, ["32, 8", "16, 4"])
    axis.set_xlabel("v, m")
    axis.legend(handlelength=1.2, labelspacing=0.2, loc="lower right")


FAMILY = Family(
    title="Chunks that change together",
    papers=("2410.13770",),
    settings=(
        "Of 2410.13770 the abstract, introduction and some captions were found (masking in the "
        "random hierarchy model, U-turns as draws from the posterior), not the sizes of its "
        "runs. Ours: s = 2, depth 9, 8 grammars per (v, m), 48 sequences each; in place of "
        "sampled ends of U-turns, exact moments over all of them. A chain has 8 successors per "
        "symbol, as many as rules; blocks are trees of depth 3."
    ),
    caption=(
        "(a) Variance of the number of leaves that change in a U-turn, over the sum of their "
        "variances: trees of three depths, independent blocks, a Markov chain. (b) At the "
        "predicted threshold, covariance of change by distance (dots; r = 2^h, h levels up to the "
        "common ancestor) against the predicted power (lines, of predicted slope). (c) As (a), "
        "masked leaves. (d, e) Chance that the root stays, all depths laid over each other by the "
        "predicted ε* and ν; nothing is fitted. (f) ν of the best collapse of each grammar, and "
        "the prediction with 10 %. Bands: 95 % over realisations."
    ),
    study=f2.F2Study(),
    parts=f2.parts,
    predictions=_predictions(),
    draw=draw,
)
