"""When things happen during training: the minima of the measured curves (science.md#onsets)."""

import dataclasses
from collections.abc import Callable, Mapping

import numpy as np

from experiments.claim import Statistic
from experiments.configs import RunConfig
from experiments.store import Measurement, Measurements, trained_checkpoints
from hiermodel.measures.onset import Minimum, locate_minimum, minimum_after_transient
from hiermodel.measures.units import by_training_set

MIN_CHECKPOINTS = 3
"""Fewer have no minimum inside."""

TRAIN, TEST = 0, 1
"""Places of both sets along the dimension "set"."""

LEVEL = "the model–oracle divergence of the level"
SPLIT = "the sample-split divergence, after its transient,"
TURN = "the divergence from other training sets, after its transient,"
EXCESS = "the sample-split divergence above its control, after the transient of the former,"
PAIR = "the dissimilarity of paired samples, after its transient,"
NEIGHBOUR = "the nearest-neighbour divergence"
DERIVABLE = f"{NEIGHBOUR} of derivable samples"
"""What is lowest at an onset."""


def find_onsets(evaluation: Measurements, comparison: Measurements) -> dict[str, Measurement]:
    """Positions of the minima, in epochs, with flags for lying inside the measured range.

    A minimum that is not located lies at an end of the range, or there is none; flags "at_start"
    and "at_end" say which, both where nothing bounds it.

    Untrained networks (epoch 0) have no place on a logarithmic axis and are left out.

    Args:
        evaluation: measurements of that stage, along checkpoints.
        comparison: measurements of that stage, along its own checkpoints; or nothing, for the
            minima of the other stage alone.
    """
    onsets: dict[str, Measurement] = {}
    if "dissimilarity" in comparison:
        comparison = _of_disjoint_pairs(evaluation, comparison)
    # Given the inputs, distillation is the loss's expectation: the same minimum, less noise.
    distilled = "distillation" in evaluation
    loss = "distillation" if distilled else "loss"
    what = "the test loss's expectation given the inputs" if distilled else "the test loss"
    for name, measured, curve, locate, of in (
        ("tau_test", evaluation, loss, locate_minimum, what),
        ("tau_level", evaluation, "model_oracle", locate_minimum, LEVEL),
        ("tau_split", evaluation, "sample_split", minimum_after_transient, SPLIT),
        ("tau_turn", evaluation, "split_divergence", _pseudo_minimum, TURN),
        ("tau_excess", evaluation, "split_excess", _after_split(evaluation), EXCESS),
        ("tau_pair", comparison, "dissimilarity", minimum_after_transient, PAIR),
        ("tau_neighbour", comparison, "neighbour_divergence", locate_minimum, NEIGHBOUR),
        ("tau_derivable", comparison, "neighbour_divergence_derivable", locate_minimum, DERIVABLE),
    ):
        if curve in measured:
            dims = tuple(dim for dim in measured[curve].dims[1:] if dim != "set")
            onsets |= _with_flags(name, _minima(measured, curve, locate), dims, of)
    return onsets


def _with_flags(
    name: str, minimum: Minimum, dims: tuple[str, ...], of: str
) -> dict[str, Measurement]:
    found = {name: Measurement(minimum.time, dims, "epochs", f"epoch at which {of} is lowest")}
    for end, flag, what in (
        ("located", minimum.located, "lies within the range"),
        ("at_start", minimum.at_start, "may lie before its time"),
        ("at_end", minimum.at_end, "may lie after its time"),
    ):
        about = f"whether that minimum {what}"
        found[f"{name}_{end}"] = Measurement(flag, dims, "true or false", about)
    return found


def log_times(onsets: Measurements, name: str) -> Statistic:
    """Ln of the times of minima, −inf to inf where they are not located."""
    at_start, at_end = (onsets[f"{name}_{end}"].values for end in ("at_start", "at_end"))
    return Statistic.bounded(np.log(onsets[name].values), at_start, at_end)


def by_member(of_sets: np.ndarray, num_seeds: int) -> np.ndarray:
    """What is known of each training set at its first time, (split, …), for each member."""
    return np.repeat(of_sets.reshape(len(of_sets), -1)[:, 0], num_seeds)


def ensemble(num_splits: int, num_seeds: int) -> dict[str, Measurement]:
    """Which networks share a training set, beside measurements that have one value per network."""
    splits = np.repeat(np.arange(num_splits), num_seeds)
    about = "training set of each network"
    return {"split": Measurement(splits, ("member",), "number", about)}


def num_splits(results: Mapping[str, Measurements]) -> int:
    """How many training sets a run has, from its results with "ensemble" among them."""
    return int(results["ensemble"]["split"].values.max()) + 1


def by_pair(results: Mapping[str, Measurements], curves: np.ndarray) -> np.ndarray:
    """Means over each pair of training sets: (points, pairs of networks, …) to (points, pairs, …).

    Where there are more pairs of networks, only those count that share none, which come first.
    """
    sets, networks = num_splits(results), len(results["ensemble"]["split"].values)
    pairs = sets // 2
    return by_training_set(curves[:, : pairs * (networks // sets)], pairs, axis=1)


def with_onsets(config: RunConfig, results: Mapping[str, Measurements]) -> dict[str, Measurements]:
    """Results by stage, with "onsets" as far as they are known, and "ensemble" beside them."""
    found = dict(results)
    if "evaluation" in found:
        found["onsets"] = find_onsets(found["evaluation"], found.get("comparison", {}))
    found["ensemble"] = ensemble(config.num_splits, config.num_seeds)
    return found


def log_spacing(*stages: Measurements) -> float:
    """The widest step between neighbouring checkpoints of these stages, in ln of the epoch."""
    return max(float(np.diff(np.log(trained_checkpoints(own)[1])).max()) for own in stages)


def nearest_epochs(measured: Measurements, taus: np.ndarray) -> np.ndarray:
    """For each time, the epoch of the checkpoint nearest to it in log time."""
    _, epochs = trained_checkpoints(measured)
    distance = np.abs(np.log(epochs)[:, None] - np.log(taus).reshape(1, -1))
    return epochs[distance.argmin(0)].reshape(np.shape(taus))


def values_at(measured: Measurements, name: str, taus: np.ndarray) -> np.ndarray:
    """Each member's value, (member, …), at the checkpoint nearest to its own time."""
    rows = np.searchsorted(measured["epoch"].values, nearest_epochs(measured, taus))
    return measured[name].values[rows, np.arange(len(taus))]


def beaten_levels(evaluation: Measurements) -> dict[int, bool]:
    """By filter level k > 0, whether networks come nearer to the exact denoiser than level k does.

    A network may be like a level that it does not beat without having learned it
    (science.md#regime). Nothing where there are no oracles.
    """
    if "oracle_line" not in evaluation:
        return {}
    distance = evaluation["model_oracle"].values[:, :, TEST]
    distance = distance.reshape(*distance.shape[:3], -1)[:, :, 0, 0]  # the first of several times
    nearest = distance.mean(1).min()
    lines = evaluation["oracle_line"].values
    lines = lines.reshape(len(lines), -1)[:, 0]
    return {level: bool(nearest < line) for level, line in enumerate(lines) if level > 0}


def _of_disjoint_pairs(evaluation: Measurements, comparison: Measurements) -> Measurements:
    """Samples are compared of all pairs; those that share no network with others come first."""
    count, measured = evaluation["sample_split"].values.shape[1], comparison["dissimilarity"]
    pairs = dataclasses.replace(measured, values=measured.values[:, :count])
    return {**comparison, "dissimilarity": pairs}


def _minima(measured: Measurements, name: str, locate: Callable[..., Minimum]) -> Minimum:
    """The minimum of each curve along the first axis, "checkpoint"; on the test set."""
    trained, epochs = trained_checkpoints(measured)
    curves = measured[name].values[trained]
    if "set" in measured[name].dims:
        curves = curves[:, :, TEST]
    known = np.isfinite(curves).reshape(len(curves), -1).all(1)
    # Before networks draw anything derivable there is nothing to compare.
    first = len(epochs) - int(np.logical_and.accumulate(np.flip(known)).sum())
    if len(epochs) - first < MIN_CHECKPOINTS:
        return _nowhere(epochs, curves.shape[1:])
    return locate(epochs[first:], np.moveaxis(curves[first:], 0, -1))


def _nowhere(epochs: np.ndarray, shape: tuple[int, ...]) -> Minimum:
    """Of curves that are known at too few checkpoints."""
    time, unknown = np.full(shape, float(epochs[-1])), np.ones(shape, bool)
    last = np.full(shape, len(epochs) - 1)
    return Minimum(time, np.full(shape, np.nan), last, unknown, unknown)


def _pseudo_minimum(times: np.ndarray, curves: np.ndarray) -> Minimum:
    """Pseudo-values of a divergence may fall below zero by chance."""
    return minimum_after_transient(times, curves, transient=np.maximum(curves, 0))


def _after_split(evaluation: Measurements) -> Callable[[np.ndarray, np.ndarray], Minimum]:
    """Untrained networks agree whatever they were trained on, which is no minimum."""

    def locate(times: np.ndarray, curves: np.ndarray) -> Minimum:
        split = np.moveaxis(evaluation["sample_split"].values[:, :, TEST], 0, -1)
        transient = split[..., -len(times) :]  # the untrained networks come first
        return minimum_after_transient(times, curves, transient=transient)

    return locate
