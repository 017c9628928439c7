"""How mitigations compare with a baseline: at equal test loss, with intervals, in words."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from experiments import store
from experiments.configs import RunConfig
from experiments.stages.tradeoff import members_by_unit
from experiments.store import Measurements
from hiermodel.measures.onset import locate_minimum, smooth_log_time
from hiermodel.measures.uncertainty import Interval, student_interval

BASELINE = "baseline"
MEASURES = ("loss", "divergence", "copies", "auc")
"""What is compared: test loss, KL(exact ‖ model), excess copies, AUC of the calibrated attack."""


@dataclasses.dataclass(frozen=True)
class Point:
    """A mitigation at the moment when it would be stopped, with the baseline's to compare with.

    Attributes:
        values: by name out of ``MEASURES``, per unit (a network, or an average of two).
        at_equal_loss: the same of the baseline, stopped early where its test loss was as low as
            this one's, or at its minimum if it never was.
        at_minimum: the same of the baseline at its test-loss minimum.
    """

    values: Mapping[str, np.ndarray]
    at_equal_loss: Mapping[str, np.ndarray]
    at_minimum: Mapping[str, np.ndarray]


def curves(results: Mapping[str, Measurements], kind: str = "network") -> dict[str, np.ndarray]:
    """What is compared, (checkpoints, units), untrained networks left out; and their epochs."""
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
    base = _smoothed(curves(results[BASELINE]))
    alone = members_by_unit(run, "network")
    found = {name: _point(_smoothed(curves(each)), base, alone) for name, each in results.items()}
    for name, kind in (
        ("average of two, same data", "same"),
        ("average of two, disjoint data", "halves"),
    ):
        groups = members_by_unit(run, kind)
        found[name] = _point(_smoothed(curves(results[BASELINE], kind)), base, groups)
    early = np.log(results[BASELINE]["onsets"]["tau_neighbour"].values)
    nearest = np.abs(np.log(base["epoch"])[:, None] - early).argmin(0)
    found["early stop at τ_bias"] = _point(base, base, alone, nearest)
    return found


def _smoothed(found: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    epochs = found["epoch"]
    return {
        "epoch": epochs,
        **{name: smooth_log_time(epochs, found[name].T).T for name in MEASURES},
    }


def _point(
    own: Mapping[str, np.ndarray],
    base: Mapping[str, np.ndarray],
    groups: Sequence[Sequence[int]],
    stops: np.ndarray | None = None,
) -> Point:
    """Units at their stops (their test-loss minima), each with the baseline members it is of."""
    if stops is None:
        stops = locate_minimum(own["epoch"], own["loss"].T, width=0.0).checkpoint
    units = np.arange(len(groups))
    values = {name: own[name][stops, units] for name in MEASURES}
    minima = locate_minimum(base["epoch"], base["loss"].T, width=0.0).checkpoint

    def of_baseline(losses: np.ndarray) -> dict[str, np.ndarray]:
        """Where its members were as low as each unit's loss, mean over those that a unit is of."""
        rows = [
            [_at_loss(base, member, int(minima[member]), loss) for member in group]
            for group, loss in zip(groups, losses, strict=True)
        ]
        return {
            name: np.array([np.mean([each[name] for each in row]) for row in rows])
            for name in MEASURES
        }

    lowest = np.full(len(groups), -np.inf)
    return Point(values, of_baseline(values["loss"]), of_baseline(lowest))


def _at_loss(
    base: Mapping[str, np.ndarray], member: int, minimum: int, loss: float
) -> dict[str, float]:
    """The baseline where its test loss, on its way down, first was as low as this."""
    way = np.minimum.accumulate(base["loss"][: minimum + 1, member])
    place = np.interp(-loss, -way, np.arange(minimum + 1))
    return {
        name: float(np.interp(place, np.arange(minimum + 1), base[name][: minimum + 1, member]))
        for name in MEASURES
    }


def summarise(found: Mapping[str, Point]) -> list[dict[str, Any]]:
    """A row per mitigation: means, and differences from the baseline, with 95 % intervals."""
    rows = []
    for name, point in found.items():
        row: dict[str, Any] = {"name": name, "units": len(point.values["loss"])}
        for measure in MEASURES:
            row[measure] = _numbers(student_interval(point.values[measure]))
            beyond = point.values[measure] - point.at_equal_loss[measure]
            row[f"{measure}_beyond"] = _numbers(student_interval(beyond))
            saved = point.values[measure] - point.at_minimum[measure]
            row[f"{measure}_less_minimum"] = _numbers(student_interval(saved))
        row["verdict"] = _verdict(name, row)
        rows.append(row)
    return rows


FEWER, WEAKER, LOWER = "fewer copies", "a weaker attack", "a lower test loss than it ever has"
MORE, STRONGER = "more copies", "a stronger attack"
INCOMPARABLE = "not comparable: its test loss never falls to the baseline's first"
NO_BETTER = "no better than stopping the baseline early"


def _verdict(name: str, row: Mapping[str, Any]) -> str:
    """What the intervals say of copies and of the attack, at equal test loss."""
    if name == BASELINE:
        return "what others are compared with"
    if row["loss_beyond"]["low"] > 0:
        return INCOMPARABLE
    measures = (("copies_beyond", FEWER, MORE), ("auc_beyond", WEAKER, STRONGER))
    words = [
        less if row[measure]["high"] < 0 else more
        for measure, less, more in measures
        if row[measure]["high"] < 0 or row[measure]["low"] > 0
    ]
    words += [LOWER] if row["loss_beyond"]["high"] < 0 else []
    return " and ".join(words) if words else NO_BETTER


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
    for row in rows:
        if row["name"].startswith("early stop"):
            loss, copies, auc = (
                _text(row[f"{name}_less_minimum"]) for name in ("loss", "copies", "auc")
            )
            said.append(
                f"Stopping the baseline at τ_bias rather than at its test-loss minimum changes the "
                f"test loss by {loss} nats per position, excess copies by {copies} of the samples, "
                f"the attack's AUC by {auc}."
            )
    said.append("Intervals are for each comparison alone, not for all of them together.")
    return said


def _text(numbers: Mapping[str, float]) -> str:
    return f"{numbers['estimate']:.2g} [{numbers['low']:.2g}, {numbers['high']:.2g}]"


def _numbers(interval: Interval) -> dict[str, float]:
    return {end: float(getattr(interval, end)) for end in ("estimate", "low", "high")}
