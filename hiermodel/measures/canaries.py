"""What attack scores prove about differential privacy; the one user of jax-privacy's auditor."""

import importlib
from typing import Any

import numpy as np
from jaxtyping import Array, Real

from hiermodel.checks import require
from hiermodel.measures.membership import check_scores


def epsilon_lower_bound(
    member_scores: Real[Array | np.ndarray, "..."],
    other_scores: Real[Array | np.ndarray, "..."],
    *,
    delta: float,
    level: float = 0.95,
) -> float:
    """Largest ε for which the scores refute that training was (ε, δ)-differentially private.

    The audit of one training run (Steinke and others, arXiv:2305.08846), over all thresholds with
    Bonferroni's correction. It holds where chance alone decided, independently for every sequence,
    whether it was trained on: so take the two halves of a pool, own and other training set, not the
    training set and a test set drawn otherwise. With fixed equal sizes that holds up to 1/n.

    Args:
        member_scores: (n,) scores of sequences that were trained on, high for members.
        other_scores: (m,) scores of sequences of the same pool that were not.
        delta: δ, above 0 and at most 1; nothing can be refuted unless it is well below 1/n.
        level: confidence of the bound.

    Returns:
        A lower bound on ε; 0 if nothing is refuted.

    Raises:
        ValueError: as ``auc``, or for a number out of range.
        ModuleNotFoundError: without the extra ``privacy``.

    Example:
        >>> scores = np.random.default_rng(0).normal(size=(2, 100))
        >>> hm.measures.epsilon_lower_bound(scores[0], scores[1], delta=1e-3) < 1
        True
    """
    members, others = check_scores(member_scores, other_scores)
    require(bool(0 < delta <= 1), "delta", delta, "above 0 and at most 1")
    require(bool(0 < level < 1), "level", level, "above 0 and below 1")
    auditor = _auditing().CanaryScoreAuditor(members, others)
    return float(auditor.epsilon_one_run(1 - level, delta))


def _auditing() -> Any:
    """Imported late: all else works without it.

    Raises:
        ModuleNotFoundError: naming the extra to install.
    """
    try:
        return importlib.import_module("jax_privacy.auditing")
    except ModuleNotFoundError as error:
        advice = "epsilon_lower_bound needs jax-privacy: pip install 'hiermodel[privacy]'"
        raise ModuleNotFoundError(f"{advice} ({error})") from error
