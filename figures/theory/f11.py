"""F11: samplers of few steps are wrong even with the exact denoiser, most at long distances."""

import functools

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from experiments.store import Measurements
from experiments.theory import f11
from figures import style
from figures.theory.family import Family, Prediction

COLORS = {
    "ancestral": style.BLUE,
    "ddim": style.VERMILION,
    "ode": style.GREEN,
    "masked": style.PURPLE,
    "any_order": style.ORANGE,
    "joint": style.BLACK,
}
LINEAR = 0.1
"""Errors below this are drawn linearly, greater ones by their logarithm."""

WORDS = {
    "ancestral": "ancestral",
    "ddim": "DDIM",
    "ode": "Heun's method for the ODE",
    "masked": "masked, in parallel",
    "any_order": "one position at a time, any order",
    "joint": "joint draws",
}


def _all(measured: Measurements, name: str, part: str) -> np.ndarray:
    """A quantity of a sampler, (realisations, calls, …)."""
    keys = [key for key in measured if key.endswith(f"_{name}_{part}")]
    keys = sorted((key for key in keys if key.split("_", 1)[1] == f"{name}_{part}"), key=_number)
    return np.concatenate([measured[key].values for key in keys])


def _number(key: str) -> int:
    return int(key.split("_", 1)[0])


def _error(name: str, calls: int, measured: Measurements) -> np.ndarray:
    """Error of the laws of siblings, where counting adds least noise, per realisation."""
    return _all(measured, name, "error")[:, f11.calls_of(name).index(calls), 0]


def _difference(worse: str, better: str, calls: int, measured: Measurements) -> np.ndarray:
    return _error(worse, calls, measured) - _error(better, calls, measured)


def _gain(name: str, measured: Measurements) -> np.ndarray:
    return _error(name, f11.CALLS[0], measured) - _error(name, f11.CALLS[-1], measured)


def _passes(name: str, measured: Measurements) -> np.ndarray:
    return _all(measured, name, "passes")[:, 0]


def _far_less_near(name: str, calls: int, measured: Measurements) -> np.ndarray:
    found = _all(measured, name, "error")[:, f11.CALLS.index(calls)]
    return found[:, -1] - found[:, 0]


def _predictions() -> tuple[Prediction, ...]:
    error = "relative squared error of the joint laws of siblings"
    found = [
        Prediction(
            name=f"{name}-passes",
            statement=f"{WORDS[name]}: samples pass the examination",
            source="2110.02037" if name == "any_order" else "derived here",
            about="1 if examine_sampler passes 16 384 samples, 0 if not",
            values=functools.partial(_passes, name),
            low=0.5,
        )
        for name in ("joint", "any_order")
    ]
    found += [
        Prediction(
            name=f"{name}-improves",
            statement=f"{WORDS[name]}: 32 calls of the denoiser are better than 2",
            source="2602.19619",
            about=f"{error}, at 2 calls less at 32",
            values=functools.partial(_gain, name),
        )
        for name in ("ancestral", "ddim", "ode", "masked")
    ]
    found += [
        Prediction(
            name="masked-wrong",
            statement="masked in parallel: wrong even with as many steps as leaves",
            source="2602.19619",
            about=f"{error}, at 8 calls",
            values=functools.partial(_error, "masked", 8),
            low=0.001,
        ),
    ]
    found += [
        Prediction(
            name=f"far-worse-{name}",
            statement=f"{WORDS[name]}, {calls} calls: what ties distant leaves suffers most",
            source="expected here",
            about="error of pair laws at distance 3 less that at distance 1",
            values=functools.partial(_far_less_near, name, calls),
        )
        for name, calls in (("ancestral", 8), ("masked", 2))
    ]
    ranks = (
        ("masked", "any_order", 8, "2602.19619"),
        ("ancestral", "ddim", 8, "2010.02502"),
        ("ddim", "ode", 32, "2206.00364"),
    )
    found += [
        Prediction(
            name=f"{better}-before-{worse}",
            statement=f"at {calls} calls {WORDS[better]} is better than {WORDS[worse]}",
            source=source,
            about=f"difference of {error}",
            values=functools.partial(_difference, worse, better, calls),
        )
        for worse, better, calls, source in ranks
    ]
    return tuple(found)


def draw(measured: Measurements) -> Figure:
    """Error at the nearest and the furthest distance, and derivable samples, along calls."""
    figure, axes = style.new_figure(3, 2.9)
    depth = f11.SIZES["depth"]
    for axis, distance in zip(axes, (1, depth), strict=False):
        for name in COLORS:
            _draw(axis, name, _all(measured, name, "error")[..., distance - 1])
        axis.set(title=f"pairs at distance {distance}", ylabel="error of pair laws")
        axis.set_yscale("symlog", linthresh=LINEAR)
        axis.set_ylim(bottom=-LINEAR)
        axis.axhline(0, color=style.GREY, lw=0.6)
    for name in COLORS:
        _draw(axes[2], name, _all(measured, name, "valid"))
    axes[2].set(title="derivable samples", ylabel="share", ylim=(0, 1.05))
    for axis in axes:
        axis.set(xscale="log", xlabel="calls of the denoiser")
        axis.set_xticks(f11.CALLS, [str(calls) for calls in f11.CALLS])
        axis.set_xticks([], minor=True)
    style.letter(axes)
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3)
    return figure


def _draw(axis: Axes, name: str, curves: np.ndarray) -> None:
    marker = {"marker": "o", "ms": 3, "color": COLORS[name], "label": WORDS[name]}
    style.curve_with_band(axis, np.array(f11.calls_of(name)), curves.T, **marker)


FAMILY = Family(
    title="Few steps with the exact denoiser",
    papers=("2602.19619", "2604.02028"),
    settings=(
        "2602.19619 (abstract and introduction found) tests masked samplers with exact posteriors "
        "of a Markov chain: transition errors vanish only as steps approach the length. "
        "2604.02028 could not be found. Ours: trees, v = 6, m = 3, s = 2, L = 3, 6 grammars, "
        "16 384 samples each; 2, 8 and 32 calls of the exact denoiser."
    ),
    caption=(
        "Samplers with the exact denoiser. (a, b) Squared error of the joint law of two leaves, "
        "over their squared covariance, less what sampling noise adds: 0 is right, 1 is what "
        "independent leaves have; more where leaves lose even their own laws. (c) Samples that the "
        "grammar can produce. Bands: 95 % over grammars."
    ),
    study=f11.F11Study(),
    parts=f11.parts,
    predictions=_predictions(),
    draw=draw,
)
