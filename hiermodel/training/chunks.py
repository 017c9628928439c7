"""Stacked members trained from the host, so many epochs at a time: progress, saving, stopping."""

import dataclasses
import time
from collections.abc import Callable, Collection, Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int
from tqdm import tqdm

from hiermodel.training.data import as_data
from hiermodel.training.epochs import (
    EpochStats,
    agree,
    num_batches,
    place_members,
    train_epochs,
)
from hiermodel.training.state import Ensemble, TrainState, learning_rate

_CHUNK_SECONDS = 2.0
_RESUME_SECONDS = 600.0

ShouldStop = Callable[[int], bool]
"""Asked with the epoch about every two seconds; True saves the states and returns."""

Save = Callable[[TrainState, Collection[int], bool], None]
"""Saves stacked states but for those of some members, to be measured too or only to resume from."""


class NotFiniteError(RuntimeError):
    """A loss or gradient is not finite.

    Attributes:
        member: whose, by its place.

    Example:
        >>> hm.training.NotFiniteError(2, "loss is nan").member
        2
    """

    def __init__(self, member: int, message: str):
        super().__init__(message)
        self.member = member


@dataclasses.dataclass(frozen=True)
class Chunks:
    """How far stacked members have come.

    Attributes:
        finished: whether the last epoch was reached, by those that did not fail.
        loss: (members,) mean training loss of the last epochs; None if none was trained.
        failed: members whose loss or gradient is not finite: training has stopped for their sake.
    """

    finished: bool
    loss: np.ndarray | None
    failed: dict[int, NotFiniteError]


def train_stacked(
    states: TrainState,
    ensemble: Ensemble,
    sequences: Any,
    splits: Int[Array, " members"],
    save: Save,
    *,
    targets: Sequence[int],
    pause_at: int | None,
    progress: bool,
    should_stop: ShouldStop,
) -> Chunks:
    """Train stacked members, all at the same epoch, to the last target or until one fails.

    Args:
        states: all members; they cannot be used afterwards.
        ensemble: networks, training settings and noise.
        sequences: data of every split.
        splits: which of them each member trains on.
        save: called at targets, where training stops, and from time to time.
        targets: epochs that are saved to be measured, increasing.
        pause_at: go no further than to this epoch; None for the last target.
        progress: show a progress bar; off in any case where the output is no terminal.
        should_stop: see ``ShouldStop``.
    """
    last = targets[-1] if pause_at is None else min(pause_at, targets[-1])
    run = _Run(ensemble, sequences, splits, save, place_members(states, ensemble.num_members))
    with tqdm(
        total=last, initial=run.epoch, unit="epoch", disable=None if progress else True
    ) as bar:
        finished = all(
            run.advance(target, bar, should_stop, keep_params=target in targets)
            for target in sorted({*(target for target in targets if target < last), last})
        )
    return Chunks(finished, run.loss, run.failed)


class _Run:
    """A training under way."""

    def __init__(
        self, ensemble: Ensemble, sequences: Any, splits: Array, save: Save, states: TrainState
    ):
        self.ensemble = ensemble
        self.sequences = sequences
        self.splits = splits
        self.states = states
        self.epoch = int(np.asarray(states.epoch.addressable_data(0)).flat[0])
        self.loss: np.ndarray | None = None
        self.failed: dict[int, NotFiniteError] = {}
        self._save_states = save
        self._chunk = 1
        self._saved: tuple[int, float] = (self.epoch, time.monotonic())
        num_rows = as_data(sequences).num_rows
        self._steps_per_epoch = num_batches(ensemble.training, num_rows)

    def advance(self, target: int, bar: tqdm, must_stop: ShouldStop, *, keep_params: bool) -> bool:
        """Train up to an epoch and save it; False if stopped before it, or if a member failed."""
        while self.epoch < target:
            if agree(must_stop(self.epoch)):
                self._save(keep_params=False)
                return False
            if agree(time.monotonic() - self._saved[1] > _RESUME_SECONDS):
                self._save(keep_params=False)
            self._train_chunk(min(self._chunk, target - self.epoch), bar)
            if self.failed:
                self._save(keep_params=keep_params and self.epoch == target)
                return False
            if self.epoch == target:
                self._save(keep_params=keep_params)
        return True

    def _save(self, *, keep_params: bool) -> None:
        if keep_params or self.epoch > self._saved[0]:
            self._save_states(self.states, self.failed, keep_params)
        self._saved = (self.epoch, time.monotonic())

    def _train_chunk(self, num_epochs: int, bar: tqdm) -> None:
        start = time.monotonic()
        self.states, stats = train_epochs(
            self.ensemble,
            self.states,
            self.sequences,
            jnp.asarray(num_epochs, jnp.int32),
            self.splits,
        )
        self.loss = np.asarray(stats.loss)  # waits for the result
        seconds = max(time.monotonic() - start, 1e-6)
        self.failed = not_finite(self.ensemble, stats, self._steps_per_epoch)
        self.epoch += num_epochs
        self._chunk = agree(max(1, round(num_epochs * _CHUNK_SECONDS / seconds)))
        bar.update(num_epochs)
        rate = num_epochs * self._steps_per_epoch * self.ensemble.num_members / seconds
        bar.set_postfix_str(f"loss {float(self.loss.mean()):.4f}, {rate:.3g} steps/s")


def not_finite(
    ensemble: Ensemble, stats: EpochStats, steps_per_epoch: int
) -> dict[int, NotFiniteError]:
    """What is to be said of members that failed."""
    errors = {}
    for member in map(int, np.flatnonzero(np.asarray(stats.failed_step) >= 0)):
        step = int(np.asarray(stats.failed_step)[member])
        epoch = step // steps_per_epoch
        base = ensemble.own.learning_rate
        own = None if base is None else base[member]
        rate = float(learning_rate(ensemble.training, epoch, own))
        norm, largest = (
            float(np.asarray(norms)[member])
            for norms in (stats.failed_grad_norm, stats.largest_grad_norm)
        )
        errors[member] = NotFiniteError(
            member,
            f"the loss or its gradient is not finite: step {step} (epoch {epoch}), learning rate "
            f"{rate:.3g}, gradient norm {norm:.3g}; largest finite gradient norm in the epochs "
            f"around it {largest:.3g}. What was saved before is intact; try a lower learning rate.",
        )
    return errors
