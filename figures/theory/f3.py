"""F3: from how many sequences on a network knows a level of the tree."""

import functools

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from experiments.store import Measurements
from experiments.theory import f3
from figures import style
from figures.theory.family import Family, Prediction
from figures.theory.rises import last_rise

DEPTH = f3.SIZES["depth"]

TOLERANCE = 0.5
"""Of the slope of ln P* in ln m."""


def nearest(rules: int, measured: Measurements) -> np.ndarray:
    """KL from every oracle to the network where it is nearest to the exact one along training.

    Returns:
        (realisation, P, filter level).
    """
    found = measured[f"m{rules}_divergence"].values
    best = found[..., 0].argmin(-1)
    return np.take_along_axis(found, best[..., None, None], 2)[:, :, 0]


def learned_at(level: int, rules: int, measured: Measurements) -> np.ndarray:
    """Ln P*_l per realisation: from there on the oracle with level l is nearer than that without.

    Between the sizes where the difference changes its sign for the last time, by a straight line
    in ln P; the first or last size if it never does.

    Args:
        level: l, counted from the leaves.
        rules: m.
        measured: by ``experiments.theory.f3``.
    """
    without = DEPTH - level + 1
    numbers = np.log(measured[f"m{rules}_sequences"].values)
    curves = nearest(rules, measured)
    return np.array(
        [last_rise(numbers, each[:, without] - each[:, without - 1]) for each in curves]
    )


def slope(level: int, measured: Measurements) -> np.ndarray:
    """Slope of ln P*_l in ln m, by least squares, per realisation."""
    at = np.log(f3.RULES)
    found = np.stack([learned_at(level, rules, measured) for rules in f3.RULES])
    return (at - at.mean()) @ found / np.square(at - at.mean()).sum()


def _order(level: int, rules: int, measured: Measurements) -> np.ndarray:
    return learned_at(level + 1, rules, measured) - learned_at(level, rules, measured)


def _predictions() -> tuple[Prediction, ...]:
    found = [
        Prediction.near(
            level + 1.0,
            TOLERANCE,
            name=f"slope-{level}",
            statement=f"level {level} is learned from about m^{level + 1} sequences on",
            source="2502.12089",
            about="slope of ln P* in ln m, m = 2, 3, 4",
            values=functools.partial(slope, level),
        )
        for level in LEVELS
    ]
    found += [
        Prediction(
            name=f"order-{level}-m{rules}",
            statement=f"m = {rules}: level {level} is learned from fewer sequences than level "
            f"{level + 1}",
            source="2502.12089",
            about=f"ln of P* of level {level + 1} over that of level {level}",
            values=functools.partial(_order, level, rules),
        )
        for rules in f3.RULES
        for level in LEVELS[:-1]
    ]
    return tuple(found)


LEVELS = (1, 2)
"""Levels that are learned within the sizes looked at, at all m."""


def draw(measured: Measurements) -> Figure:
    """KL against every oracle for the smallest and the largest m, and P* against m."""
    figure, axes = style.new_figure(3, 2.7)
    for axis, rules in zip(axes, (f3.RULES[0], f3.RULES[-1]), strict=False):
        _draw_staircase(axis, measured, rules)
    _draw_sizes(axes[2], measured)
    style.letter(axes)
    return figure


def _draw_staircase(axis: Axes, measured: Measurements, rules: int) -> None:
    numbers, curves = measured[f"m{rules}_sequences"].values, nearest(rules, measured)
    for level in range(DEPTH + 1):
        color = style.level_color(level, DEPTH + 1)
        style.curve_with_band(
            axis, numbers, curves[..., level].T, color=color, label=f"k = {level}"
        )
    axis.set(xscale="log", title=f"m = {rules}", xlabel="sequences $P$")
    style.log_height(axis)
    axis.set_ylabel("KL from oracle (nats)")
    axis.legend(handlelength=1.2, labelspacing=0.2)


def _draw_sizes(axis: Axes, measured: Measurements) -> None:
    rules = np.array(f3.RULES, float)
    for level in LEVELS:
        color = style.level_color(DEPTH - level, DEPTH + 1)
        found = np.stack([learned_at(level, each, measured) for each in f3.RULES])
        axis.plot(rules, np.exp(found.mean(1)), color=color, label=f"level {level}")
        for each, values in zip(rules, np.exp(found), strict=True):
            known = values < measured[f"m{each:.0f}_sequences"].values[-1] * (1 - 1e-9)
            for which, fill in ((known, color), (~known, "none")):
                places = np.full(which.sum(), each)
                axis.plot(places, values[which], "o", ms=3.5, color=color, mfc=fill)
        middle = np.exp(found.mean())
        predicted = middle * (rules / np.exp(np.log(rules).mean())) ** (level + 1)
        axis.plot(rules, predicted, color=color, ls=":", lw=1)
    axis.set(xscale="log", yscale="log", title="$P^*$", xlabel="rules per symbol $m$")
    axis.set_xticks(f3.RULES, [str(each) for each in f3.RULES])
    axis.set_xticks([], minor=True)
    axis.set_ylabel("sequences")
    axis.legend(handlelength=1.2)


FAMILY = Family(
    title="Levels learned one after the other",
    papers=("2502.12089",),
    settings=(
        "Of 2502.12089 the abstract and introduction were found, not the settings of its runs; "
        "its law m^(l+1) is quoted from a summary. Ours: v = 8, s = 2, L = 3, m = 2, 3, 4, 8 "
        "grammars each, 4 of them added after a first run; P = 4 to 2916 by factors of 3; masked "
        "leaves, T = 32; tree U-Nets of width 32, 2400 steps of Adam at 3e-3, batch 32, running "
        "average of decay 0.998; 640 test sequences. Reduced to what two cores do in minutes: few "
        "grammars, one network per set."
    ),
    caption=(
        "(a, b) KL from the oracle of filter level k (0: exact, dark; 3: independent leaves, "
        "light) to networks trained on P sequences, at the step where they are nearest to the "
        "exact one. The nearest oracle changes from k = 3 to finer ones as P grows. (c) P* of "
        "a level, per grammar and mean: from there on the oracle with it is nearer than the one "
        "without; hollow: not up to the largest P, where networks are still far from the exact "
        "oracle and training, not data, is the limit; dotted: the predicted slope through the "
        "mean. Bands: 95 % over grammars."
    ),
    study=f3.F3Study(),
    parts=f3.parts,
    predictions=_predictions(),
    draw=draw,
)
