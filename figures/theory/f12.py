"""F12: how strongly leaves correlate, by distance, and from how many sequences it is seen."""

import functools
import math

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from experiments.store import Measurements
from experiments.theory import f12
from figures import style
from figures.theory.family import Family, Prediction
from hiermodel import theory

CLOSE = (0.95**2 - 1, 1.05**2 - 1)
"""Tolerance of a covariance, 5 %, as one of its square, of which theory gives the mean."""

FACTOR = math.log(1.5)
"""Tolerance of a number of sequences: a factor of 1.5."""


def _sizes(vocab_size: int, rules: int, _: int) -> dict[str, int]:
    return {"vocab_size": vocab_size, "rules_per_symbol": rules}


def _name(sizes: tuple[int, int, int]) -> str:
    return f"v{sizes[0]}_m{sizes[1]}_L{sizes[2]}"


def _leading(sizes: tuple[int, int, int], distance: int) -> float:
    return theory.leaf_covariance(distance, **_sizes(*sizes))


def _next_order(sizes: tuple[int, int, int], distance: int) -> float:
    return theory.expected_leaf_covariance(distance, depth=sizes[2], **_sizes(*sizes))


def _off(sizes, distance: int, predicted, measured: Measurements) -> np.ndarray:
    """Square of the exact covariance over the predicted one, less 1."""
    exact = measured[f"{_name(sizes)}_exact"].values[:, distance - 1]
    return np.square(exact / predicted(sizes, distance)) - 1


def _seen_from(sizes, distance: int, measured: Measurements) -> np.ndarray:
    """Ln of the P at which the error of a covariance falls to its size, over the predicted P_l.

    The error falls as P^(−1/2): its square times P, averaged over P, is what it is at P = 1.
    """
    name = _name(sizes)
    exact, error = (
        measured[f"{name}_{part}"].values[:, distance - 1] for part in ("exact", "error")
    )
    sequences = measured[f"{name}_sequences"].values
    crossing = (np.square(error) * sequences).mean(1) / np.square(exact)
    return np.log(crossing / theory.sequences_to_see(distance, **_sizes(*sizes)))


def _predictions() -> tuple[Prediction, ...]:
    found = []
    for sizes in f12.SIZES:
        words = f"v = {sizes[0]}, m = {sizes[1]}, L = {sizes[2]}"
        for distance in range(1, sizes[2] + 1):
            end = f"{_name(sizes)}-{distance}"
            of = (sizes, distance)
            for kind, predicted, source in (
                ("C", _leading, "2406.00048"),
                ("C-next", _next_order, "derived here, next order of 2406.00048"),
            ):
                order = "" if kind == "C" else " with the next order in 1/v and 1/m"
                found.append(
                    Prediction(
                        low=CLOSE[0],
                        high=CLOSE[1],
                        expected=0.0,
                        name=f"{kind}-{end}",
                        statement=f"{words}: C_{distance}{order}: {predicted(*of):.3g}, within 5 %",
                        source=source,
                        about="square of the exact covariance over it, less 1",
                        values=functools.partial(_off, *of, predicted),
                    )
                )
            number = theory.sequences_to_see(distance, **_sizes(*sizes))
            found.append(
                Prediction.near(
                    0.0,
                    FACTOR,
                    name=f"P-{end}",
                    statement=f"{words}: distance {distance} is seen from P = {number:.3g} on, "
                    "within a factor of 1.5",
                    source="2406.00048",
                    about="ln of the P where error and covariance are equal over it",
                    values=functools.partial(_seen_from, *of),
                )
            )
    return tuple(found)


def draw(measured: Measurements) -> Figure:
    """Covariance by distance, exact and predicted; and along the number of sequences."""
    figure, axes = style.new_figure(3, 2.7)
    _draw_exact(axes[0], measured)
    for axis, sizes in zip(axes[1:], f12.SIZES[:2], strict=True):
        _draw_sampled(axis, measured, sizes)
    style.letter(axes)
    return figure


def _draw_exact(axis: Axes, measured: Measurements) -> None:
    for sizes, color in zip(f12.SIZES, (style.BLUE, style.VERMILION, style.GREEN), strict=True):
        exact = measured[f"{_name(sizes)}_exact"].values
        distances = list(range(1, sizes[2] + 1))
        label = f"v = {sizes[0]}, m = {sizes[1]}"
        axis.plot(distances, exact.mean(0), "o", color=color, ms=4, label=label)
        axis.plot(distances, [_leading(sizes, d) for d in distances], color=color, lw=1)
        axis.plot(distances, [_next_order(sizes, d) for d in distances], color=color, lw=1, ls="--")
    axis.set(title="exact", xlabel="distance $\\ell$", ylabel="$C_\\ell$", yscale="log")
    axis.set_xticks([1, 2, 3, 4])
    axis.set_ylim(top=0.04)  # room for the legend
    axis.legend(handlelength=1.0)


def _draw_sampled(axis: Axes, measured: Measurements, sizes: tuple[int, int, int]) -> None:
    name = _name(sizes)
    sequences = measured[f"{name}_sequences"].values
    for distance in range(1, sizes[2] + 1):
        color = style.level_color(distance - 1, sizes[2])
        curves = measured[f"{name}_sampled"].values[:, distance - 1]
        style.curve_with_band(axis, sequences, curves.T, color=color, label=str(distance))
        number = theory.sequences_to_see(distance, **_sizes(*sizes))
        axis.plot([number], [_leading(sizes, distance)], "o", mfc="white", mec=color, ms=5)
    noise = [theory.sampling_noise(int(number), vocab_size=sizes[0]) for number in sequences]
    axis.plot(sequences, noise, color=style.GREY, lw=0.8, ls=":")
    axis.set(xscale="log", yscale="log", xlabel="sequences $P$", ylabel="covariance in $P$")
    axis.set_title(f"v = {sizes[0]}, m = {sizes[1]}")
    axis.legend(title="distance", handlelength=1.2, labelspacing=0.2)


FAMILY = Family(
    title="Correlations of leaves by tree distance",
    papers=("2406.00048",),
    settings=(
        "Of 2406.00048 the abstract, introduction and the caption of figure 1 were found: L = 3, "
        "s = 2, v = 32, m = 8, which are used here beside two other sizes; its text on the other "
        "figures was not. 48 grammars per size; counts of pairs are drawn by their exact joint "
        "law, so that no sequence is needed."
    ),
    caption=(
        "(a) Root-mean-square covariance of two leaves: exact, mean over grammars (dots), the "
        "formula of 2406.00048 (lines) and its next order in 1/v and 1/m (dashed). (b, c) The "
        "same from P sequences, which is sampling noise (dotted) until P reaches the predicted "
        "P_l (circles, at the predicted covariance). Bands: 95 % over grammars."
    ),
    study=f12.F12Study(),
    parts=f12.parts,
    predictions=_predictions(),
    draw=draw,
)
