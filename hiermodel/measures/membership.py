"""How well a score tells training sequences from others (SPEC section 6)."""

import numpy as np
from jaxtyping import Array, Float, Real

from hiermodel.checks import require
from hiermodel.measures.uncertainty import check_values


def membership_score(
    loss: Float[Array | np.ndarray, "..."],
    exact_loss: Float[Array | np.ndarray, "..."] | None = None,
) -> Float[np.ndarray, "..."]:
    """Score of an attack by the denoising loss: the higher, the more likely a member.

    Args:
        loss: (...) denoising loss of the model per sequence.
        exact_loss: (...) that of the exact denoiser on the same noise, for the calibrated attack:
            it takes out how hard a sequence is in itself. None for the plain attack.

    Raises:
        ValueError: for values that are not finite or shapes that differ.
    """
    numbers = check_values("loss", loss)
    if exact_loss is None:
        return -numbers
    floor = check_values("exact_loss", exact_loss)
    fits = floor.shape == numbers.shape
    require(fits, "exact_loss", floor.shape, f"of the shape of loss, {numbers.shape}")
    return floor - numbers


def auc(
    member_scores: Real[Array | np.ndarray, "..."], other_scores: Real[Array | np.ndarray, "..."]
) -> float:
    """Probability that a random member scores above a random other, a tie counting one half.

    Exact: the Mann–Whitney rank statistic over all pairs.

    Args:
        member_scores: (n,) scores of sequences that were trained on.
        other_scores: (m,) scores of sequences that were not.

    Raises:
        ValueError: for no scores, or scores that are not finite or not in one axis.
    """
    members, others = _check_scores(member_scores, other_scores)
    ranked = np.sort(others)
    below = np.searchsorted(ranked, members, side="left")
    not_above = np.searchsorted(ranked, members, side="right")
    # Counts of pairs are integers, so the sum is exact.
    return float((below.sum() + not_above.sum()) / (2 * len(members) * len(others)))


def tpr_at_fpr(
    member_scores: Real[Array | np.ndarray, "..."],
    other_scores: Real[Array | np.ndarray, "..."],
    fpr: float = 0.01,
) -> float:
    """Largest share of members found while accusing at most a share ``fpr`` of the others.

    An attack accuses all that score at or above a threshold, so equal scores are accused together;
    no interpolation between thresholds.

    Args:
        member_scores: (n,) scores of sequences that were trained on.
        other_scores: (m,) scores of sequences that were not.
        fpr: false-positive rate allowed, in 0…1.

    Raises:
        ValueError: as :func:`auc`, or for a rate outside 0…1.
    """
    members, others = _check_scores(member_scores, other_scores)
    require(bool(0 <= fpr <= 1), "fpr", fpr, "in 0…1")
    # The tiny addition keeps 0.29 · 100 = 28.999… at 29.
    num_allowed = int(np.floor(fpr * len(others) * (1 + 1e-12)))
    if num_allowed >= len(others):
        return 1.0
    # The best other that must not be accused: thresholds lie strictly above it.
    bound = np.sort(others)[::-1][num_allowed]
    return float(np.mean(members > bound))


def _check_scores(
    member_scores: Real[Array | np.ndarray, "..."], other_scores: Real[Array | np.ndarray, "..."]
) -> tuple[np.ndarray, np.ndarray]:
    members = check_values("member_scores", member_scores)
    others = check_values("other_scores", other_scores)
    require(members.ndim == 1, "member_scores", members.shape, "one-dimensional")
    require(others.ndim == 1, "other_scores", others.shape, "one-dimensional")
    return members, others
