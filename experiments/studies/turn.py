"""When networks of different training sets begin to part, in the regime, over a decade of n.

The turn comes long before the lowest test loss, so these trainings are short, and the training sets
many: it is a flat minimum, and where it lies differs from set to set.
"""

import dataclasses
import itertools

import pandas as pd

from experiments.claim import Claim
from experiments.laptop import BASE, EVALUATION
from experiments.study import Study, Zipped
from experiments.study.answers import (
    Answer,
    choose,
    grows_with_n,
    in_steps,
    log_times,
    number,
)
from experiments.study.outcome import Outcome

NAME = "turn"


def answer(found: Outcome) -> Answer:
    """The exponent of the turn in n, in epochs and in steps, and between neighbouring sizes."""
    rows = found.table
    epochs, steps = _exponent(rows, "epochs"), _exponent(rows, "steps")
    sizes = sorted(set(rows["split_size"]))
    local = [_exponent(rows, "epochs", pair) for pair in itertools.pairwise(sizes)]
    between = ", ".join(
        f"{number(claim.interval)} from {low} to {high}"
        for claim, (low, high) in zip(local, itertools.pairwise(sizes), strict=True)
    )
    paragraph = (
        f"From n = {sizes[0]} to {sizes[-1]} the turn, counted in epochs, "
        f"{choose(epochs, 'comes later', 'comes earlier', 'is not shown to move')} the larger the "
        f"training set, as n^{number(epochs.interval)}; in optimiser steps it goes as "
        f"n^{number(steps.interval)}. Between neighbouring sizes the exponents in epochs are "
        f"{between}."
    )
    return Answer(paragraph, [epochs, steps, *local])


def _exponent(rows: pd.DataFrame, unit: str, sizes: tuple[int, int] | None = None) -> Claim:
    """Of the turn in n; between two sizes, if given."""
    own = rows if sizes is None else rows[rows["split_size"].isin(sizes)]
    turn = log_times(own, "tau_turn")
    where = "" if sizes is None else f" from n = {sizes[0]} to {sizes[1]}"
    return grows_with_n(
        NAME,
        f"turn-{unit}" + ("" if sizes is None else f"-{sizes[0]}-{sizes[1]}"),
        f"the turn, in {unit}, comes later the larger the training set{where}",
        f"τ_turn in {unit}",
        own,
        in_steps(own, turn) if unit == "steps" else turn,
        ("turn",),
    )


STUDY = Study(
    name=NAME,
    question="How does the turn of networks of different training sets away from each other move "
    "with the number of sequences, where they learn the grammar?",
    base=dataclasses.replace(BASE, num_splits=12),
    axes=(
        # Whole batches (docs/notes.md), and some five times as many epochs as the turn takes.
        Zipped(
            {
                "split_size": (256, 512, 1024, 2048, 4096),
                "training.num_epochs": (900, 900, 700, 500, 350),
                "first_checkpoint": (24, 20, 16, 12, 8),
            }
        ),
    ),
    measures={"evaluation": EVALUATION},
    seeds=(1,),
    minutes=60,
    against=("split_size",),
    answer=answer,
)
