"""The paper's claims as statistics with intervals, and the verdict on each.

Every statistic is so signed that the claim says it is above zero. Its units are networks or pairs
of networks that share neither initial values nor noise; they do share training sets where a split
has several seeds, so the intervals speak of other seeds on such splits. A minimum on the border of
the measured range counts with the border's time, and a note says for how many units that is so.
"""

import dataclasses
from collections.abc import Mapping

import numpy as np

from experiments.evaluation import split_pairs
from experiments.store import Measurements, trained_checkpoints
from hiermodel.measures.onset import paired_log_ratio
from hiermodel.measures.uncertainty import Interval, student_interval

LEVEL = 0.95
"""Nominal coverage of every interval."""


@dataclasses.dataclass(frozen=True)
class Claim:
    """One claim and what the run says of it.

    Attributes:
        name: short and unique.
        figure: id of the figure it belongs to.
        statement: what is claimed, in a sentence.
        statistic: what was computed, with its unit.
        interval: estimate and interval of the statistic; the claim is that it is positive.
        values: one number per unit.
        note: which minima were not located, if any.
    """

    name: str
    figure: str
    statement: str
    statistic: str
    interval: Interval
    values: np.ndarray
    note: str = ""

    @property
    def verdict(self) -> str:
        """Shown if the whole interval is above zero, contradicted if below, else not shown.

        A claim about minima that were not all located is never contradicted: a minimum outside the
        range, or none at all, says nothing of the order.
        """
        if self.interval.low > 0:
            return "shown"
        return "contradicted" if self.interval.high < 0 and not self.note else "not shown"


def examine(results: Mapping[str, Measurements], num_splits: int, num_seeds: int) -> list[Claim]:
    """All claims that these measurements can speak to.

    Args:
        results: measurements by stage, as ``measure_run`` returns them.
        num_splits: disjoint training sets.
        num_seeds: networks per training set; at least 2 units are needed for an interval.
    """
    onsets = {name: m.values for name, m in results["onsets"].items()}
    pairs = np.array(split_pairs(num_splits, num_seeds))
    return [
        *_order_of_levels(onsets),
        *_parting_before_fit(onsets, pairs),
        _neighbour_before_test(onsets),
        _disagreement_is_from_data(results, onsets),
        *_leaning_to_own_data(results, onsets, pairs),
        _copies_of_own_data(results, onsets, pairs),
    ]


def _claim(name: str, figure: str, statement: str, statistic: str, values, note: str = "") -> Claim:
    values = np.asarray(values, dtype=np.float64)
    interval = student_interval(values, level=LEVEL)
    return Claim(name, figure, statement, statistic, interval, values, note)


def _border_note(**located: np.ndarray) -> str:
    """Say how many minima lie on the border of the measured range, if any do."""
    parts = [f"{name} {int((~ok).sum())} of {ok.size}" for name, ok in located.items()]
    return "" if all(map(np.all, located.values())) else f"on the border: {', '.join(parts)}"


def _order_of_levels(onsets: Mapping[str, np.ndarray]) -> list[Claim]:
    """Levels are fitted in the order of decreasing k."""
    tau, located = onsets["tau_level"], onsets["tau_level_located"]
    return [
        _claim(
            f"order-{level}-{level - 1}",
            "1b",
            f"filter level k = {level} is fitted before k = {level - 1}",
            f"ln(τ_{level - 1} / τ_{level}), minima of the model–oracle divergences, per network",
            paired_log_ratio(tau[:, level - 1], tau[:, level]),
            _border_note(**{f"τ_{k}": located[:, k] for k in (level, level - 1)}),
        )
        for level in range(tau.shape[1] - 1, 0, -1)
    ]


def _parting_before_fit(onsets: Mapping[str, np.ndarray], pairs: np.ndarray) -> list[Claim]:
    """The paper's sample-split minimum, and the same above the same-data control.

    Two networks also differ by their seeds. Where that noise is large, as in short trainings of
    small networks, it hides the minimum; subtracting the control takes it out.
    """
    fit = np.exp(np.log(onsets["tau_level"][:, 0])[pairs].mean(1))
    located = onsets["tau_level_located"][:, 0][pairs]
    return [
        _claim(
            f"{name}-before-fit",
            "1b",
            f"{what} is lowest while the networks still approach the exact denoiser",
            f"ln(τ_0 / τ_{name}), τ_0 the minimum of the model–oracle divergence, per pair",
            paired_log_ratio(fit, onsets[f"tau_{name}"]),
            _border_note(**{"τ_0": located, f"τ_{name}": onsets[f"tau_{name}_located"]}),
        )
        for name, what in (
            ("split", "the divergence between networks of disjoint splits (after its transient)"),
            ("excess", "what disjoint splits add to the divergence between seeds"),
        )
    ]


def _neighbour_before_test(onsets: Mapping[str, np.ndarray]) -> Claim:
    return _claim(
        "neighbour-before-test",
        "4a",
        "samples move towards the training set before the test loss is lowest",
        "ln(τ_test / τ_bias), minima of test loss and nearest-neighbour divergence, per network",
        paired_log_ratio(onsets["tau_test"], onsets["tau_neighbour"]),
        _border_note(τ_test=onsets["tau_test_located"], τ_bias=onsets["tau_neighbour_located"]),
    )


def _disagreement_is_from_data(
    results: Mapping[str, Measurements], onsets: Mapping[str, np.ndarray]
) -> Claim:
    """At the test-loss minimum, other data must matter more than another seed."""
    evaluation = results["evaluation"]
    when = _nearest_checkpoint(evaluation, onsets["tau_test"])
    return _claim(
        "data-not-seed",
        "1b",
        "at the test-loss minimum, networks differ more between splits than between seeds",
        "sample-split − same-data divergence on test inputs, nats per sequence, per pair",
        evaluation["split_excess"].values[when, :, 1],
    )


def _leaning_to_own_data(
    results: Mapping[str, Measurements], onsets: Mapping[str, np.ndarray], pairs: np.ndarray
) -> list[Claim]:
    """Bias measured without any floor: samples lie nearer to their own training set."""
    comparison = results["comparison"]
    gaps = comparison["gap"].values
    at_test = gaps[_nearest_checkpoint(comparison, onsets["tau_test"])]
    at_bias = gaps[_nearest_checkpoint(comparison, onsets["tau_neighbour"])]
    statistic = "own–other gap in symbols, mean over both directions, per pair"
    return [
        _claim(
            "gap-at-test",
            "4a",
            "at the test-loss minimum, samples already lean to their own training set",
            statistic,
            at_test[pairs].mean(1),
        ),
        _claim(
            "gap-grows",
            "4a",
            "they lean to it more at the test-loss minimum than where bias sets in",
            f"{statistic}: τ_test − τ_bias",
            (at_test - at_bias)[pairs].mean(1),
        ),
    ]


def _copies_of_own_data(
    results: Mapping[str, Measurements], onsets: Mapping[str, np.ndarray], pairs: np.ndarray
) -> Claim:
    comparison = results["comparison"]
    when = _nearest_checkpoint(comparison, onsets["tau_test"])
    whole_sequences = comparison["block_reproduction"].values[when, :, 0]
    return _claim(
        "copies-own",
        "4a",
        "at the test-loss minimum, samples repeat sequences of their own training set more often",
        "fraction of samples in the own split − in the other, mean over both directions, per pair",
        whole_sequences[pairs].mean(1),
    )


def _nearest_checkpoint(measured: Measurements, taus: np.ndarray) -> int:
    """The checkpoint nearest, in log time, to the geometric mean of the given epochs."""
    trained, epochs = trained_checkpoints(measured)
    distance = np.abs(np.log(epochs) - np.log(taus).mean())
    return int(np.flatnonzero(trained)[distance.argmin()])
