"""Which laws of the grammar the networks' samples break, along training."""

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from experiments.claim import Claim
from experiments.stages.examination import fails
from experiments.store import trained_checkpoints
from figures import style
from figures.claims import Run, at_times, per_network
from figures.figure import FigureSpec
from figures.style import Results

CAPTION = (
    "Exact tests of samples against the grammar's law (hm.measures.examine_sampler): share of the "
    "networks whose samples fail each of them, at every sampled checkpoint. The last column is "
    "as many draws of the law itself, which should fail none. P-values are corrected for all "
    "tests of a network together, at 5 %. Levels are counted from the root, distances from the "
    "leaves: 1 are siblings."
)

STAGES = ("examination",)


def draw(results: Mapping[str, Results]) -> Figure:
    """Draw the figure from the stage "examination" of the run."""
    return style.draw_runs(results, [("", STAGES, _draw)], 4.0)


def _draw(axis: Axes, results: Results) -> None:
    measured = results["examination"]
    trained, epochs = trained_checkpoints(measured)
    share = fails(measured["p_value"].values[trained]).mean(1).T
    law = fails(measured["p_value_of_law"].values)[:, None]
    columns = np.concatenate([share, np.full((len(share), 1), np.nan), law], 1)
    shown = axis.imshow(columns, aspect="auto", cmap="cividis", vmin=0, vmax=1)
    places = [*range(0, len(epochs), 2), len(epochs) + 1]
    axis.set_xticks(places, [*(f"{epoch:g}" for epoch in epochs[::2]), "law"])
    axis.set_yticks(range(len(share)), measured["test"].values.tolist())
    axis.set_xlabel("training time (epochs)")
    axis.figure.colorbar(shown, ax=axis, label="share of networks that fail\n↓ better")


def against_the_law(run: Run) -> list[Claim]:
    """At the test-loss minimum samples are told from the law, whose own draws are not."""
    test = run.times("tau_test")
    share = fails(at_times(run.results["examination"], "p_value", test)).mean(-1)
    return [
        per_network(
            run,
            share,
            minima={"τ_test": test},
            name="samples-told-from-law",
            statement="at the test-loss minimum, exact tests tell the samples from the law",
            about="share of the tests that samples fail, corrected together",
        )
    ]


FIGURE = FigureSpec(
    title="Examination of samples",
    content="which exact tests of the grammar's law the samples fail, along training",
    caption=CAPTION,
    sizes=("middle",),
    stages=STAGES,
    draw=draw,
    claims=((("evaluation", *STAGES), against_the_law),),
)
