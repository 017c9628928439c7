"""Telling training data from others by every network's losses.

The others are test data that are in no training set.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Array, Float, Key

from experiments.configs import RunConfig
from experiments.store import Measurement, Measurements
from hiermodel.measures.membership import RATES, evaluate_attack, membership_score
from hiermodel.measures.units import other_split

ORACLE = ("plain", "calibrated", "reference")
"""What a loss is compared with: nothing, the exact denoiser's, the other split's network's."""

NO_ORACLE = ("plain", "reference")
"""The attacks that are left where there is no exact denoiser."""

TIMES = ("fixed t", "all t")
DIMS = ("member", "attack", "time_of_noise")
ENDS = {"": "", "low": "; lower end of its 95 % interval", "high": "; upper end of it"}


def attack_scores(
    config: RunConfig,
    losses: Float[np.ndarray, "member times n"],
    exact: Float[np.ndarray, "times n"] | None,
) -> Float[np.ndarray, "member attack times n"]:
    """Scores of every attack on every network: the higher, the more likely a member.

    Args:
        config: the run; one of a single split has no reference network, and so one attack less.
        losses: of all networks, split by split.
        exact: those of the exact denoiser, if there is one.
    """
    scores = [membership_score(losses)]
    if exact is not None:
        scores.append(membership_score(losses, np.broadcast_to(exact, losses.shape)))
    if config.num_splits > 1:
        split, seed = np.divmod(np.arange(len(losses)), config.num_seeds)
        partner = np.array([other_split(each, config.num_splits) for each in split.tolist()])
        scores.append(membership_score(losses, losses[partner * config.num_seeds + seed]))
    return np.stack(scores, 1)


def membership(
    key: Key[Array, ""],
    scores: Float[np.ndarray, "member attack times n"],
    own: Sequence[slice],
    test: slice,
    num_resamples: int,
) -> Measurements:
    """AUC and TPR of every attack on every network, others being test data not trained on.

    Args:
        key: of the bootstrap.
        scores: from :func:`attack_scores`.
        own: by member, where its training set lies along the last axis.
        test: where test data lie that are in no training set.
        num_resamples: of the bootstrap intervals.
    """
    found = [
        evaluate_attack(key, each[rows], each[test], num_resamples=num_resamples)
        for of_member, rows in zip(scores, own, strict=True)
        for each in of_member.reshape(-1, of_member.shape[-1])
    ]
    results = {}
    for end, note in ENDS.items():
        for name, about in (("auc", "area under the ROC curve"), ("tpr", _FOUND)):
            values = np.stack([getattr(getattr(each, name), end or "estimate") for each in found])
            values = values.reshape(*scores.shape[:3], *values.shape[1:])
            definition = f"{about}, {_WHAT}{note}"
            label = f"{name}_{end}" if end else name
            dims = (*DIMS, "rate")[: values.ndim]
            results[label] = Measurement(values, dims, "probability", definition)
    return results


_WHAT = f"telling training from test data by their loss; {ORACLE}, or {NO_ORACLE}, at {TIMES}"
_FOUND = f"share of members found at false-positive rates {RATES}"
