"""F6: at which noise a class is decided, and at which an empirical denoiser knows its sequence."""

import functools
import math

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from experiments.store import Measurements
from experiments.theory import f6
from figures import style
from figures.theory.family import Family, Prediction

THRESHOLD = 0.132
"""1 − abar up to which the root is known, v = 32, m = 8; by hm.theory, typed here to stay."""

NEAR_STEP = 0.15
"""Tolerance of the ln of a step of collapse."""

WORDS = {"pairs": "v = 32, m = 8, s = 2, L = 9", "wide": "v = 8, m = 2, s = 6, L = 3"}

LEVELS = {"pairs": (0, 3, 6), "wide": (0, 1, 2)}
"""Tree levels whose loss is predicted."""


def halfway(x: np.ndarray, curve: np.ndarray, chance: float) -> float:
    """Where a falling curve is first halfway from 1 to chance, by straight lines."""
    middle = (1 + chance) / 2
    after = int(np.argmax(curve < middle))
    if after == 0:
        return float(x[-1])
    share = (curve[after - 1] - middle) / (curve[after - 1] - curve[after])
    return float(x[after - 1] + share * (x[after] - x[after - 1]))


def lost_at(name: str, measured: Measurements, level: int = 0) -> np.ndarray:
    """1 − abar at which a level's nodes are halfway from certain to chance in U-turns."""
    noise, curves = measured[f"{name}_noise"].values, measured[f"{name}_unchanged"].values
    chance = 1 / f6.CLASSES[name]["vocab_size"]
    return np.array([halfway(noise, curve[:, level], chance) for curve in curves])


def _criterion(name: str, level: int, measured: Measurements) -> np.ndarray:
    """Ln of the signal to noise at which a level is lost, over 1 / Λ, where theory has it."""
    noise = lost_at(name, measured, level)
    return np.log((1 - noise) / noise * measured[f"{name}_signal"].values[:, level])


def collapses_at(place: int, measured: Measurements) -> np.ndarray:
    """Step at which half of the draws of the empirical denoiser are the own sequence."""
    steps, known = measured["collapse_step"].values, measured["collapse_known"].values
    return np.array([halfway(steps, curve, 0.0) for curve in known[:, place]])


def _collapse_off(place: int, measured: Measurements) -> np.ndarray:
    predicted = measured["collapse_predicted"].values[:, place]
    return np.log(collapses_at(place, measured) / predicted)


def _nodes(level: int) -> str:
    return f"nodes of level {level} are" if level else "the root is"


def _predictions() -> tuple[Prediction, ...]:
    found = [
        Prediction.near(
            THRESHOLD,
            0.03,
            name="class-threshold",
            statement=f"{WORDS['pairs']}: U-turns lose the root at the threshold of the map",
            source="derived here from the map of 2402.16991",
            about="1 − abar where the root is halfway from 1 to chance",
            values=functools.partial(lost_at, "pairs"),
        )
    ]
    found += [
        Prediction.near(
            0.0,
            math.log(2),
            name=f"class-covariance-{name}" + (f"-{level}" if level else ""),
            statement=f"{WORDS[name]}: {_nodes(level)} lost where abar Λ = 1 − abar, within a "
            "factor of 2",
            source="2402.18491",
            about=f"ln of abar Λ / (1 − abar) where {_nodes(level)} halfway from 1 to chance",
            values=functools.partial(_criterion, name, level),
        )
        for name, levels in LEVELS.items()
        for level in levels
    ]
    found += [
        Prediction.near(
            0.0,
            NEAR_STEP,
            name=f"collapse-{number}",
            statement=f"n = {number}: an empirical denoiser knows its sequence from the step on "
            "where the exact information is ln n, within 15 %",
            source="2402.18491",
            about="ln of the step where half of its draws are the sequence, over that step",
            values=functools.partial(_collapse_off, place),
        )
        for place, number in enumerate(f6.NUM_SEQUENCES)
    ]
    return tuple(found)


def draw(measured: Measurements) -> Figure:
    """Classes along noise, and the empirical denoiser along steps."""
    figure, axes = style.new_figure(3, 2.7)
    for axis, name in zip(axes, f6.CLASSES, strict=False):
        _draw_classes(axis, measured, name)
    axes[0].axvline((1 - THRESHOLD) / THRESHOLD, color=style.VERMILION, lw=1, ls="--")
    _draw_collapse(axes[2], measured)
    style.letter(axes)
    return figure


def _draw_classes(axis: Axes, measured: Measurements, name: str) -> None:
    noise, curves = measured[f"{name}_noise"].values, measured[f"{name}_unchanged"].values
    noisy = noise > 0  # without noise the signal is endless
    num_levels = curves.shape[-1]
    for level in sorted({0, num_levels // 3, 2 * num_levels // 3, num_levels - 1}):
        color = style.level_color(level, num_levels)
        label = {0: "root", num_levels - 1: "leaves"}.get(level, str(level))
        signal = (1 - noise[noisy]) / noise[noisy]
        style.curve_with_band(axis, signal, curves[:, noisy, level].T, color=color, label=label)
    axis.axvline(1 / measured[f"{name}_signal"].values[:, 0].mean(), color=style.GREY, lw=1, ls=":")
    axis.set(xscale="log", title=WORDS[name], ylim=(0, 1.03), ylabel="unchanged by a U-turn")
    axis.set_xlabel("$\\bar\\alpha / (1-\\bar\\alpha)$")
    axis.invert_xaxis()
    axis.legend(title="level", handlelength=1.2, labelspacing=0.2)


def _draw_collapse(axis: Axes, measured: Measurements) -> None:
    steps, known = measured["collapse_step"].values, measured["collapse_known"].values
    for place, number in enumerate(f6.NUM_SEQUENCES):
        color = style.level_color(place, len(f6.NUM_SEQUENCES))
        style.curve_with_band(axis, steps, known[:, place].T, color=color, label=f"n = {number}")
        predicted = measured["collapse_predicted"].values[:, place].mean()
        axis.axvline(predicted, color=color, lw=0.8, ls=":")
    axis.set(title="empirical denoiser", xlabel="step $t$ of 1000", ylim=(0, 1.03), xlim=(0, 600))
    axis.set_ylabel("gives back its sequence")
    axis.legend(handlelength=1.2, labelspacing=0.2)


FAMILY = Family(
    title="Speciation and collapse",
    papers=("2402.18491",),
    settings=(
        "Of 2402.18491 the abstract was found: speciation from a spectral analysis of the "
        "correlation matrix, collapse from an excess entropy; not its figures' settings, which "
        "are Gaussian mixtures and images. Ours: 6 grammars of each kind, 48 U-turns each; "
        "v = 6, m = 4, s = 2, L = 4 and n = 64, 512, 4096 for collapse. The predictions below the "
        "root were added after those of the root had been run, with the same tolerance."
    ),
    caption=(
        "(a, b) Nodes that a U-turn with the exact denoiser leaves as they are, against signal to "
        "noise, which falls to the right; dotted: where the largest eigenvalue of the class means' "
        "covariance says that the root is lost; dashed: where the belief map does. (c) Chance that "
        "a draw of the empirical denoiser of n sequences is the one that was noised; dotted: "
        "predicted from exact information, nothing fitted. Bands: 95 % over grammars."
    ),
    study=f6.F6Study(),
    parts=f6.parts,
    predictions=_predictions(),
    draw=draw,
)
