"""F7b: ancestors by layer of a network, and where its attention goes."""

import functools

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from experiments.store import Measurements
from experiments.theory import f7b
from figures import style
from figures.theory.family import Family, Prediction
from figures.theory.rises import first_rise, places_before

DEPTH, STUDY = f7b.DEPTH, f7b.F7bStudy()

CHANCE = 1 / f7b.SYMBOLS

TOLERANCE = 0.1
"""Of the accuracy of the best layer's probes, below the exact posterior's."""

LABELS = {"transformer": "transformer", "tree": "tree U-Net"}


def gains(name: str, measured: Measurements) -> np.ndarray:
    """What probes gain on chance over what the exact posterior does.

    Returns:
        (realisation, checkpoint, layer, height).
    """
    exact = measured[f"{name}_exact"].values[:, None, None]
    return (measured[f"{name}_probes"].values - CHANCE) / (exact - CHANCE)


def layers_before(height: int, name: str, measured: Measurements) -> np.ndarray:
    """After how many layers an ancestor is known, in trained networks."""
    return places_before(gains(name, measured)[:, -1, :, height - 1])


def known_at(height: int, name: str, measured: Measurements) -> np.ndarray:
    """Ln of the step at which the best layer's gain has risen half of the way to its last."""
    best = gains(name, measured)[..., height - 1].max(-1)
    halfway = (best[:, :1] + best[:, -1:]) / 2
    return first_rise(measured[f"{name}_step"].values, best - halfway)


def _deeper(height: int, name: str, measured: Measurements) -> np.ndarray:
    return layers_before(height + 1, name, measured) - layers_before(height, name, measured)


def _later(height: int, name: str, measured: Measurements) -> np.ndarray:
    return known_at(height + 1, name, measured) - known_at(height, name, measured)


def _missing(height: int, name: str, measured: Measurements) -> np.ndarray:
    best = measured[f"{name}_probes"].values[:, -1, :, height - 1].max(-1)
    return measured[f"{name}_exact"].values[:, height - 1] - best


def attention(measured: Measurements) -> np.ndarray:
    """Shares of trained transformers' attention, (realisation, layer, levels up)."""
    return measured["transformer_attention"].values[:, -1]


def _to_sibling(measured: Measurements) -> np.ndarray:
    return np.log(attention(measured)[:, 0, 1] / uniform()[1])


def _further(measured: Measurements) -> np.ndarray:
    height = attention(measured) @ np.arange(DEPTH + 1)
    return height[:, -1] - height[:, 0]


def uniform() -> np.ndarray:
    """Shares of attention that is the same everywhere, by levels up."""
    return np.diff(f7b.BRANCHING ** np.arange(DEPTH + 1), prepend=0) / f7b.LEAVES


def _predictions() -> tuple[Prediction, ...]:
    found = []
    for name, label in LABELS.items():
        for height in range(1, DEPTH + 1):
            found.append(
                Prediction(
                    name=f"exact-{height}-{name}",
                    statement=f"{label}: a layer's linear probes tell ancestors {height} up as "
                    f"well as the exact posterior does, within {TOLERANCE:g}",
                    source="2408.15138, tolerance ours",
                    about="accuracy of the exact posterior less the best layer's",
                    values=functools.partial(_missing, height, name),
                    low=-TOLERANCE,
                    high=TOLERANCE,
                )
            )
        for height in range(1, DEPTH):
            between = f"ancestors {height + 1} up are known", f"than those {height} up"
            found += [
                Prediction(
                    name=f"deeper-{height + 1}-{name}",
                    statement=f"{label}: {between[0]} in later layers {between[1]}",
                    source="2408.15138",
                    about="layers before the gain on chance, difference",
                    values=functools.partial(_deeper, height, name),
                ),
                Prediction(
                    name=f"later-{height + 1}-{name}",
                    statement=f"{label}: {between[0]} at later steps {between[1]}",
                    source="2408.15138",
                    about="ln of the step at which the best layer's gain has risen half of its "
                    "way, difference",
                    values=functools.partial(_later, height, name),
                ),
            ]
    found += [
        Prediction(
            name="sibling-first",
            statement="the first layer attends to the leaf's sibling more than evenly",
            source="2408.15138",
            about="ln of its share of attention over 1/8",
            values=_to_sibling,
        ),
        Prediction(
            name="further",
            statement="the last layer attends further away than the first",
            source="2408.15138",
            about="mean levels up to the common ancestor, last layer less first",
            values=_further,
        ),
    ]
    return tuple(found)


def draw(measured: Measurements) -> Figure:
    """Accuracy by layer and along training of both networks, and attention by blocks."""
    figure, axes = style.new_figure(3, 4.6, 2)
    for row, name in enumerate(LABELS):
        _draw_layers(axes[3 * row], measured, name)
        _draw_steps(axes[3 * row + 1], measured, name)
    _draw_attention(axes[2], measured)
    _draw_heights(axes[5], measured)
    style.letter(axes)
    return figure


def _color(height: int) -> tuple[float, ...]:
    return style.level_color(DEPTH - height, DEPTH + 1)


def _draw_layers(axis: Axes, measured: Measurements, name: str) -> None:
    found, exact = (measured[f"{name}_{part}"].values for part in ("probes", "exact"))
    layers = np.arange(found.shape[2])
    for height in range(1, DEPTH + 1):
        own = {"color": _color(height), "marker": "o", "ms": 3, "label": f"{height} up"}
        style.curve_with_band(axis, layers, found[:, -1, :, height - 1].T, **own)
        axis.axhline(float(exact[:, height - 1].mean()), color=_color(height), ls="--", lw=1)
    axis.axhline(CHANCE, color=style.GREY, lw=0.8)
    axis.set(xlabel="layer", ylabel="ancestors told", title=LABELS[name], xticks=layers)
    axis.legend(handlelength=1.2, labelspacing=0.2)


def _draw_steps(axis: Axes, measured: Measurements, name: str) -> None:
    best = gains(name, measured).max(2)
    for height in range(1, DEPTH + 1):
        own = {"color": _color(height)}
        style.curve_with_band(axis, measured[f"{name}_step"].values, best[..., height - 1].T, **own)
    axis.axhline(1, color=style.GREY, lw=0.8)
    axis.set(xscale="log", xlabel="training step", title=LABELS[name])
    axis.set_ylabel("best gain, share of exact")


def _draw_attention(axis: Axes, measured: Measurements) -> None:
    shares = np.cumsum(attention(measured), -1)
    layers = 1 + np.arange(shares.shape[1])
    for level in range(DEPTH):
        own = {"color": _color(level), "marker": "o", "ms": 3, "label": f"block of {2**level}"}
        style.curve_with_band(axis, layers, shares[..., level].T, **own)
        axis.axhline(float(np.cumsum(uniform())[level]), color=_color(level), ls=":", lw=1)
    axis.set(xlabel="layer", ylabel="attention within", title="transformer", xticks=layers)
    axis.set(ylim=(0, 1.45), yticks=(0, 0.5, 1))  # the legend above the curves
    axis.legend(handlelength=1.2, labelspacing=0.2)


def _draw_heights(axis: Axes, measured: Measurements) -> None:
    found = measured["transformer_attention"].values @ np.arange(DEPTH + 1)
    steps, number = measured["transformer_step"].values, found.shape[-1]
    for layer in range(number):
        own = {"color": style.level_color(layer, number), "label": f"layer {layer + 1}"}
        style.curve_with_band(axis, steps, found[..., layer].T, **own)
    axis.axhline(float(uniform() @ np.arange(DEPTH + 1)), color=style.GREY, ls=":", lw=1)
    axis.set(xscale="log", xlabel="training step", title="transformer")
    axis.set_ylabel("attention, mean levels up")
    axis.legend(handlelength=1.2, labelspacing=0.2)


FAMILY = Family(
    title="Ancestors by layer",
    papers=("2408.15138",),
    settings=(
        "Of 2408.15138 the abstract and captions were found (encoder-only transformers, attention "
        "maps and probes of the encoder levels that show correlations put together on successive "
        "length scales; ℓ = 4, q = 4), not the form of its probes. Ours: the grammars of F3 with "
        "m = 2, 6 of them, 2916 sequences each, masked leaves, T = 32; a transformer (4 layers, "
        "4 heads, norms first) and a tree U-Net of width 32, 6000 steps of Adam at 3e-3, batch 32, "
        "running average of decay 0.998. Probes: ridge regression from a layer's features over a "
        "leaf to the one-hot ancestor, one for each leaf, fitted on 2048 fresh noised sequences, "
        "tried on 1024, evenly over t."
    ),
    caption=(
        "(a, d) How often linear probes of a layer tell a leaf's ancestor 1, 2 or 3 levels up "
        "(3: the root, dark), after training; layer 0 is the map of the leaf's input; the tree "
        "U-Net goes up to the root in layers 1 to 3 and down again in 4 to 6. Dashed: the "
        "exact posterior of the same noisy leaves; grey: chance. (b, e) The best layer's gain on "
        "chance along training, over the exact posterior's. (c) Share of attention within blocks "
        "of 1, 2, 4 leaves; dotted: even attention. (f) Mean levels up to the common ancestor "
        "with what is attended. Bands: 95 % over grammars."
    ),
    study=STUDY,
    parts=f7b.parts,
    predictions=_predictions(),
    draw=draw,
)
