"""Figure 10: figures 4a and 5 for the larger training set."""

from figures import figure_9

CAPTION = figure_9.CAPTION
STAGES = figure_9.STAGES
SIZES = ("large",)

draw = figure_9.draw
