"""What came out of a run, as rows of a table: a row per network, a column per number."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from experiments.configs import RunConfig
from experiments.onsets import beaten_levels, by_member, log_spacing, values_at
from experiments.runs.data import steps_per_epoch
from experiments.stages.evaluation import split_pairs
from experiments.store import Measurements
from experiments.worlds.world import World

BORDER = {
    "located": "lies within the measured range",
    "at_start": "may lie before its time",
    "at_end": "may lie after its time",
}
"""Ends of the names of flags beside the times of minima, and what they say."""


def units_of(world: World) -> Mapping[str, str]:
    """Of every column of results (less a number at its end): "unit; what it is"."""
    at_test = ", at the checkpoint nearest to tau_test"
    lowest = "epochs; training time at which the {} is lowest"
    onset, curve = world.bias_onset
    first = " (given at the first network of each pair)" if onset == "tau_pair" else ""
    times = {
        "tau_bias": lowest.format(curve) + first,
        "tau_test": lowest.format("test loss"),
        "tau_turn": lowest.format("divergence from networks of all other training sets"),
        "tau_level": lowest.format("divergence from filtered denoiser k"),
    }
    flags = {
        f"{column}_{end}": f"true or false; whether that minimum {what}"
        for column in times
        for end, what in BORDER.items()
    }
    loss, distance = world.units["loss"], world.units["distance"]
    return {
        "split": "number; the training set",
        "member": "number; the network among those of its training set",
        "steps_per_epoch": "optimiser steps",
        **times,
        **flags,
        "beaten": "true or false; whether networks of the run come nearer to the exact denoiser "
        "than filtered denoiser k",
        "ratio": "1; tau_test / tau_bias: the biased phase lasts as long as this factor above 1"
        + first,
        "log_spacing": "1; widest step between neighbouring checkpoints, in ln of the epoch",
        "test_loss": f"{loss}; denoising loss on the test set{at_test}",
        "test_loss_above_floor": f"{loss}; the same less the exact denoiser's{at_test}",
        "excess_copies": "fraction; samples that are sequences of the own training set − of another"
        f"{at_test}",
        "copies_above_fresh": "fraction; samples that are training sequences − fresh sequences "
        f"that are{at_test}",
        "gap": f"{distance}; own–other gap of nearest {world.examples}{at_test}",
        "memorised": "fraction; samples much nearer to one training example than to others"
        f"{at_test}",
    }


def rows_of(
    run: RunConfig, world: World, results: Mapping[str, Measurements]
) -> list[dict[str, Any]]:
    """What came out, per network; only columns whose stages are finished."""
    count = run.num_splits * run.num_seeds
    found: dict[str, np.ndarray] = {
        "split": np.repeat(np.arange(run.num_splits), run.num_seeds),
        "member": np.tile(np.arange(run.num_seeds), run.num_splits),
        "steps_per_epoch": np.full(count, steps_per_epoch(run)),
    }
    if "onsets" in results:
        found |= _onset_columns(run, world, results["onsets"])
        stages = [results[name] for name in ("evaluation", "comparison") if name in results]
        found["log_spacing"] = np.full(count, log_spacing(*stages))
        found |= _loss_columns(results["evaluation"], found["tau_test"])
        beaten = beaten_levels(results["evaluation"])
        found |= {f"beaten_{level}": np.full(count, own) for level, own in beaten.items()}
    if "onsets" in results and "comparison" in results:
        found |= _sample_columns(results["comparison"], found["tau_test"], found["split"])
    return [{name: values[row].item() for name, values in found.items()} for row in range(count)]


def _onset_columns(run: RunConfig, world: World, onsets: Measurements) -> dict[str, np.ndarray]:
    def with_border(name: str, column: str) -> dict[str, np.ndarray]:
        flags = {f"{column}_{end}": onsets[f"{name}_{end}"].values for end in BORDER}
        return {column: onsets[name].values, **flags}

    columns = with_border("tau_test", "tau_test")
    bias, test = world.bias_onset[0], columns["tau_test"]
    if bias in onsets:
        own = with_border(bias, "tau_bias")
        if onsets[bias].dims[0] == "pair":
            pairs = np.array(split_pairs(run.num_splits, run.num_seeds), int).reshape(-1, 2)
            own = {name: _at_first(values, pairs, len(test)) for name, values in own.items()}
            test = _at_first(np.sqrt(test[pairs].prod(1)), pairs, len(test))
        columns |= {**own, "ratio": test / own["tau_bias"]}
    if "tau_turn" in onsets:
        own = with_border("tau_turn", "tau_turn")
        columns |= {name: by_member(values, run.num_seeds) for name, values in own.items()}
    for end in ("", *(f"_{end}" for end in BORDER)) if "tau_level" in onsets else ():
        found = onsets[f"tau_level{end}"].values
        for level in range(found.shape[1]):  # the first of several relative times
            columns[f"tau_level{end}_{level}"] = found[:, level].reshape(len(found), -1)[:, 0]
    return columns


def _at_first(values: np.ndarray, pairs: np.ndarray, count: int) -> np.ndarray:
    """Values of pairs at the first network of each: elsewhere NaN, or true if not known."""
    spread = np.full(count, True) if values.dtype == bool else np.full(count, np.nan)
    spread[pairs[:, 0]] = values
    return spread


def _loss_columns(evaluation: Measurements, taus: np.ndarray) -> dict[str, np.ndarray]:
    loss = values_at(evaluation, "loss", taus)[:, 1]
    if "loss_floor" not in evaluation:
        return {"test_loss": loss}
    floor = evaluation["loss_floor"].values[:, 1]
    return {"test_loss": loss, "test_loss_above_floor": loss - floor}


def _sample_columns(
    comparison: Measurements, taus: np.ndarray, splits: np.ndarray
) -> dict[str, np.ndarray]:
    columns = {
        name: values_at(comparison, name, taus)
        for name in ("gap", "memorised")
        if name in comparison
    }
    if "copies_fresh" in comparison:
        fresh = comparison["copies_fresh"].values.mean(-1)[splits]
        columns["copies_above_fresh"] = values_at(comparison, "copies", taus) - fresh
    if "block_reproduction" in comparison:
        columns["excess_copies"] = values_at(comparison, "block_reproduction", taus)[:, 0]
    return columns
