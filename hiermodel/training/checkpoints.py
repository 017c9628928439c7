"""Checkpoints on disk: atomic, checked when read, tied to one configuration. Only here is orbax.

A folder holds ``identity.json`` and two stores, with one sub-folder per epoch: ``params`` keeps the
parameters at every checkpoint, for measuring; ``resume`` keeps the full state at the last two, to
go on from. Arrays are stored under flat names and on no particular device.

What is guaranteed, whenever and however a process ends:

- A checkpoint is written beside its place and renamed, so it is there whole or not at all. The
  state to resume from is saved after the parameters of the same epoch, and an older one is removed
  only after that.
- Each carries checksums of its arrays and the identity of its configuration. What is truncated or
  altered is reported and passed over for the one before; what is of another configuration is
  refused by name of the fields that differ.
- A failed write, on a full disk for example, raises ``OSError`` and leaves all earlier checkpoints.
- Reading runs no code from the files: they hold numbers and JSON, nothing pickled.
"""

import json
import logging
import os
import shutil
import warnings
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp
from jaxtyping import Array

from hiermodel.checks import check_integer, is_typed_key
from hiermodel.training.folders import Identity, check_identity, claim
from hiermodel.training.state import TrainState

# Orbax narrates every save through absl's logger; warnings and errors stay.
logging.getLogger("absl").setLevel(logging.WARNING)

_RESUME_KEPT = 2
_UNFINISHED = "*/*.orbax-checkpoint-tmp*"


class DamagedCheckpointError(ValueError):
    """A checkpoint is incomplete, or not what was written."""


class Checkpoints:
    """The checkpoints of one training run.

    Any number of processes may read; one at a time may write (``folders.hold``).

    Args:
        folder: made if it does not exist.
        identity: of everything that the training depends on: its settings, or a hash of them.

    Raises:
        ValueError: if the folder belongs to another identity.
    """

    def __init__(self, folder: str | os.PathLike[str], identity: Identity):
        self.folder = Path(folder).absolute()
        self.identity: Identity = json.loads(json.dumps(identity))  # as it will be read back
        self.folder.mkdir(parents=True, exist_ok=True)
        claim(self.folder, self.identity)
        self._params = _open_store(self.folder / "params", None)
        self._resume = _open_store(self.folder / "resume", _RESUME_KEPT)

    def saved_epochs(self) -> list[int]:
        """Epochs at which parameters were saved, increasing."""
        return sorted(self._params.all_steps())

    def resume_epochs(self) -> list[int]:
        """Epochs from which training can go on, increasing."""
        return sorted(self._resume.all_steps())

    def complete(self, epochs: Sequence[int]) -> bool:
        """Whether a training with checkpoints at these epochs has ended.

        Not yet if it was killed between the two parts of its last checkpoint, so that the state
        to resume from lags behind.
        """
        resume = self.resume_epochs()
        lags = bool(resume) and resume[-1] < max(epochs)
        return set(epochs) <= set(self.saved_epochs()) and not lags

    def remove_unfinished(self) -> None:
        """Remove what killed or failed writes have left; for the one process that writes."""
        for left in self.folder.glob(_UNFINISHED):
            shutil.rmtree(left, ignore_errors=True)

    def save(self, states: TrainState, *, keep_params: bool = True) -> None:
        """Save the state of all members, at the epoch that they have reached.

        Where a running average is kept, it is what is saved to be measured.

        Args:
            states: stacked members, all at the same epoch.
            keep_params: whether this is a checkpoint to measure, or only one to resume from.

        Raises:
            OSError: if it cannot be written, naming the place; earlier checkpoints are intact.
        """
        self.save_arrays(flatten_state(states), keep_params=keep_params)

    def save_arrays(self, arrays: Mapping[str, np.ndarray], *, keep_params: bool = True) -> None:
        """Save a state that ``flatten_state`` gave, or some members of it.

        Raises:
            OSError: as ``save``.
        """
        arrays = dict(arrays)
        epoch = int(arrays["epoch"].flat[0])
        if keep_params:
            averaged = any(name.startswith("average/") for name in arrays)
            prefix = "average/" if averaged else "params/"
            params = {n.removeprefix(prefix): a for n, a in arrays.items() if n.startswith(prefix)}
            self._write(self._params, epoch, params)
        # The state to resume from comes second: where there is one, its parameters are kept.
        self._write(self._resume, epoch, arrays)

    def load_params(self, epoch: int) -> dict[str, np.ndarray]:
        """Parameters of all members at a saved epoch, stacked on a leading axis.

        Raises:
            ValueError: if there is no such checkpoint, it is damaged, or of another identity.
        """
        epoch = check_integer("epoch", epoch, 0)
        if epoch not in self._params.all_steps():
            raise ValueError(
                f"epoch={epoch} is not allowed: {self.folder} holds epochs {self.saved_epochs()}"
            )
        try:
            return self._read(self._params, epoch)
        except DamagedCheckpointError as error:
            raise DamagedCheckpointError(f"{error}; remove {self.folder} to train again") from error

    def latest(self, template: TrainState) -> TrainState | None:
        """The newest state that can be read; None if there is none.

        A damaged one is reported by a warning and passed over for the one before.

        Args:
            template: any state of the same ensemble, for its shapes and dtypes.

        Raises:
            ValueError: if a readable state is of another identity or does not fit the template.
        """
        for epoch in reversed(self.resume_epochs()):
            try:
                arrays = self.load_state(epoch)
            except DamagedCheckpointError as error:
                warnings.warn(f"{error}; going back to the one before", stacklevel=2)
                continue
            return unflatten_state(arrays, template)
        return None

    def load_state(self, epoch: int) -> dict[str, np.ndarray]:
        """All that is saved to resume from at one of ``resume_epochs``, under flat names.

        Raises:
            ValueError: if it is damaged or of another identity.
        """
        return self._read(self._resume, epoch)

    def close(self) -> None:
        """Finish all writing."""
        self._params.close()
        self._resume.close()

    def _write(
        self, store: ocp.CheckpointManager, epoch: int, arrays: dict[str, np.ndarray]
    ) -> None:
        about = {"identity": self.identity, "checksums": _checksums(arrays)}
        try:
            if epoch in store.all_steps():  # of a run that stopped before its next save, or damaged
                store.delete(epoch)
            store.save(
                epoch,
                args=ocp.args.Composite(
                    arrays=ocp.args.StandardSave(arrays),
                    about=ocp.args.JsonSave({"about": about, "checksum": _json_checksum(about)}),
                ),
                force=True,
            )
        except Exception as error:  # orbax and tensorstore raise many kinds for a full disk
            self.remove_unfinished()
            needed = sum(array.nbytes for array in arrays.values())
            free = shutil.disk_usage(self.folder).free
            reason = str(error).partition(" [tensorstore_spec")[0]  # a page of JSON
            raise OSError(
                f"cannot write checkpoint {Path(store.directory) / str(epoch)} of {needed:,} bytes "
                f"({free:,} bytes are free on its disk): {reason}. Earlier checkpoints are intact: "
                "make room and start again, and training goes on from the newest"
            ) from error

    def _read(self, store: ocp.CheckpointManager, epoch: int) -> dict[str, np.ndarray]:
        """Read and verify; every way of being damaged becomes an error that names the file."""
        place = f"checkpoint {Path(store.directory) / str(epoch)}"
        try:
            read = store.restore(
                epoch,
                args=ocp.args.Composite(
                    arrays=ocp.args.StandardRestore(), about=ocp.args.JsonRestore()
                ),
            )
            arrays = {name: np.asarray(array) for name, array in read["arrays"].items()}
            about, checksum = read["about"]["about"], read["about"]["checksum"]
            identity, expected = about["identity"], about["checksums"]
        except Exception as error:  # orbax and tensorstore raise many kinds for damaged files
            reason = f"{type(error).__name__}: {error}"
            raise DamagedCheckpointError(f"{place} cannot be read ({reason})") from error
        found = _checksums(arrays)
        wrong = sorted(n for n in {*found, *expected} if found.get(n) != expected.get(n))
        if _json_checksum(about) != checksum:
            wrong = ["its description"]
        if wrong:
            raise DamagedCheckpointError(f"{place} is damaged: wrong checksum of {wrong[0]}")
        check_identity(place, identity, self.identity)
        return arrays


def _checksums(arrays: Mapping[str, np.ndarray]) -> dict[str, str]:
    """Of an array's kind and content."""
    return {
        name: f"{array.dtype}{list(array.shape)} {zlib.crc32(array.tobytes()):08x}"
        for name, array in arrays.items()
    }


def _json_checksum(value: Any) -> str:
    return f"{zlib.crc32(json.dumps(value, sort_keys=True).encode()):08x}"


def _open_store(folder: Path, max_to_keep: int | None) -> ocp.CheckpointManager:
    options = ocp.CheckpointManagerOptions(
        max_to_keep=max_to_keep, create=True, enable_async_checkpointing=False
    )
    return ocp.CheckpointManager(folder, options=options)


def _named_leaves(tree: Any) -> tuple[dict[str, Any], Any]:
    leaves, structure = jax.tree_util.tree_flatten_with_path(tree)
    named = {jax.tree_util.keystr(path, simple=True, separator="/"): leaf for path, leaf in leaves}
    return named, structure


def flatten_state(states: TrainState) -> dict[str, np.ndarray]:
    """A state as arrays in host memory, by name; keys become their data."""
    return {
        name: np.asarray(jax.random.key_data(leaf) if is_typed_key(leaf) else leaf)
        for name, leaf in _named_leaves(states)[0].items()
    }


def unflatten_state(arrays: Mapping[str, np.ndarray], template: TrainState) -> TrainState:
    """The inverse of ``flatten_state``.

    Raises:
        ValueError: if names, shapes or dtypes differ from the template's.
    """
    named, structure = _named_leaves(template)
    if set(named) != set(arrays):
        odd = sorted(set(named) ^ set(arrays))
        raise ValueError(f"the saved state does not fit: {odd[0]} is missing or unknown")
    leaves = [_restore_leaf(name, arrays[name], like) for name, like in named.items()]
    return jax.tree.unflatten(structure, leaves)


def _restore_leaf(name: str, array: np.ndarray, like: Any) -> Array:
    is_key = jax.numpy.issubdtype(like.dtype, jax.dtypes.prng_key)
    leaf = jax.numpy.asarray(array)
    leaf = jax.random.wrap_key_data(leaf) if is_key else leaf
    if (leaf.shape, leaf.dtype) != (like.shape, like.dtype):
        raise ValueError(
            f"the saved state does not fit: {name} is {leaf.dtype}{leaf.shape}, "
            f"not {like.dtype}{like.shape}"
        )
    return leaf
