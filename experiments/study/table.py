"""Results of a study, or of any runs, as one table: a row per network or per run."""

import csv
import dataclasses
import io
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from experiments import configs, store
from experiments.study.axes import value_at
from experiments.study.design import Study
from experiments.study.files import load_study
from experiments.study.kinds import KINDS, Kind, kind_named
from hiermodel.checks import require
from hiermodel.measures.uncertainty import Interval
from hiermodel.measures.units import band_of_units

Rows = np.ndarray
"""A structured array, one field per column."""

PER_PAIR = ("gap", "excess_copies")
"""Columns that compare own with other sequences: units are pairs of training sets."""


@dataclasses.dataclass(frozen=True)
class Table:
    """Rows and what their columns mean.

    Attributes:
        rows: structured array; a setting is named by its dotted path, such as "grammar.depth".
        about: "unit; what it is" by column.
    """

    rows: Rows
    about: Mapping[str, str]


def load(source: Any, root: Path, per: str = "member") -> Table:
    """The table of a study, or of a folder with runs; see ``experiments.store.load``."""
    require(per in ("member", "run"), "per", per, "'member' or 'run'")
    if isinstance(source, Study):
        table = study_table(source, root)
    elif Path(source).is_dir():
        table = root_table(Path(source))
    else:
        table = study_table(load_study(source), root)
    return per_run(table) if per == "run" else table


def study_table(study: Study, root: Path) -> Table:
    """A row per network of every run of the study, as far as there are results."""
    runs = [(config, study.kind.load(config, study.measures, root)) for config in study.runs()]
    return _table(study.kind, list(study.varied), [run for run in runs if run[1]])


def root_table(root: Path) -> Table:
    """A row per network of all measured runs in a folder; columns for what settings differ in.

    Raises:
        ValueError: if runs are of several kinds, or a stage was measured with several settings.
    """
    files = sorted(root.glob("*/config.json"))
    stored = [store.read_json(file)["config"] for file in files]
    types = sorted({config["type"] for config in stored if config["type"] in KINDS})
    require(len(types) == 1, "root", f"{root} with runs of types {types}", "with runs of one type")
    kind = kind_named(types[0])
    made = [configs.from_json(config) for config in stored if config["type"] == types[0]]
    runs = [(config, kind.load(config, None, root)) for config in made]
    runs = [run for run in runs if run[1]]
    return _table(kind, _differing_paths([config for config, _ in runs]), runs)


def interval_of(rows: Rows, column: str, *, logarithmic: bool = False) -> Interval | None:
    """Mean of a column over training sets, or pairs of them, with its 95 % Student interval.

    Args:
        rows: of one point of a study.
        column: its name; rows without a number in it are left out.
        logarithmic: geometric rather than arithmetic mean.

    Returns:
        The interval, with NaN for its ends where there are too few units; None for no number.
    """
    values = rows[column].astype(np.float64)
    there = np.isfinite(values)
    values, rows = values[there], rows[there]
    if logarithmic:
        values = np.log(values)
    if not len(values):
        return None
    share = 2 if column in PER_PAIR else 1
    sets = np.array([f"{row['seed']} {row['split'] // share}" for row in rows])
    values = np.array([values[sets == name].mean() for name in sorted(set(sets.tolist()))])
    interval = band_of_units(values) or Interval(float(values.mean()), np.nan, np.nan, 0.95)
    if not logarithmic:
        return interval
    estimate, low, high = (
        float(np.exp(end)) for end in (interval.estimate, interval.low, interval.high)
    )
    return Interval(estimate, low, high, interval.level)


def per_run(table: Table) -> Table:
    """A row per run: means over its networks with the ends of their intervals.

    Times and ratios have geometric means. A column says how many of the minima were located.
    """
    names = table.rows.dtype.names or ()
    kept = [name for name in names if name == "run" or name not in _results(table)]
    records, about = [], {name: table.about[name] for name in kept}
    for run in dict.fromkeys(table.rows["run"].tolist()):
        own = table.rows[table.rows["run"] == run]
        record = {name: own[name][0].item() for name in kept}
        record["networks"] = len(own)
        for name in _results(table):
            if name in ("split", "member"):
                continue
            if own[name].dtype == bool:
                record[name] = int(own[name].sum())
                continue
            logarithmic = bool(re.match(r"tau_|ratio", name))
            interval = interval_of(own, name, logarithmic=logarithmic)
            ends = (interval.estimate, interval.low, interval.high) if interval else [np.nan] * 3
            record |= zip((name, f"{name}_low", f"{name}_high"), map(float, ends), strict=True)
        records.append(record)
    for name in records[0] if records else ():
        what = table.about.get(re.sub("_(low|high)$", "", name), "number; networks")
        about.setdefault(name, what.replace("true or false; whether", "networks; for how many"))
    return Table(_structured(records, about), about)


def as_csv(rows: Rows) -> str:
    """Comma-separated values with a heading; numbers in full."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(rows.dtype.names or ())
    writer.writerows(rows.tolist())
    return out.getvalue()


def save_table(table: Table, folder: Path, name: str) -> list[str]:
    """Write a table as ``name.npz`` and ``name.csv``, with ``name.json`` on its columns.

    Returns:
        The names of the files.
    """
    folder.mkdir(parents=True, exist_ok=True)
    header = np.array(json.dumps({"format": store.FORMAT, "columns": dict(table.about)}))
    columns = {column: table.rows[column] for column in table.rows.dtype.names or ()}
    with (folder / f"{name}.npz").open("wb") as file:
        np.savez_compressed(file, allow_pickle=False, __about__=header, **columns)
    (folder / f"{name}.csv").write_text(as_csv(table.rows))
    store.write_json(folder / f"{name}.json", {"columns": dict(table.about)})
    return [f"{name}.{ending}" for ending in ("npz", "csv", "json")]


def load_table(file: Path) -> Table:
    """Read the ``.npz`` that :func:`save_table` wrote.

    Raises:
        ValueError: if it is of another format version.
    """
    with np.load(file, allow_pickle=False) as archive:
        header = json.loads(str(archive["__about__"]))
        store.check_format(file, header["format"])
        columns = {name: archive[name] for name in archive.files if name != "__about__"}
    dtype = [(name, values.dtype) for name, values in columns.items()]
    rows = np.empty(len(next(iter(columns.values()))), dtype)
    for name, values in columns.items():
        rows[name] = values
    return Table(rows, header["columns"])


def label(value: Any) -> Any:
    """A setting as a number, a truth value or a word, for tables and legends."""
    if dataclasses.is_dataclass(value):
        return type(value).__name__.removesuffix("Config")
    return value if isinstance(value, int | float | str) else str(value)


def _table(kind: Kind, varied: Sequence[str], runs: Sequence[tuple[Any, Any]]) -> Table:
    records = []
    for config, results in runs:
        settings = {path: label(_value(config, path)) for path in (*varied, "seed")}
        start = {"run": configs.identity(config)[:16], **settings}
        records += [start | row for row in kind.rows(config, results)]
    about = {"run": "name of the run's folder"}
    about |= dict.fromkeys((*varied, "seed"), "setting")
    for record in records:
        for name in record:
            about.setdefault(name, kind.UNITS.get(re.sub(r"_\d+$", "", name), ""))
    return Table(_structured(records, about), about)


def _value(config: Any, path: str) -> Any:
    """The value at a path; None where the configuration has no such field."""
    try:
        return value_at(config, path)
    except AttributeError:
        return None


def _results(table: Table) -> list[str]:
    """Columns that are results rather than settings."""
    return [name for name, what in table.about.items() if name != "run" and what != "setting"]


def _structured(records: Sequence[Mapping[str, Any]], names: Mapping[str, Any]) -> Rows:
    """Records as a structured array; a number that is missing is NaN, a truth value false."""
    columns = {}
    for name in names:
        values = [record.get(name) for record in records]
        there = [value for value in values if value is not None]
        if there and all(isinstance(value, bool) for value in there):
            columns[name] = np.array([bool(value) for value in values])
        elif all(isinstance(value, int | float) for value in there):
            whole = len(there) == len(values) and all(isinstance(value, int) for value in there)
            filled = [np.nan if value is None else value for value in values]
            columns[name] = np.array(filled, np.int64 if whole and there else np.float64)
        else:
            columns[name] = np.array(["" if value is None else str(value) for value in values])
    rows = np.empty(len(records), [(name, values.dtype) for name, values in columns.items()])
    for name, values in columns.items():
        rows[name] = values
    return rows


def _differing_paths(made: Sequence[Any]) -> list[str]:
    """Dotted paths at which configurations differ."""
    flat = [_flat(configs.to_json(config)) for config in made]
    paths = dict.fromkeys(path for one in flat for path in one)
    differ = [path for path in paths if len({json.dumps(one.get(path)) for one in flat}) > 1]
    return [path.removesuffix(".type") for path in differ if path != "seed"]


def _flat(value: Mapping[str, Any], before: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, inner in value.items():
        path = f"{before}{name}"
        flat |= _flat(inner, f"{path}.") if isinstance(inner, Mapping) else {path: inner}
    return flat
