"""The figures there are: every file ``figure_<id>.py`` of this folder that has a ``FIGURE``.

A new figure is a new file here, and nothing else: what it shows and needs, how it is drawn and what
it claims stand in its ``FIGURE``. So are pictures of studies: ``study_<name>.py`` with a
``PICTURE``.
"""

import dataclasses
import functools
import itertools
import re
from collections.abc import Callable, Mapping, Sequence

from matplotlib.figure import Figure

from experiments.claim import Claim, correct_together
from experiments.folders import defined_in
from experiments.study.outcome import Outcome
from figures.claims import Run
from figures.style import Results
from hiermodel.checks import require

Claims = Callable[[Run], list[Claim]]


@dataclasses.dataclass(frozen=True)
class FigureSpec:
    """One figure.

    Attributes:
        title: as in the report.
        content: what it shows, in a sentence.
        caption: how to read it.
        sizes: whose runs it can show, a part for each; it shows those that are there.
        stages: measuring stages that it reads.
        draw: the picture, from the results of each run, by its label.
        claims: by the stages that they take, what is claimed of one run.
        between: what is claimed of two runs, the second of the next larger training sets.
        also: other figures of the paper that are parts of this one.
    """

    title: str
    content: str
    caption: str
    sizes: tuple[str, ...]
    stages: tuple[str, ...]
    draw: Callable[[Mapping[str, Results]], Figure]
    claims: tuple[tuple[tuple[str, ...], Claims], ...] = ()
    between: Callable[[Run, Run], list[Claim]] | None = None
    also: tuple[str, ...] = ()

    def examine(self, runs: Sequence[Run]) -> list[Claim]:
        """All claims that the measurements of these runs can speak to, smallest sets first."""
        own = [run for run in runs if run.size in self.sizes]
        claims = [
            claim
            for run in own
            for stages, examine in self.claims
            if set(stages) <= set(run.results)
            for claim in examine(run)
        ]
        if self.between is not None:
            whole = [run for run in own if set(self.stages) <= set(run.results)]
            for smaller, larger in itertools.pairwise(whole):
                claims += self.between(smaller, larger)
        return claims


@dataclasses.dataclass(frozen=True)
class StudyPicture:
    """One picture of a study.

    Attributes:
        title: as in the report.
        content: what it shows, in a sentence.
        caption: how to read it.
        draw: the picture of what came out; None if that has not what it takes.
        tables: files of the report that hold its numbers.
    """

    title: str
    content: str
    caption: str
    draw: Callable[[Outcome], Figure | None]
    tables: tuple[str, ...] = ()


@functools.cache
def all_figures() -> Mapping[str, FigureSpec]:
    """Every figure by its id, in the order of their numbers, those with names last."""
    found = defined_in("figures", "FIGURE", "figure_")
    return {name: found[name] for name in sorted(found, key=_place)}


@functools.cache
def study_pictures() -> Mapping[str, StudyPicture]:
    """Every picture of studies by its name."""
    return defined_in("figures", "PICTURE", "study_")


def figure_named(name: str) -> str:
    """The id of a figure, or of the one that a figure of the paper is a part of.

    Raises:
        ValueError: for a figure that does not exist.
    """
    known = all_figures()
    parts = {part: whole for whole, spec in known.items() for part in spec.also}
    require(name in known or name in parts, "figures", name, f"out of {[*known, *parts]}")
    return parts.get(name, name)


def examine_runs(runs: Mapping[str, Run], names: Sequence[str]) -> list[Claim]:
    """Claims of the given figures, from the runs by size, smallest training sets first."""
    known = all_figures()
    claims = [
        dataclasses.replace(claim, figure=name)
        for name in names
        for claim in known[name].examine(list(runs.values()))
    ]
    return correct_together(claims)


def _place(name: str) -> tuple[int, str]:
    number = re.match(r"\d+", name)
    return (int(number.group()) if number else 10**6, name)
