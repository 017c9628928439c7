"""Figure 6: figure 1b for the other sizes of the training set."""

from collections.abc import Mapping

from matplotlib.figure import Figure

from figures import figure_1b, style
from figures.style import Results

CAPTION = f"As figure 1b, a row for each size n of the training sets. {figure_1b.CAPTION}"

STAGES = figure_1b.STAGES
SIZES = ("small", "large")


def draw(results: Mapping[str, Results]) -> Figure:
    """Draw the figure from the results of each size, by its label."""
    figure, axes = style.new_figure(3, 2.4 * len(results), num_rows=len(results))
    for row, (label, of_size) in enumerate(results.items()):
        panels = axes[3 * row : 3 * row + 3]
        figure_1b.draw_row(panels, of_size)
        panels[0].set_title(f"{label}: {figure_1b.TITLES[0]}")
    drawn = [row for row, own in enumerate(results.values()) if "evaluation" in own]
    if drawn:
        style.legend_below(figure, axes[3 * drawn[0]])
    return figure
