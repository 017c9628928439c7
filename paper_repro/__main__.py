"""``python -m paper_repro --scale laptop``: the main job."""

import dataclasses
import json
from pathlib import Path
from typing import Literal

import tyro

from experiments.runtime import prepare


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
    prepare(arguments.root)
    from figures.report import claims_as_text
    from paper_repro.reproduce import reproduce

    folder = reproduce(
        arguments.scale, arguments.root, seed=arguments.seed, progress=arguments.progress
    )
    print(claims_as_text(json.loads((folder / "report.json").read_text())))
    print(f"\nreport: {folder / 'report.html'}")


if __name__ == "__main__":
    main()
