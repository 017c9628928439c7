"""A data set in the forms that other libraries take, if they are installed.

PyTorch needs none: ``torch.utils.data.DataLoader(dataset)`` takes a Dataset as it is.
"""

import hashlib
import importlib
from typing import Any

import numpy as np

from hiermodel.checks import require
from hiermodel.datasets.dataset import Dataset

COLUMNS = ("sequences", "log_probs", "token_entropies", "trees")
"""What can be taken along, in this order."""


def to_grain(dataset: Dataset) -> Any:
    """A ``grain.MapDataset`` of the rows, to be shuffled, batched and so on.

    Raises:
        ImportError: if grain is not installed.

    Example:
        >>> try:
        ...     number = len(hm.datasets.to_grain(hm.datasets.load("paper", num=3)))
        ... except ImportError:
        ...     number = 3
        >>> number
        3
    """
    return _find("grain", "MapDataset", "to_grain").source(dataset)


def to_hugging_face(dataset: Dataset, columns: tuple[str, ...] = COLUMNS[:2]) -> Any:
    """A ``datasets.Dataset`` of Hugging Face, with columns as in :func:`to_arrow`.

    Raises:
        ImportError: if datasets is not installed.
        ValueError: for an unknown column.

    Example:
        >>> try:
        ...     number = len(hm.datasets.to_hugging_face(hm.datasets.load("paper", num=3)))
        ... except ImportError:
        ...     number = 3
        >>> number
        3
    """
    hugging_face_dataset = _find("datasets", "Dataset", "to_hugging_face")
    table = to_arrow(dataset, columns)
    # Its name in their cache: by default a hash of all bytes, which some versions cannot make.
    recipe = f"{describe(dataset)} {len(dataset)} {table.column_names}"
    fingerprint = hashlib.sha256(recipe.encode()).hexdigest()[:16]
    return hugging_face_dataset(table, fingerprint=fingerprint)


def to_arrow(dataset: Dataset, columns: tuple[str, ...] = COLUMNS[:2]) -> Any:
    """A ``pyarrow.Table`` with one row per sequence; rows of numbers are lists of fixed size.

    Raises:
        ImportError: if pyarrow is not installed.
        ValueError: for an unknown column.
    """
    _find("pyarrow", "table", "Arrow or Parquet")
    pyarrow = importlib.import_module("pyarrow")
    arrays = {}
    for name, values in as_arrays(dataset, columns).items():
        flat = pyarrow.array(values.reshape(-1))
        is_row = values.ndim == 2
        size = values.shape[-1]
        arrays[name] = pyarrow.FixedSizeListArray.from_arrays(flat, size) if is_row else flat
    return pyarrow.table(arrays, metadata=describe(dataset))


def as_arrays(dataset: Dataset, columns: tuple[str, ...]) -> dict[str, np.ndarray]:
    """The columns as arrays, sequences first; levels of the tree are tree_0, tree_1 and so on."""
    for column in columns:
        require(column in COLUMNS, "columns", column, "some of " + ", ".join(COLUMNS))
    arrays = {}
    for column in COLUMNS:
        if column == "trees" and column in columns:
            arrays |= {f"tree_{level}": nodes for level, nodes in enumerate(dataset.trees)}
        elif column in columns:
            arrays[column] = getattr(dataset, column)
    return arrays


def describe(dataset: Dataset) -> dict[str, str]:
    """What makes the data set again."""
    return {"name": dataset.name, "split": dataset.split, "seed": str(dataset.seed)}


def _find(package: str, attribute: str, user: str) -> Any:
    try:
        # A folder of that name on the path can be imported too, but holds nothing.
        return getattr(importlib.import_module(package), attribute)
    except (ImportError, AttributeError) as error:
        raise ImportError(
            f"{user} needs the package {package}, which is not installed or does not load "
            f"({error}): pip install {package}"
        ) from error
