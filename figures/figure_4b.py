"""Figure 4b: the loss split into what can be distilled and what must be remembered."""

from collections.abc import Callable, Mapping

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from experiments.claim import Claim, Statistic
from experiments.onsets import TEST, TRAIN
from experiments.store import trained_checkpoints
from figures import style
from figures.claims import Run, at_times, border_note, located, per_network
from figures.figure import FigureSpec
from figures.style import Results

CAPTION = (
    "The denoising loss is distillation, −x̂*·log p, plus excess, −(x_0 − x̂*)·log p, x̂* "
    "being the "
    "exact denoiser. Top: distillation less that of the exact denoiser itself, a divergence. "
    "Bottom: excess, which has zero mean on fresh data (grey: 1.96 standard errors over the test "
    "sequences, which all networks share) and is negative on what is remembered. Left at the fixed "
    f"step, right averaged over all. {style.BANDS}. Shaded: the biased phase, {style.SHADED}."
)

STAGES = ("evaluation", "comparison", "decomposition")


def draw(results: Mapping[str, Results]) -> Figure:
    """Draw the figure from the stage "decomposition", shaded with the help of "onsets"."""
    figure = style.draw_runs(results, PANELS, 2.1, wrap=2)
    style.legend_below(figure, figure.axes)
    if "tau_neighbour" not in style.only(results).get("onsets", {}):
        style.mark_partial(figure)
    return figure


def _draw_part(axis: Axes, results: Results, part: str, ending: str, about: str = "") -> None:
    measured = results["decomposition"]
    trained, epochs = trained_checkpoints(measured)
    curves = measured[f"{part}{ending}"].values[trained]
    axis.axhline(0, color=style.GREY, lw=0.8)
    if part == "distillation":
        curves = curves - measured[f"{part}{ending}_floor"].values
    else:
        error = measured[f"{part}{ending}_error"].values[trained, :, 1].mean(1)
        reach = style.NORMAL * error
        axis.fill_between(epochs, -reach, reach, color=style.GREY, alpha=0.3, lw=0)
    curves = style.by_set(results, curves)
    for index, (name, color) in enumerate(style.SET_COLORS.items()):
        style.curve_with_band(axis, epochs, curves[:, :, index], color=color, label=name)
    axis.set_ylabel(about)
    style.training_axis(axis)
    style.shade_biased_phase(axis, results)


def _part(*what: str) -> Callable[[Axes, Results], None]:
    return lambda axis, results: _draw_part(axis, results, *what)


DISTILLED = "distillation − floor\n(nats per position)\n↓ better"
EXCESS = "excess\n(nats per position)\n0: nothing remembered"

PANELS: tuple[style.Panel, ...] = (
    ("at fixed $t/T$", ("decomposition",), _part("distillation", "", DISTILLED)),
    ("mean over $t$", ("decomposition",), _part("distillation", "_all")),
    ("", ("decomposition",), _part("excess", "", EXCESS)),
    ("", ("decomposition",), _part("excess", "_all")),
)


def loss_decomposition(run: Run) -> list[Claim]:
    """What the falling training loss is made of in the biased phase (figure 4b).

    A falling training loss is no finding in itself; the question is which of its parts falls. The
    distillation term on train falls only while a network still learns what all data share; the
    excess falls further on train than on test only if the network remembers its own data. Each
    network is looked at between its own two minima. One without a biased phase between them says
    nothing: its value is unknown.
    """
    measured = run.results["decomposition"]
    bias, test = run.times("tau_neighbour"), run.times("tau_test")
    known = located(bias, test) & (test.values > bias.values)
    note = border_note(τ_test=test, τ_bias=bias)
    if (none := int((located(bias, test) & (test.values <= bias.values)).sum())) > 0:
        note = "; ".join(filter(None, (f"no biased phase in {none} of {known.size}", note)))
    parts = (
        ("distillation", "the distillation term of the training loss still falls", ""),
        ("excess", "the excess term falls more on train than on test", ", train − test"),
    )
    claims = []
    for ending, suffix, where in (("", "", "at t/T = 0.3"), ("_all", "-all", "on average over t")):
        for term, statement, what in parts:
            fall = at_times(measured, f"{term}{ending}", bias) - at_times(
                measured, f"{term}{ending}", test
            )
            less = fall[:, TEST] if term == "excess" else 0.0
            claims.append(
                per_network(
                    run,
                    Statistic.known(fall[:, TRAIN] - less, known),
                    name=f"{term}-falls{suffix}",
                    statement=f"in the biased phase {statement} {where}",
                    about=f"{term}{what or ' on train'}, nats per position: τ_bias − τ_test",
                    note=note,
                )
            )
    return claims


FIGURE = FigureSpec(
    title="Figure 4b",
    content="the denoising loss split into distillation and excess, on train and test",
    caption=CAPTION,
    sizes=("middle",),
    stages=STAGES,
    draw=draw,
    claims=((STAGES, loss_decomposition),),
)
