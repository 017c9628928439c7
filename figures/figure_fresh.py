"""Networks that never see a sequence twice: nothing turns, and nothing leans anywhere."""

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from experiments.claim import Claim
from experiments.onsets import MIN_CHECKPOINTS, TEST
from experiments.store import Measurements, trained_checkpoints
from figures import style
from figures.claims import Run, per_network
from figures.figure import FigureSpec
from figures.style import Results
from hiermodel.measures.turns import rise_after_turn
from hiermodel.measures.units import by_training_set

CAPTION = (
    "Networks of the same shape and training that draw new sequences at every step: their distance "
    "to the exact denoiser, the divergence between them, and how much nearer their samples lie to "
    "one set of sequences than to another, neither of which they have seen. "
    f"{style.BANDS}."
)

STAGES = ("evaluation", "comparison")


SMALL_RISE = 0.1
"""A rise after the lowest point that is no turn: a tenth of the value there."""

SMALL_GAP = 0.05
"""A gap that is none, in symbols."""

CURVES = {
    "distance to the exact denoiser": ("evaluation", "distillation", style.VERMILION),
    "divergence between networks": ("evaluation", "split_divergence", style.BLUE),
    "nearest neighbours, derivable": (
        "comparison",
        "neighbour_divergence_derivable",
        style.PURPLE,
    ),
}
"""Stage, measurement and colour of every curve; the lower, the nearer the law or each other."""


def curve_of(measured: Measurements, name: str, num_splits: int) -> tuple[np.ndarray, np.ndarray]:
    """Epochs, and the curve per training set on test inputs: (checkpoint, set)."""
    trained, epochs = trained_checkpoints(measured)
    values = measured[name].values[trained]
    if "set" in measured[name].dims:
        values = values[:, :, TEST]
    return epochs, by_training_set(values, num_splits, axis=1)


def draw(results: Mapping[str, Results]) -> Figure:
    """Draw the figure from the stages of each run, by its label."""
    figure = style.draw_runs(results, PANELS, 2.1, wrap=2)
    style.legend_below(figure, figure.axes)
    return figure


def _draw_curve(axis: Axes, results: Results, stage: str, name: str, color: str) -> None:
    measured = results[stage]
    epochs, values = curve_of(measured, name, style.num_splits(results))
    style.curve_with_band(axis, epochs, values, color=color)
    style.training_axis(axis)
    axis.set(ylabel=f"{measured[name].units}\n↓ nearer")
    style.log_height(axis)


def _draw_gap(axis: Axes, results: Results) -> None:
    style.draw_gap(axis, results)
    none = {"color": style.GREY, "alpha": 0.35, "lw": 0, "label": f"no gap: within ± {SMALL_GAP}"}
    axis.axhspan(-SMALL_GAP, SMALL_GAP, **none)
    axis.set_ylabel("symbols\n0 is unbiased")
    style.training_axis(axis)


PANELS: tuple[style.Panel, ...] = (
    *(
        (title, (of[0],), lambda axis, results, of=of: _draw_curve(axis, results, *of))
        for title, of in CURVES.items()
    ),
    ("gap between unseen sets", ("comparison",), _draw_gap),
)


def nothing_turns(run: Run) -> list[Claim]:
    """No curve rises after its lowest point, and samples lean to no set."""
    claims = []
    for title, (stage, name, _) in CURVES.items():
        epochs, curves = curve_of(run.results[stage], name, run.num_splits)
        known = np.isfinite(curves).all(1)
        if known.sum() < MIN_CHECKPOINTS:
            continue
        lowest = curves[known].mean(1).min()
        rise = rise_after_turn(epochs[known], curves[known].T) / lowest
        claims.append(
            per_network(
                run,
                rise,
                name=f"fresh-{name.replace('_', '-')}",
                statement=f"with fresh data at every step, the {title} does not turn",
                about="rise after the lowest point of the other half of the networks, relative to "
                "the value there",
                low=-np.inf,
                high=SMALL_RISE,
                primary=True,
            )
        )
    claims.append(
        per_network(
            run,
            run.results["comparison"]["gap_of_sets"].values[-1],
            name="fresh-gap",
            statement=f"nor do samples lean to a set of sequences (within {SMALL_GAP} symbols)",
            about="own–other gap in symbols at the last checkpoint, all pairs of sets",
            low=-SMALL_GAP,
            high=SMALL_GAP,
            primary=True,
        )
    )
    return claims


FIGURE = FigureSpec(
    title="Fresh data",
    content="the measures of bias on networks that see no sequence twice (n = ∞)",
    caption=CAPTION,
    sizes=("fresh",),
    stages=STAGES,
    draw=draw,
    claims=((STAGES, nothing_turns),),
)
