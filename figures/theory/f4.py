"""F4 and F5: time to learn the law and time to learn by heart, against n and width."""

import functools
from collections.abc import Callable

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from experiments.store import Measurements
from experiments.theory import f3, f4
from figures import style
from figures.theory.family import Family, Prediction
from figures.theory.rises import first_rise

DEPTH = f3.SIZES["depth"]

SHARE = 0.0
"""Of the way from the exact to the empirical denoiser's loss on the training set: below the loss of
the law's own denoiser, a network knows its sequences by heart."""

TOLERANCE = 0.3
"""Of exponents."""

Times = Callable[[str, Measurements], np.ndarray]
"""Ln of a time of every network of a training, (realisation, n)."""


def memorises(name: str, measured: Measurements) -> np.ndarray:
    """Ln τ_mem: the loss on the training set falls below the exact denoiser's."""
    return first_rise(measured[f"{name}_step"].values, measured[f"{name}_memory"].values - SHARE)


def generalises(name: str, measured: Measurements) -> np.ndarray:
    """Ln τ_gen: the oracle of pairs of leaves becomes nearer than that of independent leaves."""
    found = measured[f"{name}_divergence"].values
    return first_rise(measured[f"{name}_step"].values, found[..., DEPTH] - found[..., DEPTH - 1])


def exponent_in_n(times: Times, name: str, measured: Measurements) -> np.ndarray:
    """Slope of ln τ in ln n, per realisation."""
    return _slope(np.log(measured[f"{name}_sequences"].values), times(name, measured))


def exponent_in_width(times: Times, measured: Measurements) -> np.ndarray:
    """Slope of ln τ in ln W, the mean over n, per realisation."""
    found = [times(f4.name_of(width), measured).mean(-1) for width in f4.WIDTHS]
    return _slope(np.log(f4.WIDTHS), np.stack(found, -1))


def _slope(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return y @ (x - x.mean()) / np.square(x - x.mean()).sum()


def batch_effect(measured: Measurements) -> np.ndarray:
    """Ln of τ_mem in steps with large batches over that with the usual ones, mean over n."""
    usual = memorises(f4.name_of(f4.WIDTHS[1]), measured)
    return (memorises("control", measured) - usual).mean(-1)


def decay_effect(measured: Measurements) -> np.ndarray:
    """Ln of τ_mem in sums of rates with a falling rate over that with a constant one."""
    usual = memorises(f4.name_of(f4.WIDTHS[1]), measured)
    return (memorises("falling", measured) - usual).mean(-1)


def _predictions() -> tuple[Prediction, ...]:
    found = [
        Prediction.near(
            1.0,
            TOLERANCE,
            name=f"memory-n-width-{width}",
            statement=f"width {width}: the time to memorise grows as n",
            source="2505.16959",
            about="slope of ln τ_mem in ln n; loss on the training set as low as the exact one's",
            values=functools.partial(exponent_in_n, memorises, f4.name_of(width)),
        )
        for width in f4.WIDTHS
    ]
    found += [
        Prediction.near(
            0.0,
            TOLERANCE,
            name=f"law-n-width-{width}",
            statement=f"width {width}: the time to learn the law does not depend on n",
            source="2505.17638",
            about="slope of ln τ_gen in ln n, pairs of leaves being learned",
            values=functools.partial(exponent_in_n, generalises, f4.name_of(width)),
        )
        for width in f4.WIDTHS
    ]
    found += [
        Prediction.near(
            -1.0,
            TOLERANCE,
            name=f"{name}-width",
            statement=f"the time to {words} falls as 1 / W",
            source="2505.17638",
            about="slope of its ln in ln W, mean over n",
            values=functools.partial(exponent_in_width, times),
        )
        for name, words, times in (
            ("memory", "memorise", memorises),
            ("law", "learn the law", generalises),
        )
    ]
    found.append(
        Prediction.near(
            0.0,
            np.log(2),
            name="batch",
            statement=f"steps count, not visits: {f4.LARGER} times the batch changes the steps to "
            "memorise by less than a factor of 2",
            source="2505.17638",
            about="ln of τ_mem in steps over that with the usual batch, mean over n; −1.39 if "
            "visits counted",
            values=batch_effect,
        )
    )
    found += [
        Prediction.near(
            1.0,
            TOLERANCE,
            name="memory-n-falling",
            statement="with a rate that falls, the time to memorise, as a sum of rates, grows as n",
            source="2505.16959",
            about="slope of ln τ_mem in ln n, time being the sum of rates",
            values=functools.partial(exponent_in_n, memorises, "falling"),
        ),
        Prediction.near(
            0.0,
            np.log(2),
            name="decay",
            statement="a rate that falls changes the sum of rates to memorise by less than a "
            "factor of 2",
            source="2505.17638",
            about="ln of τ_mem as a sum of rates over that at a constant rate, mean over n",
            values=decay_effect,
        ),
    ]
    return tuple(found)


def draw(measured: Measurements) -> Figure:
    """Both curves along training, and both times against n and width."""
    figure, axes = style.new_figure(2, 5.0, 2)
    _draw_memory(axes[0], measured)
    _draw_law(axes[1], measured)
    _draw_times(axes[2], measured)
    _draw_widths(axes[3], measured)
    style.letter(axes)
    return figure


def _curves(axis: Axes, measured: Measurements, values: np.ndarray) -> None:
    name = f4.name_of(f4.WIDTHS[1])
    steps, numbers = measured[f"{name}_step"].values, measured[f"{name}_sequences"].values
    for place, number in enumerate(numbers):
        color = style.level_color(place, len(numbers))
        label = f"n = {number}"
        style.curve_with_band(axis, steps, values[:, place].T, color=color, label=label)
    axis.set(xscale="log", xlabel="training step")
    axis.legend(handlelength=1.2, labelspacing=0.2)


def _draw_memory(axis: Axes, measured: Measurements) -> None:
    _curves(axis, measured, measured[f"{f4.name_of(f4.WIDTHS[1])}_memory"].values)
    axis.axhline(SHARE, color=style.GREY, lw=0.8, ls=":")
    axis.set(title="learned by heart", ylabel="from exact (0) to empirical (1) loss")
    axis.set_ylim(-0.5, 1)


def _draw_law(axis: Axes, measured: Measurements) -> None:
    _curves(axis, measured, measured[f"{f4.name_of(f4.WIDTHS[1])}_divergence"].values[..., 0])
    axis.set(title="learned of the law", yscale="log", ylabel="KL from exact (nats)")


def _draw_times(axis: Axes, measured: Measurements) -> None:
    numbers = measured[f"{f4.name_of(f4.WIDTHS[0])}_sequences"].values
    for place, width in enumerate(f4.WIDTHS):
        name, color = f4.name_of(width), style.level_color(place, len(f4.WIDTHS))
        for times, line in ((memorises, "-"), (generalises, "--")):
            label = f"W = {width}" if times is memorises else None
            found = np.exp(times(name, measured)).T
            style.curve_with_band(axis, numbers, found, color=color, ls=line, label=label)
    middle = np.exp(memorises(f4.name_of(f4.WIDTHS[1]), measured).mean())
    around = np.exp(np.log(numbers).mean())
    axis.plot(numbers, middle * numbers / around, color=style.GREY, lw=0.8, ls=":")
    axis.set(xscale="log", yscale="log", title="against n", xlabel="sequences $n$", ylabel="steps")
    axis.set_ylim(bottom=measured[f"{f4.name_of(f4.WIDTHS[0])}_step"].values[0])
    axis.set_xticks(numbers, [str(number) for number in numbers])
    axis.set_xticks([], minor=True)
    axis.legend(handlelength=1.2, labelspacing=0.2)


def _draw_widths(axis: Axes, measured: Measurements) -> None:
    widths = np.array(f4.WIDTHS, float)
    labels = (
        (memorises, "$\\tau_\\mathrm{mem}$", "-"),
        (generalises, "$\\tau_\\mathrm{gen}$", "--"),
    )
    for times, label, line in labels:
        found = np.stack([np.exp(times(f4.name_of(w), measured).mean(-1)) for w in f4.WIDTHS])
        style.curve_with_band(axis, widths, found, color=style.BLUE, ls=line, label=label)
        middle = np.exp(np.log(found).mean())
        around = np.exp(np.log(widths).mean())
        axis.plot(widths, middle * around / widths, color=style.GREY, lw=0.8, ls=":")
    large = np.exp(memorises("control", measured).mean(-1))
    at = np.full(len(large), widths[1])
    axis.plot(at, large, "x", color=style.VERMILION, label="batch 128")
    falling = np.exp(memorises("falling", measured).mean(-1))
    axis.plot(at, falling, "+", color=style.GREEN, label="falling rate")
    axis.set(xscale="log", yscale="log", title="against width", xlabel="width $W$", ylabel="steps")
    axis.set_xticks(widths, [str(width) for width in f4.WIDTHS])
    axis.set_xticks([], minor=True)
    axis.legend(handlelength=1.6, labelspacing=0.2, loc="lower left")


FAMILY = Family(
    title="Times to learn and to memorise",
    papers=("2505.16959", "2505.17638"),
    settings=(
        "Of 2505.16959 the abstract and of 2505.17638 the abstract and summaries were found "
        "(images and text; U-Nets on CelebA, random features), not their settings. Ours: v = 8, "
        "m = 3, s = 2, L = 3, 8 grammars, n = 12, 26, 56, 120; masked leaves, T = 32; tree U-Nets "
        "of width 12, 24, 48, 3200 steps of Adam at a constant 3e-3, batch 32, running average of "
        "decay 0.998. Reduced: one decade of n, few grammars, one network per set. Controls at "
        "W = 24: batch 128, 1600 steps; and a rate that falls from 3e-3 to 3e-6 as a cosine, "
        "4800 steps, whose times are sums of rates over 3e-3. The first four grammars were seen "
        "before the others and the falling rate were added; tolerances are those of then."
    ),
    caption=(
        "(a) Loss on the training set, between the exact denoiser's (0) and that of the empirical "
        "denoiser of the same set (1), W = 24. (b) Divergence from the exact denoiser on test "
        "sequences. (c, d) Steps until 0 in (a) (solid) and until pairs of "
        "leaves are learned (dashed), against n and width; dotted: in proportion to n, and to "
        "1 / W; crosses: controls. Bands: 95 % over grammars."
    ),
    study=f4.F4Study(),
    parts=f4.parts,
    predictions=_predictions(),
    draw=draw,
)
