"""``python -m paper_repro oracles``: what can be known of noisy data, by exact inference."""

import dataclasses
from pathlib import Path

from experiments import runtime, store
from experiments.oracle_study import BOUNDS, OracleStudy, run_study
from experiments.words import interval_text

LAPTOP = OracleStudy()


@dataclasses.dataclass(frozen=True)
class Arguments:
    """Measure the oracles and draw them; what is finished is not measured again.

    Attributes:
        study: grammars, sizes and seed.
        root: where run folders and the figure's folder ``oracles`` go.
    """

    study: OracleStudy = LAPTOP
    root: Path = Path("runs")


def write(study: OracleStudy, root: Path) -> Path:
    """Measure if need be, and write the figure with its numbers; returns their folder."""
    from figures import figure_ancestors, style  # after the process has been prepared

    measured = run_study(study, root)
    folder = root / "oracles"
    style.save(figure_ancestors.draw(measured), folder, "figure_ancestors")
    store.save_measurements(folder / "figure_ancestors.npz", measured)
    return folder


def as_text(measured: store.Measurements) -> str:
    """Where every level is lost, for a terminal."""
    lines = ["halfway from certainty to chance, t/T [95 %]"]
    for name, found in measured.items():
        if name.endswith("_halfway"):
            ends = (found.values[BOUNDS.index(bound)] for bound in ("estimate", "low", "high"))
            cells = [interval_text(a, b, c) for a, b, c in zip(*ends, strict=True)]
            lines.append(f"{name.removesuffix('_halfway'):<20} " + "  ".join(cells))
    return "\n".join(lines)


def draw_and_say(arguments: Arguments) -> None:
    """Do what the command line says."""
    runtime.prepare(arguments.root)
    folder = write(arguments.study, arguments.root)
    print(as_text(store.load_measurements(folder / "figure_ancestors.npz")))
    print(f"\nfigure: {folder / 'figure_ancestors.pdf'}")
