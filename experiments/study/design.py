"""A study: a question, and the runs that answer it."""

import dataclasses
import functools
import re
from collections.abc import Callable, Mapping
from typing import Any

from experiments import configs
from experiments.configs import Protocol
from experiments.stages.registry import complete_settings, stages_of
from experiments.study.axes import Axis, Named, Point, label, product, value_at, with_values
from experiments.worlds.registry import complete
from hiermodel.checks import InputError, require

Measures = Mapping[str, Any]
"""Settings by stage, such as {"evaluation": EvaluationConfig()}."""


@dataclasses.dataclass(frozen=True)
class Study:
    """What is varied, what is measured, and why.

    Attributes:
        name: of its folder and its files; letters, digits, - and _.
        question: that it answers, in a sentence.
        base: the configuration from which every run is made.
        axes: what is varied; runs are the product of all axes and seeds.
        measures: settings by stage, or a function that gives them for a run's configuration.
        seeds: values of the run's ``seed``: other data, initial values and noise.
        minutes: the most that it may take on this machine, by the estimate; None for no bound.
        derive: changes a run's configuration where some settings follow from others. A network's
            number of leaves and the like follow from the data without it.
        against: one or two paths that results are drawn against; those of the first axes if none.
        answer: from what came out (``experiments.study.outcome``) to an answer.
        picture: the picture that is published with the answer, one of ``figures/study_*.py``.

    Raises:
        ValueError: for a name that is no file name, or settings that do not exist or do not fit.
    """

    name: str
    question: str
    base: Any
    axes: tuple[Axis, ...]
    measures: Measures | Callable[[Any], Measures]
    seeds: tuple[int, ...] = (1,)
    minutes: float | None = None
    derive: Callable[[Any], Any] | None = None
    against: tuple[str, ...] = ()
    answer: Callable[[Any], Any] | None = None
    picture: str = "phases"

    def __post_init__(self):
        require(
            bool(re.fullmatch(r"[\w-]+", self.name)), "name", self.name, "a word: a-z, 0-9, _, -"
        )
        require(bool(self.seeds), "seeds", self.seeds, "at least one number")
        measures, known = self.measures_of(self.base), list(stages_of(self.base))
        require(bool(measures), "measures", measures, f"settings by stage, of {known}")
        complete_settings(self.base, measures)
        unknown = [path for path in self.against if path not in self.varied]
        require(not unknown, "against", unknown, f"out of what is varied: {list(self.varied)}")
        require(len(self.against) <= 2, "against", self.against, "at most two paths")

    @property
    def varied(self) -> tuple[str, ...]:
        """Paths that its axes vary."""
        return tuple(path for axis in self.axes for path in axis.paths)

    def points(self) -> list[Point]:
        """A value of every varied path, for every run of one seed."""
        return product(self.axes)

    def runs(self) -> list[Any]:
        """Every run's configuration, each once.

        Raises:
            ValueError: naming the point whose settings are refused.
        """
        return [config for config, _ in self._made.values()]

    def measures_of(self, config: Any) -> Measures:
        """How a run is measured."""
        return self.measures(config) if callable(self.measures) else self.measures

    def protocol_of(self, config: Any) -> Protocol:
        """A run with how it is measured."""
        return Protocol(config, self.measures_of(config))

    def settings(self, config: Any) -> Point:
        """What a run has at the varied paths, as numbers and words, and its seed."""
        _, point = self._made[configs.identity(config)]
        named = {path: str(value) for path, value in point.items() if isinstance(value, Named)}
        return {
            path: named[path] if path in named else label(value_at(config, path))
            for path in (*self.varied, "seed")
        }

    def name_of(self, config: Any) -> str:
        """What sets a run apart from the others of the study, in words."""
        _, point = self._made[configs.identity(config)]
        settings = self.settings(config)
        if len(self.seeds) == 1:
            del settings["seed"]
        words = [
            str(value) if isinstance(point.get(path), Named) else f"{path} = {value}"
            for path, value in settings.items()
        ]
        return ", ".join(words) or "the only run"

    @functools.cached_property
    def _made(self) -> dict[str, tuple[Any, Point]]:
        """Every run's configuration and the point it was made from, by its identity."""
        made: dict[str, tuple[Any, Point]] = {}
        for seed in self.seeds:
            for point in self.points():
                config = self._run(point, seed)
                made.setdefault(configs.identity(config), (config, point))
        return made

    def _run(self, point: Point, seed: int) -> Any:
        try:
            config = with_values(self.base, {"seed": seed, **point})
            config = complete(config)
            return config if self.derive is None else complete(self.derive(config))
        except ValueError as error:
            words = ", ".join(f"{path} = {value}" for path, value in point.items())
            raise InputError(f"the run with {words} is not possible: {error}") from error
