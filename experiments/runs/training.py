"""Training of runs, by one process or by any number of them, on one machine or on many.

Nobody hands out work. Every process goes through the networks that are still to be trained, those
of one shape together, whichever runs they belong to. It takes those that no other process holds
(``hiermodel.training.folders.hold``), trains and saves them, and goes on to the next.
"""

import contextlib
import dataclasses
import functools
import itertools
import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from experiments import configs, runtime, signals, store
from experiments.configs import RunConfig
from experiments.runs.data import (
    epochs_of,
    num_training_rows,
    run_key,
    training_data,
)
from experiments.runs.failures import record_failure
from experiments.runs.members import Member, errors_of, members
from experiments.store import RunFolder
from hiermodel.training import loop
from hiermodel.training.epochs import agree_all
from hiermodel.training.folders import FolderInUseError
from hiermodel.training.memory import free_bytes, member_memory, members_in
from hiermodel.training.privacy import epsilon_spent
from hiermodel.training.state import Ensemble, member_key

FREE_SHARE = 0.8
"""Of the memory there is, what networks trained together may take."""

MOST = {"cpu": 64}
"""Networks at once: on a CPU they are trained one after the other, and more would finish later."""

MOST_ELSEWHERE = 256

POLL_SECONDS = 2.0
"""How often to look whether networks that another process trains are finished."""

_LOG = logging.getLogger(__name__)


class MembersFailedError(RuntimeError):
    """Some networks could not be trained; the others were.

    Attributes:
        errors: what happened, by network.
    """

    def __init__(self, errors: Mapping[Member, str]):
        super().__init__("\n".join(f"{own}: {error}" for own, error in errors.items()))
        self.errors = dict(errors)


def open_run(config: RunConfig, root: Path | str) -> RunFolder:
    """The folder of a run."""
    return RunFolder.open(root, configs.identity(config), configs.to_json(config))


def folder_of(config: RunConfig, root: Path | str) -> RunFolder:
    """Where a run is, or will be; creates nothing."""
    return RunFolder.of(root, configs.identity(config))


def report_privacy(config: RunConfig, run: RunFolder) -> None:
    """Write what a private run gives away, for adding or removing one sequence, by checkpoint."""
    privacy, training = config.training.privacy, config.training
    if privacy is None or run.privacy_file.exists():
        return
    spent = functools.partial(epsilon_spent, privacy, config.split_size, training.batch_size)
    epsilons = {epoch: spent(epoch) for epoch in epochs_of(config)}
    store.write_json(run.privacy_file, {"delta": 1 / config.split_size, "epsilon": epsilons})


def shape_of(config: RunConfig) -> Any:
    """Equal for runs whose networks can be trained as one program.

    What may differ: the data's law and all seeds, numbers of splits and seeds, size of the test
    set, learning rate, weight decay, dropout.
    """
    program = loop.program_of(config.network, config.training)
    rows = num_training_rows(config)
    return program, config.num_steps, rows, config.fresh, tuple(epochs_of(config))


def by_shape(runs: Sequence[Any]) -> list[list[Any]]:
    """Runs whose networks are trained together, in the order of their first ones."""
    return _grouped(dict.fromkeys(runs), shape_of)


def _grouped(items: Iterable[Any], key: Callable[[Any], Any]) -> list[list[Any]]:
    alike: dict[Any, list[Any]] = {}
    for item in items:
        alike.setdefault(key(item), []).append(item)
    return list(alike.values())


def members_that_fit(config: RunConfig) -> int:
    """How many networks like those of a run can be trained together here, at least 1.

    Parameters, Adam's state, gradients and activations of a batch must fit into the memory of the
    accelerators, or into what the host has left.
    """
    one = Ensemble(config.network, config.training, config.schedule)
    fit = members_in(member_memory(one), int(FREE_SHARE * free_bytes()))
    return max(1, min(fit, MOST.get(jax.default_backend(), MOST_ELSEWHERE)))


def cut(wanted: Sequence[Member], most: int, shares: int = 1) -> list[list[Member]]:
    """As few parts as the bounds allow, about equally large.

    Args:
        wanted: networks of one shape.
        most: the most networks in a part.
        shares: the fewest parts, if there are as many networks.
    """
    parts = max(-(-len(wanted) // most), min(shares, len(wanted)))
    bounds = np.linspace(0, len(wanted), parts + 1).round().astype(int)
    return [list(wanted[a:b]) for a, b in itertools.pairwise(bounds)]


def train_run(config: RunConfig, root: Path | str, **options: Any) -> None:
    """Train the networks of a run; options and errors are those of ``train_runs``."""
    train_runs([config], root, **options)


def train_runs(
    runs: Sequence[RunConfig],
    root: Path | str,
    *,
    splits: range | None = None,
    seeds: range | None = None,
    wait: bool = True,
    shares: int = 1,
    progress: bool = True,
) -> int:
    """Train the networks of runs, each going on from its newest checkpoint.

    Args:
        runs: of any shapes.
        root: where run folders are.
        splits: only networks of these; None for all.
        seeds: only networks of these; None for all.
        wait: for networks that other processes train, until all are finished; those that were
            given up before are tried again. False leaves both alone.
        shares: processes that are expected to share the work.
        progress: show progress bars.

    Returns:
        How many networks this process has trained.

    Raises:
        ValueError: if a run does not have these splits or seeds.
        MembersFailedError: at the end, if some were given up because a loss is not finite.
        Stopped: after saving, if a signal asks to stop (``signals.install``).
    """
    wanted = {config: members(config, splits, seeds) for config in runs}
    everything = list(dict.fromkeys(own for these in wanted.values() for own in these))
    folders = {open_run(config, root): set(own) for config, own in wanted.items()}
    for config, run in zip(wanted, folders, strict=True):
        report_privacy(config, run)
    if wait and jax.process_index() == 0:
        forget_failures(everything, root)
    trained, told = 0, False
    while left := _unfinished(everything, root):
        held_by_others, before = [], trained
        for part in _parts(left, shares):
            with contextlib.ExitStack() as held:
                mine, others = _claim(part, root, held)
                held_by_others += others
                if mine:
                    _train(mine, folders, root, progress)
                    trained += len(mine)
        if trained > before:
            continue
        if not wait:
            break
        if held_by_others and not told:
            _LOG.warning("waiting for %d networks: %s", len(left), held_by_others[0])
            told = True
        time.sleep(POLL_SECONDS)
    if errors := errors_of(everything, root):
        raise MembersFailedError(errors)
    return trained


def forget_failures(wanted: Sequence[Member], root: Path | str) -> None:
    """Let networks that were given up be tried again."""
    for own in wanted:
        own.folder(root).error_file.unlink(missing_ok=True)


def _unfinished(wanted: Sequence[Member], root: Path | str) -> list[Member]:
    """Neither finished nor given up, as the first of several processes sees it."""
    left = [not own.finished(root) and own.error(root) is None for own in wanted]
    return [own for own, is_left in zip(wanted, agree_all(left), strict=True) if is_left]


def _parts(wanted: Sequence[Member], shares: int) -> list[list[Member]]:
    """What is trained together."""
    parts = []
    for group in _grouped(wanted, lambda own: shape_of(own.config)):
        (most,) = agree_all([members_that_fit(group[0].config)])
        parts += cut(group, most, shares)
    return parts


def _claim(
    part: Sequence[Member], root: Path | str, held: contextlib.ExitStack
) -> tuple[list[Member], list[FolderInUseError]]:
    """Networks that this process now holds and has to train; and what was said of the others.

    The first of several processes that train together holds them for all.
    """
    ours, others = [False] * len(part), []
    if jax.process_index() == 0:
        for place, own in enumerate(part):
            try:
                held.enter_context(own.checkpoints(root).hold())
            except FolderInUseError as error:
                others.append(error)
            else:  # another process may have come to its end just now
                ours[place] = not own.finished(root) and own.error(root) is None
    agreed = zip(part, agree_all(ours), strict=True)
    return [own for own, is_ours in agreed if is_ours], others


def _train(
    mine: Sequence[Member],
    runs: Mapping[RunFolder, set[Member]],
    root: Path | str,
    progress: bool,
) -> None:
    """Train networks that this process holds; those that fail are given up, with a reason."""
    shared = {run: len(own.intersection(mine)) for run, own in runs.items()}
    with contextlib.ExitStack() as stack:
        for run, count in shared.items():
            if count:
                part = count / sum(shared.values())
                stack.enter_context(runtime.stage(run, "train", share=part, alone=False))
        asked_to_stop = stack.enter_context(signals.deferred())
        _LOG.info("training %d networks together: %s", len(mine), ", ".join(o.name for o in mine))
        done = loop.train_members(
            _with_data(mine, root),
            checkpoint_epochs=epochs_of(mine[0].config)[1:],
            progress=progress,
            should_stop=lambda _: asked_to_stop(),
        )
        for place, error in done.failed.items():
            _LOG.warning("%s is given up: %s", mine[place], error)
            if jax.process_index() == 0:
                record_failure(mine[place].folder(root), "train", error)


def _with_data(mine: Sequence[Member], root: Path | str) -> list[loop.Member]:
    """What the library needs to train them. Networks on one training set share its array."""
    first = mine[0].config

    def law(config: RunConfig) -> RunConfig:
        return dataclasses.replace(config, network=first.network, training=first.training)

    most: dict[RunConfig, int] = {}
    for own in mine:
        most[law(own.config)] = max(own.split + 1, most.get(law(own.config), 1))
    data = {}
    for config, num_splits in most.items():
        # Enough splits for these to be the same as in the run, and no more than the run has.
        same = max(num_splits, config.num_splits // 2 + 1)
        whole = dataclasses.replace(config, num_splits=same)
        data[config] = training_data(whole)
    return [
        loop.Member(
            own.config.network,
            own.config.training,
            own.config.schedule,
            member_key(run_key(own.config, "networks"), own.split, own.seed),
            data[law(own.config)][own.split],
            own.checkpoints(root),
        )
        for own in mine
    ]
