"""Write a named data set to a file: ``python -m hiermodel.datasets NAME --num N --out FILE``."""

import argparse
import sys
from pathlib import Path

from hiermodel.checks import InputError
from hiermodel.datasets.adapters import COLUMNS
from hiermodel.datasets.dataset import SPLITS, load
from hiermodel.datasets.export import write_npz, write_parquet
from hiermodel.datasets.names import FORMAT
from hiermodel.datasets.shipped import CHECKSUMS

WRITERS = {".npz": write_npz, ".parquet": write_parquet}


def main(arguments: list[str] | None = None) -> None:
    """Parse the command line, and write the file."""
    asked = _parser().parse_args(arguments)
    write = WRITERS.get(asked.out.suffix)
    try:
        if write is None:
            raise InputError(
                f"out={str(asked.out)!r} is not allowed: out must end in {' or '.join(WRITERS)}"
            )
        dataset = load(asked.name, split=asked.split, num=asked.num, seed=asked.seed)
        write(dataset, asked.out, ("sequences", *asked.also))
    except (InputError, ImportError, OSError) as error:
        sys.exit(f"error: {error}")
    print(f"{asked.out}: {len(dataset)} sequences of {dataset.name}, {dataset.split}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "python -m hiermodel.datasets", description="Write a named data set to a file."
    )
    names = ", ".join(CHECKSUMS)
    parser.add_argument("name", help=f"{names}, or any {FORMAT}; -g{{N}} after it: other rules")
    parser.add_argument("--out", type=Path, required=True, help="file, .npz or .parquet")
    parser.add_argument("--num", type=int, help="sequences; default: 100000 of train, else 10000")
    parser.add_argument("--split", default="train", choices=SPLITS)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--also", nargs="*", default=["log_probs"], choices=COLUMNS[1:], help="what else to write"
    )
    return parser


if __name__ == "__main__":
    main()
