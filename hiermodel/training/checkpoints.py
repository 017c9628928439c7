"""The checkpoints of one network on disk: atomic, checked when read, tied to one configuration.

A folder holds ``identity.json`` and one .npz per epoch of two kinds: ``params-<epoch>.npz`` keeps
the parameters at every checkpoint, with their running averages if there are any, for measuring;
``resume-<epoch>.npz`` keeps the full state at the last two, to go on from. Arrays have flat names
and no axis of members.

What is guaranteed, whenever and however a process ends:

- A file is written beside its place and renamed, so it is there whole or not at all. The state to
  resume from is saved after the parameters of the same epoch, and an older one is removed only
  after that.
- Each carries checksums of its arrays and the identity of its configuration. What is truncated or
  altered is reported and passed over for the one before; what is of another configuration is
  refused by name of the fields that differ.
- A failed write, on a full disk for example, raises ``OSError`` and leaves all earlier checkpoints.
- Reading runs no code from the files: they hold numbers and JSON, nothing pickled.
"""

import json
import os
import shutil
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import jax
import numpy as np
from jaxtyping import Array

from hiermodel.checks import InputError, check_integer, is_typed_key, require
from hiermodel.random_bits import THREEFRY
from hiermodel.training.folders import Identity, check_identity, claim, hold
from hiermodel.training.state import TrainState

FORMAT = 1
"""Version of the files' layout."""

_RESUME_KEPT = 2
_ABOUT = "about"
_UNFINISHED = ".*.part"


Weights = Literal["raw", "average"] | float | None
"""Which parameters of a checkpoint: those that were trained, or a running average of them, by its
decay, "average" being that of the smallest decay kept. None is the average where one is kept."""


class DamagedCheckpointError(InputError):
    """A checkpoint is incomplete, or not what was written."""


class Checkpoints:
    """The checkpoints of one network. Any number of processes may read; who holds it may write.

    Args:
        folder: made when the first process holds it.
        identity: of everything that the training depends on: its settings, or a hash of them.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     hm.training.Checkpoints(folder, "my run").saved_epochs()
        []
    """

    def __init__(self, folder: str | os.PathLike[str], identity: Identity):
        self.folder = Path(folder).absolute()
        self.identity: Identity = json.loads(json.dumps(identity))  # as it will be read back

    @contextmanager
    def hold(self) -> Iterator[None]:
        """Be the only process that writes here, and remove what killed writes have left.

        Raises:
            FolderInUseError: if another process holds the folder.
            ValueError: if the folder belongs to another identity.
        """
        with hold(self.folder):
            claim(self.folder, self.identity)
            for left in self.folder.glob(_UNFINISHED):
                left.unlink(missing_ok=True)
            yield

    def saved_epochs(self) -> list[int]:
        """Epochs at which parameters were saved, increasing."""
        return self._epochs("params")

    def resume_epochs(self) -> list[int]:
        """Epochs from which training can go on, increasing."""
        return self._epochs("resume")

    def complete(self, epochs: Sequence[int]) -> bool:
        """Whether a training with checkpoints at these epochs has ended.

        Not yet if it was killed between the two parts of its last checkpoint, so that the state
        to resume from lags behind.
        """
        resume = self.resume_epochs()
        lags = bool(resume) and resume[-1] < max(epochs)
        return set(epochs) <= set(self.saved_epochs()) and not lags

    def save(self, arrays: Mapping[str, np.ndarray], *, keep_params: bool = True) -> None:
        """Save a network's state, as ``flatten_state`` gives it, at the epoch that it has reached.

        Args:
            arrays: by name, without an axis of members.
            keep_params: whether this is a checkpoint to measure, or only one to resume from.

        Raises:
            OSError: if it cannot be written, naming the place; earlier checkpoints are intact.
        """
        epoch = int(arrays["epoch"])
        if keep_params:
            kinds = "params/", "averages/"
            own = {name: array for name, array in arrays.items() if name.startswith(kinds)}
            self._write("params", epoch, own)
        # The state to resume from comes second: where there is one, its parameters are kept.
        self._write("resume", epoch, arrays)
        for old in self.resume_epochs()[:-_RESUME_KEPT]:
            self._file("resume", old).unlink()

    def load_params(self, epoch: int, weights: Weights = None) -> dict[str, np.ndarray]:
        """Parameters at a saved epoch, by name.

        Args:
            epoch: at which they were saved.
            weights: which, see ``Weights``.

        Raises:
            ValueError: if there is no such checkpoint or average, it is damaged, or of another
                identity.
        """
        epoch = check_integer("epoch", epoch, 0)
        if not self._file("params", epoch).exists():
            raise InputError(
                f"epoch={epoch} is not allowed: {self.folder} holds epochs {self.saved_epochs()}"
            )
        try:
            arrays = self._read("params", epoch)
        except DamagedCheckpointError as error:
            raise DamagedCheckpointError(f"{error}; remove {self.folder} to train again") from error
        prefix = _prefix(arrays, weights)
        return {
            name.removeprefix(prefix): array
            for name, array in arrays.items()
            if name.startswith(prefix)
        }

    def latest(self) -> dict[str, np.ndarray] | None:
        """The newest state that can be read, as it was saved; None if there is none.

        A damaged one is reported by a warning and passed over for the one before.

        Raises:
            ValueError: if a readable state is of another identity.
        """
        for epoch in reversed(self.resume_epochs()):
            try:
                return self._read("resume", epoch)
            except DamagedCheckpointError as error:
                warnings.warn(f"{error}; going back to the one before", stacklevel=2)
        return None

    def _file(self, kind: str, epoch: int) -> Path:
        return self.folder / f"{kind}-{epoch:09d}.npz"

    def _epochs(self, kind: str) -> list[int]:
        return sorted(
            int(file.stem.partition("-")[2]) for file in self.folder.glob(f"{kind}-*.npz")
        )

    def _write(self, kind: str, epoch: int, arrays: Mapping[str, np.ndarray]) -> None:
        about = json.dumps({"format": FORMAT, "identity": self.identity})
        file = self._file(kind, epoch)
        part = file.with_name(f".{file.name}.{os.getpid()}.part")
        try:
            with part.open("wb") as stream:  # a zip archive, with a checksum of each of its arrays
                np.savez(stream, allow_pickle=False, **{_ABOUT: np.array(about)}, **arrays)
            part.replace(file)
        except OSError as error:
            part.unlink(missing_ok=True)
            needed = sum(array.nbytes for array in arrays.values())
            free = shutil.disk_usage(self.folder).free
            raise OSError(
                error.errno,
                f"cannot write checkpoint of {needed:,} bytes ({free:,} bytes are free on its "
                f"disk): {error.strerror}. Earlier checkpoints are intact: make room and start "
                "again, and training goes on from the newest",
                str(file),
            ) from error

    def _read(self, kind: str, epoch: int) -> dict[str, np.ndarray]:
        """Read and verify; every way of being damaged becomes an error that names the file."""
        file = self._file(kind, epoch)
        try:
            with np.load(file, allow_pickle=False) as archive:
                arrays = {name: archive[name] for name in archive.files}
            about = json.loads(str(arrays.pop(_ABOUT)))
            version, identity = about["format"], about["identity"]
        except Exception as error:  # zipfile and NumPy raise many kinds for damaged files
            reason = f"{type(error).__name__}: {error}"
            raise DamagedCheckpointError(f"checkpoint {file} is damaged ({reason})") from error
        if version != FORMAT:
            raise InputError(f"format={version} of {file} is not allowed: it must be {FORMAT}")
        check_identity(f"checkpoint {file}", identity, self.identity)
        return arrays


class StackedCheckpoints:
    """Checkpoints of several members, read as those of one ensemble.

    Args:
        members: in the order of the leading axis.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     one = hm.training.Checkpoints(folder, "my run")
        ...     hm.training.StackedCheckpoints([one]).complete([10])
        False
    """

    def __init__(self, members: Sequence[Checkpoints]):
        self.members = tuple(members)

    def saved_epochs(self) -> list[int]:
        """Epochs at which the parameters of all members are there, increasing."""
        return sorted(set.intersection(*(set(one.saved_epochs()) for one in self.members)))

    def complete(self, epochs: Sequence[int]) -> bool:
        """Whether the training of all members has ended."""
        return all(one.complete(epochs) for one in self.members)

    def load_params(self, epoch: int, weights: Weights = None) -> dict[str, np.ndarray]:
        """Parameters of all members at a saved epoch, stacked on a leading axis.

        Args:
            epoch: at which they were saved.
            weights: which, see ``Weights``.

        Raises:
            ValueError: if a member has no such checkpoint, or one is damaged or of another run.
        """
        return _stack([one.load_params(epoch, weights) for one in self.members])

    def latest(self) -> dict[str, np.ndarray]:
        """The newest state of every member, stacked likewise.

        Raises:
            ValueError: if a member has none.
        """
        states = [one.latest() for one in self.members]
        for one, state in zip(self.members, states, strict=True):
            require(state is not None, "folder", one.folder, "one that holds a state")
        return _stack([state for state in states if state is not None])


def _prefix(arrays: Mapping[str, np.ndarray], weights: Weights) -> str:
    """What the names of the parameters that are meant begin with."""
    kept = {name.split("/")[1] for name in arrays if name.startswith("averages/")}
    decays = sorted(kept, key=float)
    if weights == "raw" or (weights is None and not decays):
        return "params/"
    wanted = decays[:1] if weights in (None, "average") else [str(weights)]
    fits = len(wanted) == 1 and wanted[0] in decays
    allowed = ", ".join(["'raw'", *(["'average'"] if decays else []), *decays])
    require(fits, "weights", weights, f"one of those kept: {allowed}")
    return f"averages/{wanted[0]}/"


def _stack(parts: Sequence[Mapping[str, np.ndarray]]) -> dict[str, np.ndarray]:
    return {name: np.stack([part[name] for part in parts]) for name in parts[0]}


def _named_leaves(tree: Any) -> tuple[dict[str, Any], Any]:
    leaves, structure = jax.tree_util.tree_flatten_with_path(tree)
    named = {jax.tree_util.keystr(path, simple=True, separator="/"): leaf for path, leaf in leaves}
    return named, structure


def flatten_state(states: TrainState) -> dict[str, np.ndarray]:
    """A state as arrays in host memory, by name; keys become their data."""
    return {name: _in_host_memory(leaf) for name, leaf in _named_leaves(states)[0].items()}


def flatten_members(states: TrainState) -> dict[int, dict[str, np.ndarray]]:
    """Stacked members that this process is to keep, by their place, each as ``flatten_state``.

    Those whose first copy lies on a device of this process: every member is kept by one process,
    and nothing travels between them.
    """
    found: dict[int, dict[str, np.ndarray]] = {}
    for name, leaf in _named_leaves(states)[0].items():
        for shard in leaf.addressable_shards:
            if shard.replica_id == 0:
                rows = _in_host_memory(shard.data)  # cut there: compiles nothing
                for place, row in zip(range(len(leaf))[shard.index[0]], rows, strict=True):
                    found.setdefault(place, {})[name] = np.asarray(row)
    return found


def _in_host_memory(leaf: Array) -> np.ndarray:
    return np.asarray(jax.random.key_data(leaf) if is_typed_key(leaf) else leaf)


def unflatten_state(arrays: Mapping[str, np.ndarray], template: TrainState) -> TrainState:
    """The inverse of ``flatten_state``, for stacked members.

    Args:
        arrays: by name, with a leading axis of members.
        template: a state of one member, without that axis.

    Raises:
        ValueError: if names, shapes or dtypes differ from the template's.
    """
    named, structure = _named_leaves(template)
    if set(named) != set(arrays):
        odd = sorted(set(named) ^ set(arrays))
        raise InputError(f"the saved state does not fit: {odd[0]} is missing or unknown")
    leaves = [_restore_leaf(name, arrays[name], like) for name, like in named.items()]
    return jax.tree.unflatten(structure, leaves)


def _restore_leaf(name: str, array: np.ndarray, like: Array) -> Array:
    leaf = jax.numpy.asarray(array)
    leaf = jax.random.wrap_key_data(leaf, impl=THREEFRY) if is_typed_key(like) else leaf
    if (leaf.shape[1:], leaf.dtype) != (like.shape, like.dtype):
        raise InputError(
            f"the saved state does not fit: {name} is {leaf.dtype}{leaf.shape[1:]}, "
            f"not {like.dtype}{like.shape}"
        )
    return leaf
