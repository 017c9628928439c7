"""Figure 4b: the loss split into what can be distilled and what must be remembered."""

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from experiments.store import trained_checkpoints
from figures import style
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
SIZES = ("middle",)

KINDS = {"": "at fixed $t/T$", "_all": "mean over $t$"}


def draw(results: Results) -> Figure:
    """Draw the figure from the stage "decomposition", shaded with the help of "onsets"."""
    figure, axes = style.new_figure(2, 4.2, num_rows=2)
    for column, (ending, title) in enumerate(KINDS.items()):
        top, bottom = axes[column], axes[2 + column]
        _draw(top, results, "distillation", ending)
        _draw(bottom, results, "excess", ending)
        top.set_title(title)
    axes[0].set_ylabel("distillation − floor\n(nats per position)")
    axes[2].set_ylabel("excess\n(nats per position)")
    style.legend_below(figure, axes[0])
    if "tau_neighbour" not in results.get("onsets", {}):
        style.mark_partial(figure)
    return figure


def _draw(axis: Axes, results: Results, part: str, ending: str) -> None:
    style.draw_panel(
        axis,
        results,
        ("decomposition",),
        lambda where, found: _draw_part(where, found, part, ending),
    )


def _draw_part(axis: Axes, results: Results, part: str, ending: str) -> None:
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
    style.training_axis(axis)
    style.shade_biased_phase(axis, results)
