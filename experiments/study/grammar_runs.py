"""Runs on sequences from a grammar, as studies know them (``experiments.study.kinds.Kind``)."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from experiments.configs import Protocol, RunConfig
from experiments.costs import Cost
from experiments.onsets import values_at
from experiments.progress import Progress
from experiments.store import Measurements
from experiments.study import measuring
from experiments.train import steps_per_epoch

CONFIG = RunConfig

_WHERE_LOWEST = "training time at which the {} is lowest"
_AT_TEST = ", at the checkpoint nearest to tau_test"

UNITS: Mapping[str, str] = {
    "split": "number; the training set",
    "member": "number; the network among those of its training set",
    "steps_per_epoch": "optimiser steps",
    "tau_bias": f"epochs; {_WHERE_LOWEST.format('nearest-neighbour divergence')}",
    **measuring.border_units("tau_bias"),
    "tau_test": f"epochs; {_WHERE_LOWEST.format('test loss')}",
    **measuring.border_units("tau_test"),
    "ratio": "1; tau_test / tau_bias: the biased phase lasts as long as this factor above 1",
    "tau_level": f"epochs; {_WHERE_LOWEST.format('divergence from filtered denoiser k')}",
    **measuring.border_units("tau_level"),
    "log_spacing": measuring.SPACING,
    "test_loss": f"nats per position; denoising loss on the test set{_AT_TEST}",
    "test_loss_above_floor": f"nats per position; the same less the exact denoiser's{_AT_TEST}",
    "excess_copies": "fraction; samples that are sequences of the own training set − of another"
    f"{_AT_TEST}",
    "copies_above_fresh": "fraction; samples that are training sequences − fresh sequences that are"
    f"{_AT_TEST}",
    "gap": f"symbols; own–other gap of nearest neighbours{_AT_TEST}",
}


def complete(config: RunConfig) -> RunConfig:
    """The network sees as many leaves and symbols as the grammar makes."""
    grammar = config.grammar
    network = dataclasses.replace(
        config.network,
        num_leaves=grammar.branching**grammar.depth,
        vocab_size=grammar.vocab_size,
    )
    return dataclasses.replace(config, network=network)


def check_measures(measures: Mapping[str, Any]) -> None:
    """Refuse stages that do not exist, and settings of another type (ValueError)."""
    measuring.check_measures(CONFIG.world, measures)


def measure(config: RunConfig, measures: Mapping[str, Any], root: Path, progress: bool) -> None:
    """Make the stages of a trained run."""
    measuring.measure(Protocol(config, measures), measures, root, progress)


def progress(config: RunConfig, measures: Mapping[str, Any], root: Path) -> dict[str, Progress]:
    """How far training and every stage are."""
    return measuring.progress(Protocol(config, measures), measures, root)


def cost(config: RunConfig, measures: Mapping[str, Any], root: Path) -> Cost:
    """Time of training and stages, spent and expected."""
    return measuring.cost(Protocol(config, measures), measures, root)


def load(
    config: RunConfig, measures: Mapping[str, Any] | None, root: Path
) -> dict[str, Measurements]:
    """Measurements by stage, as far as they are finished; without measures, what is there."""
    return measuring.load(Protocol(config, measures or {}), measures, root)


def rows(config: RunConfig, results: Mapping[str, Measurements]) -> list[dict[str, Any]]:
    """What came out, per network; only columns whose stages are finished."""
    found: dict[str, np.ndarray] = {
        "split": np.repeat(np.arange(config.num_splits), config.num_seeds),
        "member": np.tile(np.arange(config.num_seeds), config.num_splits),
        "steps_per_epoch": np.full(config.num_splits * config.num_seeds, steps_per_epoch(config)),
    }
    if "onsets" in results:
        found |= _onset_columns(results["onsets"])
        found["log_spacing"] = np.full(len(found["split"]), measuring.log_spacing(results))
        found |= _loss_columns(results["evaluation"], found["tau_test"])
    if "onsets" in results and "comparison" in results:
        found["ratio"] = found["tau_test"] / found["tau_bias"]
        found |= _sample_columns(results["comparison"], found["tau_test"], found["split"])
    return [
        {name: values[member].item() for name, values in found.items()}
        for member in range(len(found["split"]))
    ]


def _onset_columns(onsets: Measurements) -> dict[str, np.ndarray]:
    columns = {}
    for column, name in (("tau_bias", "tau_neighbour"), ("tau_test", "tau_test")):
        if name in onsets:
            columns[column] = onsets[name].values
            columns |= measuring.border_columns(onsets, name, column)
    for level, tau in enumerate(onsets["tau_level"].values.T):
        columns[f"tau_level_{level}"] = tau
        for end in measuring.BORDER:
            columns[f"tau_level_{end}_{level}"] = onsets[f"tau_level_{end}"].values[:, level]
    return columns


def _loss_columns(evaluation: Measurements, taus: np.ndarray) -> dict[str, np.ndarray]:
    loss = values_at(evaluation, "loss", taus)[:, 1]
    floor = evaluation["loss_floor"].values[:, 1]
    return {"test_loss": loss, "test_loss_above_floor": loss - floor}


def _sample_columns(
    comparison: Measurements, taus: np.ndarray, splits: np.ndarray
) -> dict[str, np.ndarray]:
    fresh = comparison["copies_fresh"].values.mean(-1)[splits]
    columns = {"copies_above_fresh": values_at(comparison, "copies", taus) - fresh}
    if "gap" in comparison:
        columns["excess_copies"] = values_at(comparison, "block_reproduction", taus)[:, 0]
        columns["gap"] = values_at(comparison, "gap", taus)
    return columns
