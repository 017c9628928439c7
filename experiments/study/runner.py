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
from jax.experimental import multihost_utils

from experiments import configs, signals
from experiments.packing import RunsFailedError
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
    only: Collection[str] | None = None,
    progress: bool = True,
) -> None:
    """Train and measure the runs that wait; record those that fail and go on with the others.

    Where several processes train each run together, they do not measure: one process does, later.

    Args:
        study: the study.
        root: where run folders are.
        only: identities of the runs to work on; all for None.
        progress: show progress bars.

    Raises:
        Stopped: after saving, if a signal asks to stop (``signals.install``).
    """
    chosen = [run for run in study.runs() if only is None or configs.identity(run) in only]
    packs = study.kind.pack(_waiting(study, chosen, root))
    # Of processes that train together, none takes a run before all have seen that it waits.
    multihost_utils.sync_global_devices("study")
    for number, pack in enumerate(packs):
        _run_pack(study, pack, root, f"pack {number + 1} of {len(packs)}", progress)


def _run_pack(study: Study, pack: Sequence[Any], root: Path, name: str, progress: bool) -> None:
    """The waiting runs of a pack, alone in their folders."""
    with contextlib.ExitStack() as held:
        ours = [config for config in pack if _hold(config, root, held)]
        runs = _waiting(study, ours, root, held=True)  # another may have finished some just now
        if not runs:
            return
        _LOG.info("%s: %d runs", name, len(runs))
        for config in _train(study, runs, root, progress):
            if (
                jax.process_count() == 1
            ):  # several train only: reading checkpoints takes all of them
                _measure(study, config, root, progress)
    jax.clear_caches()  # other packs have other shapes; compiled programs are on disk


def _hold(config: Any, root: Path, held: contextlib.ExitStack) -> bool:
    """Take a run's folder until the end of its pack; False if another process has it."""
    folder = RunFolder.open(root, configs.identity(config), configs.to_json(config))
    if jax.process_index() > 0:  # of processes that train together, the first holds it for all
        return True
    try:
        held.enter_context(hold(folder.path))
    except FolderInUseError as error:
        _LOG.info("left to another process: %s", error)
        return False
    return True


def _waiting(study: Study, runs: Sequence[Any], root: Path, held: bool = False) -> list[Any]:
    """Runs to be worked on; those that this process holds count as running for all others."""
    states = {State.WAITING, State.RUNNING} if held else {State.WAITING}
    return [config for config in runs if standing(study, config, root).state in states]


def _train(study: Study, runs: Sequence[Any], root: Path, progress: bool) -> list[Any]:
    """Train runs together; if that is not possible, each alone. Returns those that are trained."""
    try:
        study.kind.train(runs, root, progress)
    except RunsFailedError as error:  # those of the pack that are not to blame have been trained
        for config, its in error.errors.items():
            _fail(config, root, "train", its)
        return [config for config in runs if config not in error.errors]
    except Exception as error:
        signals.leave_if_asked()
        if len(runs) > 1:
            _LOG.warning("training together failed (%s): each run alone", error)
            return [config for one in runs for config in _train(study, [one], root, progress)]
        _fail(runs[0], root, "train", error)
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
