"""How the tree's depth and its rules per symbol move the order in which levels are learned."""

import collections

import numpy as np
import pandas as pd

from experiments.claim import Claim, Statistic
from experiments.laptop import BASE, EVALUATION
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

NAME = "depth_and_rules"


def answer(found: Outcome) -> Answer:
    """Whether coarse levels come first everywhere, and what moves the delay between them."""
    rows = found.table
    order = [claim for own in _settings(rows) for claim in _order(own)]
    deeper, more_rules = _delay(rows)
    counts = collections.Counter(claim.verdict for claim in order)
    undecided = len(order) - counts["shown"] - counts["contradicted"]
    finest = [claim for claim in order if claim.name.startswith("order-1-0")]
    finest_shown = sum(claim.verdict == "shown" for claim in finest)
    of_finest = f"{finest_shown} of the {len(finest)} finest pairs, k = 1 before k = 0, are shown"
    paragraph = (
        f"Over {len(_settings(rows))} settings of depth and rules per symbol, with n about two "
        f"thirds of q·m^L, {len(order)} levels are beaten: networks come nearer to the exact "
        f"denoiser than the filtered one of that level. The level is learned before the next finer "
        f"one, with an interval to show it, in {counts['shown']}, after it in "
        f"{counts['contradicted']}; {undecided} are undecided. "
        f"{of_finest if finest else 'The finest, k = 1, is beaten nowhere'}. "
        f"The delay from the coarsest level "
        f"to the whole tree, ln(τ_0/τ_L), {_moves(deeper)} with depth, by a factor of "
        f"{number(deeper.interval, np.exp)} in τ_0/τ_L per level, and {_moves(more_rules)} with "
        f"the number of rules, as m^{number(more_rules.interval)}."
    )
    return Answer(paragraph, [deeper, more_rules, *order])


def _moves(claim: Claim) -> str:
    return choose(claim, "grows", "shrinks", "is not shown to change")


def _settings(rows: pd.DataFrame) -> list[pd.DataFrame]:
    return [own for _, own in rows.groupby(["data.depth", "data.rules_per_symbol"])]


def _order(rows: pd.DataFrame) -> list[Claim]:
    """Level k before k − 1, for every k of one setting that its networks beat."""
    depth, rules = int(rows["data.depth"].iloc[0]), int(rows["data.rules_per_symbol"].iloc[0])
    claims = []
    for level in range(depth, 0, -1):
        if not rows[f"beaten_{level}"].astype(bool).all():
            continue
        claim = make_claim(
            NAME,
            f"order-{level}-{level - 1}-depth-{depth}-rules-{rules}",
            f"depth {depth}, {rules} rules: level k = {level} is learned before k = {level - 1}",
            f"ln(τ_{level - 1}/τ_{level}), minima of the model–oracle divergences",
            per_unit(
                rows,
                log_times(rows, f"tau_level_{level - 1}") - log_times(rows, f"tau_level_{level}"),
            ),
            resolution=spacing_of(rows),
        )
        located = (f"tau_level_located_{k}" for k in (level, level - 1))
        claims.append(with_note(claim, rows, *located))
    return claims


def _delay(rows: pd.DataFrame) -> list[Claim]:
    """How the delay from the coarsest to the finest level moves with depth and with rules."""
    depths, rules = rows["data.depth"], rows["data.rules_per_symbol"]
    response = log_times(rows, "tau_level_0") - _coarsest(rows)
    found = effects(rows, response, {"depth": depths, "rules": np.log(rules)})
    about = "ln(τ_0/τ_L), at fixed"
    return [
        with_note(claim, rows, "tau_level_located_0")
        for claim in (
            make_claim(
                NAME,
                "delay-grows-with-depth",
                "the whole tree is learned later, relative to single symbols, the deeper it is",
                f"change of {about} rules, per level of depth",
                found["depth"],
                resolution=spacing_of(rows, depths),
            ),
            make_claim(
                NAME,
                "delay-grows-with-rules",
                "the whole tree is learned later, relative to single symbols, the more rules there "
                "are",
                f"change of {about} depth, per unit of ln m",
                found["rules"],
                resolution=spacing_of(rows, np.log(rules)),
            ),
        )
    ]


def _coarsest(rows: pd.DataFrame) -> Statistic:
    """When the coarsest level of each row's own depth is learned."""
    depths = rows["data.depth"]
    found = Statistic(*(np.full(len(rows), np.nan) for _ in range(3)))
    for depth in sorted(set(depths.tolist())):
        own = depths == depth
        times = log_times(rows[own], f"tau_level_{depth}")
        for part in ("values", "lower", "upper"):
            getattr(found, part)[own] = getattr(times, part)
    return found


STUDY = Study(
    name=NAME,
    question="How do depth and rules per symbol move the order in which levels are learned?",
    base=BASE,
    # n is about two thirds of q·m^L, in whole batches. Three settings are left out: of depth 3 with
    # 2 rules there are only 768 sequences; depth 5 with 3 rules takes a quarter of an hour by
    # itself, and with 4 an hour.
    axes=(
        Zipped(
            {
                "data.depth": (3, 3, 4, 4, 4, 5),
                "data.rules_per_symbol": (3, 4, 2, 3, 4, 2),
                "split_size": (128, 256, 64, 320, 1024, 128),
                "training.num_epochs": (1600, 2400, 1600, 2400, 3400, 1600),
                "first_checkpoint": (40, 20, 60, 16, 6, 20),
            }
        ),
    ),
    measures={"evaluation": EVALUATION},
    seeds=(1,),
    minutes=60,
    against=("data.rules_per_symbol", "data.depth"),
    answer=answer,
    picture="levels",
)
