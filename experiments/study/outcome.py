"""What came out of a study so far: the measurements of every run, and all of them as a table."""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from experiments.measure import load_finished
from experiments.runs.training import folder_of
from experiments.store import Measurements, RunFolder
from experiments.study.design import Study
from experiments.study.files import load_study
from experiments.study.table import per_run, root_table, study_table
from hiermodel.checks import require


@dataclasses.dataclass(frozen=True)
class Made:
    """A run of which something is measured.

    Attributes:
        name: what sets it apart from the others.
        config: its configuration.
        results: measurements by stage, as far as they are finished.
        folder: where it is.
    """

    name: str
    config: Any
    results: Mapping[str, Measurements]
    folder: RunFolder


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What came out of a study.

    Attributes:
        study: the study.
        runs: what is measured, in the order of the design.
        table: a row per network, see ``experiments.study.table``.
    """

    study: Study
    runs: Sequence[Made]
    table: pd.DataFrame

    @property
    def against(self) -> tuple[str, ...]:
        """Paths, one or two, that results are drawn against."""
        return self.study.against or self.study.varied[:2] or ("seed",)


def outcome(study: Study, root: Path) -> Outcome:
    """Read what is finished of a study; creates nothing."""
    runs = []
    for config in study.runs():
        results = load_finished(study.protocol_of(config), root)
        if results:
            runs.append(Made(study.name_of(config), config, results, folder_of(config, root)))
    loaded = [(made.config, made.results) for made in runs]
    return Outcome(study, runs, study_table(study, loaded))


def load(source: Any, root: Path | str = "runs", *, per: str = "member") -> pd.DataFrame:
    """Results of many runs in one call: a pandas table, a row per network or per run.

    Columns are the settings that vary, by their dotted paths, such as ``table["data.depth"]``,
    and what came out, such as ``table["tau_bias"]``; per run, means with the ends of their
    intervals, such as ``table["tau_bias_low"]``. What is not measured is NaN.
    ``table.attrs["about"]`` says of every column "unit; what it is".

    Args:
        source: a Study; the name or file of one; or a folder with runs, for all runs in it.
        root: where the runs of a study are.
        per: "member" or "run".

    Raises:
        ValueError: for a source that is none of these, or files of another format version.
    """
    require(per in ("member", "run"), "per", per, "'member' or 'run'")
    if not isinstance(source, Study) and Path(source).is_dir():
        table = root_table(Path(source))
    else:
        study = source if isinstance(source, Study) else load_study(source)
        table = outcome(study, Path(root)).table
    return per_run(table) if per == "run" else table
