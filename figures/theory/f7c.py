"""F7c: filtered oracles by training step and by layer, for a transformer and a tree U-Net."""

import functools

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from experiments.store import Measurements
from experiments.theory import f7c
from experiments.theory.f3 import SIZES
from figures import style
from figures.theory.f7 import draw_oracles
from figures.theory.family import Family, Prediction
from figures.theory.rises import first_rise, places_before

DEPTH, STUDY = SIZES["depth"], f7c.F7cStudy()

LABELS = {"transformer": "transformer", "tree": "tree U-Net"}


def preferred_at(filter_level: int, name: str, measured: Measurements) -> np.ndarray:
    """Ln of the step from which on the network is nearer to the oracle k than to k + 1, by KL."""
    steps, found = (measured[f"{name}_{part}"].values for part in ("step", "divergence"))
    return first_rise(steps, found[..., filter_level + 1] - found[..., filter_level])


def distances(name: str, measured: Measurements) -> np.ndarray:
    """Of layers of trained networks from every oracle, (realisation, layer, filter level)."""
    return measured[f"{name}_distance"].values[:, -1]


def layers_before(filter_level: int, name: str, measured: Measurements) -> np.ndarray:
    """After how many layers a network prefers the oracle k to the coarser k + 1.

    The preference of a layer is its distance from k + 1 less that from k.
    """
    found = distances(name, measured)
    preference = found[..., filter_level + 1] - found[..., filter_level]
    return places_before(preference - preference[:, :1])


def _later(filter_level: int, name: str, measured: Measurements) -> np.ndarray:
    coarser = preferred_at(filter_level + 1, name, measured)
    return preferred_at(filter_level, name, measured) - coarser


def _deeper(filter_level: int, name: str, measured: Measurements) -> np.ndarray:
    coarser = layers_before(filter_level + 1, name, measured)
    return layers_before(filter_level, name, measured) - coarser


def _first_nearer_to_coarse(name: str, measured: Measurements) -> np.ndarray:
    found = distances(name, measured)
    return found[:, 0, 0] - found[:, 0, DEPTH]


def _last_nearer_to_exact(name: str, measured: Measurements) -> np.ndarray:
    found = distances(name, measured)
    return found[:, -1, DEPTH] - found[:, -1, 0]


def _predictions() -> tuple[Prediction, ...]:
    found = []
    for name, label in LABELS.items():
        for level in range(DEPTH - 2, -1, -1):
            order = (
                f"k = {level} is preferred to k = {level + 1}",
                f"k = {level + 1} to k = {level + 2}",
            )
            found += [
                Prediction(
                    name=f"later-{level}-{name}",
                    statement=f"{label}: {order[0]} from later steps on than {order[1]}",
                    source="2408.15138",
                    about="ln of the step from which on the oracle is nearer by KL, difference",
                    values=functools.partial(_later, level, name),
                ),
                Prediction(
                    name=f"deeper-{level}-{name}",
                    statement=f"{label}: {order[0]} in later layers than {order[1]}",
                    source="2408.15138",
                    about="layers before the preference, difference",
                    values=functools.partial(_deeper, level, name),
                ),
            ]
        found += [
            Prediction(
                name=f"first-coarse-{name}",
                statement=f"{label}: the map of the input is nearer to k = {DEPTH} than to k = 0",
                source="2408.15138",
                about="squared distance from the exact oracle less that from the coarsest",
                values=functools.partial(_first_nearer_to_coarse, name),
            ),
            Prediction(
                name=f"last-exact-{name}",
                statement=f"{label}: the last layer is nearer to k = 0 than to k = {DEPTH}",
                source="2408.15138",
                about="squared distance from the coarsest oracle less that from the exact one",
                values=functools.partial(_last_nearer_to_exact, name),
            ),
        ]
    return tuple(found)


def draw(measured: Measurements) -> Figure:
    """KL from every oracle along training, and the layers' distances from them."""
    figure, axes = style.new_figure(2, 4.6, 2)
    for row, name in enumerate(LABELS):
        _draw_steps(axes[2 * row], measured, name)
        _draw_layers(axes[2 * row + 1], measured, name)
    axes[0].legend(handlelength=1.2, labelspacing=0.2)
    style.letter(axes)
    return figure


def _draw_steps(axis: Axes, measured: Measurements, name: str) -> None:
    steps, found = (measured[f"{name}_{part}"].values for part in ("step", "divergence"))
    draw_oracles(axis, steps, found)
    axis.set(title=LABELS[name], ylabel="KL from oracle (nats)")


def _draw_layers(axis: Axes, measured: Measurements, name: str) -> None:
    found = distances(name, measured)
    layers = np.arange(found.shape[1])
    for level in range(DEPTH + 1):
        own = {"color": style.level_color(level, DEPTH + 1), "marker": "o", "ms": 3}
        style.curve_with_band(axis, layers, found[..., level].T, **own)
    axis.set(xlabel="layer", title=LABELS[name], xticks=layers, ylabel="distance from oracle")


FAMILY = Family(
    title="Filtered oracles by step and layer",
    papers=("2408.15138",),
    settings=(
        "What was found of 2408.15138 is said at F7B. Ours: grammars, data, transformer and tree "
        "U-Net of F7B. A layer is read by ridge regression from its features over a leaf to that "
        "leaf's symbol, fitted on 2048 fresh noised sequences and compared with the oracles on "
        "1024, on masked leaves, evenly over t."
    ),
    caption=(
        "(a, c) KL from the oracle of filter level k (0: exact, dark; 3: independent leaves, "
        "light) to networks along training, on masked test sequences. (b, d) After training, "
        "squared distance of what a layer's linear readout says of masked leaves from what every "
        "oracle says: lower is nearer. Layer 0 is the map of the leaf's input; the tree U-Net goes "
        "up to the root in layers 1 to 3 and down again in 4 to 6. Bands: 95 % over grammars."
    ),
    study=STUDY,
    parts=f7c.parts,
    predictions=_predictions(),
    draw=draw,
)
