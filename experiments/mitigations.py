"""What helps against copying: ``python -m experiments.mitigations``.

Every mitigation is trained on the same splits, from the same initial values, for as many network
passes as the baseline, and measured along its training: test loss and divergence from the exact
denoiser against copies among samples and what an attacker gains. Since stopping earlier reduces
copies for free, a mitigation is compared with the baseline stopped where its test loss was as low.
"""

import dataclasses
import importlib
import json
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
import tyro

from experiments import configs, runtime, signals, store
from experiments.advice_score import score_advice, score_table
from experiments.configs import RunConfig
from experiments.measure import measure_run
from experiments.packing import pack, train_pack
from experiments.store import Measurements
from experiments.study import laptop
from experiments.train import open_run
from hiermodel.measures.onset import locate_minimum
from hiermodel.measures.uncertainty import Interval, student_interval
from hiermodel.training.privacy import PrivacyConfig

BASELINE = "baseline"
WINDOW = (0.1, 0.2)
MEASURES = ("loss", "divergence", "copies", "auc")
"""What is compared: test loss, KL(exact ‖ model), excess copies, AUC of the calibrated attack."""


@dataclasses.dataclass(frozen=True)
class Plan:
    """The baseline, and how all runs are measured.

    Attributes:
        base: the baseline.
        evaluation: settings of that stage.
        generation: samples at every checkpoint.
        advice: of the advisor.
        tradeoff: of the stage that is compared.
    """

    base: RunConfig
    evaluation: configs.EvaluationConfig
    generation: configs.GenerationConfig
    advice: configs.AdviceConfig
    tradeoff: configs.TradeoffConfig


def laptop_plan() -> Plan:
    """The laptop scale's middle size, cut to 1000 epochs: two splits with two seeds each."""
    return Plan(
        dataclasses.replace(laptop.longer(laptop.BASE, 1000), num_seeds=2),
        configs.EvaluationConfig(num_sequences=200, num_noises=1, num_loss_noises=2),
        configs.GenerationConfig(num_samples=400),
        configs.AdviceConfig(num_sequences=300, num_noises=4, num_permutations=1000),
        configs.TradeoffConfig(num_sequences=500),
    )


def smoke_plan() -> Plan:
    """Every part once; its numbers mean nothing."""
    network = dataclasses.replace(laptop.NETWORK, num_leaves=4, width=16, num_layers=1, num_heads=2)
    base = dataclasses.replace(
        laptop.BASE,
        grammar=configs.GrammarConfig(depth=2),
        network=network,
        training=dataclasses.replace(laptop.BASE.training, num_epochs=40, batch_size=16),
        num_seeds=2,
        split_size=16,
        test_size=64,
        num_steps=20,
        first_checkpoint=8,
        num_checkpoints=3,
    )
    return Plan(
        base,
        configs.EvaluationConfig(num_sequences=32, num_noises=1, num_loss_noises=1),
        configs.GenerationConfig(num_samples=60, num_floor_repeats=2),
        configs.AdviceConfig(num_sequences=32, num_noises=1, num_permutations=100),
        configs.TradeoffConfig(num_sequences=32, num_loss_noises=4),
    )


def variants(base: RunConfig) -> dict[str, RunConfig]:
    """The baseline and all mitigations that are trained, by name."""

    def trained(**changes: Any) -> RunConfig:
        return dataclasses.replace(base, training=dataclasses.replace(base.training, **changes))

    def private(noise: float) -> RunConfig:
        return trained(privacy=PrivacyConfig(clip_norm=1.0, noise_multiplier=noise))

    quarter = max(1, base.split_size // 4)
    dropout = dataclasses.replace(base.network, dropout=0.1)
    return {
        BASELINE: base,
        "weight decay 0.1": trained(weight_decay=0.1),
        "weight decay 1": trained(weight_decay=1.0),
        "dropout 0.1": dataclasses.replace(base, network=dropout),
        f"less weight in t/T = {WINDOW[0]:g}…{WINDOW[1]:g}": trained(
            step_weighting="outside_window", weight_window=WINDOW
        ),
        "running average 0.99": trained(ema_decay=0.99),
        "a quarter five times (not deduplicated)": longer_pass(
            base, num_duplicated=quarter, num_copies=5
        ),
        "exact augmentation ×4": longer_pass(base, augmentation=4),
        "DP-SGD, noise 0.1": private(0.1),
        "DP-SGD, noise 1": private(1.0),
    }


def longer_pass(base: RunConfig, **changes: Any) -> RunConfig:
    """A run whose passes over the data are longer, with so many fewer of them."""
    run = dataclasses.replace(base, **changes)
    rows = run.split_size + run.num_duplicated * (run.num_copies - 1)
    factor = rows * run.augmentation / run.split_size

    def fewer(epochs: int) -> int:
        return max(1, round(epochs / factor))

    training = dataclasses.replace(
        run.training,
        num_epochs=fewer(run.training.num_epochs),
        decay_epochs=fewer(run.training.decay_epochs),
    )
    first = fewer(run.first_checkpoint)
    return dataclasses.replace(run, training=training, first_checkpoint=first)


def run_all(plan: Plan, root: Path, *, progress: bool = True) -> dict[str, dict[str, Measurements]]:
    """Train and measure everything; what is finished is not done again."""
    runs = variants(plan.base)
    for group in pack(runs.values()):
        train_pack(group, root, progress=progress)
    results = {}
    for name, run in runs.items():
        averages = dataclasses.replace(plan.tradeoff, averages=name == BASELINE)
        results[name] = measure_run(
            run,
            plan.evaluation,
            plan.generation,
            root,
            stages={"advice": plan.advice, "tradeoff": averages},
            progress=progress,
        )
    return results


@dataclasses.dataclass(frozen=True)
class Point:
    """A mitigation at the moment when it would be stopped, with the baseline's to compare with.

    Attributes:
        values: by name out of ``MEASURES``, per unit (a network, or an average of two).
        at_equal_loss: the same of the baseline, stopped early where its test loss was as low as
            this one's, or at its minimum if it never was.
    """

    values: Mapping[str, np.ndarray]
    at_equal_loss: Mapping[str, np.ndarray]


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
    """Every mitigation at its own test-loss minimum; and other ways to use the baseline."""
    base = curves(results[BASELINE])
    members = np.arange(base["loss"].shape[1])
    alone = [[member] for member in members]
    found = {name: _point(curves(each), base, alone) for name, each in results.items()}
    by_split = members.reshape(run.num_splits, run.num_seeds)
    same = [
        list(pair) for seeds in by_split for pair in seeds[: len(seeds) // 2 * 2].reshape(-1, 2)
    ]
    halves = [
        [int(by_split[first, seed]), int(by_split[first + 1, seed])]
        for first in range(0, run.num_splits - 1, 2)
        for seed in range(run.num_seeds)
    ]
    for name, kind, groups in (
        ("average of two, same data", "same", same),
        ("average of two, disjoint data", "halves", halves),
    ):
        found[name] = _point(curves(results[BASELINE], kind), base, groups)
    early = np.log(results[BASELINE]["onsets"]["tau_neighbour"].values)
    nearest = np.abs(np.log(base["epoch"])[:, None] - early).argmin(0)
    found["early stop at τ_bias"] = _point(base, base, alone, nearest)
    return found


def _point(
    own: Mapping[str, np.ndarray],
    base: Mapping[str, np.ndarray],
    groups: list[list[int]],
    stops: np.ndarray | None = None,
) -> Point:
    """Units at their stops (their test-loss minima), each with the baseline members it is of."""
    if stops is None:
        stops = locate_minimum(own["epoch"], own["loss"].T).checkpoint
    units = np.arange(len(groups))
    values = {name: own[name][stops, units] for name in MEASURES}
    matched: dict[str, list[float]] = {name: [] for name in MEASURES}
    minima = locate_minimum(base["epoch"], base["loss"].T).checkpoint
    for unit, group in enumerate(groups):
        of_members = [
            _at_loss(base, member, int(minima[member]), values["loss"][unit]) for member in group
        ]
        for name in MEASURES:
            matched[name].append(float(np.mean([each[name] for each in of_members])))
    return Point(values, {name: np.array(each) for name, each in matched.items()})


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
        row["verdict"] = _verdict(name, row)
        rows.append(row)
    return rows


def _verdict(name: str, row: Mapping[str, Any]) -> str:
    """What the intervals say of copies and of the attack, at equal test loss."""
    if name == BASELINE:
        return "what others are compared with"
    words = []
    for measure, less, more in (
        ("copies", "fewer copies", "more copies"),
        ("auc", "a weaker attack", "a stronger attack"),
    ):
        interval = row[f"{measure}_beyond"]
        if interval["high"] < 0:
            words.append(less)
        elif interval["low"] > 0:
            words.append(more)
    loss = row["loss_beyond"]
    if loss["high"] < 0:
        words.append("a lower test loss than the baseline ever has")
    elif loss["low"] > 0:
        words.append("a test loss that the baseline has from the start")
    return " and ".join(words) if words else "no better than stopping the baseline early"


def sentences(rows: list[dict[str, Any]]) -> list[str]:
    """What helps and what does not, plainly."""
    said = []
    good, bad = ("fewer copies", "a weaker attack"), ("more copies", "a stronger attack")
    others = [row for row in rows if row["name"] != BASELINE]

    def names(of: list[dict[str, Any]]) -> str:
        return ", ".join(row["name"] for row in of) or "nothing"

    helps = [row for row in others if any(word in row["verdict"] for word in good)]
    harms = [row for row in others if any(word in row["verdict"] for word in bad)]
    neither = [row for row in others if row not in helps and row not in harms]
    said.append(
        "Compared with the baseline stopped where its test loss was as low, these have fewer "
        f"copies or leak less to the calibrated attack: {names(helps)}."
    )
    said.append(f"These copy or leak more: {names(harms)}.")
    said.append(f"These are not shown to differ from simply stopping earlier: {names(neither)}.")
    return said


def _numbers(interval: Interval) -> dict[str, float]:
    return {end: float(getattr(interval, end)) for end in ("estimate", "low", "high")}


def summary(plan: Plan, results: dict[str, dict[str, Measurements]], root: Path) -> dict[str, Any]:
    """All that figure and tables are made from, as JSON values."""
    runs = variants(plan.base)
    rows = summarise(points(results, plan.base))
    scored = [row for name, run in runs.items() for row in score_advice(run, results[name])]
    controls = [results[name]["advice"].get("control_alarm") for name in runs]
    alarms = np.concatenate([each.values for each in controls if each is not None] or [[]])
    folders = {name: open_run(run, root) for name, run in runs.items()}
    privacy = {
        name: json.loads(folder.privacy_file.read_text())
        for name, folder in folders.items()
        if folder.privacy_file.exists()
    }
    return {
        "rows": rows,
        "sentences": sentences(rows),
        "curves": {
            **{name: _plain(curves(each)) for name, each in results.items()},
            "average of two, same data": _plain(curves(results[BASELINE], "same")),
            "average of two, disjoint data": _plain(curves(results[BASELINE], "halves")),
        },
        "advice": score_table(scored),
        "controls": {"alarmed": int(np.isfinite(alarms).sum()), "of": len(alarms)},
        "privacy": privacy,
        "settings": configs.to_json(plan),
        "provenance": store.provenance(),
        "seconds": sum(sum(folder.timings().values()) for folder in folders.values()),
    }


def _plain(curve: Mapping[str, np.ndarray]) -> dict[str, list]:
    return {name: np.round(values, 5).tolist() for name, values in curve.items()}


@dataclasses.dataclass(frozen=True)
class Arguments:
    """Train and measure all mitigations, and draw their frontier.

    Attributes:
        scale: laptop, or smoke to test the machinery.
        root: where run folders are; results go to ROOT/mitigations-SCALE.
        publish: also put figure, numbers and tables into figures/gallery.
        progress: show progress bars.
    """

    scale: Literal["laptop", "smoke"] = "laptop"
    root: Path = Path("runs")
    publish: bool = False
    progress: bool = True


def main(arguments: Arguments) -> Path:
    """Do it; returns the folder of the results."""
    begin = time.monotonic()
    plan = {"laptop": laptop_plan, "smoke": smoke_plan}[arguments.scale]()
    results = run_all(plan, arguments.root, progress=arguments.progress)
    folder = arguments.root / f"mitigations-{arguments.scale}"
    folder.mkdir(parents=True, exist_ok=True)
    store.write_json(folder / "mitigations.json", summary(plan, results, arguments.root))
    drawing = importlib.import_module("figures.mitigations")  # figures are built on experiments
    drawing.write(folder)
    if arguments.publish:
        drawing.publish(folder)
    sys.stdout.write(f"{folder}: {time.monotonic() - begin:.0f} s\n")
    return folder


if __name__ == "__main__":
    signals.install()
    given = tyro.cli(Arguments)
    runtime.prepare(given.root)
    main(given)
