"""F1: up to which noise the root of a tree is known, for trees of many depths."""

import functools

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from experiments.store import Measurements
from experiments.theory import f1
from figures import style
from figures.theory.family import Family, Prediction
from hiermodel import theory
from hiermodel.measures.units import mean_of_units

SHALLOW, DEEP = 6, 9
"""Depths whose roots are compared at a threshold."""

TOLERANCE = 0.03

PAPER = "2402.16991"

# Thresholds by hm.theory, typed here so that they cannot follow a later change of it.
EQUAL = {(32, 8): 0.731, (32, 4): 0.922, (32, 12): 0.465, (16, 4): 0.800, (64, 8): 0.889}
KINDS = {
    "erased": (0.272, "masked leaves"),
    "redrawn": (0.162, "uniform noise on symbols"),
    "gaussian": (0.132, "Gaussian noise on one-hot vectors"),
}
KNOWN_LEVELS = 0.7
"""Noise up to which roots without threshold are compared: beyond, nothing is known at any depth."""


def crossing(name: str, measured: Measurements) -> np.ndarray:
    """Noise at which the roots of deep trees cease to be better known than those of shallow ones.

    Between the noises that part the positive from the negative differences best, by a straight
    line.
    """
    noise, beliefs = measured[f"{name}_noise"].values, measured[f"{name}_beliefs"].values
    return np.array(
        [_falls_through_zero(noise, each[:, DEEP] - each[:, SHALLOW]) for each in beliefs]
    )


def _falls_through_zero(noise: np.ndarray, difference: np.ndarray) -> float:
    last = int(np.argmax(np.cumsum(difference)))
    if last + 1 == len(noise) or difference[last] <= 0:
        return float(noise[last])
    high, low = difference[last], difference[last + 1]
    share = high / (high - low)
    return float(noise[last] + share * (noise[last + 1] - noise[last]))


def _steepest(noise: np.ndarray, curves: np.ndarray) -> np.ndarray:
    """Largest fall per unit of noise of each curve (realisations, noise)."""
    return (-np.diff(curves, axis=1) / np.diff(noise)).max(1)


def _sharpening(measured: Measurements) -> np.ndarray:
    noise, beliefs = measured["v32_m8_noise"].values, measured["v32_m8_beliefs"].values
    return np.log(_steepest(noise, beliefs[..., DEEP]) / _steepest(noise, beliefs[..., 5]))


def _leaves(measured: Measurements) -> np.ndarray:
    noise = measured["v32_m8_noise"].values
    deep, shallow = (
        measured[f"{name}_unchanged"].values[..., -1] for name in ("v32_m8", "shallow")
    )
    return np.log(_steepest(noise, deep) / _steepest(noise, shallow))


def _leaves_less(measured: Measurements) -> np.ndarray:
    return _sharpening(measured) - _leaves(measured)


def _always_worse(name: str, measured: Measurements) -> np.ndarray:
    noise, beliefs = measured[f"{name}_noise"].values, measured[f"{name}_beliefs"].values
    seen = noise <= KNOWN_LEVELS
    return (beliefs[:, seen, 3] - beliefs[:, seen, DEEP]).min(1)


def _of_kind(name: str, expected: float, statement: str, source: str) -> Prediction:
    return Prediction.near(
        expected,
        TOLERANCE,
        name=f"threshold-{name}",
        statement=statement,
        source=source,
        about=f"noise at which root beliefs at depths {SHALLOW} and {DEEP} cross",
        values=functools.partial(crossing, name),
    )


def _predictions() -> tuple[Prediction, ...]:
    without = {f"without_v{v}_m{m}": f"v = {v}, m = {m}" for v, m in f1.WITHOUT} | {
        "without_paper": "grammars like that of 2603.03469 (v = 6, m = 4, unequal weights)",
        "without_itself": "the grammar of 2603.03469 itself, made deeper (sets of sequences)",
    }
    derived = "derived here from the map of 2402.16991"
    return (
        *(
            _of_kind(f"v{v}_m{m}", expected, f"v = {v}, m = {m}: the root is known up to ε*", PAPER)
            for (v, m), expected in EQUAL.items()
        ),
        *(
            _of_kind(
                kind,
                expected,
                f"{words}, v = 32, m = 8: the root is known up to this 1 − abar",
                derived,
            )
            for kind, (expected, words) in KINDS.items()
        ),
        Prediction(
            name="depth-sharpens",
            statement="the step of the root is steeper in deeper trees",
            source=PAPER,
            about="ln of the steepest slope at depth 9 over that at depth 5",
            values=_sharpening,
        ),
        Prediction(
            name="leaves-smooth",
            statement="the fall of the leaves does not get steeper with depth",
            source=PAPER,
            about="ln of the leaves' steepest slope at depth 9 over that at depth 5",
            values=_leaves,
            low=-0.3,
            high=0.3,
        ),
        Prediction(
            name="leaves-smoother",
            statement="depth sharpens the fall of the leaves less than that of the root",
            source=PAPER,
            about="ln growth of the steepest slope from depth 5 to 9, root less leaves",
            values=_leaves_less,
        ),
        *(
            Prediction(
                name=name,
                statement=f"{words}, s f > 1: no threshold, deeper roots are always less known",
                source=PAPER,
                about="least difference of root beliefs at depths 3 and 9, noise 0.02 to 0.7",
                values=functools.partial(_always_worse, name),
            )
            for name, words in without.items()
        ),
    )


def draw(measured: Measurements) -> Figure:
    """Roots by depth, ancestors by level, thresholds, other noise, and no threshold."""
    figure, axes = style.new_figure(4, 4.6, 2)
    _draw_roots(axes[0], measured, "v32_m8", "equal beliefs", 0.731)
    _draw_map(axes[0], measured)
    _draw_ancestors(axes[1], measured)
    _draw_thresholds(axes[2], measured)
    _draw_roots(axes[3], measured, "erased", "masked", KINDS["erased"][0])
    _draw_roots(axes[4], measured, "gaussian", "Gaussian", KINDS["gaussian"][0])
    _draw_roots(axes[5], measured, "redrawn", "uniform", KINDS["redrawn"][0])
    _draw_roots(axes[6], measured, "without_paper", "like 2603.03469", None)
    _draw_roots(axes[7], measured, "without_itself", "2603.03469 itself", None)
    style.letter(axes)
    return figure


def _draw_roots(
    axis: Axes, measured: Measurements, name: str, title: str, threshold: float | None
) -> None:
    noise, beliefs = measured[f"{name}_noise"].values, measured[f"{name}_beliefs"].values
    for place, depth in enumerate((3, 5, 7, 9)):
        color = style.level_color(3 - place, 4)
        style.curve_with_band(axis, noise, beliefs[..., depth].T, color=color, label=str(depth))
    if threshold is not None:
        axis.axvline(threshold, color=style.GREY, lw=0.8, ls=":")
    unit = "$1-\\bar\\alpha$" if name in KINDS else "noise $\\epsilon$"
    axis.set(title=title, xlabel=unit, ylabel="belief in the true root", ylim=(0, 1.03))
    axis.legend(title="depth", handlelength=1.2, labelspacing=0.2)


def _draw_map(axis: Axes, measured: Measurements) -> None:
    noise = measured["v32_m8_noise"].values
    sizes = {"vocab_size": 32, "rules_per_symbol": 8}
    for place, depth in enumerate((3, 5, 7, 9)):
        beliefs = 1 - noise + noise / 32
        for _ in range(depth):
            beliefs = theory.belief_map(beliefs, **sizes)
        axis.plot(
            noise, np.asarray(beliefs), color=style.level_color(3 - place, 4), lw=0.9, ls="--"
        )


def _draw_ancestors(axis: Axes, measured: Measurements) -> None:
    noise, unchanged = measured["wide_noise"].values, measured["wide_unchanged"].values
    num_levels = unchanged.shape[-1]
    for level in range(0, num_levels, 3):
        label = {0: "root", num_levels - 1: "leaves"}.get(level, str(level))
        color = style.level_color(level, num_levels)
        style.curve_with_band(axis, noise, unchanged[..., level].T, color=color, label=label)
    axis.axvline(0.731, color=style.GREY, lw=0.8, ls=":")
    axis.set(title="all levels, depth 9", xlabel="noise $\\epsilon$", ylim=(0, 1.03))
    axis.set_ylabel("unchanged by a U-turn")
    axis.legend(title="level", handlelength=1.2, labelspacing=0.2)


def _draw_thresholds(axis: Axes, measured: Measurements) -> None:
    axis.plot([0, 1], [0, 1], color=style.GREY, lw=0.8)
    for (vocab_size, rules), expected in EQUAL.items():
        found = crossing(f"v{vocab_size}_m{rules}", measured)
        _point(axis, expected, found, style.BLUE, "o")
    for (kind, (expected, _)), marker in zip(KINDS.items(), "s^D", strict=True):
        _point(axis, expected, crossing(kind, measured), style.VERMILION, marker, kind)
    axis.set(title="thresholds", xlabel="predicted", ylabel="measured", xlim=(0, 1), ylim=(0, 1))
    axis.legend(handlelength=1.0)


def _point(
    axis: Axes, x: float, found: np.ndarray, color: str, marker: str, label: str = ""
) -> None:
    middle, low, high = mean_of_units(found)
    bar = [[middle - low], [high - middle]]
    axis.errorbar([x], [middle], bar, color=color, fmt=marker, ms=4, label=label or None)


FAMILY = Family(
    title="Recovery of the root and its descendants",
    papers=(PAPER,),
    settings=(
        "The text of 2402.16991 was found only in part (abstract and introduction, arXiv HTML), "
        "not the settings of its figures. Ours: s = 2, depth 9, whose subtrees give all smaller "
        "depths; 8 grammars, 48 sequences each; noise ε as beliefs 1 − ε + ε/v, or 1 − abar."
    ),
    caption=(
        "Exact posterior of the true root, for trees of several depths (a), with the belief map "
        "iterated as often (dashed) and its threshold (dotted), and of nodes of all levels of a "
        "tree of depth 9 (b), v = 32, m = 8. (c) Noise at which roots of depth 6 and 9 are equally "
        "known, against the prediction: circles, five (v, m); others, v = 32, m = 8. (d, e, f) "
        "Masked leaves, Gaussian noise, leaves drawn anew. (g) Grammars of unequal weights with "
        "v = 6, m = 4, s f > 1: some of them do have a threshold. (h) That of 2603.03469 itself, "
        "with more levels. Bands: 95 % over grammars, in (h) over sets of sequences."
    ),
    study=f1.F1Study(),
    parts=f1.parts,
    predictions=_predictions(),
    draw=draw,
)
