"""Runs of the same shapes, trained as one compiled ensemble.

A run's members depend on its own settings alone, so those of several runs can stand beside each
other as the splits of one ensemble. Each run keeps its own folder and checkpoints, and is
afterwards as if it had been trained alone. On a CPU, where members are trained one after the other,
that holds to the last bit, unless rates of dropout differ within the pack or a run alone would
spread its batches over devices; then, and on accelerators, up to float32's rounding.
"""

import contextlib
import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments import configs, runtime, signals, store
from experiments.train import (
    ensemble_of,
    epochs_of,
    make_data,
    num_training_rows,
    open_run,
    report_privacy,
    run_key,
    to_train,
    training_rows,
)
from hiermodel.checks import require
from hiermodel.networks.layers import rounded_rate
from hiermodel.training.checkpoints import Checkpoints, flatten_state
from hiermodel.training.loop import NotFiniteError, train_from
from hiermodel.training.memory import free_bytes, member_memory, members_in
from hiermodel.training.state import Ensemble, MemberSettings, TrainState, init_ensemble

FREE_SHARE = 0.8
"""Of the memory there is, what a pack may take."""

MOST_ON_CPU = 64
"""Members per pack where they are trained one after the other: more would only finish later."""

_SHARED = {"learning_rate": 3e-4, "weight_decay": 0.0}
"""What stands in the program for settings that members bring with them; dropout is then 0."""


class RunsFailedError(RuntimeError):
    """Some runs of a pack could not be trained; the others were.

    Attributes:
        errors: what happened, by run.
    """

    def __init__(self, errors: Mapping[configs.RunConfig, Exception]):
        lines = (f"{configs.identity(run)[:16]}: {error}" for run, error in errors.items())
        super().__init__("\n".join(lines))
        self.errors = dict(errors)


def pack_key(config: configs.RunConfig) -> Any:
    """Equal for runs that can be trained as one program.

    What may differ: the data's law and all seeds, number of splits, size of the test set, learning
    rate, weight decay, dropout.
    """
    training = dataclasses.replace(config.training, **_SHARED)
    network = dataclasses.replace(config.network, dropout=0.0)
    rows, epochs = num_training_rows(config), tuple(epochs_of(config))
    return network, training, config.num_steps, config.num_seeds, rows, epochs


def members_that_fit(config: configs.RunConfig) -> int:
    """How many members like those of a run can be trained together here, at least 1.

    Counted are parameters, Adam's state, gradients and activations of a batch, against the memory
    of the accelerators, or what the host has left.
    """
    fit = members_in(member_memory(ensemble_of(config)), int(FREE_SHARE * free_bytes()))
    return max(1, min(fit, MOST_ON_CPU) if jax.default_backend() == "cpu" else fit)


def pack(runs: Iterable[configs.RunConfig]) -> list[list[configs.RunConfig]]:
    """Share out runs to packs, in the order of their first runs; none stands in two.

    Packs of the same shapes are made about equally large, so that few programs are needed.
    """
    alike: dict[Any, list[configs.RunConfig]] = {}
    for run in dict.fromkeys(runs):
        alike.setdefault(pack_key(run), []).append(run)
    return [each for group in alike.values() for each in _cut(group, members_that_fit(group[0]))]


def _cut(group: Sequence[configs.RunConfig], most: int) -> list[list[configs.RunConfig]]:
    """As few packs as possible, the largest of which is as small as possible."""
    fewest = len(_fill(group, most))
    sizes = (_fill(group, size) for size in range(1, most + 1))
    return next(packs for packs in sizes if len(packs) == fewest)


def _fill(group: Sequence[configs.RunConfig], most: int) -> list[list[configs.RunConfig]]:
    """One pack after the other, each until the next run would make it too large."""
    packs: list[list[configs.RunConfig]] = [[]]
    for run in group:
        if packs[-1] and sum(map(num_members, [*packs[-1], run])) > most:
            packs.append([])
        packs[-1].append(run)
    return packs


def num_members(run: configs.RunConfig) -> int:
    """How many networks a run trains."""
    return run.num_splits * run.num_seeds


def pack_ensemble(runs: Sequence[configs.RunConfig]) -> Ensemble:
    """The splits of several runs, one after the other, as one ensemble.

    Settings that all runs share stay part of the program, others become arrays along the members.
    """
    first = ensemble_of(runs[0])
    own = MemberSettings(
        learning_rate=_per_member(runs, [run.training.learning_rate for run in runs]),
        dropout=_per_member(runs, [rounded_rate(run.network.dropout) for run in runs]),
        weight_decay=_per_member(runs, [run.training.weight_decay for run in runs]),
    )
    varied = {name: value for name, value in _SHARED.items() if getattr(own, name) is not None}
    training, network = dataclasses.replace(first.training, **varied), first.network
    if own.dropout is not None:
        network = dataclasses.replace(network, dropout=0.0)
    num_splits = sum(run.num_splits for run in runs)
    return dataclasses.replace(
        first, network=network, training=training, num_splits=num_splits, own=own
    )


def _per_member(runs: Sequence[configs.RunConfig], values: Sequence[float]) -> jax.Array | None:
    if len(set(values)) == 1:
        return None
    return jnp.asarray(np.repeat(values, [num_members(run) for run in runs]), jnp.float32)


@dataclasses.dataclass
class _Part:
    """A run of a pack that is still to be trained, and its state."""

    config: configs.RunConfig
    run: store.RunFolder
    checkpoints: Checkpoints

    def load(self) -> TrainState:
        """The state to go on from; the untrained one is saved."""
        untrained = init_ensemble(run_key(self.config, "networks"), ensemble_of(self.config))
        states = self.checkpoints.latest(untrained)
        if states is None:
            self.checkpoints.save(untrained)
        return untrained if states is None else states

    def finished(self) -> bool:
        """Whether it stands at its last epoch."""
        return epochs_of(self.config)[-1] in self.checkpoints.resume_epochs()


class _PackCheckpoints:
    """Saves the members of each run to the run's own checkpoints."""

    def __init__(self, parts: Sequence[_Part]):
        self._parts = parts
        self._ends = np.cumsum([num_members(part.config) for part in parts])

    def resume_epochs(self) -> list[int]:
        """Epochs from which all runs can go on."""
        return sorted(set.intersection(*(set(p.checkpoints.resume_epochs()) for p in self._parts)))

    def save(self, states: TrainState, *, keep_params: bool = True) -> None:
        """Save all members."""
        arrays = flatten_state(states)  # cut in host memory, where cutting compiles nothing
        for part, end in zip(self._parts, self._ends, strict=True):
            own = slice(end - num_members(part.config), end)
            members = {name: array[own] for name, array in arrays.items()}
            part.checkpoints.save_arrays(members, keep_params=keep_params)


@jax.jit
def _stack(states: Sequence[TrainState]) -> TrainState:
    """The members of all runs, one run after the other."""
    return jax.tree.map(lambda *own: jnp.concatenate(own), *states)


def train_pack(
    runs: Sequence[configs.RunConfig], root: Path | str, *, progress: bool = True
) -> None:
    """Train all members of several runs to the end, each run going on from its newest checkpoint.

    Runs that stand at the same epoch are trained together; those that are behind first catch up. A
    run whose loss is not finite is given up, the others go on.

    Args:
        runs: all of one ``pack_key``.
        root: where the run folders are.
        progress: show a progress bar.

    Raises:
        ValueError: if they cannot be trained together, or one is being trained in blocks.
        FolderInUseError: if another process works in a run's folder.
        RunsFailedError: at the end, if some runs were given up.
        Stopped: after saving, if a signal asks to stop (``signals.install``).
    """
    alike = len({pack_key(run) for run in runs}) == 1
    require(alike, "runs", [configs.identity(run)[:16] for run in runs], "of one pack_key")
    folders = [(config, open_run(config, root)) for config in dict.fromkeys(runs)]
    for config, run in folders:
        report_privacy(config, run)
    opened = [(config, run, to_train(config, run)) for config, run in folders]
    parts = [_Part(config, run, saved) for config, run, saved in opened if saved is not None]
    errors: dict[configs.RunConfig, Exception] = {}
    with contextlib.ExitStack() as stack:
        for part in parts:
            stack.enter_context(contextlib.closing(part.checkpoints))
            stack.enter_context(runtime.stage(part.run, "train", share=1 / len(parts)))
            part.checkpoints.remove_unfinished()
        asked_to_stop = stack.enter_context(signals.deferred())
        going_on = True
        while parts and going_on:
            going_on = _train_those_behind(parts, progress, asked_to_stop, errors)
            parts = [p for p in parts if not p.finished() and p.config not in errors]
    if errors:
        raise RunsFailedError(errors)


def _train_those_behind(parts, progress, asked_to_stop, errors) -> bool:
    """Train the runs that have come least far up to where the next stand; False if asked to stop.

    All at the same epoch are trained to the end. A run that fails is entered in ``errors``.
    """
    states = [part.load() for part in parts]
    stand = [int(np.asarray(each.epoch)[0]) for each in states]
    behind = [index for index, epoch in enumerate(stand) if epoch == min(stand)]
    ahead = [epoch for epoch in stand if epoch > min(stand)]
    group = [parts[index] for index in behind]
    runs = [part.config for part in group]
    try:
        result = train_from(
            _stack([states[index] for index in behind]),
            pack_ensemble(runs),
            np.concatenate([training_rows(run, make_data(run)) for run in runs]),
            _PackCheckpoints(group),
            checkpoint_epochs=epochs_of(runs[0])[1:],
            pause_at=min(ahead) if ahead else None,
            progress=progress,
            should_stop=lambda _: asked_to_stop(),
        )
    except NotFiniteError as error:
        members = np.cumsum([num_members(run) for run in runs])
        errors[runs[int(np.searchsorted(members, error.member, side="right"))]] = error
        return True
    return result.finished
