"""How much narrower the intervals of today's estimators are, on the same networks."""

from collections.abc import Iterator, Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from experiments.onsets import TEST
from experiments.store import Measurements, trained_checkpoints
from figures import style
from figures.figure import FigureSpec
from figures.style import Results
from hiermodel.measures.onset import Minimum, locate_minimum, minimum_after_transient
from hiermodel.measures.units import by_training_set, interval_of_units

CAPTION = (
    "Times of minima by estimator, on the same networks: geometric means and 95 % Student "
    "intervals over training sets, or over pairs of them that share none; behind each, the width "
    "of its interval in ln τ, and by what factor the first of its group is narrower. Lowest test "
    "loss: from the distillation term, its expectation given the inputs, or from the loss itself; "
    "of averaged weights (one decay, or another), or of the weights as trained. Turn of the "
    "divergence between networks: all pairs and both orders, or pairs that share no training set "
    "in one order. Hollow: some minima lie on the border of what was measured, and the interval "
    "is none of theirs."
)

STAGES = ("evaluation",)

WIDTHS = "numbers: width of the interval in ln τ (times the first of its kind); less is better"

Group = list[tuple[str, Minimum]]


def estimates(evaluation: Measurements, num_splits: int) -> dict[str, Group]:
    """Minima by group and estimator, today's first; of training sets, or of pairs of them."""
    trained, epochs = trained_checkpoints(evaluation)

    def of_sets(name: str) -> Minimum:
        curves = evaluation[name].values[trained, :, TEST]
        return locate_minimum(epochs, by_training_set(curves, num_splits, axis=1).T)

    def turns(name: str) -> Minimum:
        curves = evaluation[name].values[trained].T
        return minimum_after_transient(epochs, curves, transient=np.maximum(curves, 0))

    test = [("distillation, average", of_sets("distillation")), ("loss, average", of_sets("loss"))]
    groups = {r"$\tau_\mathrm{test}$": test, r"$\tau_\mathrm{turn}$": []}
    for prefix, words in _other_weights(evaluation):
        test.append((f"distillation, {words}", of_sets(f"{prefix}distillation")))
    if "split_divergence" in evaluation:
        between = [("all pairs, average", turns("split_divergence"))]
        for prefix, words in _other_weights(evaluation):
            between.append((f"all pairs, {words}", turns(f"{prefix}split_divergence")))
        disjoint = evaluation["sample_split"].values[trained, :, TEST]
        pairs = by_training_set(disjoint, num_splits // 2, axis=1)
        between.append(("disjoint pairs", minimum_after_transient(epochs, pairs.T)))
        groups[r"$\tau_\mathrm{turn}$"] = between
    return groups


def _other_weights(evaluation: Measurements) -> Iterator[tuple[str, str]]:
    """Weights that were measured beside the average: prefix of the names, and words."""
    for name in evaluation:
        if name.endswith("_distillation"):
            prefix = name.removesuffix("distillation")
            words = "raw" if prefix == "raw_" else prefix.strip("_").replace("_", " ")
            yield prefix, words


def draw(results: Mapping[str, Results]) -> Figure:
    """Draw the figure from the stage "evaluation" of each run, by its label."""
    figure = style.draw_runs(results, [(None, STAGES, _draw_run)], 3.2)
    for axis in figure.axes[1:]:
        axis.set_yticklabels([])
    figure.supxlabel(WIDTHS, size=7.5)
    return figure


def _draw_run(axis: Axes, results: Results) -> None:
    groups = estimates(results["evaluation"], style.num_splits(results))
    rows, labels = 0, []
    for (symbol, group), color in zip(groups.items(), (style.VERMILION, style.BLUE), strict=True):
        first = None
        for name, minimum in group:
            width = _draw_row(axis, rows, minimum, color, first)
            first = width if first is None else first
            labels.append(f"{symbol}, {name}")
            rows += 1
    axis.set(yticks=range(rows), yticklabels=labels, ylim=(rows - 0.5, -0.5))
    style.training_axis(axis)


def _draw_row(axis: Axes, row: int, minimum: Minimum, color: str, first: float | None) -> float:
    """One estimator; returns the width of its interval in ln τ."""
    found = interval_of_units(np.log(minimum.time))
    located = bool(np.all(minimum.located))
    middle = float(np.exp(found.estimate))
    face = color if located else "white"
    low, high = (float(np.exp(end)) for end in (found.low, found.high))
    if not np.isfinite(high):  # one unit alone has no interval
        axis.plot(middle, row, "o", ms=4, color=color, mfc=face)
        return np.nan
    axis.plot([low, high], [row, row], color=color, lw=1.2)
    axis.plot(middle, row, "o", ms=4, color=color, mfc=face)
    width = float(found.high - found.low)
    text = f"{width:.2f} (×{width / first:.1f})" if first else f"{width:.2f}"
    axis.annotate(text, (high, row), xytext=(4, 0), textcoords="offset points", va="center", size=6)
    return width


FIGURE = FigureSpec(
    title="Estimators",
    content="times of minima by estimator, with their intervals, on the same networks",
    caption=CAPTION,
    sizes=("small", "middle", "large"),
    stages=STAGES,
    draw=draw,
)
