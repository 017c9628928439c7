"""When to stop: what two networks on disjoint halves of the data say, with no oracle.

See README.md beside this file for how to use it on a diffusion model of your own.
"""

from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import Array, Float, Key, Real

from hiermodel.checks import check_integer, require
from hiermodel.measures.gap_test import PermutedGap
from hiermodel.measures.sequential import first_alarm, rise_statistics, transient_end
from hiermodel.measures.uncertainty import (
    Interval,
    check_values,
    generator_from_key,
    percentile_interval,
    student_interval,
)

Curves = Real[Array | np.ndarray, "..."]
"""(looks, units): a curve along training for each independent unit, such as a test example."""


class Evidence(NamedTuple):
    """What one signal says.

    Attributes:
        name: of the signal.
        curve: mean along training with its pointwise interval; for a permutation test the interval
            is that of chance, around the observed estimate.
        alarm: step at which it first spoke up; None if it has not.
        since: step from which on it lies where the alarm found it: the curve's lowest point, or the
            first of the unbroken run of looks before the alarm that are significant on their own.

    Example:
        >>> steps = np.geomspace(10, 1000, 12)
        >>> falling = np.linspace(2, 1, 12)[:, None] * np.ones(20)
        >>> advice = hm.advise_stop(key, steps, falling, split_divergence=falling, num_looks=12)
        >>> [isinstance(one, hm.measures.Evidence) for one in advice.evidence[:1]]
        [True]
    """

    name: str
    curve: Interval
    alarm: float | None
    since: float | None


class Advice(NamedTuple):
    """What to do.

    Attributes:
        verdict: "keep going", "biased" or "past the test minimum".
        since: step since which that holds; None to keep going.
        keep: step whose networks to keep, if training ends now: the last before bias, else that of
            the lowest test loss.
        evidence: by signal, the test loss first.
    """

    verdict: str
    since: float | None
    keep: float
    evidence: tuple[Evidence, ...]

    @property
    def stop(self) -> bool:
        """Whether anything speaks against going on."""
        return self.verdict != "keep going"

    def __str__(self) -> str:
        head = self.verdict
        if self.since is not None:
            head += f" since step {self.since:g}; keep the networks of step {self.keep:g}"
        lines = [
            f"  {e.name}: " + ("no alarm" if e.alarm is None else f"alarm at step {e.alarm:g}")
            for e in self.evidence
        ]
        return "\n".join([head, *lines])


def advise_stop(
    key: Key[Array, ""],
    steps: Real[Array | np.ndarray, " looks"],
    test_loss: Curves,
    *,
    gap: Curves | PermutedGap | None = None,
    split_divergence: Curves | None = None,
    neighbour_divergence: Curves | None = None,
    tolerated_gap: float = 0.0,
    false_alarm: float = 0.05,
    num_looks: int = 25,
    num_permutations: int = 2000,
) -> Advice:
    """Say whether to go on training, from what has been measured so far.

    Networks are called biased when the own–other gap is above zero, or when one of the divergences
    has risen above its lowest point (that of the split: after its early maximum); past the test
    minimum when the test loss has risen. All of it may be asked at every checkpoint with what is
    there by then: the chance that networks whose samples do not depend on their training set are
    ever called biased is at most ``false_alarm``, shared equally by the signals given; likewise
    that a test loss which does not rise is said to. With a ``PermutedGap`` this is exact; with
    curves it holds as far as units are independent, in large numbers (some twenty at least), and
    what training adds to a curve from look to look is independent normal noise, whose size is
    estimated from the curve itself; nothing is said about curves before the eighth look.

    A gap above zero says that samples depend on the training set, however little; in the grammar
    data that begins long before the divergences turn. To be warned of more, tolerate some.

    Units are what the means are over: test examples for the loss, inputs for the divergence between
    the networks' outputs, samples for the gap (mean of both directions), batches of samples for the
    nearest-neighbour divergence. The same units, with the same noise, at every step.

    Args:
        key: one typed key; use the same one at every look.
        steps: (looks,) training times so far, positive and increasing, spaced about evenly in
            their logarithm.
        test_loss: (looks, units) loss on data that no network was trained on, mean of both.
        gap: (looks, units) own–other gap per sample, whose signs are flipped; or what
            ``permuted_gap`` gives, which assumes less.
        split_divergence: (looks, units) divergence between the two networks on the same inputs.
        neighbour_divergence: (looks, units) nearest-neighbour divergence.
        tolerated_gap: gap that is no cause for alarm, in units of the distance.
        false_alarm: rate allowed, over all looks, for bias and for the test minimum each.
        num_looks: planned looks; the false-alarm rate is spent equally on them.
        num_permutations: rows of chance; at least num_looks / false_alarm of them per bias signal
            are of use.

    Raises:
        ValueError: for no bias signal, shapes that do not fit, values that are not finite, or a
            number out of range.

    Example:
        >>> steps = np.geomspace(10, 1000, 12)
        >>> falling = np.linspace(2, 1, 12)[:, None] * np.ones(20)
        >>> advice = hm.advise_stop(key, steps, falling, split_divergence=falling, num_looks=12)
        >>> advice.stop
        False
    """
    steps = _check_steps(steps)
    require(bool(0 < false_alarm < 1), "false_alarm", false_alarm, "above 0 and below 1")
    num_permutations = check_integer("num_permutations", num_permutations, 1)
    num_looks = check_integer("num_looks", num_looks, len(steps))
    rises = {
        "split divergence": split_divergence,
        "nearest-neighbour divergence": neighbour_divergence,
    }
    given = {name: curves for name, curves in rises.items() if curves is not None}
    num_signals = len(given) + (gap is not None)
    require(num_signals > 0, "gap", gap, "given, or one of the divergences")
    keys = iter(jax.random.split(key, 4))

    def rise(name: str, curves: Curves, rate: float) -> Evidence:
        values = _check_curves(name, curves, steps)
        return _rise(next(keys), name, steps, values, rate, num_looks, num_permutations)

    loss = rise("test loss", test_loss, false_alarm)
    evidence = []
    if gap is not None:
        gap_key, rate = next(keys), false_alarm / num_signals
        evidence.append(
            _lean(gap_key, steps, gap, tolerated_gap, rate, num_looks, num_permutations)
        )
    evidence += [rise(name, curves, false_alarm / num_signals) for name, curves in given.items()]
    return _weigh(steps, loss, evidence)


def _weigh(steps: np.ndarray, loss: Evidence, bias: list[Evidence]) -> Advice:
    lowest = float(steps[np.argmin(loss.curve.estimate)])
    alarmed = [e.since for e in bias if e.since is not None]
    biased = min(alarmed) if alarmed else None
    # The network of the look before is the last that shows nothing.
    before = steps[steps < biased] if biased is not None else []
    keep = float(before[-1]) if len(before) else biased if biased is not None else lowest
    if loss.since is not None:
        return Advice("past the test minimum", loss.since, min(keep, loss.since), (loss, *bias))
    if biased is not None:
        return Advice("biased", biased, keep, (loss, *bias))
    return Advice("keep going", None, keep, (loss, *bias))


def _rise(
    key: Key[Array, ""],
    name: str,
    steps: np.ndarray,
    curves: np.ndarray,
    false_alarm: float,
    num_looks: int,
    num_permutations: int,
) -> Evidence:
    """Whether a curve has risen above its lowest point."""
    mean = curves.mean(1)
    begin = transient_end(mean) if name == "split divergence" else 0
    sign_key, jitter_key = jax.random.split(key)
    signs = _signs(sign_key, num_permutations, curves.shape[1])
    # Looks come first, so that later ones leave the noise of earlier ones as it was.
    jitter = generator_from_key(jitter_key).normal(size=(len(steps), num_permutations))
    statistics = rise_statistics(curves, signs, jitter, begin)
    look = first_alarm(statistics, false_alarm, num_looks)
    curve = student_interval(curves.T)
    if look is None:
        return Evidence(name, curve, None, None)
    lowest = begin + int(mean[begin:look].argmin())
    return Evidence(name, curve, float(steps[look]), float(steps[lowest]))


def _lean(
    key: Key[Array, ""],
    steps: np.ndarray,
    gap: Curves | PermutedGap,
    tolerated: float,
    false_alarm: float,
    num_looks: int,
    num_permutations: int,
) -> Evidence:
    """Whether the gap lies above what is tolerated."""
    require(bool(tolerated >= 0), "tolerated_gap", tolerated, "at least 0")
    if isinstance(gap, PermutedGap):
        observed, chance = check_values("gap", gap.observed), check_values("gap", gap.permuted)
        fits = observed.shape == chance.shape[1:] == steps.shape
        require(fits, "gap", chance.shape, f"of shape (permutations, {len(steps)})")
        curve = percentile_interval(observed, observed + chance, 0.95)
        observed = observed - tolerated
    else:
        curves = _check_curves("gap", gap, steps) - tolerated
        signs = _signs(key, num_permutations, curves.shape[1])
        observed, chance = curves.mean(1), signs @ curves.T / curves.shape[1]
        curve = student_interval(curves.T + tolerated)
    rows = np.concatenate([observed[None], chance])
    spread = np.sqrt(np.square(rows).mean(0))
    statistics = np.where(spread > 0, rows / np.where(spread > 0, spread, 1), -np.inf)
    look = first_alarm(statistics, false_alarm, num_looks)
    if look is None:
        return Evidence("own–other gap", curve, None, None)
    alone = (rows >= observed).mean(0) <= false_alarm
    quiet = np.flatnonzero(~alone[:look])
    first = int(quiet[-1]) + 1 if len(quiet) else 0
    return Evidence("own–other gap", curve, float(steps[look]), float(steps[first]))


def _signs(key: Key[Array, ""], num_rows: int, num_units: int) -> Float[np.ndarray, "rows units"]:
    bits = generator_from_key(key).integers(2, size=(num_rows, num_units), dtype=np.int8)
    return 2.0 * bits - 1


def _check_steps(steps: Real[Array | np.ndarray, " looks"]) -> np.ndarray:
    points = check_values("steps", steps)
    good = points.ndim == 1 and bool((points > 0).all() and (np.diff(points) > 0).all())
    require(good, "steps", points, "positive and increasing")
    return points


def _check_curves(name: str, curves: Curves, steps: np.ndarray) -> np.ndarray:
    values = check_values(name, curves)
    fits = values.ndim == 2 and len(values) == len(steps) and values.shape[1] >= 2
    require(fits, name, values.shape, f"of shape ({len(steps)}, units), at least two units")
    return values
