"""Claims on the phases of training: before the onset of bias, and while it grows (figure 4a)."""

import dataclasses

import numpy as np

from experiments.claim import Claim, Statistic
from experiments.onsets import TEST
from experiments.store import Measurements, trained_checkpoints
from figures.claims import (
    Run,
    at_times,
    of_other_units,
    per_network,
    per_pair,
)
from hiermodel.measures.units import by_pair_of_sets, by_training_set

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
            minima={"onset": onset, "τ_turn": of_pairs},
            name="onset-before-turn",
            statement="samples lean to their own training set before networks of different sets "
            "begin to part",
            about="ln(τ_turn / onset), the onset being the first checkpoint from which on the gap "
            "stays significant",
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
    of_pairs = onsets_of_pairs(levels)
    onset = of_other_units(of_pairs, run.num_splits // 2)
    # A last odd set is in no pair, so all of them are without it.
    times = np.append(np.repeat(onset.values, 2), of_pairs.values.mean())[: run.num_splits]
    trained, epochs = trained_checkpoints(run.results["comparison"])
    before = np.log(epochs)[:, None] < times
    excess = (
        run.results["comparison"]["gap_of_sets"].values[trained]
        - run.results["refitted"]["gap_of_sets"].values
    )
    count = before.sum(0)
    mean = np.where(before, excess, 0).sum(0) / np.maximum(count, 1)
    return [
        per_network(
            run,
            Statistic.known(mean, count > 0),
            name="gap-before-onset",
            statement="before its onset, the gap is that of the refitted grammar (within "
            f"{MARGIN} symbols)",
            about="own–other gap in symbols, networks − refitted grammars, mean over checkpoints "
            "before the mean onset of the pairs without it",
            minima={"onset": onset},
            low=-MARGIN,
            high=MARGIN,
            primary=True,
        )
    ]


def distance_falls(run: Run) -> list[Claim]:
    """While samples already lean to their own data, networks still come nearer to the truth.

    From the turn of the divergence between networks to the lowest test loss, both of the other
    training sets, so that no training set's own minimum makes its own fall.
    """
    known = "tau_turn" in run.results["onsets"]
    if not known or "distillation" not in run.results["evaluation"]:
        return []
    evaluation = run.results["evaluation"]
    of_sets = by_training_set(evaluation["distillation"].values, run.num_splits, axis=1)
    distance = dataclasses.replace(
        evaluation["distillation"], values=of_sets[:, :, TEST], dims=("checkpoint", "split")
    )
    measured = {**evaluation, "distillation": distance}
    turn, test = (
        of_other_units(run.times_of_sets(name), run.num_splits) for name in ("tau_turn", "tau_test")
    )
    far, near = (at_times(measured, "distillation", times) for times in (turn, test))
    return [
        per_network(
            run,
            np.log(far / near),
            minima={"τ_turn": turn, "τ_test": test},
            name="distance-falls",
            statement="from where networks of different sets begin to part to the lowest test "
            "loss, they still come nearer to the exact denoiser",
            about="ln of the distance at τ_turn − at τ_test, both of the other training sets",
            primary=True,
        )
    ]
