"""Frozen, named data sets: the same bytes for everyone who says the same name.

``load("rhm-v32-m8-s2-L9")`` draws them; nothing is downloaded. Every sequence is a function of
(name, split, seed, its own number) in integer arithmetic alone, so neither the number of
sequences, workers or devices, nor JAX's precision, backend or version changes a byte. One step is
not in integers: the weights of "paper" come from NumPy's legacy generator and its exp, before they
are rounded to multiples of 2^−32. Checksums would show a difference.
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
