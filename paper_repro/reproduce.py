"""From settings to report: train, measure, test the claims, draw, write it up."""

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from experiments import configs, store
from experiments.measure import measure_run
from experiments.store import Measurements
from experiments.train import open_run, train_run
from figures import figure_1b, figure_4a, report, style
from paper_repro.claims import Claim, examine
from paper_repro.protocol import Protocol, protocol

FIGURES = {"1b": figure_1b, "4a": figure_4a}


def reproduce(
    scale: str, root: Path | str = "runs", *, seed: int | None = None, progress: bool = True
) -> Path:
    """Run everything that is not finished yet, and write the report.

    Args:
        scale: "smoke", "laptop" or "paper".
        root: where run folders and reports are.
        seed: in place of the protocol's own seed.
        progress: show progress bars.

    Returns:
        The folder with report.html, report.json, figures and measurements.

    Raises:
        ValueError: for an unknown scale or a negative seed.
    """
    settings = protocol(scale)
    if seed is not None:
        settings = dataclasses.replace(settings, run=dataclasses.replace(settings.run, seed=seed))
    train_run(settings.run, root, progress=progress)
    results = measure_run(
        settings.run, settings.evaluation, settings.generation, root, progress=progress
    )
    claims = examine(results, settings.run.num_splits, settings.run.num_seeds)
    name = scale if seed is None else f"{scale}-seed-{seed}"
    return _write_report(
        settings, results, claims, Path(root), Path(root) / f"report-{name}", scale
    )


def _write_report(
    settings: Protocol,
    results: Mapping[str, Measurements],
    claims: list[Claim],
    root: Path,
    folder: Path,
    scale: str,
) -> Path:
    run = open_run(settings.run, root)
    sections = []
    for name, module in FIGURES.items():
        paths = style.save(module.draw(results), folder, f"figure_{name}")
        sections.append(report.Section(f"Figure {name}", paths[1], module.CAPTION))
    for stage, measured in results.items():
        store.save_measurements(folder / f"{stage}.npz", measured)
    summary: dict[str, Any] = {
        "scale": scale,
        "purpose": settings.purpose,
        "command": f"python -m paper_repro --scale {scale}",
        "settings": configs.to_json(settings),
        "identity": configs.identity(settings.run),
        "provenance": json.loads(run.provenance_file.read_text()),
        "seconds": run.timings(),
        "claims": [_claim_json(claim) for claim in claims],
        "files": [f"{stage}.npz" for stage in results],
    }
    store.write_json(folder / "report.json", summary)
    report.write(folder / "report.html", summary, sections)
    return folder


def _claim_json(claim: Claim) -> dict[str, Any]:
    estimate, low, high, level = claim.interval
    return {
        "name": claim.name,
        "figure": claim.figure,
        "statement": claim.statement,
        "statistic": claim.statistic,
        "estimate": float(estimate),
        "low": float(low),
        "high": float(high),
        "level": level,
        "values": claim.values.tolist(),
        "verdict": claim.verdict,
        "note": claim.note,
    }
