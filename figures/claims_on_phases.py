"""Claims on the phases of training: before the onset of bias, and while it grows (figure 4a)."""

import numpy as np

from experiments.claim import Claim, Statistic
from experiments.store import Measurements, trained_checkpoints
from figures.claims import Run, border_note, located, of_other_units, per_network, per_pair
from hiermodel.measures.units import by_pair_of_sets, by_training_set

TEST = 1
"""Index of the test set along the dimension "set"."""

MARGIN = 0.05
"""Gaps closer than this are the same: a twentieth of a symbol of a sequence."""


def onset_before_turn(run: Run) -> list[Claim]:
    """Where falling error and growing bias balance is no onset: bias has begun before."""
    levels = run.results["levels"]
    if "gap_onset" not in levels or "tau_turn" not in run.results["onsets"]:
        return []
    onset = onsets_of_pairs(levels)
    turn = run.times_of_sets("tau_turn")
    parts = (turn.values, turn.lower, turn.upper)
    of_pairs = Statistic(*(by_pair_of_sets(part, run.num_splits) for part in parts))
    return [
        per_pair(
            run,
            of_pairs - onset,
            name="onset-before-turn",
            statement="samples lean to their own training set before networks of different sets "
            "begin to part",
            about="ln(τ_turn / onset), the onset being the first checkpoint from which on the gap "
            "stays significant",
            note=border_note(onset=onset, τ_turn=of_pairs),
            resolution=run.spacing("evaluation", "comparison"),
        )
    ]


def onsets_of_pairs(levels: Measurements) -> Statistic:
    """Ln of the onsets of the gap; without a bound where there is none, or it may be earlier."""
    _, epochs = trained_checkpoints(levels)
    found = levels["gap_onset"].values
    times = np.log(np.clip(found, epochs[0], epochs[-1]))
    lower = np.where(found <= epochs[0], -np.inf, times)
    return Statistic(times, lower, np.where(np.isinf(found), np.inf, times))


def no_bias_before_onset(run: Run) -> list[Claim]:
    """Before the onset, networks lean to their own data no more than the best learner must.

    Where an onset is taken from a training set's own samples, the gap before it is small because
    it was looked for. So the time comes from the pairs that the set is not in.
    """
    levels = run.results["levels"]
    if "gap_onset" not in levels or run.num_splits < 4:
        return []
    onset = of_other_units(onsets_of_pairs(levels), run.num_splits // 2)
    times = np.repeat(onset.values, 2)[: run.num_splits]
    trained, epochs = trained_checkpoints(run.results["comparison"])
    gap = run.results["comparison"]["gap_of_sets"].values[trained, : len(times)]
    before = _means_before(epochs, gap, times)
    refitted = run.results["refitted"]["gap_of_sets"].values[: len(times)]
    return [
        per_network(
            run,
            Statistic.known(np.nan_to_num(before - refitted), np.isfinite(before)),
            name="gap-before-onset",
            statement="before its onset, the gap is that of the refitted grammar (within "
            f"{MARGIN} symbols)",
            about="own–other gap in symbols, networks − refitted grammars, mean over checkpoints "
            "before the mean onset of the pairs without it",
            note=border_note(onset=onset),
            low=-MARGIN,
            high=MARGIN,
            primary=True,
        )
    ]


def _means_before(epochs: np.ndarray, curves: np.ndarray, times: np.ndarray) -> np.ndarray:
    """Mean of each curve, (checkpoint, unit), before its ln time; NaN where nothing lies before."""
    means = np.full(curves.shape[1], np.nan)
    for unit, time in enumerate(times):
        before = np.log(epochs) < time
        if before.any():
            means[unit] = curves[before, unit].mean()
    return means


def distance_falls(run: Run) -> list[Claim]:
    """While samples already lean to their own data, networks still come nearer to the truth.

    From the turn of the divergence between networks to the lowest test loss, both of the other
    training sets, so that no training set's own minimum makes its own fall.
    """
    known = "tau_turn" in run.results["onsets"]
    if not known or "distillation" not in run.results["evaluation"]:
        return []
    evaluation = run.results["evaluation"]
    trained, epochs = trained_checkpoints(evaluation)
    distance = evaluation["distillation"].values[trained, :, TEST]
    distance = by_training_set(distance, run.num_splits, axis=1)
    turn, test = (
        of_other_units(run.times_of_sets(name), run.num_splits) for name in ("tau_turn", "tau_test")
    )
    fall = np.log(_at(epochs, distance, turn) / _at(epochs, distance, test))
    return [
        per_network(
            run,
            Statistic.known(fall, located(turn, test)),
            name="distance-falls",
            statement="from where networks of different sets begin to part to the lowest test "
            "loss, they still come nearer to the exact denoiser",
            about="ln of the distance at τ_turn − at τ_test, both of the other training sets",
            note=border_note(τ_turn=turn, τ_test=test),
            primary=True,
        )
    ]


def _at(epochs: np.ndarray, curves: np.ndarray, times: Statistic) -> np.ndarray:
    """Each curve, (checkpoint, unit), at the checkpoint nearest to its time in log time."""
    nearest = np.abs(np.log(epochs)[:, None] - times.values).argmin(0)
    return curves[nearest, np.arange(curves.shape[1])]
