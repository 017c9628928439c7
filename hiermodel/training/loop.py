"""The host's side of training: checkpoints at chosen epochs, progress, resuming, stopping."""

import contextlib
import dataclasses
import itertools
import os
import time
from collections.abc import Callable, Sequence
from typing import Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Key, Num
from tqdm import tqdm

from hiermodel.checks import check_integer, check_key, check_symbols, require
from hiermodel.grammar.rules import symbol_dtype
from hiermodel.networks.learned import data_shape
from hiermodel.networks.unet import UNetConfig
from hiermodel.training.checkpoints import Checkpoints
from hiermodel.training.epochs import EpochStats, agree, gather_members, place_members, train_epochs
from hiermodel.training.folders import Identity, hold
from hiermodel.training.state import Ensemble, TrainState, init_ensemble, learning_rate

_CHUNK_SECONDS = 2.0
_RESUME_SECONDS = 600.0


def checkpoint_epochs(first: int, last: int, count: int) -> list[int]:
    """Log-spaced epochs from first to last, both included: the paper's 25 from epoch 100.

    Args:
        first: at least 1.
        last: at least ``first``.
        count: how many, at least 2 unless first equals last. Where fewer integers lie between, or
            rounding makes some coincide, fewer are returned.

    Raises:
        ValueError: for values outside these.
    """
    first = check_integer("first", first, 1)
    last = check_integer("last", last, first)
    count = check_integer("count", count, 1 if first == last else 2)
    spaced = np.rint(np.geomspace(first, last, count)).astype(int)
    return sorted({first, last, *(int(epoch) for epoch in spaced)})


@dataclasses.dataclass(frozen=True)
class TrainResult:
    """How a call of ``train`` ended.

    Attributes:
        states: all members, stacked.
        epoch: epochs done.
        finished: whether the last checkpoint epoch was reached.
        loss: (members,) mean training loss of the last chunk of epochs; None if none was trained.
    """

    states: TrainState
    epoch: int
    finished: bool
    loss: np.ndarray | None


class NotFiniteError(RuntimeError):
    """A loss or gradient is not finite.

    Attributes:
        member: the first member whose is not.
    """

    def __init__(self, member: int, message: str):
        super().__init__(message)
        self.member = member


@runtime_checkable
class KeepsStates(Protocol):
    """Where a training saves its states: ``Checkpoints``, or what spreads them over several."""

    def save(self, states: TrainState, *, keep_params: bool = True) -> None:
        """Save all members, at the epoch that they have reached."""
        ...

    def resume_epochs(self) -> list[int]:
        """Epochs from which training can go on."""
        ...


def train(
    key: Key[Array, ""],
    ensemble: Ensemble,
    sequences: Num[Array | np.ndarray, "..."],
    folder: str | os.PathLike[str],
    *,
    identity: Identity,
    checkpoint_epochs: Sequence[int],
    progress: bool = True,
    should_stop: Callable[[int], bool] | None = None,
    max_seconds: float | None = None,
) -> TrainResult:
    """Train an ensemble to the last checkpoint epoch, from the newest checkpoint in the folder.

    The untrained networks are saved as epoch 0. A run that is stopped and resumed, any number of
    times, ends in the same networks to the last bit.

    Args:
        key: one typed key: initial values, order of the data, steps, noise and dropout.
        ensemble: networks, training settings and noise.
        sequences: (num_splits, num_sequences, num_leaves) symbols; or (num_splits, num_images,
            height, width, channels) images, uint8 or floating; split i is what members of split i
            train on.
        folder: where checkpoints are kept (``Checkpoints``).
        identity: of everything that the result depends on, as a hash or as JSON values by name; a
            folder serves one identity.
        checkpoint_epochs: increasing, at least 1; each is saved and kept.
        progress: show a progress bar; off in any case where the output is no terminal.
        should_stop: asked with the epoch about every two seconds; True saves the state and returns.
        max_seconds: stop likewise after this time.

    Raises:
        ValueError: for arguments that do not fit each other, or a folder of another identity.
        NotFiniteError: if a loss or gradient is not finite; the last checkpoint is intact.
        FolderInUseError: if another process trains in the folder.
        OSError: if a checkpoint cannot be written, for example on a full disk.
    """
    check_key(key)
    epochs = _check_epochs(checkpoint_epochs)
    sequences = _check_sequences(ensemble, sequences)
    if max_seconds is not None:
        should_stop = _until(time.monotonic() + max_seconds, should_stop)
    # Of several processes that train together, the first holds the folder for all.
    is_first = jax.process_index() == 0
    held = hold(folder) if is_first else contextlib.nullcontext()
    with held, contextlib.closing(Checkpoints(folder, identity)) as checkpoints:
        if is_first:
            checkpoints.remove_unfinished()
        untrained = init_ensemble(key, ensemble)
        states = checkpoints.latest(untrained)
        if states is None:
            states = untrained
            checkpoints.save(states)
        return train_from(
            states,
            ensemble,
            sequences,
            checkpoints,
            checkpoint_epochs=epochs,
            progress=progress,
            should_stop=should_stop,
        )


def train_from(
    states: TrainState,
    ensemble: Ensemble,
    sequences: Num[Array | np.ndarray, "num_splits num_sequences ..."],
    checkpoints: KeepsStates,
    *,
    checkpoint_epochs: Sequence[int],
    pause_at: int | None = None,
    progress: bool = True,
    should_stop: Callable[[int], bool] | None = None,
) -> TrainResult:
    """Train an ensemble from given states, all at the same epoch, to the last checkpoint epoch.

    Args:
        states: all members, stacked; they cannot be used afterwards.
        ensemble: networks, training settings and noise.
        sequences: symbols; split i is what members of split i train on.
        checkpoints: where to save.
        checkpoint_epochs: as for ``train``.
        pause_at: save the state at this epoch, and go no further; None for the end.
        progress: as for ``train``.
        should_stop: as for ``train``.

    Raises:
        ValueError, NotFiniteError, OSError: as for ``train``.
    """
    targets = _check_epochs(checkpoint_epochs)
    sequences = _check_sequences(ensemble, sequences)
    last = targets[-1] if pause_at is None else check_integer("pause_at", pause_at, 1, targets[-1])
    kept = {target for target in targets if target <= last}
    run = _Run(ensemble, sequences, checkpoints, place_members(states, ensemble.num_members))
    with tqdm(
        total=last, initial=run.epoch, unit="epoch", disable=None if progress else True
    ) as bar:
        finished = all(
            run.advance(target, bar, should_stop or _never, keep_params=target in kept)
            for target in sorted({*kept, last})
        )
    return TrainResult(run.states, run.epoch, finished, run.loss)


def _never(epoch: int) -> bool:
    return False


def _until(deadline: float, should_stop: Callable[[int], bool] | None) -> Callable[[int], bool]:
    """``should_stop``, and in any case after the deadline of the monotonic clock."""
    return lambda epoch: time.monotonic() >= deadline or (should_stop or _never)(epoch)


class _Run:
    """A training under way."""

    def __init__(
        self, ensemble: Ensemble, sequences: Array, checkpoints: KeepsStates, states: TrainState
    ):
        self.ensemble = ensemble
        self.sequences = sequences
        self.checkpoints = checkpoints
        self.states = states
        self.epoch = int(np.asarray(states.epoch.addressable_data(0)).flat[0])
        self.loss: np.ndarray | None = None
        self._chunk = 1
        self._saved_at = time.monotonic()
        batch_size = min(ensemble.training.batch_size, sequences.shape[1])
        self._steps_per_epoch = -(-sequences.shape[1] // batch_size)

    def advance(
        self, target: int, bar: tqdm, must_stop: Callable[[int], bool], *, keep_params: bool
    ) -> bool:
        """Train up to an epoch and save it; False if stopped before it."""
        if self.epoch >= target:
            return True
        while self.epoch < target:
            if agree(must_stop(self.epoch)):
                self._save(keep_params=False)
                return False
            if agree(time.monotonic() - self._saved_at > _RESUME_SECONDS):
                self._save(keep_params=False)
            self._train_chunk(min(self._chunk, target - self.epoch), bar)
        self._save(keep_params=keep_params)
        return True

    def _save(self, *, keep_params: bool) -> None:
        if keep_params or self.epoch not in self.checkpoints.resume_epochs():
            self.checkpoints.save(gather_members(self.states), keep_params=keep_params)
        self._saved_at = time.monotonic()

    def _train_chunk(self, num_epochs: int, bar: tqdm) -> None:
        start = time.monotonic()
        states, stats = train_epochs(
            self.ensemble, self.states, self.sequences, jnp.asarray(num_epochs, jnp.int32)
        )
        loss = np.asarray(stats.loss)  # waits for the result
        seconds = max(time.monotonic() - start, 1e-6)
        _check_finite(self.ensemble, stats, self._steps_per_epoch)
        self.states, self.loss = states, loss
        self.epoch += num_epochs
        self._chunk = agree(max(1, round(num_epochs * _CHUNK_SECONDS / seconds)))
        bar.update(num_epochs)
        rate = num_epochs * self._steps_per_epoch * self.ensemble.num_members / seconds
        bar.set_postfix_str(f"loss {float(loss.mean()):.4f}, {rate:.3g} steps/s")


def _check_finite(ensemble: Ensemble, stats: EpochStats, steps_per_epoch: int) -> None:
    failed = np.flatnonzero(np.asarray(stats.failed_step) >= 0)
    if failed.size:
        member = int(failed[0])
        step = int(np.asarray(stats.failed_step)[member])
        epoch = step // steps_per_epoch
        split, seed = divmod(member, ensemble.num_seeds)
        base = ensemble.own.learning_rate
        rate = float(
            learning_rate(ensemble.training, epoch, None if base is None else base[member])
        )
        norm, largest = (
            float(np.asarray(norms)[member])
            for norms in (stats.failed_grad_norm, stats.largest_grad_norm)
        )
        raise NotFiniteError(
            member,
            f"the loss or its gradient is not finite: member {member} (split {split}, seed "
            f"{seed}), step {step} (epoch {epoch}), learning rate {rate:.3g}, gradient norm "
            f"{norm:.3g}; largest finite gradient norm in the epochs around it {largest:.3g}. The "
            f"last checkpoint is intact; try a lower learning rate.",
        )


def _check_epochs(epochs: Sequence[int]) -> list[int]:
    epochs = [check_integer("checkpoint_epochs", epoch, 1) for epoch in epochs]
    increasing = len(epochs) > 0 and all(a < b for a, b in itertools.pairwise(epochs))
    require(increasing, "checkpoint_epochs", epochs, "increasing and not empty")
    return epochs


def _check_sequences(ensemble: Ensemble, sequences: Array | np.ndarray) -> Array:
    network = ensemble.network
    shape = np.shape(sequences)
    if isinstance(network, UNetConfig):
        image = data_shape(network)
        fits = len(shape) == 5 and (shape[0], *shape[2:]) == (ensemble.num_splits, *image)
        allowed = f"of shape ({ensemble.num_splits}, num_images, {', '.join(map(str, image))})"
        require(fits and shape[1] > 0, "sequences", shape, allowed)
        return _check_images(sequences)
    fits = len(shape) == 3 and shape[::2] == (ensemble.num_splits, network.num_leaves)
    allowed = f"of shape ({ensemble.num_splits}, num_sequences, {network.num_leaves})"
    require(fits and shape[1] > 0, "sequences", shape, allowed)
    check_symbols("sequences", sequences, network.vocab_size)
    return jnp.asarray(sequences).astype(symbol_dtype(network.vocab_size))


def _check_images(images: Array | np.ndarray) -> Array:
    dtype = np.asarray(images).dtype
    fits = dtype == np.uint8 or np.issubdtype(dtype, np.floating)
    require(fits, "sequences", dtype, "images of dtype uint8 or floating")
    finite = dtype == np.uint8 or bool(np.isfinite(np.asarray(images)).all())
    require(finite, "sequences", "pixels that are not finite", "finite everywhere")
    return jnp.asarray(images)
