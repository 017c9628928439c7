"""How the onset of bias and the test-loss minimum move with the size of the training set."""

import numpy as np
import pandas as pd

from experiments.claim import Statistic
from experiments.laptop import BASE, MEASURES
from experiments.study import Study, Zipped
from experiments.study.answers import (
    Answer,
    choose,
    effects,
    log_times,
    make_claim,
    number,
    per_unit,
    spacing_of,
    with_note,
)
from experiments.study.outcome import Outcome

NAME = "set_size"
DEPTH = 3
"""Of the runs that differ in n alone; the others keep n/N of one of them."""

PER_LEAF = 6
"""n/N of the second part."""


def answer(found: Outcome) -> Answer:
    """Exponents of both times in n, and the biased phase at fixed n/N."""
    rows = found.table
    sizes = rows[rows["data.depth"] == DEPTH]
    leaves = 2 ** rows["data.depth"]
    fixed = rows[rows["split_size"] == PER_LEAF * leaves]
    growth = _growth(sizes)
    phases = _phases(fixed)
    bias, test, ratio = growth[:3]
    steps = [claim.interval for claim in growth[3:]]
    low, high = sizes["split_size"].min(), sizes["split_size"].max()
    widths = [
        f"{number(claim.interval, np.exp)} at depth {depth} (n = {PER_LEAF * 2**depth})"
        for depth, claim in zip(sorted(set(fixed["data.depth"])), phases[1:], strict=True)
    ]
    trend = choose(phases[0], "lengthens", "shortens", "is not shown to change")
    paragraph = (
        f"From n = {low} to {high} at depth {DEPTH}, the onset of bias moves as "
        f"n^{number(bias.interval)} and the test-loss minimum as n^{number(test.interval)} in "
        f"epochs ({number(steps[0])} and {number(steps[1])} in optimiser steps, of which there are "
        f"more per epoch for larger n). The biased phase, τ_test/τ_bias, "
        f"{choose(ratio, 'lengthens', 'shortens', 'is not shown to change')} with n: its "
        f"exponent is {number(ratio.interval)}. At fixed n/N = {PER_LEAF}, τ_test/τ_bias is "
        f"{', '.join(widths)}; it {trend} with depth."
    )
    return Answer(paragraph, [*growth, *phases])


def _growth(rows: pd.DataFrame) -> list:
    log_n = np.log(rows["split_size"])
    log_steps = Statistic.known(-np.log(rows["steps_per_epoch"]))
    bias, test = log_times(rows, "tau_bias"), log_times(rows, "tau_test")
    claims = []
    for name, response, what, unit, columns in (
        ("bias", bias, "the onset of bias", "τ_bias in epochs", ("bias",)),
        ("test", test, "the test-loss minimum", "τ_test in epochs", ("test",)),
        ("ratio", test - bias, "the biased phase", "τ_test/τ_bias", ("bias", "test")),
        (
            "bias-steps",
            bias - log_steps,
            "the onset of bias, in steps,",
            "τ_bias in optimiser steps",
            ("bias",),
        ),
        (
            "test-steps",
            test - log_steps,
            "the test-loss minimum, in steps,",
            "τ_test in optimiser steps",
            ("test",),
        ),
    ):
        slopes = effects(rows, response, {"n": log_n})["n"]
        verb = "lasts longer" if name == "ratio" else "comes later"
        claim = make_claim(
            NAME,
            f"{name}-grows",
            f"{what} {verb} the larger the training set",
            f"exponent of {unit} in n",
            slopes,
            resolution=spacing_of(rows, log_n),
        )
        located = (f"tau_{column}_located" for column in columns)
        claims.append(with_note(claim, rows, *located))
    return claims


def _phases(rows: pd.DataFrame) -> list:
    ratio = log_times(rows, "tau_test") - log_times(rows, "tau_bias")
    slopes = effects(rows, ratio, {"depth": rows["data.depth"]})["depth"]
    located = ("tau_bias_located", "tau_test_located")
    trend = make_claim(
        NAME,
        "phase-grows-with-depth",
        f"at fixed n/N = {PER_LEAF} the biased phase lasts longer the deeper the tree",
        "change of ln(τ_test/τ_bias) per level of depth",
        slopes,
        resolution=spacing_of(rows, rows["data.depth"]),
    )
    claims = [with_note(trend, rows, *located)]
    for depth in sorted(set(rows["data.depth"].tolist())):
        own = rows[rows["data.depth"] == depth]
        claim = make_claim(
            NAME,
            f"phase-{depth}",
            f"there is a biased phase at depth {depth}, n = {PER_LEAF * 2**depth}",
            "ln(τ_test/τ_bias)",
            per_unit(own, log_times(own, "tau_test") - log_times(own, "tau_bias")),
            resolution=spacing_of(own),
        )
        claims.append(with_note(claim, own, *located))
    return claims


STUDY = Study(
    name=NAME,
    question="How do the onset of bias and the test-loss minimum grow with the training set, and "
    "how long is the biased phase at a fixed number of sequences per leaf?",
    base=BASE,
    axes=(
        # Lengths follow n as in the reproduction, so that both minima lie within. The last one
        # keeps n/N of n = 48 at another depth.
        Zipped(
            {
                "split_size": (48, 80, 112, 160, 224, 96),
                "data.depth": (3, 3, 3, 3, 3, 4),
                "training.num_epochs": (1000, 1250, 1500, 1750, 2000, 1500),
            }
        ),
    ),
    measures=MEASURES,
    seeds=(1,),
    minutes=60,
    against=("split_size", "data.depth"),
    answer=answer,
)
