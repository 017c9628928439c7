"""A transformer against a perceptron, and training with dropout against training without."""

import numpy as np
import pandas as pd

from experiments.claim import Claim
from experiments.laptop import BASE, MEASURES, NETWORK
from experiments.study import Grid, Study
from experiments.study.answers import (
    Answer,
    at_minimum,
    choose,
    effects,
    log_times,
    make_claim,
    number,
    spacing_of,
    with_note,
)
from experiments.study.outcome import Outcome
from hiermodel.networks.mlp import MLPConfig

NAME = "architecture"

RESPONSES = {
    "bias": "bias sets in later",
    "test": "the test loss is lowest later",
    "ratio": "the biased phase lasts longer",
    "loss": "the loss at its minimum is further above the exact denoiser's",
    "copies": "more samples at the test-loss minimum copy their own training set",
}
"""What is compared, in the words of a claim."""


def answer(found: Outcome) -> Answer:
    """Effects of architecture and of dropout on both times, the loss and the copies."""
    claims = _effects(found.table)
    of = {claim.name: claim for claim in claims}

    def sentence(change: str, whose: str) -> str:
        bias, test, ratio, loss, copies = (of[f"{change}-{name}"] for name in RESPONSES)
        return (
            f"{whose} multiplies τ_bias by {number(bias.interval, np.exp)} and τ_test by "
            f"{number(test.interval, np.exp)}: the biased phase, τ_test/τ_bias, "
            f"{_word(ratio, 'lengthens', 'shortens')} ({number(ratio.interval, np.exp)}). The "
            f"lowest test loss {_word(loss, 'rises', 'falls')} by {number(loss.interval)} nats "
            f"per position, and the excess of copies there "
            f"{_word(copies, 'rises', 'falls')} by {number(copies.interval)} of the samples."
        )

    paragraph = (
        f"{sentence('mlp', 'Taking the perceptron for the transformer')} "
        f"{sentence('dropout', 'Dropout of 0.1')} Numbers are main effects, over both settings of "
        f"the other, with 95 % intervals over training sets."
    )
    return Answer(paragraph, claims)


def _word(claim: Claim, positive: str, negative: str) -> str:
    return choose(claim, positive, negative, "is not shown to change")


def _effects(rows: pd.DataFrame) -> list[Claim]:
    predictors = {
        "mlp": (rows["network"] == "MLP").astype(float),
        "dropout": (rows["network.dropout"] > 0).astype(float),
    }
    whose = {"mlp": "with the perceptron", "dropout": "with dropout"}
    bias, test = log_times(rows, "tau_bias"), log_times(rows, "tau_test")
    responses = {
        "bias": (bias, "change of ln τ_bias", ("bias",)),
        "test": (test, "change of ln τ_test", ("test",)),
        "ratio": (test - bias, "change of ln(τ_test/τ_bias)", ("bias", "test")),
        "loss": (
            at_minimum(rows, "test_loss_above_floor", "tau_test"),
            "change, nats per position",
            ("test",),
        ),
        "copies": (
            at_minimum(rows, "excess_copies", "tau_test"),
            "change of the fraction in their own − in another set",
            ("test",),
        ),
    }
    claims = []
    for change in predictors:
        for name, (response, statistic, columns) in responses.items():
            claim = make_claim(
                NAME,
                f"{change}-{name}",
                f"{RESPONSES[name]} {whose[change]}",
                statistic,
                effects(rows, response, predictors, pairs=name == "copies")[change],
                pairs=name == "copies",
                resolution=spacing_of(rows) if name in ("bias", "test", "ratio") else 0.0,
            )
            located = (f"tau_{column}_located" for column in columns)
            claims.append(with_note(claim, rows, *located))
    return claims


STUDY = Study(
    name=NAME,
    question="How do architecture and dropout move the onset of bias and the test-loss minimum?",
    base=BASE,
    axes=(
        Grid("network", (NETWORK, MLPConfig(num_leaves=8, vocab_size=6, width=256, num_blocks=3))),
        Grid("network.dropout", (0.0, 0.1)),
    ),
    measures=MEASURES,
    seeds=(1,),
    minutes=30,
    against=("network.dropout", "network"),
    answer=answer,
)
