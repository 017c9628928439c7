"""Run a study in this process, going on from what there is.

Several processes, on one machine or many, may run the same study in the same root at the same time:
networks that another one trains and runs that another one measures are left to it, and looked at
again later. No process hands out work to others.
"""

import contextlib
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax

from experiments import signals
from experiments.measure import measure_run
from experiments.runs.failures import record_failure
from experiments.runs.members import members
from experiments.runs.training import (
    MembersFailedError,
    by_shape,
    folder_of,
    forget_failures,
    open_run,
    train_runs,
)
from experiments.study.design import Study
from experiments.study.state import State, standing
from hiermodel.training.epochs import agree_all
from hiermodel.training.folders import FolderInUseError, hold

_LOG = logging.getLogger(__name__)


def retry_failures(study: Study, root: Path) -> int:
    """Let failed runs, and networks of them, be tried again; returns how many runs there are."""
    failed = [
        stands
        for config in study.runs()
        if (stands := standing(study, config, root)).state == State.FAILED
    ]
    for stands in failed:
        forget_failures(members(stands.config), root)
        stands.folder.error_file.unlink()
    return len(failed)


def run_study(study: Study, root: Path, *, shares: int = 1, progress: bool = True) -> None:
    """Train and measure the runs that wait; record those that fail and go on with the others.

    Where several processes train each run together (``jax.distributed``), they do not measure: one
    process does, later.

    Args:
        study: the study.
        root: where run folders are.
        shares: processes that are expected to share the work.
        progress: show progress bars.

    Raises:
        Stopped: after saving, if a signal asks to stop (``signals.install``).
    """
    while True:  # what others held a while ago may be free by now
        packs = by_shape(study.runs())  # what is trained together
        done = [_run_pack(study, runs, root, shares, progress) for runs in packs]
        if not any(done):
            return


def _run_pack(study: Study, pack: Sequence[Any], root: Path, shares: int, progress: bool) -> bool:
    """Train and measure what is left of some runs; False if nothing was."""
    runs = _unfinished(study, pack, root)
    if not runs:
        return False
    worked = _train(runs, root, shares, progress)
    if jax.process_count() == 1:
        measured = [_measure(study, config, root, progress) for config in runs]
        worked = worked or any(measured)
    jax.clear_caches()  # other packs have other shapes; compiled programs are on disk
    return worked


def _unfinished(study: Study, runs: Sequence[Any], root: Path) -> list[Any]:
    """Runs of which something may be left to do, as the first of several processes sees them."""
    states = [standing(study, config, root).state for config in runs]
    left = agree_all([state in (State.WAITING, State.RUNNING) for state in states])
    return [config for config, is_left in zip(runs, left, strict=True) if is_left]


def _train(runs: Sequence[Any], root: Path, shares: int, progress: bool) -> bool:
    """Train runs together, or each alone if that fails; False if there was nothing to train."""
    try:
        return bool(train_runs(runs, root, wait=False, shares=shares, progress=progress))
    except MembersFailedError as error:  # the others have been trained
        for config in runs:
            own = {each: why for each, why in error.errors.items() if each in members(config)}
            if own:
                _fail(config, root, "train", MembersFailedError(own))
        return True
    except Exception as error:
        signals.leave_if_asked()
        if len(runs) > 1:
            _LOG.warning("training together failed (%s): each run alone", error)
            alone = [_train([one], root, shares, progress) for one in runs]
            return any(alone)
        _fail(runs[0], root, "train", error)
        return True


def _measure(study: Study, config: Any, root: Path, progress: bool) -> bool:
    """Measure a run, if it is trained and nobody else does; False if there was nothing to do."""
    with contextlib.ExitStack() as held:
        try:
            held.enter_context(hold(open_run(config, root).path))
        except FolderInUseError as error:
            _LOG.info("left to another process: %s", error)
            return False
        stands = standing(study, config, root)
        if stands.state == State.FAILED or not stands.stages["train"].finished:
            return False
        try:
            measure_run(study.protocol_of(config), root, progress=progress)
        except Exception as error:
            signals.leave_if_asked()
            _fail(config, root, "measure", error)
            return True
        return standing(study, config, root).unfinished != stands.unfinished


def _fail(config: Any, root: Path, stage: str, error: Exception) -> None:
    folder = folder_of(config, root)
    _LOG.warning("%s failed (%s): %s", folder.path, stage, error)
    if jax.process_index() == 0:
        record_failure(folder, stage, error)
