"""Figure 9: figures 4a and 5 for the smaller training set."""

from matplotlib.figure import Figure

from figures import figure_4a, figure_5, style
from figures.style import Results

CAPTION = (
    "As figures 4a and 5, for another size of the training sets. Top: nearest-neighbour divergence "
    "(grey: of fresh data) and losses above their floor along training, with their minima and the "
    "biased phase between them. Bottom: U-turn ratios of the networks at both minima. "
    f"{style.BANDS}; {style.MINIMA}; shading {style.SHADED}."
)

STAGES = ("evaluation", "comparison", "u_turns")
SIZES = ("small",)


def draw(results: Results) -> Figure:
    """Draw the figure from the stages "evaluation", "comparison" and "u_turns"."""
    figure, axes = style.new_figure(2, 4.4, num_rows=2)
    figure_4a.draw_neighbours(axes[0], results)
    figure_4a.draw_losses(axes[1], results)
    figure_5.draw_ratios(axes[2], axes[3], results)
    return figure
