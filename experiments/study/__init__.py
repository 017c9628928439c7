"""Parameter studies: a question, what is varied, and the runs that answer it."""

from experiments.study.axes import Grid, LogSpaced, Random, Range, Zipped
from experiments.study.design import Budget, Study

__all__ = ["Budget", "Grid", "LogSpaced", "Random", "Range", "Study", "Zipped"]
