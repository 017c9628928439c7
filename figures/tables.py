"""Measurements as tables of numbers: what the report prints and offers as CSV."""

import itertools
from collections.abc import Iterator

import numpy as np

from experiments.store import Measurement, Measurements

UNITS = ("member", "pair", "split", "repeat", "sequence")
"""Dimensions that are averaged over."""

AXES = ("checkpoint", "time", "level", "distance")
"""What rows may run along, in the order in which they are preferred."""

PICTURE = frozenset({"pixel", "height", "width"})
"""Dimensions of pictures, which are no rows of numbers."""

NAMES = {"set": ("train", "test"), "moment": ("τ_bias", "τ_test")}
"""What the entries of a dimension are called."""

POSITIONS = {"checkpoint": "epoch", "time": "relative_time", "level": "filter_level"}
"""The measurement that says where along an axis each entry lies, if it is there."""


def as_rows(measured: Measurements) -> list[list[str]]:
    """A heading and rows along the first axis that these measurements have.

    Columns are means over members (or pairs, splits, repetitions), one for every entry of the other
    dimensions. Intervals are those of the claims: what members scatter by is no error of theirs.
    """
    axis = next((axis for axis in AXES if any(axis in m.dims for m in measured.values())), None)
    if axis is None:
        return _single_row(measured)
    position = POSITIONS.get(axis, "")
    where = measured[position].values if position in measured else None
    columns: list[tuple[str, np.ndarray]] = []
    for name, measurement in measured.items():
        pictured = not PICTURE.isdisjoint(measurement.dims)
        if axis in measurement.dims and name != position and not pictured:
            columns += _columns(name, measurement, axis)
    length = len(columns[0][1])
    first = (position, where) if where is not None else (axis, np.arange(length))
    columns = [first, *columns]
    return [
        [name for name, _ in columns],
        *([_number(values[row]) for _, values in columns] for row in range(length)),
    ]


def onset_rows(onsets: Measurements) -> list[list[str]]:
    """Positions of minima: geometric mean over units, range, and how many were located."""
    head = ["minimum", "geometric mean (epochs)", "lowest", "highest", "located", "of"]
    rows = [head]
    for name, measurement in onsets.items():
        if f"{name}_located" not in onsets:
            continue
        taus, located = measurement.values, onsets[f"{name}_located"].values
        for level in range(taus.shape[1]) if "level" in measurement.dims else [None]:
            at = np.s_[:, level] if level is not None else np.s_[:]
            own = taus[at]
            label = name if level is None else f"{name} k={level}"
            numbers = (np.exp(np.log(own).mean()), own.min(), own.max())
            found = (int(located[at].sum()), own.size)
            rows.append([label, *map(_number, numbers), *map(str, found)])
    return rows


def as_csv(rows: list[list[str]]) -> str:
    """Rows as comma-separated values; names hold no commas."""
    return "".join(",".join(cell.replace(",", ";") for cell in row) + "\n" for row in rows)


def _columns(name: str, measurement: Measurement, axis: str) -> Iterator[tuple[str, np.ndarray]]:
    others = [dim for dim in measurement.dims if dim != axis and dim not in UNITS]
    units = [dim for dim in measurement.dims if dim in UNITS]
    order = [measurement.dims.index(dim) for dim in (axis, *others, *units)]
    values = np.transpose(np.asarray(measurement.values, np.float64), order)
    shape = values.shape[: 1 + len(others)]
    values = values.reshape(*shape, -1)
    for index in itertools.product(*map(range, shape[1:])):
        entries = ", ".join(_entry(dim, place) for dim, place in zip(others, index, strict=True))
        label = f"{name} [{entries}]" if entries else name
        column = values[(slice(None), *index)]
        # A last odd split has no partner and so no own–other gap: it is left out.
        known = np.isfinite(column)
        total = np.where(known, column, 0).sum(-1)
        yield label, np.where(known.any(-1), total / np.maximum(known.sum(-1), 1), np.nan)


def _single_row(measured: Measurements) -> list[list[str]]:
    means = {name: m.values.mean() for name, m in measured.items() if m.values.size}
    return [list(means), [_number(value) for value in means.values()]]


def _entry(dim: str, place: int) -> str:
    return NAMES[dim][place] if dim in NAMES else f"{dim} {place}"


def _number(value: float) -> str:
    return f"{float(value):.5g}"
