"""How mitigations compare with a baseline: at equal test loss, with intervals, in words.

Since stopping earlier reduces copies for free, a mitigation is compared with the baseline stopped
where its test loss was as low.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from experiments import store
from experiments.claim import Claim, Statistic, claim_of_units, correct_together
from experiments.configs import RunConfig
from experiments.onsets import by_member
from experiments.stages.tradeoff import members_by_unit
from experiments.store import Measurements
from experiments.words import interval_text
from hiermodel.measures.onset import locate_minimum, smooth_log_time
from hiermodel.measures.units import (
    CONTRADICTED,
    NOT_LOCATED,
    SHOWN,
    TOO_FEW,
    by_training_set,
    interval_of_units,
)

BASELINE = "baseline"
EARLY = "early stop at the turn"
MEASURES = ("loss", "divergence", "copies", "auc")
"""What is compared: test loss, KL(exact ‖ model), excess copies, AUC of the calibrated attack."""


@dataclasses.dataclass(frozen=True)
class Point:
    """A mitigation at the moment when it would be stopped, with the baseline's to compare with.

    Attributes:
        values: by name, per unit: a training set, or for averages over disjoint
            data a pair of them; networks are averaged within it.
        at_equal_loss: the same of the baseline, stopped early where its test loss was as low as
            this one's, or at its minimum if it never was.
        at_minimum: the same of the baseline at its test-loss minimum.
        located: whether the moment is known for all networks; a test-loss minimum at the end of
            training is, since that is when training would be stopped.
    """

    values: Mapping[str, np.ndarray]
    at_equal_loss: Mapping[str, np.ndarray]
    at_minimum: Mapping[str, np.ndarray]
    located: bool = True


def curves(results: Mapping[str, Measurements], kind: str = "network") -> dict[str, np.ndarray]:
    """What is compared, (checkpoints, networks or averages), trained ones; and their epochs."""
    measured = results["tradeoff"]
    trained, epochs = store.trained_checkpoints(measured)
    picked = {
        "loss": measured[f"loss_{kind}"].values,
        "divergence": measured[f"divergence_{kind}"].values,
        "copies": measured[f"reproduction_{kind}"].values[:, :, 0],
        "auc": measured[f"auc_{kind}"].values[:, :, 1],
    }
    return {"epoch": epochs, **{name: values[trained] for name, values in picked.items()}}


def points(results: Mapping[str, Mapping[str, Measurements]], run: RunConfig) -> dict[str, Point]:
    """Every mitigation at its own test-loss minimum; and other ways to use the baseline.

    Curves are smoothed first: the first checkpoint at which a jittering test loss is as low as
    another's would be too early.
    """
    base = smoothed(curves(results[BASELINE]))
    alone, sets = members_by_unit(run, "network"), run.num_splits
    found = {
        name: at_stop(smoothed(curves(each)), base, alone, sets) for name, each in results.items()
    }
    for name, kind, num_units in (
        ("average of two, same data", "same", sets),
        ("average of two, disjoint data", "halves", sets // 2),
    ):
        groups = members_by_unit(run, kind)
        if groups and f"loss_{kind}" in results[BASELINE]["tradeoff"]:
            own = smoothed(curves(results[BASELINE], kind))
            found[name] = at_stop(own, base, groups, num_units)
    onsets = results[BASELINE]["onsets"]
    if "tau_turn" not in onsets:  # too few training sets
        return found
    turn = np.log(by_member(onsets["tau_turn"].values, run.num_seeds))
    nearest = np.abs(np.log(base["epoch"])[:, None] - turn).argmin(0)
    located = bool(onsets["tau_turn_located"].values.all())
    early_stop = at_stop(base, base, alone, sets, nearest)
    found[EARLY] = dataclasses.replace(early_stop, located=located)
    return found


def smoothed(found: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Curves along checkpoints, smoothed in log time; "epoch" stays as it is."""
    epochs = found["epoch"]
    return {
        name: curve if name == "epoch" else smooth_log_time(epochs, curve.T).T
        for name, curve in found.items()
    }


def at_stop(
    own: Mapping[str, np.ndarray],
    base: Mapping[str, np.ndarray],
    groups: Sequence[Sequence[int]],
    num_units: int,
    stops: np.ndarray | None = None,
) -> Point:
    """Each network or average at its stop, else its test-loss minimum; then means by unit.

    Args:
        own: its curves, (checkpoints, networks or averages): "epoch", "loss" on test sequences,
            and whatever is to be compared.
        base: the same curves of the baseline.
        groups: the baseline's networks that each is compared with.
        num_units: training sets, or pairs of them.
        stops: checkpoint at which each is stopped; None for its lowest test loss.
    """
    if stops is None:
        stops = locate_minimum(own["epoch"], own["loss"].T, width=0.0).checkpoint
    each = np.arange(len(groups))
    values = {name: curve[stops, each] for name, curve in own.items() if name != "epoch"}
    minima = locate_minimum(base["epoch"], base["loss"].T, width=0.0).checkpoint

    def of_baseline(losses: np.ndarray) -> dict[str, np.ndarray]:
        """The baseline where its loss was as low as each of these, mean over its networks."""
        rows = [
            [_at_loss(base, member, int(minima[member]), loss) for member in group]
            for group, loss in zip(groups, losses, strict=True)
        ]
        return {
            name: np.array([np.mean([each[name] for each in row]) for row in rows])
            for name in values
        }

    lowest = np.full(len(groups), -np.inf)

    def per_unit(part: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        return {name: by_training_set(row, num_units) for name, row in part.items()}

    at_equal_loss, at_minimum = of_baseline(values["loss"]), of_baseline(lowest)
    return Point(per_unit(values), per_unit(at_equal_loss), per_unit(at_minimum))


def _at_loss(
    base: Mapping[str, np.ndarray], member: int, minimum: int, loss: float
) -> dict[str, float]:
    """The baseline where its test loss, on its way down, first was as low as this."""
    way = np.minimum.accumulate(base["loss"][: minimum + 1, member])
    place = np.interp(-loss, -way, np.arange(minimum + 1))
    return {
        name: float(np.interp(place, np.arange(minimum + 1), curve[: minimum + 1, member]))
        for name, curve in base.items()
        if name != "epoch"
    }


def summarise(found: Mapping[str, Point]) -> list[dict[str, Any]]:
    """A row per mitigation: means over units, and differences from the baseline, with intervals."""
    claims = compared(found)
    rows = []
    for name, point in found.items():
        row: dict[str, Any] = {"name": name, "units": len(point.values["loss"])}
        for measure in MEASURES:
            row[measure] = _numbers(point.values[measure])
            row[f"{measure}_beyond"] = _numbers(_beyond(point, measure))
            saved = point.values[measure] - point.at_minimum[measure]
            row[f"{measure}_less_minimum"] = _numbers(saved)
        row["verdict"] = (
            _verdict(claims[name]) if name in claims else "what others are compared with"
        )
        rows.append(row)
    return rows


def compared(found: Mapping[str, Point]) -> dict[str, dict[str, Claim]]:
    """By mitigation, the claims on it; all of them corrected together, since some win by chance."""
    claims = {name: compare(name, point) for name, point in found.items() if name != BASELINE}
    corrected = iter(correct_together([each for own in claims.values() for each in own.values()]))
    return {name: {measure: next(corrected) for measure in own} for name, own in claims.items()}


def compare(name: str, point: Point) -> dict[str, Claim]:
    """By measure, the claim that a mitigation is better than the baseline at equal test loss."""
    statements = {
        "loss": "the test loss falls below the baseline's lowest",
        "copies": "fewer samples are copies than of the baseline at equal test loss",
        "auc": "an attacker gains less than from the baseline at equal test loss",
    }
    unit = "pair of training sets" if "disjoint data" in name else "training set"
    return {
        measure: claim_of_units(
            Statistic.known(-_beyond(point, measure), point.located),
            name=f"{measure}-{name}",
            statement=f"{name}: {statement}",
            about=f"{ABOUT[measure]}, baseline − mitigation, per {unit}",
            primary=True,
        )
        for measure, statement in statements.items()
    }


ABOUT = {
    "loss": "test loss in nats per position",
    "copies": "excess copies as a fraction of samples",
    "auc": "AUC of the calibrated attack",
}
"""What is compared, with its unit."""

FEWER, WEAKER, LOWER = "fewer copies", "a weaker attack", "a lower test loss than it ever has"
MORE, STRONGER = "more copies", "a stronger attack"
INCOMPARABLE = "not comparable: its test loss never falls to the baseline's first"
NO_BETTER = "no better than stopping the baseline early"


def _beyond(point: Point, measure: str) -> np.ndarray:
    return point.values[measure] - point.at_equal_loss[measure]


def _verdict(claims: Mapping[str, Claim]) -> str:
    """What units say of copies and of the attack, at equal test loss."""
    verdict = {measure: claim.verdict for measure, claim in claims.items()}
    for unknown in (TOO_FEW, NOT_LOCATED):
        if unknown in verdict.values():
            return unknown
    if verdict["loss"] == CONTRADICTED:
        return INCOMPARABLE
    words = {
        ("copies", SHOWN): FEWER,
        ("copies", CONTRADICTED): MORE,
        ("auc", SHOWN): WEAKER,
        ("auc", CONTRADICTED): STRONGER,
        ("loss", SHOWN): LOWER,
    }
    said = [word for (measure, what), word in words.items() if verdict[measure] == what]
    return " and ".join(said) if said else NO_BETTER


def sentences(rows: list[dict[str, Any]]) -> list[str]:
    """What helps and what does not, plainly."""

    def names(*words: str) -> str:
        of = [row["name"] for row in rows if any(word in row["verdict"] for word in words)]
        return ", ".join(of) or "none"

    said = [
        "Compared with the baseline stopped where its test loss was as low:",
        f"fewer copies: {names(FEWER)};",
        f"a weaker calibrated attack: {names(WEAKER)};",
        f"a lower test loss than the baseline ever has: {names(LOWER)};",
        f"more copies or a stronger attack: {names(MORE, STRONGER)};",
        f"not shown to be any better than stopping early: {names(NO_BETTER)}.",
    ]
    if names(INCOMPARABLE) != "none":
        said.append(f"Without a comparison, since they learn too little: {names(INCOMPARABLE)}.")
    if names(TOO_FEW) != "none":
        said.append(f"With too few training sets for a verdict: {names(TOO_FEW)}.")
    if names(NOT_LOCATED) != "none":
        said.append(f"Without a verdict, since the turn was not located: {names(NOT_LOCATED)}.")
    for row in rows:
        if row["name"] == EARLY:
            loss, copies, auc = (
                _text(row[f"{name}_less_minimum"]) for name in ("loss", "copies", "auc")
            )
            said.append(
                "Stopping the baseline at its turn rather than at its test-loss minimum changes "
                f"the test loss by {loss} nats per position, excess copies by {copies} of the "
                f"samples, the attack's AUC by {auc}."
            )
    said.append(
        "Verdicts are over training sets, with p-values corrected together by Holm's method; "
        "intervals are those of each comparison alone."
    )
    return said


def frontier_table(rows: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """The rows for a page: numbers at each one's own test-loss minimum, and beyond the baseline."""
    columns = {
        "test loss": ("loss", 3),
        "KL(exact ‖ model)": ("divergence", 3),
        "excess copies": ("copies", 3),
        "AUC": ("auc", 3),
        "copies beyond": ("copies_beyond", 2),
        "AUC beyond": ("auc_beyond", 2),
    }
    return pd.DataFrame(
        {
            "mitigation": row["name"],
            **{head: _text(row[name], digits) for head, (name, digits) in columns.items()},
            "at equal test loss": row["verdict"],
        }
        for row in rows
    )


def _text(numbers: Mapping[str, float | None], digits: int = 2) -> str:
    return interval_text(*(numbers[end] for end in ("estimate", "low", "high")), digits=digits)


def _numbers(units: np.ndarray) -> dict[str, float | None]:
    """Mean and interval; None for an end that is not there."""
    interval = interval_of_units(units)
    return store.plain({end: float(getattr(interval, end)) for end in ("estimate", "low", "high")})
