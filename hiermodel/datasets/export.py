"""Data sets as files. A file appears whole or not at all."""

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np

from hiermodel.datasets.adapters import COLUMNS, as_arrays, describe, to_arrow
from hiermodel.datasets.dataset import Dataset


def write_npz(dataset: Dataset, path: str | Path, columns: tuple[str, ...] = COLUMNS[:2]) -> None:
    """Write columns, and what makes them again, to a compressed .npz file.

    Args:
        dataset: what to write.
        path: the file; one that is there is replaced.
        columns: some of "sequences", "log_probs", "token_entropies" and "trees" (one array per
            level: tree_0, tree_1, …).

    Raises:
        ValueError: for an unknown column.

    Example:
        >>> import tempfile
        >>> data, folder = hm.datasets.load("paper", num=3), tempfile.mkdtemp()
        >>> hm.datasets.write_npz(data, folder + "/paper.npz")
    """
    # A stream, because NumPy adds .npz to the name of a file that has another ending.
    contents = as_arrays(dataset, columns) | describe(dataset)

    def write(temporary: Path) -> None:
        with temporary.open("wb") as stream:
            np.savez_compressed(stream, **contents)  # pyright: ignore[reportArgumentType]

    _write_whole(Path(path), write)


def write_parquet(
    dataset: Dataset, path: str | Path, columns: tuple[str, ...] = COLUMNS[:2]
) -> None:
    """Write columns to a Parquet file; arguments as in :func:`write_npz`.

    Raises:
        ImportError: if pyarrow is not installed.
        ValueError: for an unknown column.

    Example:
        >>> from importlib.util import find_spec
        >>> import tempfile
        >>> data, folder = hm.datasets.load("paper", num=3), tempfile.mkdtemp()
        >>> if find_spec("pyarrow"):
        ...     hm.datasets.write_parquet(data, folder + "/paper.parquet")
    """
    table = to_arrow(dataset, columns)
    import pyarrow.parquet  # pyright: ignore[reportMissingImports]  # to_arrow says if it is missing

    _write_whole(Path(path), lambda temporary: pyarrow.parquet.write_table(table, temporary))


def _write_whole(path: Path, write: Callable[[Path], None]) -> None:
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        write(temporary)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
