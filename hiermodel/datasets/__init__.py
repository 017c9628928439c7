"""Frozen, named data sets: the same bytes for everyone who says the same name.

``load("rhm-v32-m8-s2-L9")`` draws them; nothing is downloaded. Every sequence is a function of
(name, split, seed, its own number) in integer arithmetic alone, so neither the number of
sequences, workers or devices, nor precision, backend or version of JAX or NumPy changes a byte.
"""

from hiermodel.datasets.adapters import to_grain, to_hugging_face
from hiermodel.datasets.dataset import SPLITS, Dataset, load
from hiermodel.datasets.export import write_npz, write_parquet
from hiermodel.datasets.shipped import CHECKSUMS, checksum

__all__ = [
    "CHECKSUMS",
    "SPLITS",
    "Dataset",
    "checksum",
    "load",
    "to_grain",
    "to_hugging_face",
    "write_npz",
    "write_parquet",
]
