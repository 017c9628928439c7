"""F7: in which order a network agrees with the filtered oracles while it is trained."""

import functools

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from experiments.store import Measurements
from experiments.theory import f3
from figures import style
from figures.theory.family import Family, Prediction
from figures.theory.rises import first_rise

DEPTH = f3.SIZES["depth"]

STUDY = f3.F3Study()
"""The networks are those of F3; here they are followed along training."""

STEPS = STUDY.regime.checkpoints


def along(rules: int, measured: Measurements) -> np.ndarray:
    """KL from every oracle to the networks of most sequences, (realisation, checkpoint, level)."""
    return measured[f"m{rules}_divergence"].values[:, -1]


def included_at(level: int, rules: int, measured: Measurements) -> np.ndarray:
    """Ln of the step from which on the oracle with level l is nearer than the one without it.

    Args:
        level: l, counted from the leaves.
        rules: m.
        measured: by ``experiments.theory.f3``.
    """
    curves, without = along(rules, measured), DEPTH - level + 1
    return first_rise(STEPS, curves[..., without] - curves[..., without - 1])


def nearest_at(filter_level: int, rules: int, measured: Measurements) -> np.ndarray:
    """Ln of the step where the KL from the oracle of this filter level is lowest."""
    return np.log(STEPS)[along(rules, measured)[..., filter_level].argmin(-1)]


def _later(level: int, rules: int, measured: Measurements) -> np.ndarray:
    return included_at(level + 1, rules, measured) - included_at(level, rules, measured)


def _passed_later(filter_level: int, rules: int, measured: Measurements) -> np.ndarray:
    coarser = nearest_at(filter_level + 1, rules, measured)
    return nearest_at(filter_level, rules, measured) - coarser


def _predictions() -> tuple[Prediction, ...]:
    found = [
        Prediction(
            name=f"level-{level + 1}-later-m{rules}",
            statement=f"m = {rules}: level {level + 1} is included after level {level}",
            source="2408.15138",
            about="ln of the step from which on the oracle with the level is nearer, over that of "
            "the level below",
            values=functools.partial(_later, level, rules),
        )
        for rules, level in [*((rules, 1) for rules in f3.RULES), (f3.RULES[0], 2)]
    ]
    found += [
        Prediction(
            name=f"passes-{level}-later-m{rules}",
            statement=f"m = {rules}: networks are nearest to the oracle k = {level} after "
            f"k = {level + 1}",
            source="2408.15138",
            about="ln of the step of the lowest KL, over that of the coarser oracle",
            values=functools.partial(_passed_later, level, rules),
        )
        for rules in f3.RULES
        for level in range(DEPTH - 1, 0, -1)
    ]
    return tuple(found)


def draw(measured: Measurements) -> Figure:
    """KL from every oracle along training, for every m."""
    figure, axes = style.new_figure(len(f3.RULES), 2.7)
    for axis, rules, letter in zip(axes, f3.RULES, "abc", strict=True):
        draw_oracles(axis, STEPS, along(rules, measured))
        axis.set_title(f"({letter}) m = {rules}", loc="left")
    axes[0].set_ylabel("KL from oracle (nats)")
    axes[-1].legend(handlelength=1.2, labelspacing=0.2)
    return figure


def draw_oracles(axis: Axes, steps: np.ndarray, divergences: np.ndarray) -> None:
    """KL from every oracle along training, (realisation, checkpoint, filter level)."""
    for level in range(DEPTH + 1):
        own = {"color": style.level_color(level, DEPTH + 1), "label": f"k = {level}"}
        style.curve_with_band(axis, steps, divergences[..., level].T, **own)
    axis.set(xscale="log", xlabel="training step")
    style.log_height(axis)


FAMILY = Family(
    title="Levels included one after the other",
    papers=("2408.15138",),
    settings=(
        "Of 2408.15138 the abstract was found (encoder-only transformers, root classification and "
        "masked symbols, correlations at larger distances included one after the other), not its "
        "settings. Ours: the tree U-Nets of F3 with the most sequences, P = 2916, along their 2400 "
        "steps. A transformer, probes of ancestors and attention: F7B."
    ),
    caption=(
        "KL from the oracle of filter level k (0: exact, dark; 3: independent leaves, light) to "
        "networks along training, on masked test sequences. Bands: 95 % over grammars."
    ),
    study=STUDY,
    parts=f3.parts,
    predictions=_predictions(),
    draw=draw,
)
