"""Parameter studies: a question, what is varied, and the runs that answer it."""

from experiments.study.axes import Grid, Range, Variants, Zipped, log_spaced, random_points
from experiments.study.design import Study

__all__ = ["Grid", "Range", "Study", "Variants", "Zipped", "log_spaced", "random_points"]
