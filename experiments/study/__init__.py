"""Parameter studies: a question, what is varied, and the runs that answer it."""

from experiments.study.axes import Grid, Variants, Zipped, log_spaced, random_points
from experiments.study.design import Study

__all__ = ["Grid", "Study", "Variants", "Zipped", "log_spaced", "random_points"]
