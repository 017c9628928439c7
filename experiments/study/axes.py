"""What a study varies: each axis is a list of points, each point a value per dotted path.

A study's design is the product of its axes. A path leads into a configuration, such as
``training.learning_rate`` or ``data.depth``; the name of a field alone may be given a whole
configuration, such as an architecture for ``network``.
"""

import dataclasses
import itertools
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np

from hiermodel.checks import check_integer, require

Point = dict[str, Any]
"""A value for each of some paths."""


@runtime_checkable
class Axis(Protocol):
    """One thing that is varied."""

    @property
    def paths(self) -> tuple[str, ...]:
        """What it varies."""
        ...

    def points(self) -> list[Point]:
        """All its points, in order."""
        ...


@dataclasses.dataclass(frozen=True)
class Zipped:
    """Settings that change together: the i-th values of all paths make the i-th point.

    Raises:
        ValueError: for no paths, or lists of different lengths.
    """

    values: Mapping[str, Sequence[Any]]

    def __post_init__(self):
        require(bool(self.values), "values", self.values, "lists of values by path")
        for path, values in self.values.items():
            fits = isinstance(values, list | tuple) and len(values) > 0
            require(fits, path, values, "a list of at least one value")
        lengths = {path: len(values) for path, values in self.values.items()}
        require(len(set(lengths.values())) == 1, "values", lengths, "lists of the same length")

    @property
    def paths(self) -> tuple[str, ...]:
        """What it varies."""
        return tuple(self.values)

    def points(self) -> list[Point]:
        """A point per place in the lists."""
        columns = zip(*self.values.values(), strict=True)
        return [dict(zip(self.values, column, strict=True)) for column in columns]


def Grid(path: str, values: Sequence[Any]) -> Zipped:  # noqa: N802 - an axis beside the others
    """Every one of some values of one path.

    Raises:
        ValueError: for no values, or one that stands twice.
    """
    axis = Zipped({path: values})
    repeated = [value for value in values if list(values).count(value) > 1]
    require(not repeated, path, repeated, "different values")
    return axis


@dataclasses.dataclass(frozen=True)
class Variants:
    """Settings that each have a name, and change different things.

    Attributes:
        path: what the names are names of, such as "mitigation"; a column of tables, not a setting.
        changes: by name, the values at the paths that it changes; the base has those of others.
    """

    path: str
    changes: Mapping[str, Mapping[str, Any]]

    @property
    def paths(self) -> tuple[str, ...]:
        """What it varies, in one word."""
        return (self.path,)

    def points(self) -> list[Point]:
        """A point per name, with the name at its own path."""
        return [{self.path: Named(name), **values} for name, values in self.changes.items()]


class Named(str):
    """A word in a point that names it, and changes nothing itself."""


def log_spaced(path: str, low: float, high: float, count: int, *, integer: bool = False) -> Zipped:
    """Values evenly spaced in their logarithm, both ends included.

    Args:
        path: what is varied.
        low: first value, positive.
        high: last value.
        count: how many, at least 2; where rounding makes some coincide, fewer.
        integer: round to whole numbers.

    Raises:
        ValueError: for values outside these.
    """
    require(0 < low < high, "low", low, f"positive and below high={high}")
    check_integer("count", count, 2)
    values = np.geomspace(low, high, count).tolist()
    values[0], values[-1] = low, high  # to the last bit
    return Grid(path, sorted({round(value) for value in values}) if integer else values)


def random_points(laws: Mapping[str, Any], count: int, *, seed: int = 0) -> Zipped:
    """Points drawn independently, each path by its own law.

    The first points stay the same when more are asked for.

    Args:
        laws: by path, a frozen distribution of ``scipy.stats``, such as ``loguniform(1e-4, 1e-2)``;
            integers come from discrete ones, such as ``randint(2, 6)``.
        count: how many points.
        seed: of the draws.

    Raises:
        ValueError: for no laws, laws that have no quantiles, or numbers out of range.
    """
    require(bool(laws), "laws", laws, "a distribution per path")
    check_integer("count", count, 1)
    check_integer("seed", seed, 0)
    shares = np.random.default_rng(seed).random((count, len(laws)))
    drawn = {}
    for (path, law), column in zip(laws.items(), shares.T, strict=True):
        values = law.ppf(column)
        require(bool(np.isfinite(values).all()), path, law, "a law with finite quantiles")
        drawn[path] = (values.astype(int) if hasattr(law, "pmf") else values).tolist()
    return Zipped(drawn)


def product(axes: Iterable[Axis]) -> list[Point]:
    """Every combination of one point per axis; the last axis changes fastest.

    Raises:
        ValueError: if two axes vary the same path.
    """
    axes = list(axes)
    paths = [path for axis in axes for path in axis.paths]
    repeated = sorted({path for path in paths if paths.count(path) > 1})
    require(not repeated, "axes", repeated, "paths that no other axis varies")
    combinations = itertools.product(*(axis.points() for axis in axes))
    return [
        {path: value for part in parts for path, value in part.items()} for parts in combinations
    ]


def with_values(config: Any, values: Mapping[str, Any]) -> Any:
    """A configuration with the values at some dotted paths replaced, all at once.

    Names of points change nothing. Values of whole fields come first, so that ``network`` and
    ``network.dropout`` may both be set.

    Raises:
        ValueError: for a path that leads nowhere, or values that the configuration refuses.
    """
    values = {path: value for path, value in values.items() if not isinstance(value, Named)}
    whole = {path: value for path, value in values.items() if "." not in path}
    deeper: dict[str, dict[str, Any]] = {}
    for path, value in values.items():
        if "." in path:
            field, rest = path.split(".", 1)
            deeper.setdefault(field, {})[rest] = value
    names = [field.name for field in dataclasses.fields(config)]
    for field in {*whole, *deeper}:
        require(field in names, "path", field, f"a field of {type(config).__name__}: {names}")
    for field, inner in deeper.items():
        before = whole.get(field, getattr(config, field))
        is_config = dataclasses.is_dataclass(before)
        require(is_config, "path", f"{field}.{next(iter(inner))}", f"no deeper than {field}")
        whole[field] = with_values(before, inner)
    return dataclasses.replace(config, **whole)


def value_at(config: Any, path: str) -> Any:
    """The value at a dotted path."""
    for field in path.split("."):
        config = getattr(config, field)
    return config


def label(value: Any) -> Any:
    """A setting as a number, a truth value or a word, for tables and legends."""
    if dataclasses.is_dataclass(value):
        return type(value).__name__.removesuffix("Config")
    return value if isinstance(value, int | float | str) else str(value)
