"""How well a score tells training sequences, or images, from others (science.md#measures).

The attacks differ in what the loss of a sequence is compared with: nothing, the loss of the exact
denoiser (the calibrated attack, which takes an oracle), or that of a reference network trained on
other data (which takes none). Give all the same key, and they see the same noise.
"""

from typing import NamedTuple, cast

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key, Num, Real, Shaped

from hiermodel.checks import (
    InputError,
    check_integer,
    check_key,
    check_steps,
    check_symbols,
    require,
)
from hiermodel.diffusion.compiled import run_compiled
from hiermodel.diffusion.denoiser import AnyDenoiser, gives_means, known_vocab_size
from hiermodel.diffusion.process import Process
from hiermodel.diffusion.schedule import Schedule
from hiermodel.measures.along_noise import in_pieces
from hiermodel.measures.divergence import CLIP
from hiermodel.measures.uncertainty import (
    Interval,
    check_values,
    generator_from_key,
    percentile_interval,
    resampled_counts,
)

RATES = (0.01, 0.001)
"""False-positive rates at which attacks are reported."""

MAX_NUMBERS = 2**22
"""How many numbers are held at a time; bounds memory without changing results."""


class Attack(NamedTuple):
    """How well an attack tells members from others, mean over networks.

    Attributes:
        auc: area under the ROC curve; 0.5 is chance.
        tpr: (num_rates,) share of members found at each false-positive rate, which is chance.
    """

    auc: Interval
    tpr: Interval


def attack_losses(
    key: Key[Array, ""],
    denoiser: AnyDenoiser,
    schedule: Process,
    sequences: Num[Array | np.ndarray, "n ..."],
    steps: Int[Array | np.ndarray, " noises"],
    *,
    vocab_size: int | None = None,
) -> Float[np.ndarray, " n"]:
    """Denoising loss of every sequence or image, mean over noises at the same steps for all.

    Of a sequence it is the cross-entropy, of an image the squared error of the predicted noise.
    Log-probabilities are raised to at least that of 1e-8, as in divergences (science.md#measures),
    so that differences of losses exist.

    Args:
        key: one typed key, for the noise; more steps leave the noise of the first ones as it was.
        denoiser: what is attacked, or what it is compared with.
        schedule: the noise, any Process; a Schedule for images.
        sequences: (n, num_leaves) clean symbols; for a MeanDenoiser clean images, floating,
            (n, pixels, channels).
        steps: (noises,) a step for each noise: one step many times, or ``stratified_steps``.
        vocab_size: q; needed only if denoiser and noise take any.

    Returns:
        (n,) nats per position, or squared error per pixel and channel.

    Raises:
        ValueError: for a wrong length, a symbol or step out of range, an unknown vocabulary, or
            images that do not fit.

    Example:
        >>> hm.measures.attack_losses(key, denoiser, schedule, leaves, np.array([5, 10])).shape
        (8,)
    """
    check_key(key)
    require(np.ndim(steps) == 1 and len(steps) > 0, "steps", steps, "a list of at least one step")
    check_steps(steps, schedule.num_steps)
    x_0 = _clean(denoiser, schedule, sequences, vocab_size)
    return np.asarray(run_compiled(_mean_losses, denoiser, key, schedule, x_0, jnp.asarray(steps)))


def _clean(
    denoiser: AnyDenoiser, process: Process, data: Array | np.ndarray, vocab_size: int | None
) -> Array:
    """Sequences as the noise takes them, or images as they are."""
    if gives_means(denoiser):
        shape, x_0 = denoiser.event_shape, jnp.asarray(data)
        fits = x_0.shape[1:] == shape and jnp.issubdtype(x_0.dtype, jnp.floating)
        require(fits, "sequences", (x_0.shape, x_0.dtype), f"floating, of shape (n, *{shape})")
        return x_0
    size = known_vocab_size(denoiser, process) if vocab_size is None else vocab_size
    if size is None:
        raise InputError("vocab_size=None is not allowed: this denoiser takes any, so name one")
    require(np.ndim(data) == 2, "sequences", np.shape(data), "of shape (n, num_leaves)")
    check_symbols("sequences", data, size)
    return process.encode(data, size)


def _mean_losses(
    denoiser: AnyDenoiser,
    key: Key[Array, ""],
    schedule: Process,
    x_0: Shaped[Array, "n ..."],
    steps: Int[Array, " noises"],
) -> Float[Array, " n"]:
    def of_noise(numbered: tuple[Array, Array]) -> Array:
        number, t = numbered
        x_t = schedule.corrupt(jax.random.fold_in(key, number), x_0, t)
        output = in_pieces(lambda rows: denoiser(rows, t), x_t)
        if gives_means(denoiser):
            # The noise is what is left of x_t, so its error is that of x_0 in other units.
            noise = cast(Schedule, schedule)
            signal_to_noise = noise.alpha_bar[t] / noise.noise_variance[t]
            return jnp.square(output - x_0).mean((-2, -1)) * signal_to_noise.astype(x_0.dtype)
        is_clean = schedule.decode(x_0)[..., None] == jnp.arange(output.shape[-1])
        log_probs = jnp.where(is_clean, output, 0).sum(-1)
        return -jnp.maximum(log_probs, np.log(CLIP)).mean(-1)

    return jax.lax.map(of_noise, (jnp.arange(len(steps)), steps)).mean(0)


def membership_score(
    loss: Float[Array | np.ndarray, "..."],
    reference_loss: Float[Array | np.ndarray, "..."] | None = None,
) -> Float[np.ndarray, "..."]:
    """Score of an attack by the denoising loss: the higher, the more likely a member.

    Args:
        loss: (...) denoising loss of the model per sequence.
        reference_loss: (...) that of the exact denoiser on the same noise, for the calibrated
            attack, or of a network trained on other data: it takes out how hard a sequence is in
            itself. None for the plain attack.

    Raises:
        ValueError: for values that are not finite or shapes that differ.

    Example:
        >>> hm.measures.membership_score(np.array([1.0, 2.0]), np.array([1.5, 1.5])).tolist()
        [0.5, -0.5]
    """
    numbers = check_values("loss", loss)
    if reference_loss is None:
        return -numbers
    floor = check_values("reference_loss", reference_loss)
    fits = floor.shape == numbers.shape
    require(fits, "reference_loss", floor.shape, f"of the shape of loss, {numbers.shape}")
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
    members, others = check_scores(member_scores, other_scores)
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
    members, others = check_scores(member_scores, other_scores)
    require(bool(0 <= fpr <= 1), "fpr", fpr, "in 0…1")
    # The tiny addition keeps 0.29 · 100 = 28.999… at 29.
    num_allowed = int(np.floor(fpr * len(others) * (1 + 1e-12)))
    if num_allowed >= len(others):
        return 1.0
    # The best other that must not be accused: thresholds lie strictly above it.
    bound = np.sort(others)[::-1][num_allowed]
    return float(np.mean(members > bound))


def evaluate_attack(
    key: Key[Array, ""],
    member_scores: Real[Array | np.ndarray, "..."],
    other_scores: Real[Array | np.ndarray, "..."],
    *,
    rates: tuple[float, ...] = RATES,
    level: float = 0.95,
    num_resamples: int = 1000,
) -> Attack:
    """AUC and TPR of an attack, with percentile-bootstrap intervals.

    Resampled are the sequences, alike for all networks, since networks may share them, and then
    the networks. With few networks intervals cover less than their level (see
    ``hierarchical_interval``); a single one is taken as given.

    Args:
        key: one typed key.
        member_scores: (n,) scores of members, or (networks, n).
        other_scores: (m,) scores of others, or (networks, m).
        rates: false-positive rates in 0…1; with fewer than 1 / rate others, none may be accused.
        level: nominal coverage.
        num_resamples: at least 1.

    Raises:
        ValueError: as :func:`tpr_at_fpr`, or for shapes that do not fit.

    Example:
        >>> members, others = np.arange(1.0, 11.0), -np.arange(1.0, 11.0)
        >>> float(hm.measures.evaluate_attack(key, members, others).auc.estimate)
        1.0
    """
    generator = generator_from_key(key)
    num_resamples = check_integer("num_resamples", num_resamples, 1)
    members = np.atleast_2d(check_values("member_scores", member_scores))
    others = np.atleast_2d(check_values("other_scores", other_scores))
    fits = members.ndim == others.ndim == 2 and len(members) == len(others)
    require(fits, "other_scores", others.shape, f"of {len(members)} networks")
    pairs = list(zip(members, others, strict=True))
    estimates = [[auc(*pair), *(tpr_at_fpr(*pair, rate) for rate in rates)] for pair in pairs]
    block = max(1, MAX_NUMBERS // (members.shape[1] + others.shape[1]))
    replicates = []
    for start in range(0, num_resamples, block):
        size = min(block, num_resamples - start)
        drawn_members = resampled_counts(generator, size, members.shape[1])
        drawn_others = resampled_counts(generator, size, others.shape[1])
        by_network = np.stack(
            [
                _weighted_statistics(own, other, drawn_members, drawn_others, rates)
                for own, other in pairs
            ]
        )
        picked = resampled_counts(generator, size, len(pairs)) / len(pairs)
        replicates.append(np.einsum("rn,nrs->rs", picked, by_network))
    mean = np.mean(estimates, 0)
    whole = np.concatenate(replicates)
    tpr = percentile_interval(mean[1:], whole[:, 1:], level)
    return Attack(percentile_interval(mean[0], whole[:, 0], level), tpr)


def _weighted_statistics(
    members: Float[np.ndarray, " n"],
    others: Float[np.ndarray, " m"],
    member_counts: Int[np.ndarray, "resamples n"],
    other_counts: Int[np.ndarray, "resamples m"],
    rates: tuple[float, ...],
) -> Float[np.ndarray, "resamples statistics"]:
    """AUC, then TPR at each rate, where score i stands as often as its count says."""
    order = np.argsort(others)
    ranked, counts = others[order], other_counts[:, order]
    up_to = np.pad(np.cumsum(counts, 1), ((0, 0), (1, 0)))
    below, not_above = (
        up_to[:, np.searchsorted(ranked, members, side)] for side in ("left", "right")
    )
    num_members, num_others = len(members), len(others)
    area = (member_counts * (below + not_above)).sum(1) / (2 * num_members * num_others)
    member_order = np.argsort(members)
    found_from = np.pad(
        np.cumsum(member_counts[:, member_order[::-1]], 1)[:, ::-1], ((0, 0), (0, 1))
    )
    from_top = np.cumsum(counts[:, ::-1], 1)
    statistics = [area]
    for rate in rates:
        num_allowed = int(np.floor(rate * num_others * (1 + 1e-12)))
        if num_allowed >= num_others:
            statistics.append(np.ones(len(area)))
            continue
        # The best other that must not be accused, as in tpr_at_fpr.
        bound = ranked[::-1][(from_top > num_allowed).argmax(1)]
        first = np.searchsorted(members[member_order], bound, "right")
        statistics.append(found_from[np.arange(len(area)), first] / num_members)
    return np.stack(statistics, 1)


def check_scores(
    member_scores: Real[Array | np.ndarray, "..."], other_scores: Real[Array | np.ndarray, "..."]
) -> tuple[np.ndarray, np.ndarray]:
    """Scores of members and of others as numbers, after checking them."""
    members = check_values("member_scores", member_scores)
    others = check_values("other_scores", other_scores)
    require(members.ndim == 1, "member_scores", members.shape, "one-dimensional")
    require(others.ndim == 1, "other_scores", others.shape, "one-dimensional")
    return members, others
