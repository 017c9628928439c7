"""What helps against copying, and what only looks so; and the score of the stopping advisor.

Every mitigation is trained on the same splits, from the same initial values, for as many network
passes as the baseline, and measured along its training: test loss and divergence from the exact
denoiser against copies among samples and what an attacker gains.
"""

import dataclasses
import math
import sys
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
from scipy.optimize import brentq

from experiments import laptop, store
from experiments.advice_score import advice_table, score_advice, score_table
from experiments.configs import RunConfig
from experiments.frontier import (
    BASELINE,
    compared,
    frontier_table,
    points,
    sentences,
    summarise,
)
from experiments.stages.advice import AdviceConfig
from experiments.stages.evaluation import EvaluationConfig
from experiments.stages.generation import ComparisonConfig, SamplesConfig
from experiments.stages.tradeoff import TradeoffConfig
from experiments.study import Study, Variants
from experiments.study.answers import Answer
from experiments.study.outcome import Outcome
from hiermodel.networks.network import init_params
from hiermodel.training.privacy import PrivacyConfig, epsilon_spent

WINDOW = (0.1, 0.2)

MOST_EPSILON = 10.0
"""A larger one promises little in practice."""

NOTE = (
    "τ is τ_bias, the minimum of the nearest-neighbour divergence of all samples, and τ_test for "
    "the test loss. Test loss (nats per position) and excess copies (fraction of samples) are "
    "counted from the test-loss minimum; without an alarm training goes on to its end."
)
"""On the advisor's table."""


def variants(base: RunConfig) -> dict[str, Mapping[str, Any]]:
    """What every mitigation changes, by name; the baseline changes nothing.

    Private training is not among them: see :func:`noise_for`.
    """
    quarter = max(1, base.split_size // 4)
    return {
        BASELINE: {},
        "weight decay 0.1": {"training.weight_decay": 0.1},
        "weight decay 1": {"training.weight_decay": 1.0},
        "dropout 0.1": {"network.dropout": 0.1},
        f"less weight in t/T = {WINDOW[0]:g}…{WINDOW[1]:g}": {
            "training.step_weighting": "outside_window",
            "training.weight_window": WINDOW,
        },
        **_averaged_or_not(base),
        "a quarter five times (not deduplicated)": longer_pass(
            base, num_duplicated=quarter, num_copies=5
        ),
        "exact augmentation ×4": longer_pass(base, augmentation=4),
    }


def _averaged_or_not(base: RunConfig) -> dict[str, dict[str, Any]]:
    """The other way to read the weights than the baseline's."""
    if base.training.ema_decays:
        return {"no running average": {"training.ema_decays": ()}}
    return {"running average 0.99": {"training.ema_decays": (0.99,)}}


def longer_pass(base: RunConfig, **changes: int) -> dict[str, Any]:
    """Changes that make each pass over the data longer, and passes fewer by the same factor."""
    run = dataclasses.replace(base, **changes)
    rows = run.split_size + run.num_duplicated * (run.num_copies - 1)
    factor = rows * run.augmentation / run.split_size

    def fewer(epochs: int) -> int:
        return max(1, round(epochs / factor))

    return {
        **changes,
        "training.num_epochs": fewer(base.training.num_epochs),
        "training.decay_epochs": fewer(base.training.decay_epochs),
        "first_checkpoint": fewer(base.first_checkpoint),
    }


def study_of(base: RunConfig, measures: Mapping[str, Any], minutes: float | None = None) -> Study:
    """The study of a baseline; averages of two networks are measured of the baseline alone."""

    def measures_of(config: RunConfig) -> Mapping[str, Any]:
        averages = dataclasses.replace(config, seed=base.seed) == base
        return {
            **measures,
            "tradeoff": dataclasses.replace(measures["tradeoff"], averages=averages),
        }

    return Study(
        name="mitigations",
        question="What helps against copying, at equal test loss?",
        base=base,
        axes=(Variants("mitigation", variants(base)),),
        measures=measures_of,
        seeds=(base.seed,),
        minutes=minutes,
        answer=answer,
        picture="frontier",
    )


def answer(found: Outcome) -> Answer:
    """The frontier in words and as a table, and how far the advisor's advice was right."""
    results = {made.name: made.results for made in found.runs}
    base = next(made.config for made in found.runs if made.name == BASELINE)
    at = points(results, base)
    rows = summarise(at)
    scored = [row for made in found.runs for row in score_advice(made.config, made.results)]
    return Answer(
        " ".join([*sentences(rows), *_privacy(found), *_control(found)]),
        [claim for own in compared(at).values() for claim in own.values()],
        {
            "Each mitigation at its own test-loss minimum, curves smoothed in log time; “beyond” "
            "subtracts the baseline stopped where its test loss was as low. Equal network passes "
            "for all but averages": frontier_table(rows),
            f"The stopping advisor's score, over the pairs of networks of all these runs. {NOTE}": (
                advice_table(score_table(scored))
            ),
        },
    )


def _privacy(found: Outcome) -> list[str]:
    """What was guaranteed, at the end of training."""
    files = {made.name: made.folder.privacy_file for made in found.runs}
    spent = {name: store.read_json(file) for name, file in files.items() if file.exists()}
    said = [
        f"{name}: ε = {max(own['epsilon'].values()):.3g} at δ = {own['delta']:.2g}"
        for name, own in spent.items()
    ]
    if not said:
        base = next(made.config for made in found.runs if made.name == BASELINE)
        return [_why_not_private(base)]
    return [
        f"Guaranteed at the end of training: {'; '.join(said)}. An ε above about 10 promises "
        "little in practice."
    ]


def _why_not_private(run: RunConfig) -> str:
    epochs = run.training.num_epochs
    noise = noise_for(MOST_EPSILON, run.split_size, run.training.batch_size, epochs)
    params = jax.eval_shape(lambda: init_params(jax.random.key(0), run.network))
    size = sum(leaf.size for leaf in jax.tree.leaves(params))
    louder = noise * np.sqrt(size) / run.training.batch_size
    return (
        f"DP-SGD is not trained: for ε = {MOST_EPSILON:g} at δ = 1/n after {epochs} epochs of "
        f"n = {run.split_size} it takes a noise multiplier of {noise:.3g}, and noise on all "
        f"{size} weights whose norm is at least {louder:.2g} times that of the mean clipped "
        "gradient. A larger ε promises little in practice."
    )


def noise_for(epsilon: float, num_sequences: int, batch_size: int, epochs: int) -> float:
    """The noise multiplier of DP-SGD that spends this ε at δ = 1/n, by Rényi divergences."""

    def beyond(log_noise: float) -> float:
        privacy = PrivacyConfig(clip_norm=1.0, noise_multiplier=math.exp(log_noise))
        spent = epsilon_spent(privacy, num_sequences, batch_size, epochs)
        return math.log(max(spent, sys.float_info.min)) - math.log(epsilon)  # much noise: 0

    return math.exp(brentq(beyond, math.log(0.1), math.log(1000), xtol=1e-3))


def _control(found: Outcome) -> list[str]:
    """False alarms of the advisor, where there is nothing to be found, if any could be given."""
    controls = [made.results["advice"].get("control_alarm") for made in found.runs]
    alarms = np.concatenate([each.values for each in controls if each is not None] or [[]])
    if not len(alarms):  # one seed has no two networks of the same data
        return []
    return [
        "Two networks of the same data against two sets that neither saw gave "
        f"{int(np.isfinite(alarms).sum())} false alarms of {len(alarms)}."
    ]


STUDY = study_of(
    dataclasses.replace(
        laptop.BASE,
        training=dataclasses.replace(laptop.BASE.training, num_epochs=1300),
        num_splits=8,  # four disjoint pairs
        split_size=512,
    ),
    {
        "evaluation": EvaluationConfig(num_examples=200, num_noises=1, num_loss_noises=2),
        "samples": SamplesConfig(num_samples=400, every=2),
        "comparison": ComparisonConfig(),
        "advice": AdviceConfig(num_examples=300, num_noises=4, num_permutations=1000),
        "tradeoff": TradeoffConfig(num_sequences=500),
    },
    minutes=60,
)
