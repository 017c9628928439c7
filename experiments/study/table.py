"""Results of a study, or of any runs, as one table: a row per network or per run.

A setting is a column named by its dotted path, such as "data.depth". ``table.attrs["about"]``
says of every column "unit; what it is".
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from experiments import configs, store
from experiments.configs import RunConfig
from experiments.measure import UNSHOWN
from experiments.onsets import with_onsets
from experiments.runs.training import folder_of
from experiments.stages.registry import stages_of
from experiments.study.axes import label, value_at
from experiments.study.columns import rows_of, units_of
from experiments.study.design import Study
from experiments.worlds.registry import from_json, world_of
from experiments.worlds.world import World
from hiermodel.checks import require
from hiermodel.measures.uncertainty import Interval
from hiermodel.measures.units import mean_of_units

Results = Mapping[str, store.Measurements]
"""Measurements of a run, by stage."""

PER_PAIR = ("gap", "excess_copies")
"""Columns that compare own with other sequences: units are pairs of training sets."""


def study_table(study: Study, runs: Iterable[tuple[Any, Results]]) -> pd.DataFrame:
    """A row per network of the runs of a study that have results."""
    return _table(
        world_of(study.base),
        [*study.varied, "seed"],
        [(config, study.settings(config), results) for config, results in runs if results],
    )


def root_table(root: Path) -> pd.DataFrame:
    """A row per network of all measured runs in a folder; columns for what settings differ in.

    Raises:
        ValueError: if runs are of several worlds, or a stage was measured with several settings.
    """
    files = sorted(root.glob("*/config.json"))
    stored = [store.read_json(file)["config"] for file in files]
    made = [from_json(config) for config in stored if config["type"] == RunConfig.__name__]
    types = sorted({type(config.data).__name__ for config in made})
    require(len(types) == 1, "root", f"{root} with data of types {types}", "with runs of one type")
    runs = [(config, _load_any(config, root)) for config in made]
    runs = [run for run in runs if run[1]]
    paths = [*_differing_paths([config for config, _ in runs]), "seed"]
    settings = ({path: label(_value(config, path)) for path in paths} for config, _ in runs)
    own = [(config, its, results) for (config, results), its in zip(runs, settings, strict=True)]
    return _table(world_of(made[0]), paths, own)


def interval_of(rows: pd.DataFrame, column: str, *, logarithmic: bool = False) -> Interval | None:
    """Mean of a column over training sets, or pairs of them, with its 95 % Student interval.

    Args:
        rows: of one point of a study.
        column: its name; rows without a number in it are left out.
        logarithmic: geometric rather than arithmetic mean.

    Returns:
        The interval, with NaN for its ends where there are too few units; None for no number.
    """
    values = rows[column].astype(float)
    values = np.log(values) if logarithmic else values
    sets = rows["split"] // (2 if column in PER_PAIR else 1)
    units = values.groupby([rows["seed"], sets]).mean().dropna().to_numpy()
    if not len(units):
        return None
    return Interval(*mean_of_units(units, of_logs=logarithmic), 0.95)


def per_run(table: pd.DataFrame) -> pd.DataFrame:
    """A row per run: means over its networks with the ends of their intervals.

    Times and ratios have geometric means. A column says how many of the minima were located.
    """
    about = table.attrs["about"]
    results = [name for name, what in about.items() if name != "run" and what != "setting"]
    settings = [name for name in about if name not in results]
    records = []
    for _, own in table.groupby("run", sort=False):
        record = {**own.iloc[0][settings], "networks": len(own)}
        for name in results:
            if name in ("split", "member"):
                continue
            if own[name].dtype == bool:
                record[name] = int(own[name].sum())
                continue
            interval = interval_of(own, name, logarithmic=bool(re.match(r"tau_|ratio", name)))
            ends = (interval.estimate, interval.low, interval.high) if interval else [np.nan] * 3
            record |= zip((name, f"{name}_low", f"{name}_high"), map(float, ends), strict=True)
        records.append(record)
    runs = pd.DataFrame(records)
    runs.attrs["about"] = {name: _about_runs(name, about) for name in runs.columns}
    return runs


def _about_runs(name: str, about: Mapping[str, str]) -> str:
    what = about.get(re.sub("_(low|high)$", "", name), "number; networks")
    return what.replace("true or false; whether", "networks; for how many")


def save_table(table: pd.DataFrame, folder: Path, name: str) -> None:
    """Write a table as ``name.csv``, numbers in full, with ``name.json`` on its columns."""
    folder.mkdir(parents=True, exist_ok=True)
    table.to_csv(folder / f"{name}.csv", index=False)
    store.write_json(folder / f"{name}.json", {"columns": table.attrs["about"]})


def _table(
    world: World, settings: Sequence[str], runs: Iterable[tuple[Any, Mapping[str, Any], Results]]
) -> pd.DataFrame:
    """A row per network, from each run's configuration, settings and measurements."""
    records = [
        {"run": configs.identity(config)[:16], **own, **row}
        for config, own, results in runs
        for row in rows_of(config, world, results)
    ]
    table = pd.DataFrame(records, columns=None if records else ["run", *settings])
    units = units_of(world)
    about = dict.fromkeys(table.columns, "setting") | {"run": "name of the run's folder"}
    for name in table.columns.drop(["run", *settings]):
        about[name] = units.get(re.sub(r"_\d+$", "", name), "")
        if about[name].startswith("true or false"):  # a run that lacks the stage has not located it
            table[name] = table[name].eq(True)
    table.attrs["about"] = about
    return table


def _load_any(config: RunConfig, root: Path) -> Results:
    """Measurements of all finished stages, with any settings; creates nothing.

    Raises:
        ValueError: if a stage was made with several settings.
    """
    found = {}
    for stage, files in folder_of(config, root).measured().items():
        if stage in stages_of(config) and stage not in UNSHOWN:
            names = [str(file) for file in files]
            require(len(files) == 1, stage, names, "measured once: choose one of them")
            found[stage] = store.load_measurements(files[0])
    return with_onsets(config, found) if found else {}


def _value(config: Any, path: str) -> Any:
    """The value at a path; None where the configuration has no such field."""
    try:
        return value_at(config, path)
    except AttributeError:
        return None


def _differing_paths(made: Sequence[Any]) -> list[str]:
    """Dotted paths at which configurations differ."""
    flat = pd.json_normalize([configs.to_json(config) for config in made]).astype(str)
    differ = [path for path in flat.columns if flat[path].nunique() > 1]
    return [path.removesuffix(".type") for path in differ if path != "seed"]
