"""Numbers and curves of evaluation cards, from the results of a run."""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from experiments import store
from experiments.cards.card import QUESTIONS, Curve, Number, over_units
from experiments.onsets import nearest_epochs, num_splits, values_at
from experiments.stages import advice
from experiments.stages.membership import NO_ORACLE, ORACLE
from experiments.store import Measurements
from hiermodel.measures.units import by_pair_of_sets, by_training_set

BIASED, SINCE, EXTRACTED, GAINED, STOP = QUESTIONS

Results = Mapping[str, Measurements]
"""The newest result of every stage of a run, and "onsets"."""


SETS, PAIRS = "training sets", "pairs of training sets"
"""What the units of a number are."""


def per_set(
    results: Results, question: str, name: str, values: np.ndarray, chance: float | None = None
) -> Number:
    """A number over training sets, from one value per network, (member,)."""
    units = by_training_set(values, num_splits(results))
    return over_units(question, name, units, SETS, chance)


def per_pair(
    results: Results, question: str, name: str, values: np.ndarray, chance: float | None = None
) -> Number:
    """A number over pairs of training sets, from one value per network, in both directions."""
    units = by_pair_of_sets(values, num_splits(results))
    return over_units(question, name, units, PAIRS, chance)


def at_test_minimum(results: Results, stage: str, name: str) -> np.ndarray:
    """Each network's value at the checkpoint nearest to its test-loss minimum, else the last."""
    if "onsets" not in results:
        return results[stage][name].values[-1]
    return values_at(results[stage], name, results["onsets"]["tau_test"].values)


def moments(results: Results, names: Mapping[str, str]) -> dict[str, float]:
    """Onsets as geometric means over networks or pairs, by short names; those that are known."""
    found = results.get("onsets", {})
    return {
        name: float(np.exp(np.log(found[tau].values).mean()))
        for name, tau in names.items()
        if tau in found
    }


def marked(results: Results, names: Mapping[str, str]) -> dict[str, float]:
    """The moments to be marked in pictures: those whose minima were all located."""
    found = moments(results, names)
    return {
        name: time
        for name, time in found.items()
        if results["onsets"][f"{names[name]}_located"].values.all()
    }


def attacked_epochs(results: Results, names: Mapping[str, str]) -> np.ndarray:
    """The sampled checkpoints nearest to the moments, and the last one."""
    taus = np.array([*moments(results, names).values()])
    last = results["samples"]["epoch"].values[-1]
    return np.unique([*nearest_epochs(results["samples"], taus), last])


def onset_numbers(results: Results, names: Mapping[str, str]) -> Iterator[Number]:
    """When things happened, from the onsets' names and what they are the times of."""
    for tau, name in names.items():
        if tau in results.get("onsets", {}):
            onset, found = results["onsets"][tau], results["onsets"][f"{tau}_located"].values
            of_members = onset.dims[0] == "member"
            count = num_splits(results) if of_members else num_splits(results) // 2
            units = by_training_set(np.log(onset.values), count)
            number = over_units(SINCE, name, units, SETS if of_members else PAIRS)
            back = {
                end: None if getattr(number, end) is None else float(np.exp(getattr(number, end)))
                for end in ("estimate", "low", "high")
            }
            if not found.all():  # times on the border only bound the minima
                note = f"on the border: {int((~found).sum())} of {found.size}"
                back |= {"low": None, "high": None}
                number = dataclasses.replace(number, note=note)
            yield dataclasses.replace(number, **back)


def kinds_of_attack(results: Results, *, oracle: bool) -> Sequence[str]:
    """Names along the axis "attack"; a run of one split lacks the last."""
    return (ORACLE if oracle else NO_ORACLE)[: results["attacks"]["auc"].values.shape[2]]


def membership_numbers(results: Results, *, oracle: bool) -> Iterator[Number]:
    """What the attacks at all t find at the test-loss minimum."""
    if "attacks" not in results:
        return
    area = at_test_minimum(results, "attacks", "auc")
    found = at_test_minimum(results, "attacks", "tpr")
    for number, kind in enumerate(kinds_of_attack(results, oracle=oracle)):
        name = f"AUC of the {kind} attack, mean over t, at τ_test"
        yield per_set(results, GAINED, name, area[:, number, 1], 0.5)
        name = f"members found at 1 % false positives, {kind} attack, at τ_test"
        yield per_set(results, GAINED, name, found[:, number, 1, 0], 0.01)


def stop_numbers(results: Results) -> Iterator[Number]:
    """When the advisor spoke up, by signal."""
    if "advice" not in results:
        return
    alarms = results["advice"]["alarm"].values.T
    for signal, each in zip(advice.SIGNALS, alarms, strict=False):
        heard = each[np.isfinite(each)]
        note = f"alarm for {len(heard)} of {len(each)} pairs of networks; geometric mean"
        time = float(np.exp(np.log(heard).mean())) if len(heard) else np.inf
        yield Number(STOP, f"{signal}: first alarm, epochs", time, note=note)


def curve(
    results: Results,
    stage: str,
    panel: str,
    name: str,
    units: str,
    good: str,
    measured: np.ndarray,
    num_units: int | None = None,
) -> Curve:
    """A curve along the stage's trained checkpoints, as means over each training set.

    Args:
        results: of the run.
        stage: that it is from.
        panel: title of its panel.
        name: its label.
        units: of its values.
        good: which way is good.
        measured: (checkpoints, networks) or other parts of units.
        num_units: training sets, if left out; or pairs of them.
    """
    trained, epochs = store.trained_checkpoints(results[stage])
    shared = by_training_set(measured[trained], num_units or num_splits(results), axis=1)
    return Curve(panel, name, units, good, epochs, shared)
