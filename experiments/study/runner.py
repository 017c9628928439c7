"""Run a study in this process: pack by pack, going on from what there is.

Several processes, on one machine or many, may run the same study in the same root at the same time:
a pack whose folders another one holds is left to it. There is nobody who hands out work.
"""

import contextlib
import logging
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import jax

from experiments import configs, signals
from experiments.store import RunFolder
from experiments.study.design import Study
from experiments.study.state import State, folder_of, record_failure, standing
from hiermodel.training.folders import FolderInUseError, hold

_LOG = logging.getLogger(__name__)


def packs_of(study: Study) -> list[list[Any]]:
    """The study's runs, as they are trained together."""
    return study.kind.pack(study.runs())


def forget_failures(study: Study, root: Path) -> int:
    """Let failed runs be tried again; returns how many there are."""
    failed = [
        stands
        for config in study.runs()
        if (stands := standing(study, config, root)).state == State.FAILED
    ]
    for stands in failed:
        stands.folder.error_file.unlink()
    return len(failed)


def run_study(
    study: Study,
    root: Path,
    *,
    packs: Collection[int] | None = None,
    progress: bool = True,
) -> None:
    """Train and measure the runs that wait; record those that fail and go on with the others.

    Args:
        study: the study.
        root: where run folders are.
        packs: numbers of the packs to work on, as ``packs_of`` gives them; all for None.
        progress: show progress bars.

    Raises:
        Stopped: after saving, if a signal asks to stop (``signals.install``).
    """
    everything = packs_of(study)
    for number, pack in enumerate(everything):
        if packs is None or number in packs:
            _run_pack(study, pack, root, f"pack {number + 1} of {len(everything)}", progress)


def _run_pack(study: Study, pack: Sequence[Any], root: Path, name: str, progress: bool) -> None:
    """The waiting runs of a pack, alone in their folders."""
    if not _waiting(study, pack, root):
        return
    with contextlib.ExitStack() as held:
        try:
            for config in pack:
                folder = RunFolder.open(root, configs.identity(config), configs.to_json(config))
                if jax.process_index() == 0:  # of processes that train together, one for all
                    held.enter_context(hold(folder.path))
        except FolderInUseError as error:
            _LOG.info("%s is left to another process: %s", name, error)
            return
        runs = _waiting(study, pack, root, held=True)  # another may have finished just now
        _LOG.info("%s: %d runs", name, len(runs))
        for config in _train(study, runs, root, progress):
            if jax.process_index() == 0:
                _measure(study, config, root, progress)
    jax.clear_caches()  # other packs have other shapes; compiled programs are on disk


def _waiting(study: Study, pack: Sequence[Any], root: Path, held: bool = False) -> list[Any]:
    """Runs to be worked on; those that this process holds count as running for all others."""
    states = {State.WAITING, State.RUNNING} if held else {State.WAITING}
    return [config for config in pack if standing(study, config, root).state in states]


def _train(study: Study, runs: Sequence[Any], root: Path, progress: bool) -> list[Any]:
    """Train runs together; if that fails, each alone. Returns those that are trained."""
    try:
        study.kind.train(runs, root, progress)
    except Exception as error:
        signals.leave_if_asked()
        if len(runs) > 1:
            _LOG.warning("training together failed (%s): each run alone", error)
            return [config for one in runs for config in _train(study, [one], root, progress)]
        for config in runs:
            _fail(config, root, "train", error)
        return []
    return list(runs)


def _measure(study: Study, config: Any, root: Path, progress: bool) -> None:
    try:
        study.kind.measure(config, study.measures, root, progress)
    except Exception as error:
        signals.leave_if_asked()
        _fail(config, root, "measure", error)


def _fail(config: Any, root: Path, stage: str, error: Exception) -> None:
    folder = folder_of(config, root)
    _LOG.warning("%s failed (%s): %s", folder.path, stage, error)
    record_failure(folder, stage, error)
