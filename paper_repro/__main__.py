"""``python -m paper_repro --scale laptop``: the main job.

Exit codes: 0 done; 1 an error, said on stderr; 2 unknown arguments; 75 stopped by SIGTERM, 130 by
SIGINT, with all that is done kept: the same command goes on from there.
"""

import dataclasses
import json
import sys
from pathlib import Path
from typing import Literal

import tyro

from experiments import signals


@dataclasses.dataclass(frozen=True)
class Arguments:
    """Train, measure, test the paper's claims and write a report; go on where it stopped.

    Attributes:
        scale: smoke (a minute, meaningless numbers), laptop (ten minutes) or paper (GPU or TPU).
        root: where run folders and reports go.
        seed: other data, initial values and noise than the protocol's.
        progress: show progress bars.
    """

    scale: Literal["smoke", "laptop", "paper"] = "laptop"
    root: Path = Path("runs")
    seed: int | None = None
    progress: bool = True


def main() -> None:
    """Parse the command line and run."""
    arguments = tyro.cli(Arguments)
    signals.install()  # first of all: imports take seconds
    from experiments.runtime import prepare

    prepare(arguments.root)
    from figures.report import claims_as_text
    from hiermodel.training.folders import FolderInUseError
    from paper_repro.reproduce import reproduce

    try:
        folder = reproduce(
            arguments.scale, arguments.root, seed=arguments.seed, progress=arguments.progress
        )
    except FolderInUseError as error:
        sys.exit(str(error))
    print(claims_as_text(json.loads((folder / "report.json").read_text())))
    print(f"\nreport: {folder / 'report.html'}")


if __name__ == "__main__":
    main()
