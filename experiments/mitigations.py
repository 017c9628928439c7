"""What helps against copying: ``python -m experiments mitigations``.

Every mitigation is trained on the same splits, from the same initial values, for as many network
passes as the baseline, and measured along its training: test loss and divergence from the exact
denoiser against copies among samples and what an attacker gains. Since stopping earlier reduces
copies for free, a mitigation is compared with the baseline stopped where its test loss was as low.
"""

import dataclasses
import importlib
import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np

from experiments import configs, laptop, runtime, store
from experiments.advice_score import score_advice, score_table
from experiments.configs import Protocol, RunConfig
from experiments.frontier import BASELINE, curves, points, sentences, summarise
from experiments.measure import measure_run
from experiments.runs.training import open_run, train_runs
from experiments.stages.advice import AdviceConfig
from experiments.stages.evaluation import EvaluationConfig
from experiments.stages.generation import ComparisonConfig, SamplesConfig
from experiments.stages.tradeoff import TradeoffConfig
from experiments.store import Measurements
from hiermodel.training.privacy import PrivacyConfig

WINDOW = (0.1, 0.2)


@dataclasses.dataclass(frozen=True)
class Plan:
    """The baseline, and how all runs are measured.

    Attributes:
        base: the baseline.
        stages: settings of measuring stages, samples at every checkpoint among them.
    """

    base: RunConfig
    stages: Mapping[str, Any]


def laptop_plan() -> Plan:
    """The laptop scale's middle size, cut to 1000 epochs: two splits with two seeds each."""
    return Plan(
        dataclasses.replace(laptop.longer(laptop.BASE, 1000), num_seeds=2),
        {
            "evaluation": EvaluationConfig(num_sequences=200, num_noises=1, num_loss_noises=2),
            "samples": SamplesConfig(num_samples=400),
            "comparison": ComparisonConfig(),
            "advice": AdviceConfig(num_sequences=300, num_noises=4, num_permutations=1000),
            "tradeoff": TradeoffConfig(num_sequences=500),
        },
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
        {
            "evaluation": EvaluationConfig(num_sequences=32, num_noises=1, num_loss_noises=1),
            "samples": SamplesConfig(num_samples=60),
            "comparison": ComparisonConfig(num_floor_repeats=2),
            "advice": AdviceConfig(num_sequences=32, num_noises=1, num_permutations=100),
            "tradeoff": TradeoffConfig(num_sequences=32, num_loss_noises=4),
        },
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
    train_runs(list(runs.values()), root, progress=progress)
    results = {}
    for name, run in runs.items():
        averages = dataclasses.replace(plan.stages["tradeoff"], averages=name == BASELINE)
        own = Protocol(run, {**plan.stages, "tradeoff": averages})
        results[name] = measure_run(own, root, progress=progress)
    return results


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
        "settings": {
            "base": configs.to_json(plan.base),
            **{name: configs.to_json(own) for name, own in plan.stages.items()},
        },
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
    print(f"{folder}: {time.monotonic() - begin:.0f} s")
    return folder


def make(arguments: Arguments) -> None:
    """Do what the command line says."""
    runtime.prepare(arguments.root)
    main(arguments)
