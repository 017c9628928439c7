"""Checkpoints on disk: atomic, checked when read, tied to one configuration. Only here is orbax.

A folder holds ``identity.json`` and two stores, with one sub-folder per epoch: ``params`` keeps the
parameters at every checkpoint, for measuring; ``resume`` keeps the full state at the last two, to
go on from. Arrays are stored under flat names and on no particular device.
"""

import json
import logging
import os
import warnings
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp
from jaxtyping import Array

from hiermodel.checks import check_integer, is_typed_key
from hiermodel.training.state import TrainState

# Orbax narrates every save through absl's logger; warnings and errors stay.
logging.getLogger("absl").setLevel(logging.WARNING)

_IDENTITY_FILE = "identity.json"
_RESUME_KEPT = 2


class Checkpoints:
    """The checkpoints of one training run.

    Args:
        folder: made if it does not exist.
        identity: of everything that the training depends on, such as a hash of its settings.

    Raises:
        ValueError: if the folder belongs to another identity.
    """

    def __init__(self, folder: str | os.PathLike[str], identity: str):
        self.folder = Path(folder).absolute()
        self.identity = identity
        self.folder.mkdir(parents=True, exist_ok=True)
        self._claim()
        self._params = _open_store(self.folder / "params", None)
        self._resume = _open_store(self.folder / "resume", _RESUME_KEPT)

    def _claim(self) -> None:
        file = self.folder / _IDENTITY_FILE
        if file.exists():
            owner = json.loads(file.read_text())["identity"]
            if owner != self.identity:
                raise ValueError(
                    f"identity={self.identity!r} is not allowed: {self.folder} holds checkpoints "
                    f"of {owner!r}; give another folder, or remove this one"
                )
            return
        part = file.with_suffix(f".{os.getpid()}.part")
        part.write_text(json.dumps({"identity": self.identity}))
        part.replace(file)

    def saved_epochs(self) -> list[int]:
        """Epochs at which parameters were saved, increasing."""
        return sorted(self._params.all_steps())

    def resume_epochs(self) -> list[int]:
        """Epochs from which training can go on, increasing."""
        return sorted(self._resume.all_steps())

    def save(self, states: TrainState, *, keep_params: bool = True) -> None:
        """Save the state of all members, at the epoch that they have reached.

        Args:
            states: stacked members, all at the same epoch.
            keep_params: whether this is a checkpoint to measure, or only one to resume from.
        """
        arrays = flatten_state(states)
        epoch = int(arrays["epoch"].flat[0])
        if keep_params:
            prefix = "params/"
            params = {n.removeprefix(prefix): a for n, a in arrays.items() if n.startswith(prefix)}
            _write(self._params, epoch, params)
        # The state to resume from comes second: where there is one, its parameters are kept.
        _write(self._resume, epoch, arrays)

    def load_params(self, epoch: int) -> dict[str, np.ndarray]:
        """Parameters of all members at a saved epoch, stacked on a leading axis.

        Raises:
            ValueError: if there is no such checkpoint, or it is damaged.
        """
        epoch = check_integer("epoch", epoch, 0)
        if epoch not in self._params.all_steps():
            raise ValueError(
                f"epoch={epoch} is not allowed: {self.folder} holds epochs {self.saved_epochs()}"
            )
        return _read(self._params, epoch)

    def latest(self, template: TrainState) -> TrainState | None:
        """The newest state that can be read; None if there is none.

        A damaged one is reported by a warning and passed over for the one before.

        Args:
            template: any state of the same ensemble, for its shapes and dtypes.

        Raises:
            ValueError: if a readable state does not fit the template.
        """
        for epoch in reversed(self.resume_epochs()):
            try:
                arrays = _read(self._resume, epoch)
            except ValueError as error:
                warnings.warn(f"{error}; going back to the one before", stacklevel=2)
                continue
            return unflatten_state(arrays, template)
        return None

    def close(self) -> None:
        """Finish all writing."""
        self._params.close()
        self._resume.close()


def _open_store(folder: Path, max_to_keep: int | None) -> ocp.CheckpointManager:
    options = ocp.CheckpointManagerOptions(
        max_to_keep=max_to_keep,
        create=True,
        cleanup_tmp_directories=True,
        enable_async_checkpointing=False,
    )
    return ocp.CheckpointManager(folder, options=options)


def _write(store: ocp.CheckpointManager, epoch: int, arrays: dict[str, np.ndarray]) -> None:
    if epoch in store.all_steps():  # left by a run that stopped before its next save, or damaged
        store.delete(epoch)
    checksums = {name: zlib.crc32(array.tobytes()) for name, array in arrays.items()}
    store.save(
        epoch,
        args=ocp.args.Composite(
            arrays=ocp.args.StandardSave(arrays), checksums=ocp.args.JsonSave(checksums)
        ),
        force=True,
    )


def _read(store: ocp.CheckpointManager, epoch: int) -> dict[str, np.ndarray]:
    """Read and verify; every way of being damaged becomes a ValueError that names the file."""
    place = f"checkpoint {Path(store.directory) / str(epoch)}"
    try:
        read = store.restore(
            epoch,
            args=ocp.args.Composite(
                arrays=ocp.args.StandardRestore(), checksums=ocp.args.JsonRestore()
            ),
        )
        arrays = {name: np.asarray(array) for name, array in read["arrays"].items()}
        checksums = read["checksums"]
    except Exception as error:  # orbax and tensorstore raise many kinds for damaged files
        raise ValueError(f"{place} cannot be read ({type(error).__name__}: {error})") from error
    found = {name: zlib.crc32(array.tobytes()) for name, array in arrays.items()}
    if found != checksums:
        wrong = sorted(n for n in {*found, *checksums} if found.get(n) != checksums.get(n))
        raise ValueError(f"{place} is damaged: wrong checksum of {wrong[0]}")
    return arrays


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
