"""The resumable loop: networks of one shape, each with checkpoints of its own, train together.

A member depends on its own key, data and settings alone, so it does not matter which others are
trained beside it: on a CPU to the last bit, on an accelerator up to the order of its sums. (Where
rates of dropout differ among members, a rate is a number of the program rather than a constant in
it, which changes rounding too.)
"""

import dataclasses
import functools
import itertools
from collections.abc import Collection, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import multihost_utils
from jaxtyping import Array, Key, Num

from hiermodel.checks import check_integer, require
from hiermodel.diffusion.process import Process
from hiermodel.networks.layers import rounded_rate
from hiermodel.networks.network import Network, takes
from hiermodel.training.checkpoints import (
    Checkpoints,
    flatten_members,
    flatten_state,
    unflatten_state,
)
from hiermodel.training.chunks import NotFiniteError, ShouldStop, train_stacked
from hiermodel.training.data import FreshData, as_data, check_private
from hiermodel.training.epochs import agree_all, padded, wait_for_all
from hiermodel.training.state import (
    Ensemble,
    MemberSettings,
    TrainingConfig,
    TrainState,
    init_member,
)

_STANDARD = {"learning_rate": 3e-4, "weight_decay": 0.0}
"""What stands in the program for settings in which members differ; dropout is then 0."""


def checkpoint_epochs(first: int, last: int, count: int) -> list[int]:
    """Log-spaced epochs from first to last, both included: the paper's 25 from epoch 100.

    Args:
        first: at least 1.
        last: at least ``first``.
        count: how many, at least 2 unless first equals last. Where fewer integers lie between, or
            rounding makes some coincide, fewer are returned.

    Raises:
        ValueError: for values outside these.

    Example:
        >>> hm.training.checkpoint_epochs(1, 100, 5)
        [1, 3, 10, 32, 100]
    """
    first = check_integer("first", first, 1)
    last = check_integer("last", last, first)
    count = check_integer("count", count, 1 if first == last else 2)
    spaced = np.rint(np.geomspace(first, last, count)).astype(int)
    return sorted({first, last, *(int(epoch) for epoch in spaced)})


@dataclasses.dataclass(frozen=True, eq=False)
class Member:
    """One network that is to be trained.

    Attributes:
        network: its architecture.
        training: optimiser, rate, batch and length.
        schedule: the noise.
        key: its own: initial values, order of the data, steps, noise and dropout.
        sequences: (num_sequences, num_leaves) symbols, or (num_images, height, width, channels)
            images, uint8 or floating, or FreshData (:func:`hiermodel.training.data.fresh`).
            Members that share the object share its memory.
        checkpoints: where it is kept.

    Example:
        >>> import tempfile
        >>> training = hm.training.TrainingConfig(num_epochs=2, batch_size=8)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     kept = hm.training.Checkpoints(folder, "my network")
        ...     own = hm.training.Member(network, training, schedule, key, leaves, kept)
        ...     with kept.hold():
        ...         done = hm.training.train_members(
        ...             [own], checkpoint_epochs=[1, 2], progress=False)
        ...     (done.finished, kept.saved_epochs())
        (True, [0, 1, 2])
    """

    network: Network
    training: TrainingConfig
    schedule: Process
    key: Key[Array, ""]
    sequences: Num[Array | np.ndarray, "..."] | FreshData
    checkpoints: Checkpoints

    def untrained(self) -> TrainState:
        """Its state before training."""
        return _untrained(self.key, self.network, self.training.ema_decays)


@functools.partial(jax.jit, static_argnums=(1, 2))
def _untrained(key: Key[Array, ""], network: Network, decays: tuple[float, ...]) -> TrainState:
    return init_member(key, network, decays=decays)


def program_of(network: Network, training: TrainingConfig) -> tuple[Any, TrainingConfig]:
    """Equal for networks that one program can train, given data of the same shape and noise.

    Learning rate, weight decay and dropout may differ between them.
    """
    return _without_dropout(network), dataclasses.replace(training, **_STANDARD)


def _without_dropout(network: Any) -> Any:
    """The network without its own rate of dropout, if its members may differ in it."""
    return dataclasses.replace(network, dropout=0.0) if takes(network, "dropout") else network


def _dropout(network: Any) -> float:
    """The rate that members may differ in; 0 where they may not."""
    return rounded_rate(network.dropout) if takes(network, "dropout") else 0.0


@dataclasses.dataclass(frozen=True)
class Trained:
    """How a call of ``train_members`` ended.

    Attributes:
        finished: False if it was asked to stop.
        failed: the members, by their place, whose loss or gradient is not finite.
        loss: (members,) mean training loss of the last epochs; NaN for members that were finished.
    """

    finished: bool
    failed: dict[int, NotFiniteError]
    loss: np.ndarray


def train_members(
    members: Sequence[Member],
    *,
    checkpoint_epochs: Sequence[int],
    progress: bool = True,
    should_stop: ShouldStop | None = None,
) -> Trained:
    """Train members to the last checkpoint epoch, each from its newest checkpoint.

    Those at the same epoch are trained together; those that are behind catch up first. The
    untrained networks are saved as epoch 0. A member whose loss is not finite is given up, and the
    others go on. A training that is stopped and resumed, any number of times and in any company,
    ends in the same networks to the last bit. Of several processes that train together
    (``jax.distributed``), each writes the members on its own devices and the first alone reads:
    all must see the same folders.

    Args:
        members: all of one ``program_of``, with the same schedule and shape of data; their
            checkpoints are held by the caller.
        checkpoint_epochs: increasing, at least 1; each is saved and kept.
        progress: show a progress bar; off in any case where the output is no terminal.
        should_stop: asked with the epoch about every two seconds; True saves and returns.

    Raises:
        ValueError: for arguments that do not fit each other, or checkpoints of another identity.
        OSError: if a checkpoint cannot be written, for example on a full disk.

    Example:
        >>> import tempfile
        >>> training = hm.training.TrainingConfig(num_epochs=1, batch_size=8)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     kept = hm.training.Checkpoints(folder, "my network")
        ...     own = hm.training.Member(network, training, schedule, key, leaves, kept)
        ...     with kept.hold():
        ...         hm.training.train_members([own], checkpoint_epochs=[1], progress=False).failed
        {}
    """
    targets = check_epochs(checkpoint_epochs)
    _check_alike(members)
    failed: dict[int, NotFiniteError] = {}
    loss = np.full(len(members), np.nan)
    while True:
        loaded = [load(member) for member in members]
        stand = agree_all([int(arrays["epoch"]) for arrays in loaded])
        left = [i for i, epoch in enumerate(stand) if epoch < targets[-1] and i not in failed]
        if not left:
            return Trained(True, failed, loss)
        lowest = min(stand[place] for place in left)
        group = [place for place in left if stand[place] == lowest]
        ahead = [stand[place] for place in left if stand[place] > lowest]
        chunks = _train_group(
            [members[place] for place in group],
            [loaded[place] for place in group],
            targets=targets,
            pause_at=min(ahead) if ahead else None,
            progress=progress,
            should_stop=should_stop or (lambda epoch: False),
        )
        failed |= {group[place]: error for place, error in chunks.failed.items()}
        if chunks.loss is not None:
            loss[group] = chunks.loss[: len(group)]
        if not chunks.finished and not chunks.failed:
            return Trained(False, failed, loss)


def load(member: Member) -> dict[str, np.ndarray]:
    """The state to go on from; an untrained one is saved. Only the first process has files."""
    is_first = jax.process_index() == 0
    found = member.checkpoints.latest() if is_first else None
    if found is None:
        found = flatten_state(member.untrained())
        if is_first:
            member.checkpoints.save(found)
    return found


def stacked_states(
    members: Sequence[Member], arrays: Sequence[dict[str, np.ndarray]]
) -> TrainState:
    """States on a leading axis, as the first process has them."""
    # In host memory, where stacking compiles nothing.
    stacked = {name: np.stack([own[name] for own in arrays]) for name in arrays[0]}
    if jax.process_count() > 1:
        stacked = jax.tree.map(np.asarray, multihost_utils.broadcast_one_to_all(stacked))
    return unflatten_state(stacked, members[0].untrained())


def _train_group(members, loaded, **options):
    """Train members at the same epoch; as many as devices can share evenly."""
    count = len(members)
    filled = [place % count for place in range(padded(count))]  # the last ones are not saved
    stacked = [members[place] for place in filled]
    states = stacked_states(stacked, [loaded[place] for place in filled])
    distinct = list({id(member.sequences): member.sequences for member in members}.values())
    order = {id(sequences): number for number, sequences in enumerate(distinct)}
    splits = jnp.array([order[id(member.sequences)] for member in stacked], jnp.int32)

    data = [as_data(own) for own in distinct]

    def save(states: TrainState, but_for: Collection[int], keep_params: bool) -> None:
        for place, own in flatten_members(states).items():
            if place < count and place not in but_for:
                members[place].checkpoints.save(own, keep_params=keep_params)
        wait_for_all()  # the first process reads what others have written

    chunks = train_stacked(
        states,
        ensemble_of(stacked),
        data[0].stack(data, members[0].network.target),
        splits,
        save,
        **options,
    )
    failed = {place: error for place, error in chunks.failed.items() if place < count}
    return dataclasses.replace(chunks, failed=failed)


def ensemble_of(members: Sequence[Member]) -> Ensemble:
    """Members as one ensemble.

    Settings that all share stay part of the program, others become arrays along the members.
    """
    first = members[0]
    own = MemberSettings(
        learning_rate=_where_different([one.training.learning_rate for one in members]),
        dropout=_where_different([_dropout(one.network) for one in members]),
        weight_decay=_where_different([one.training.weight_decay for one in members]),
    )
    varied = {name: value for name, value in _STANDARD.items() if getattr(own, name) is not None}
    training, network = dataclasses.replace(first.training, **varied), first.network
    if own.dropout is not None:
        network = _without_dropout(network)
    return Ensemble(network, training, first.schedule, len(members), own=own)


def _where_different(values: Sequence[float]) -> Array | None:
    return None if len(set(values)) == 1 else jnp.asarray(values, jnp.float32)


def check_epochs(epochs: Sequence[int]) -> list[int]:
    """Epochs of checkpoints, if they increase.

    Raises:
        ValueError: if they do not, or there are none.
    """
    epochs = [check_integer("checkpoint_epochs", epoch, 1) for epoch in epochs]
    increasing = len(epochs) > 0 and all(a < b for a, b in itertools.pairwise(epochs))
    require(increasing, "checkpoint_epochs", epochs, "increasing and not empty")
    return epochs


def _check_alike(members: Sequence[Member]) -> None:
    programs = {program_of(member.network, member.training) for member in members}
    data = [as_data(member.sequences) for member in members]
    shapes = {one.form for one in data}
    steps = {member.schedule.num_steps for member in members}
    alike = len(programs) == len(shapes) == len(steps) == 1
    require(alike, "members", f"{len(members)} networks", "of one program and one shape of data")
    data[0].stack(data[:1], members[0].network.target)
    check_private(members[0].training.privacy, data[0])
