"""F9: whether networks denoise as the empirical denoiser of blocks of leaves does."""

import functools

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from experiments.store import Measurements
from experiments.theory import f9
from figures import style
from figures.theory.family import Family, Prediction
from figures.theory.rises import first_rise

DEPTH, STUDY = f9.DEPTH, f9.F9Study()

FEW, MANY = range(len(STUDY.num_sequences))
"""Places of the small training sets, which can be learned by heart, and of the large ones."""

TEST, TRAIN = range(len(f9.SETS))

LABELS = {"tree": "tree U-Net", "transformer": "transformer", "mlp": "MLP"}


def along(name: str, kind: str, size: int, measured: Measurements, of: int = TEST) -> np.ndarray:
    """r², mean over noise, (realisation, checkpoint, level).

    Args:
        name: of the architecture.
        kind: "own", "pooled" or "oracle".
        size: place of the training set's size.
        measured: by ``experiments.theory.f9``.
        of: place of the sequences that were noised.
    """
    return measured[f"{name}_{kind}"].values[:, size, :, of].mean(2)


def at_best(name: str, kind: str, size: int, measured: Measurements) -> np.ndarray:
    """r² on test sequences where the exact oracle explains most, (realisation, noise, level)."""
    found = measured[f"{name}_{kind}"].values[:, size, :, TEST]
    best = along(name, "oracle", size, measured)[..., 0].argmax(-1)
    return np.take_along_axis(found, best[:, None, None, None], 1)[:, 0]


def _explained(name: str, measured: Measurements) -> np.ndarray:
    return at_best(name, "own", MANY, measured).mean(1).max(-1)


def _more(name: str, than: str, measured: Measurements) -> np.ndarray:
    return _explained(name, measured) - _explained(than, measured)


def _local(name: str, measured: Measurements) -> np.ndarray:
    found = at_best(name, "own", MANY, measured).mean(1)
    return found[:, :-1].max(-1) - found[:, -1]


def _blocks_over_law(name: str, measured: Measurements) -> np.ndarray:
    exact = at_best(name, "oracle", MANY, measured).mean(1)[:, 0]
    return _explained(name, measured) - exact


def _pooled(name: str, measured: Measurements) -> np.ndarray:
    return at_best(name, "pooled", MANY, measured).mean(1).max(-1) - _explained(name, measured)


def _larger_in_noise(name: str, measured: Measurements) -> np.ndarray:
    """How much more blocks of 4 gain on blocks of 2 in the strongest noise than in the weakest."""
    found = at_best(name, "own", MANY, measured)
    gain = found[..., 2] - found[..., 1]
    return gain[:, -1] - gain[:, 0]


def lead_of_whole(name: str, measured: Measurements) -> np.ndarray:
    """r² of whole sequences less the best block's, on own ones, (realisation, checkpoint)."""
    found = along(name, "own", FEW, measured, TRAIN)
    return found[..., -1] - found[..., :-1].max(-1)


def _by_heart(name: str, than: str, measured: Measurements) -> np.ndarray:
    return (lead_of_whole(name, measured) - lead_of_whole(than, measured))[:, -1]


def _catches_up(name: str, measured: Measurements) -> np.ndarray:
    """The lead at the last step, less that where blocks of 2 explain most."""
    lead = lead_of_whole(name, measured)
    pairs = along(name, "own", FEW, measured, TRAIN)[..., 1].argmax(-1)
    return lead[:, -1] - np.take_along_axis(lead, pairs[:, None], 1)[:, 0]


def _later(name: str, level: int, measured: Measurements) -> np.ndarray:
    """Ln of the steps from which blocks of s^(level + 1), and s^level, fit better than smaller."""
    curves = along(name, "own", FEW, measured, TRAIN)
    steps = measured[f"{name}_step"].values
    upper, lower = (
        first_rise(steps, curves[..., each] - curves[..., each - 1]) for each in (level + 1, level)
    )
    return upper - lower


def _predictions() -> tuple[Prediction, ...]:
    found = []
    for name, label in LABELS.items():
        found += [
            Prediction(
                name=f"local-{name}",
                statement=f"{label}, n = 512: before it memorises, some block explains more of it "
                "than whole sequences",
                source="2412.20292",
                about="r² of the best block less than all leaves, less that of whole sequences",
                values=functools.partial(_local, name),
            ),
            Prediction(
                name=f"blocks-{name}",
                statement=f"{label}, n = 512: blocks of the training set explain more of it than "
                "the exact oracle",
                source="derived here from 2412.20292",
                about="r² of the best block less that of the exact oracle",
                values=functools.partial(_blocks_over_law, name),
            ),
            Prediction(
                name=f"noise-{name}",
                statement=f"{label}, n = 512: larger blocks gain on smaller ones as noise grows",
                source="derived here",
                about="r² of blocks of 4 less that of blocks of 2, at 1 − abar = 0.81 less at 0.10",
                values=functools.partial(_larger_in_noise, name),
            ),
        ]
    for name in ("tree", "transformer"):
        label = LABELS[name]
        found += [
            *(
                Prediction(
                    name=f"later-{2**level}-{name}",
                    statement=f"{label}, n = 12: on its own sequences blocks of {2**level} begin "
                    f"to fit better than of {2 ** (level - 1)} after those begin to fit better "
                    f"than of {2 ** (level - 2)}",
                    source="derived here from 2412.20292",
                    about="ln of the step from which the larger fit better, over that of the "
                    "smaller; the last step where they never do",
                    values=functools.partial(_later, name, level - 1),
                )
                for level in range(2, DEPTH + 1)
            ),
            Prediction(
                name=f"heart-{name}",
                statement=f"{label}, n = 12: whole sequences catch up on blocks as it learns its "
                "own by heart",
                source="derived here from 2412.20292",
                about="r² of whole sequences less the best block's, at the last step less at that "
                "where blocks of 2 explain most",
                values=functools.partial(_catches_up, name),
            ),
        ]
    found += [
        Prediction(
            name="whole-mlp",
            statement="MLP, which has no blocks, n = 12: whole sequences explain more of its own "
            "than any block at the last step",
            source="derived here from 2412.20292",
            about="r² of whole sequences less that of the best block",
            values=lambda measured: lead_of_whole("mlp", measured)[:, -1],
        ),
        Prediction(
            name="mosaic-tree",
            statement="tree U-Net, n = 12: even of its own sequences, blocks explain more than "
            "whole sequences at the last step",
            source="2412.20292",
            about="r² of the best block less that of whole sequences",
            values=lambda measured: -lead_of_whole("tree", measured)[:, -1],
        ),
        *(
            Prediction(
                name=f"order-{name}-{than}",
                statement=f"n = 12: the {LABELS[name]} is nearer to whole sequences than the "
                f"{LABELS[than]}, which is more local",
                source="derived here from 2412.20292",
                about="r² of whole sequences less the best block's, at the last step, difference",
                values=functools.partial(_by_heart, name, than),
            )
            for name, than in (("mlp", "transformer"), ("transformer", "tree"))
        ),
        Prediction(
            name="share-tree",
            statement="tree U-Net, n = 512: the best block explains at least 0.9 of it, as local "
            "scores do of convolutional networks",
            source="2412.20292",
            about="r² of the best block",
            values=functools.partial(_explained, "tree"),
            low=0.9,
            high=1.0,
        ),
        Prediction(
            name="attention-less",
            statement="n = 512: the best block explains more of the tree U-Net than of the "
            "transformer",
            source="2412.20292",
            about="r² of the best block, tree U-Net less transformer",
            values=functools.partial(_more, "tree", "transformer"),
        ),
        Prediction(
            name="equivariance-tree",
            statement="tree U-Net, n = 512: blocks of all places explain more of it than those of "
            "the same place",
            source="2412.20292",
            about="r² of the best block of all places less that of the same place",
            values=functools.partial(_pooled, "tree"),
        ),
    ]
    return tuple(found)


def draw(measured: Measurements) -> Figure:
    """r² along training on few sequences, and against noise on many, for every architecture."""
    figure, axes = style.new_figure(len(LABELS), 4.6, 2)
    for axis, name in zip(axes[: len(LABELS)], LABELS, strict=True):
        _draw_along(axis, measured, name)
    for axis, name in zip(axes[len(LABELS) :], LABELS, strict=True):
        _draw_noise(axis, measured, name)
    style.letter(axes)
    for axis in axes:
        axis.set_ylim(-0.2, 1.03)
    axes[0].set_ylabel("$r^2$, own sequences")
    axes[len(LABELS)].set_ylabel("$r^2$, test sequences")
    style.legend_below(figure, axes)
    return figure


def _color(level: int) -> tuple[float, ...]:
    """Large blocks know much, as low filter levels do."""
    return style.level_color(DEPTH - level, DEPTH + 1)


def _draw_along(axis: Axes, measured: Measurements, name: str) -> None:
    steps = measured[f"{name}_step"].values
    curves = along(name, "own", FEW, measured, TRAIN)
    for level in range(DEPTH + 1):
        own = {"color": _color(level), "label": _label(level)}
        style.curve_with_band(axis, steps, curves[..., level].T, **own)
    exact = along(name, "oracle", FEW, measured, TRAIN)[..., 0].mean(0)
    axis.plot(steps, exact, color=style.BLACK, ls="--", lw=1, label="exact oracle")
    title = f"{LABELS[name]}, n = {STUDY.num_sequences[FEW]}"
    axis.set(xscale="log", xlabel="training step", title=title)


def _draw_noise(axis: Axes, measured: Measurements, name: str) -> None:
    noise = measured[f"{name}_noise"].values
    own, pooled = (at_best(name, kind, MANY, measured) for kind in ("own", "pooled"))
    for level in range(DEPTH + 1):
        color = _color(level)
        style.curve_with_band(axis, noise, own[..., level].T, color=color, label=_label(level))
        axis.plot(noise, pooled[..., level].mean(0), color=color, ls=":", lw=1)
    exact = at_best(name, "oracle", MANY, measured)[..., 0].mean(0)
    axis.plot(noise, exact, color=style.BLACK, ls="--", lw=1, label="exact oracle")
    title = f"{LABELS[name]}, n = {STUDY.num_sequences[MANY]}"
    axis.set(xlabel="noise $1 - \\bar\\alpha$", title=title)


def _label(level: int) -> str:
    return f"blocks of {2**level}"


FAMILY = Family(
    title="Networks beside empirical denoisers of blocks",
    papers=("2412.20292",),
    settings=(
        "Of 2412.20292 the abstract and summaries were found (local and equivariant local "
        "empirical scores, one locality scale per time fitted; median r² 0.94 to 0.96 for "
        "convolutional ResNets and U-Nets, about 0.77 for a U-Net with attention, on images), not "
        "its text: "
        "neither its definition of r² nor how the scale depends on time. Ours: v = 8, m = 3, "
        "s = 2, L = 3, 6 grammars, a training set of n = 12 and one of 512 each; Gaussian noise, "
        "T = 100; tree U-Net and transformer (3 layers) of width 32, MLP (2 blocks) of width 128, "
        "4000 steps of Adam at 3e-3, batch 32, running average of decay 0.998. A network's mean "
        "of one-hot x_0 is compared with the posterior mean over the training set's blocks of "
        "2^k leaves at that place, each block alone; r² = 1 − Σ|network − blocks|² / Σ|network − "
        "symbol frequencies at the leaf|², at 5 steps of noise, 128 test and 128 training "
        "sequences. Blocks are subtrees, and the scale is not fitted: all are shown."
    ),
    caption=(
        "Share of a network's variance about the training set's symbol frequencies that empirical "
        "denoisers explain which know blocks of 1 (light) to 8 leaves (dark, whole sequences). "
        "(a–c) Along training on few sequences, on these sequences, mean over noise. (d–f) On "
        "test sequences, n = 512, at the step where the exact oracle (dashed) explains most; "
        "dotted: blocks of all places pooled. Bands: 95 % over grammars."
    ),
    study=STUDY,
    parts=f9.parts,
    predictions=_predictions(),
    draw=draw,
)
