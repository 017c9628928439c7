"""Runs on images, as studies know them (``experiments.study.kinds.Kind``)."""

import dataclasses
import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from experiments.configs import Protocol
from experiments.costs import Cost
from experiments.images.configs import (
    ImageDataConfig,
    ImageRunConfig,
)
from experiments.images.data import load_images
from experiments.onsets import values_at
from experiments.progress import Progress
from experiments.stages.evaluation import split_pairs
from experiments.store import Measurements
from experiments.study import measuring
from experiments.train import steps_per_epoch

CONFIG = ImageRunConfig

_AT_TEST = ", at the checkpoint nearest to tau_test"
_FIRST = "; given at the first network of each pair of networks on disjoint splits"

UNITS: Mapping[str, str] = {
    "split": "number; the training set",
    "member": "number; the network among those of its training set",
    "steps_per_epoch": "optimiser steps",
    "tau_bias": f"epochs; training time at which paired samples are most alike{_FIRST}",
    **measuring.border_units("tau_bias"),
    "tau_test": "epochs; training time at which the test loss is lowest",
    **measuring.border_units("tau_test"),
    "ratio": f"1; tau_test, geometric mean of both, over tau_bias{_FIRST}",
    "log_spacing": measuring.SPACING,
    "test_loss": f"squared error per pixel; denoising loss on the test set{_AT_TEST}",
    "gap": f"pixel units; own–other gap of nearest images{_AT_TEST}",
    "memorised": f"fraction; samples much nearer to one training image than to others{_AT_TEST}",
}


def complete(config: ImageRunConfig) -> ImageRunConfig:
    """The network sees images of the size that they have."""
    whole = dataclasses.replace(config.data, filtering="none", filter_level=0)
    height, width, channels = _shape_of(whole)
    network = dataclasses.replace(config.network, height=height, width=width, channels=channels)
    return dataclasses.replace(config, network=network)


@functools.cache
def _shape_of(data: ImageDataConfig) -> tuple[int, ...]:
    return load_images(data).shape[1:]


def check_measures(measures: Mapping[str, Any]) -> None:
    """Refuse stages that do not exist, and settings of another type (ValueError)."""
    measuring.check_measures(CONFIG.world, measures)


def measure(
    config: ImageRunConfig, measures: Mapping[str, Any], root: Path, progress: bool
) -> None:
    """Make the stages of a trained run."""
    measuring.measure(Protocol(config, measures), measures, root, progress)


def progress(
    config: ImageRunConfig, measures: Mapping[str, Any], root: Path
) -> dict[str, Progress]:
    """How far training and every stage are."""
    return measuring.progress(Protocol(config, measures), measures, root)


def cost(config: ImageRunConfig, measures: Mapping[str, Any], root: Path) -> Cost:
    """Time of training and stages, spent and expected."""
    return measuring.cost(Protocol(config, measures), measures, root)


def load(
    config: ImageRunConfig, measures: Mapping[str, Any] | None, root: Path
) -> dict[str, Measurements]:
    """Measurements by stage, as far as they are finished; without measures, what is there."""
    return measuring.load(Protocol(config, measures or {}), measures, root)


def rows(config: ImageRunConfig, results: Mapping[str, Measurements]) -> list[dict[str, Any]]:
    """What came out, per network; only columns whose stages are finished."""
    count = config.num_splits * config.num_seeds
    found: dict[str, np.ndarray] = {
        "split": np.repeat(np.arange(config.num_splits), config.num_seeds),
        "member": np.tile(np.arange(config.num_seeds), config.num_splits),
        "steps_per_epoch": np.full(count, steps_per_epoch(config)),
    }
    if "onsets" in results:
        onsets = results["onsets"]
        found["tau_test"] = onsets["tau_test"].values
        found |= measuring.border_columns(onsets, "tau_test", "tau_test")
        found["log_spacing"] = np.full(count, measuring.log_spacing(results))
        found["test_loss"] = values_at(results["evaluation"], "loss", found["tau_test"])[:, 1]
        if "tau_pair" in onsets:
            found |= _pair_columns(config, onsets)
    if "onsets" in results and "comparison" in results:
        for name in ("gap", "memorised"):
            if name in results["comparison"]:
                found[name] = values_at(results["comparison"], name, found["tau_test"])
    return [{name: values[row].item() for name, values in found.items()} for row in range(count)]


def _pair_columns(config: ImageRunConfig, onsets: Measurements) -> dict[str, np.ndarray]:
    """NaN, and not located, for networks that are not the first of their pair."""
    pairs = split_pairs(config.num_splits, config.num_seeds)
    count = config.num_splits * config.num_seeds
    columns = {name: np.full(count, np.nan) for name in ("tau_bias", "ratio")}
    of_pairs = measuring.border_columns(onsets, "tau_pair", "tau_bias")
    columns |= {name: np.full(count, not name.endswith("located")) for name in of_pairs}
    for number, (first, second) in enumerate(pairs):  # independent pairs come first
        tau = onsets["tau_pair"].values[number]
        test = np.sqrt(np.prod(onsets["tau_test"].values[[first, second]]))
        columns["tau_bias"][first], columns["ratio"][first] = tau, test / tau
        for name, values in of_pairs.items():
            columns[name][first] = values[number]
    return columns
