"""An ensemble trained in one folder, a folder below it for every member, by the resumable loop."""

import contextlib
import dataclasses
import itertools
import os
import time
from collections.abc import Sequence
from pathlib import Path

import jax
import numpy as np
from jaxtyping import Array, Key, Num

from hiermodel.checks import check_key
from hiermodel.training.checkpoints import Checkpoints, StackedCheckpoints
from hiermodel.training.chunks import NotFiniteError, ShouldStop
from hiermodel.training.data import FreshData, as_data
from hiermodel.training.folders import Identity
from hiermodel.training.loop import Member, check_epochs, load, stacked_states, train_members
from hiermodel.training.state import Ensemble, TrainState, member_key


def train(
    key: Key[Array, ""],
    ensemble: Ensemble,
    sequences: Num[Array | np.ndarray, "..."] | FreshData,
    folder: str | os.PathLike[str],
    *,
    identity: Identity,
    checkpoint_epochs: Sequence[int],
    progress: bool = True,
    should_stop: ShouldStop | None = None,
    max_seconds: float | None = None,
) -> "TrainResult":
    """Train an ensemble to the last checkpoint epoch, from the newest checkpoints in the folder.

    Args:
        key: one typed key, from which every member's follows (``member_key``).
        ensemble: networks, training settings and noise.
        sequences: (num_splits, num_sequences, num_leaves) symbols; or (num_splits, num_images,
            height, width, channels) images, uint8 or floating; split i is what members of split i
            train on. Or FreshData, from whose law all draw.
        folder: where checkpoints are kept, a folder per member (``member_checkpoints``).
        identity: of everything that the result depends on, as a hash or as JSON values by name; a
            folder serves one identity.
        checkpoint_epochs: as for ``train_members``.
        progress: as for ``train_members``.
        should_stop: as for ``train_members``.
        max_seconds: stop likewise after this time.

    Raises:
        ValueError: for arguments that do not fit each other, or a folder of another identity.
        NotFiniteError: at the end, if the loss or gradient of a member is not finite.
        FolderInUseError: if another process trains in the folder.
        OSError: if a checkpoint cannot be written, for example on a full disk.

    Example:
        >>> import tempfile
        >>> training = hm.training.TrainingConfig(num_epochs=2, batch_size=8)
        >>> ensemble = hm.training.Ensemble(network, training, schedule, num_splits=2)
        >>> both = jnp.stack([leaves, leaves])
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     _ = hm.training.train(key, ensemble, both, folder, identity="my run",
        ...                           checkpoint_epochs=[2], progress=False)
        ...     kept = hm.training.member_checkpoints(folder, ensemble, "my run")
        ...     kept.saved_epochs()
        [0, 2]
    """
    check_key(key)
    epochs = check_epochs(checkpoint_epochs)
    if max_seconds is not None:
        should_stop = _until(time.monotonic() + max_seconds, should_stop)
    data = as_data(sequences).by_split(ensemble.num_splits)
    places = list(itertools.product(range(ensemble.num_splits), range(ensemble.num_seeds)))
    kept = member_checkpoints(folder, ensemble, identity).members
    members = [
        Member(
            ensemble.network,
            ensemble.training,
            ensemble.schedule,
            member_key(key, split, seed),
            data[split],
            checkpoints,
        )
        for (split, seed), checkpoints in zip(places, kept, strict=True)
    ]
    with contextlib.ExitStack() as held:
        if jax.process_index() == 0:  # it holds the folders for all processes
            for checkpoints in kept:
                held.enter_context(checkpoints.hold())
        done = train_members(
            members, checkpoint_epochs=epochs, progress=progress, should_stop=should_stop
        )
        states = stacked_states(members, [load(member) for member in members])
    for place, error in done.failed.items():
        split, seed = places[place]
        raise NotFiniteError(place, f"member {place} (split {split}, seed {seed}): {error}")
    trained = None if np.isnan(done.loss).all() else done.loss
    epoch = int(np.asarray(states.epoch).min())
    return TrainResult(states, epoch, done.finished, trained)


@dataclasses.dataclass(frozen=True)
class TrainResult:
    """How a call of ``train`` ended.

    Attributes:
        states: all members, stacked.
        epoch: epochs done, by the member that has done fewest.
        finished: whether the last checkpoint epoch was reached.
        loss: (members,) mean training loss of the last epochs; None if none was trained.
    """

    states: TrainState
    epoch: int
    finished: bool
    loss: np.ndarray | None


def member_checkpoints(
    folder: str | os.PathLike[str], ensemble: Ensemble, identity: Identity
) -> StackedCheckpoints:
    """Where ``train`` keeps the members of an ensemble.

    Example:
        >>> import tempfile
        >>> training = hm.training.TrainingConfig(num_epochs=2, batch_size=8)
        >>> ensemble = hm.training.Ensemble(network, training, schedule, num_splits=2)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     hm.training.member_checkpoints(folder, ensemble, "my run").saved_epochs()
        []
    """
    return StackedCheckpoints(
        [
            Checkpoints(
                Path(folder) / f"split-{split}-seed-{seed}",
                {"ensemble": identity, "split": split, "seed": seed},
            )
            for split in range(ensemble.num_splits)
            for seed in range(ensemble.num_seeds)
        ]
    )


def _until(deadline: float, should_stop: ShouldStop | None) -> ShouldStop:
    """``should_stop``, and in any case after the deadline of the monotonic clock."""

    def stop(epoch: int) -> bool:
        return time.monotonic() >= deadline or (should_stop is not None and should_stop(epoch))

    return stop
