"""A tree U-Net against a transformer and a perceptron, at equal test loss and at equal compute."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from experiments.claim import Claim, Statistic, claim_of_units
from experiments.costs import forward_operations
from experiments.frontier import Point, at_stop, smoothed
from experiments.laptop import BASE, MEASURES, TRANSFORMER
from experiments.onsets import TEST, beaten_levels
from experiments.runs.data import num_training_rows
from experiments.store import trained_checkpoints
from experiments.study import Study, Variants
from experiments.study.answers import Answer, log_times, number, per_unit
from experiments.study.outcome import Made, Outcome
from hiermodel.measures.units import by_training_set, interval_of_units
from hiermodel.networks.mlp import MLPConfig

NAME = "architecture"
TREE = "tree U-Net"

ARCHITECTURES: Mapping[str, Mapping[str, Any]] = {
    TREE: {},
    "transformer": {
        "network": TRANSFORMER,
        "training.num_epochs": 1500,
    },
    "perceptron": {
        "network": MLPConfig(num_leaves=16, vocab_size=6, width=256, num_blocks=3),
        "training.num_epochs": 800,
    },
}
"""What each changes. All see the same training sets, batches of the same size and the same rate."""


def curves_of(made: Made) -> dict[str, np.ndarray]:
    """Along the checkpoints that are sampled, per training set: (checkpoints, sets).

    Test loss above the exact denoiser's in nats per position, own–other gap in symbols, excess
    copies as a fraction; and the operations of training up to there, in 10^12.
    """
    run, evaluation, comparison = (
        made.config,
        made.results["evaluation"],
        made.results["comparison"],
    )
    trained, epochs = trained_checkpoints(comparison)
    rows = np.searchsorted(evaluation["epoch"].values, epochs)

    def per_set(values: np.ndarray) -> np.ndarray:
        return by_training_set(values, run.num_splits, axis=1)

    passes = epochs * num_training_rows(run)
    operations = 3.0 * forward_operations(run.network) * passes / 1e12
    return {
        "epoch": epochs,
        "loss": per_set(evaluation["distillation"].values[rows][:, :, TEST]),
        "gap": comparison["gap_of_sets"].values[trained],
        "copies": per_set(comparison["block_reproduction"].values[trained][:, :, 0]),
        "compute": np.repeat(operations[:, None], run.num_splits, 1),
    }


def answer(found: Outcome) -> Answer:
    """Each against the tree U-Net, as a paragraph and as a table."""
    made = {each.name: each for each in found.runs}
    curves = {name: smoothed(curves_of(each)) for name, each in made.items()}
    alone = [(split,) for split in range(found.study.base.num_splits)]
    at = {name: at_stop(own, curves[TREE], alone, len(alone)) for name, own in curves.items()}
    phase = {name: _phase(rows) for name, rows in found.table.groupby("architecture")}
    claims, sentences = [], []
    for name in made:
        if name != TREE:
            longer = phase[name] - phase[TREE]
            own = _claims(name, at[name], curves[name], at[TREE], longer)
            claims += own.values()
            sentences.append(_sentence(name, own))
    table = pd.DataFrame([_row(each, at[name]) for name, each in made.items()])
    return Answer(" ".join(sentences), claims, {"Each at its own lowest test loss": table})


def best_within(curves: Mapping[str, np.ndarray], compute: np.ndarray) -> np.ndarray:
    """The lowest test loss of each network with at most this many operations."""
    allowed = curves["compute"] <= compute
    return np.where(allowed | (np.arange(len(allowed)) == 0)[:, None], curves["loss"], np.inf).min(
        0
    )


def _claims(
    name: str,
    point: Point,
    curves: Mapping[str, np.ndarray],
    tree: Point,
    longer: Statistic,
) -> dict[str, Claim]:
    within = best_within(curves, tree.values["compute"])
    statistics = {
        "loss": (
            "its lowest test loss lies above the tree U-Net's",
            "difference in nats per position",
            Statistic.known(point.values["loss"] - tree.values["loss"]),
        ),
        "compute": (
            "with the operations that the tree U-Net takes to its lowest test loss, its own lies "
            "above",
            "difference in nats per position",
            Statistic.known(within - tree.values["loss"]),
        ),
        "gap": (
            "at equal test loss its samples lean more to their training set",
            "difference of own–other gaps in symbols",
            Statistic.known(point.values["gap"] - point.at_equal_loss["gap"]),
        ),
        "copies": (
            "at equal test loss more of its samples are copies",
            "difference of excess copies as fractions of samples",
            Statistic.known(point.values["copies"] - point.at_equal_loss["copies"]),
        ),
        "phase": (
            "from turn to lowest test loss its training lasts longer, as a factor",
            "difference of ln(τ_test/τ_turn)",
            longer,
        ),
    }
    return {
        kind: claim_of_units(
            statistic,
            name=f"{name}-{kind}",
            figure=NAME,
            statement=f"{name}: {statement}",
            about=f"{about}, per training set",
        )
        for kind, (statement, about, statistic) in statistics.items()
    }


def _phase(rows: pd.DataFrame) -> Statistic:
    """Ln of how many times later the test loss is lowest than networks begin to part, per set."""
    return per_unit(rows, log_times(rows, "tau_test") - log_times(rows, "tau_turn"))


def _sentence(name: str, claims: Mapping[str, Claim]) -> str:
    loss, compute, gap, copies, phase = (
        f"{number(claim.interval)} ({claim.verdict})" for claim in claims.values()
    )
    return (
        f"The {name} against the tree U-Net: its lowest test loss is higher by {loss} nats per "
        f"position, and by {compute} with no more operations than the tree U-Net takes to its own; "
        f"at equal test loss its samples are nearer to their training set by {gap} symbols, and "
        f"more often copies by {copies}; ln(τ_test/τ_turn) differs by {phase}."
    )


def _row(made: Made, point: Point) -> dict[str, Any]:
    levels = beaten_levels(made.results["evaluation"])
    beaten = [str(level) for level, is_beaten in levels.items() if is_beaten]

    def text(name: str) -> str:
        return number(interval_of_units(point.values[name]))

    return {
        "architecture": made.name,
        "test loss above the exact denoiser's (nats per position)": text("loss"),
        "own–other gap (symbols)": text("gap"),
        "excess copies": text("copies"),
        "operations (10^12)": text("compute"),
        "beaten levels k": ", ".join(reversed(beaten)) or "none",
    }


STUDY = Study(
    name=NAME,
    question="How do networks of other architectures differ from the tree U-Net, at equal test "
    "loss and at equal compute?",
    base=BASE,
    axes=(Variants("architecture", ARCHITECTURES),),
    measures=MEASURES,
    seeds=(1,),
    minutes=60,
    answer=answer,
)
