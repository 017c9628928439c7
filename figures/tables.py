"""Measurements as tables of numbers: what the report prints and offers as CSV."""

import math
from collections.abc import Iterator

import numpy as np
import pandas as pd

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
"""Names of the measurements that say where along an axis each entry lies."""


def table_of(measured: Measurements) -> pd.DataFrame:
    """A row for each entry along the first axis that these measurements have.

    Columns are means over members (or pairs, splits, repetitions), one for every entry of the other
    dimensions. Intervals stand with the claims: the scatter of members is not the error of a mean.
    """
    axis = next((axis for axis in AXES if any(axis in m.dims for m in measured.values())), None)
    if axis is None:
        means = {name: m.values.mean() for name, m in measured.items() if m.values.size}
        return pd.DataFrame([means])
    position = POSITIONS.get(axis, "")
    columns: dict[str, np.ndarray] = {}
    for name, measurement in measured.items():
        pictured = not PICTURE.isdisjoint(measurement.dims)
        if axis in measurement.dims and name != position and not pictured:
            columns |= _columns(name, measurement, axis)
    table = pd.DataFrame(columns)
    where = measured[position].values if position in measured else range(len(table))
    table.insert(0, position if position in measured else axis, where)
    return table


def table_of_onsets(onsets: Measurements) -> pd.DataFrame:
    """Positions of minima: geometric mean over units, range, and how many were located."""
    rows = []
    for name, measurement in onsets.items():
        if f"{name}_located" not in onsets:
            continue
        taus, located = measurement.values, onsets[f"{name}_located"].values
        for level in range(taus.shape[1]) if "level" in measurement.dims else [None]:
            at = np.s_[:, level] if level is not None else np.s_[:]
            own = taus[at]
            rows.append(
                {
                    "minimum": name if level is None else f"{name} k={level}",
                    "geometric mean (epochs)": np.exp(np.log(own).mean()),
                    "lowest": own.min(),
                    "highest": own.max(),
                    "located": int(located[at].sum()),
                    "of": own.size,
                }
            )
    return pd.DataFrame(rows)


def as_csv(table: pd.DataFrame) -> str:
    """A table as comma-separated values, numbers in five digits."""
    return table.to_csv(index=False, float_format="%.5g")


def _columns(name: str, measurement: Measurement, axis: str) -> Iterator[tuple[str, np.ndarray]]:
    others = [dim for dim in measurement.dims if dim != axis and dim not in UNITS]
    units = [dim for dim in measurement.dims if dim in UNITS]
    order = [measurement.dims.index(dim) for dim in (axis, *others, *units)]
    values = np.transpose(np.asarray(measurement.values, np.float64), order)
    shape = values.shape[: 1 + len(others)]
    # A last odd split has no partner and so no own–other gap: what is NaN is left out.
    means = pd.DataFrame(values.reshape(math.prod(shape), -1)).mean(axis=1)
    for index in np.ndindex(*shape[1:]):
        entries = ", ".join(_entry(dim, place) for dim, place in zip(others, index, strict=True))
        label = f"{name} [{entries}]" if entries else name
        yield label, means.to_numpy().reshape(shape)[(slice(None), *index)]


def _entry(dim: str, place: int) -> str:
    return NAMES[dim][place] if dim in NAMES else f"{dim} {place}"
