"""How the turn and the test-loss minimum move with the size of the training set."""

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

NAME = "set_size"


def answer(found: Outcome) -> Answer:
    """Exponents of both times in n."""
    rows = found.table
    claims = _growth(rows)
    turn, test, ratio, *steps = claims
    low, high = rows["split_size"].min(), rows["split_size"].max()
    turn_steps, test_steps = (number(claim.interval) for claim in steps)
    paragraph = (
        f"From n = {low} to {high}, the turn moves as n^{number(turn.interval)} and the test-loss "
        f"minimum as n^{number(test.interval)} in epochs ({turn_steps} and {test_steps} in "
        f"optimiser steps, of which there are more per epoch for larger n). The time between, "
        f"τ_test/τ_turn, {choose(ratio, 'lengthens', 'shortens', 'is not shown to change')} with "
        f"n: its exponent is {number(ratio.interval)}."
    )
    return Answer(paragraph, claims)


def _growth(rows: pd.DataFrame) -> list[Claim]:
    turn, test = log_times(rows, "tau_turn"), log_times(rows, "tau_test")
    turn_steps, test_steps = in_steps(rows, turn), in_steps(rows, test)
    loss = "the test-loss minimum"
    claims = []
    for name, response, statement, what, times in (
        ("turn", turn, "the turn comes later", "τ_turn in epochs", ("turn",)),
        ("test", test, f"{loss} comes later", "τ_test in epochs", ("test",)),
        ("ratio", test - turn, "the time between lasts longer", "τ_test/τ_turn", ("turn", "test")),
        ("turn-steps", turn_steps, "the turn, in steps, comes later", "τ_turn in steps", ("turn",)),
        (
            "test-steps",
            test_steps,
            f"{loss}, in steps, comes later",
            "τ_test in steps",
            ("test",),
        ),
    ):
        statement = f"{statement} the larger the training set"
        claims.append(grows_with_n(NAME, f"{name}-grows", statement, what, rows, response, times))
    return claims


STUDY = Study(
    name=NAME,
    question="How do the turn of networks of different training sets away from each other, and the "
    "lowest test loss, move with the number of sequences?",
    base=BASE,
    axes=(
        # Whole batches: a last one of few rows is noise that delays everything (docs/notes.md). The
        # first checkpoint comes after some hundred steps whatever n is, and the last well after
        # the test loss is lowest, which moves faster than n.
        Zipped(
            {
                "split_size": (64, 128, 256, 512, 1024),
                "training.num_epochs": (1500, 1800, 2000, 2400, 3400),
                "first_checkpoint": (60, 40, 20, 12, 6),
            }
        ),
    ),
    measures={"evaluation": EVALUATION},
    seeds=(1,),
    minutes=60,
    against=("split_size",),
    answer=answer,
)
