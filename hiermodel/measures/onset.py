"""Where over training a curve has its minimum, and the phase between two minima.

Source: science.md#onsets.

Training times are spaced evenly in their logarithm, so smoothing and interpolation act on log time.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Array, Bool, Float, Int, Key, Real

from hiermodel.checks import require
from hiermodel.measures.uncertainty import (
    Interval,
    check_values,
    generator_from_key,
    percentile_interval,
    resampled_means,
)

WIDTH = 0.25
"""Standard width of the smoothing kernel in natural-log time: about one step of 25 checkpoints."""

DROP = 0.1
"""Share of its early maximum that a curve must lose for the transient to count as over."""


class Minimum(NamedTuple):
    """Where each curve is lowest.

    Attributes:
        time: (...) position, interpolated between checkpoints, in the unit of ``times``.
        value: (...) smoothed value at the lowest checkpoint.
        checkpoint: (...) number of that checkpoint, from 0.
        at_start: (...) true if it is the first one searched: the minimum may lie before.
        at_end: (...) true if it is the last one: the minimum may lie after.
    """

    time: Float[np.ndarray, "..."]
    value: Float[np.ndarray, "..."]
    checkpoint: Int[np.ndarray, "..."]
    at_start: Bool[np.ndarray, "..."]
    at_end: Bool[np.ndarray, "..."]

    @property
    def located(self) -> Bool[np.ndarray, "..."]:
        """True where the minimum lies inside the range searched: there its time has a meaning."""
        return np.asarray(~(self.at_start | self.at_end))


def smooth_log_time(
    times: Real[Array | np.ndarray, "..."],
    values: Real[Array | np.ndarray, "..."],
    *,
    width: float = WIDTH,
) -> Float[np.ndarray, "..."]:
    """Smooth curves by local straight lines in log time, with Gaussian weights.

    Lines rather than local means, so that the ends of a curve are not pulled inwards: straight
    lines in log time come out unchanged, a parabola is raised by a constant. A minimum with a
    steeper side moves by some ``width``² away from that side, one within two widths of an end
    towards that end.

    Args:
        times: (num_times,) training times, positive and increasing.
        values: (..., num_times) curves.
        width: standard deviation of the weights in natural-log time; 0 for no smoothing.

    Raises:
        ValueError: for times that are not such, values that are not finite, or a negative width.
    """
    times, curves = _check_curves(times, values)
    return curves @ _smoother(np.log(times), width).T


def locate_minimum(
    times: Real[Array | np.ndarray, "..."],
    values: Real[Array | np.ndarray, "..."],
    *,
    width: float = WIDTH,
) -> Minimum:
    """Position of the minimum of each smoothed curve.

    The lowest checkpoint (the first, if several are), then the vertex of the parabola, in log time,
    through it and its two neighbours.

    Args:
        times: (num_times,) training times, positive and increasing.
        values: (..., num_times) curves, one per member.
        width: as in :func:`smooth_log_time`.

    Raises:
        ValueError: as :func:`smooth_log_time`.

    Example:
        >>> times = np.geomspace(1, 100, 9)
        >>> round(float(hm.measures.locate_minimum(times, np.log(times / 10) ** 2).time), 2)
        10.0
    """
    times, curves = _check_curves(times, values)
    smooth = smooth_log_time(times, curves, width=width)
    return _search(times, smooth, np.zeros(smooth.shape[:-1], dtype=np.int64))


def minimum_after_transient(
    times: Real[Array | np.ndarray, "..."],
    values: Real[Array | np.ndarray, "..."],
    *,
    width: float = WIDTH,
    drop: float = DROP,
    transient: Real[Array | np.ndarray, "..."] | None = None,
) -> Minimum:
    """Position of each curve's minimum after its early maximum: for sample-split divergences.

    Untrained networks agree, so such a curve starts low. Its early maximum is the highest point
    before the smoothed curve has first fallen to (1 − drop) of it; however high the curve rises
    later does not matter, nor do dips shallower than that. A curve that never falls so far has no
    minimum to be located: it is reported with ``at_start`` and ``at_end`` both true.

    Args:
        times: (num_times,) training times, positive and increasing.
        values: (..., num_times) curves, at least 0 unless ``transient`` is given.
        width: as in :func:`smooth_log_time`.
        drop: share in (0, 1).
        transient: (..., num_times) curves, at least 0, from whose early maximum on ``values`` are
            searched; the values themselves if left out. A difference of divergences may be
            negative, and its own early maximum noise: its transient is that of the divergence.

    Raises:
        ValueError: as :func:`smooth_log_time`, or for negative values or a drop outside (0, 1).
    """
    times, curves = _check_curves(times, values)
    require(bool(0 < drop < 1), "drop", drop, "above 0 and below 1")
    rising = curves if transient is None else _check_curves(times, transient)[1]
    name = "values" if transient is None else "transient"
    require(bool((rising >= 0).all()), name, rising.min(), "at least 0")
    fits = rising.shape == curves.shape
    require(fits, name, rising.shape, f"of the shape of values, {curves.shape}")
    smooth = smooth_log_time(times, curves, width=width)
    early = smooth_log_time(times, rising, width=width)
    highest = np.maximum.accumulate(early, axis=-1)
    has_fallen = early < (1 - drop) * highest
    last = smooth.shape[-1] - 1
    is_over = has_fallen.any(-1)
    over = np.where(is_over, has_fallen.argmax(-1), last)
    before = np.arange(last + 1) <= over[..., None]
    peak = np.where(before, early, -np.inf).argmax(-1)
    return _search(times, smooth, np.where(is_over, peak, last))


def minimum_interval(
    key: Key[Array, ""],
    times: Real[Array | np.ndarray, "..."],
    curves: Real[Array | np.ndarray, "..."],
    *,
    after_transient: bool = False,
    width: float = WIDTH,
    level: float = 0.95,
    num_resamples: int = 2000,
) -> Interval:
    """Position of the minimum of the mean curve, with a bootstrap interval over members.

    Resamples whose minimum lies on a border count with the border's time. With few members it
    covers less than its nominal 0.95 (10 members: about 0.9).

    Args:
        key: one typed key.
        times: (num_times,) training times, positive and increasing.
        curves: (num_members, num_times) one curve per independent member (seed, split or pair).
        after_transient: search as :func:`minimum_after_transient` does.
        width: as in :func:`smooth_log_time`.
        level: nominal coverage.
        num_resamples: at least 1.

    Raises:
        ValueError: as :func:`smooth_log_time`, or if a number is out of range.
    """
    generator = generator_from_key(key)
    times, members = _check_curves(times, curves)
    require(members.ndim == 2, "curves", members.shape, "of shape (num_members, num_times)")
    locate = minimum_after_transient if after_transient else locate_minimum
    means = resampled_means(generator, members, num_resamples)
    estimate = locate(times, members.mean(0), width=width).time
    return percentile_interval(estimate, locate(times, means, width=width).time, level)


def paired_log_ratio(
    tau_a: Real[Array | np.ndarray, "..."], tau_b: Real[Array | np.ndarray, "..."]
) -> Float[np.ndarray, "..."]:
    """ln(tau_a / tau_b) per member, to be given an interval: negative where a comes first.

    Args:
        tau_a: (...) times, for example tau_bias of each member.
        tau_b: (...) times of the same members, for example tau_test.

    Raises:
        ValueError: for shapes that differ or times that are not positive and finite.
    """
    logs = []
    for argument, times in (("tau_a", tau_a), ("tau_b", tau_b)):
        numbers = check_values(argument, times, min_ndim=0)
        require(bool((numbers > 0).all()), argument, numbers, "positive")
        logs.append(np.log(numbers))
    fits = logs[0].shape == logs[1].shape
    require(fits, "tau_b", logs[1].shape, f"of the shape of tau_a, {logs[0].shape}")
    return np.asarray(logs[0] - logs[1])


def biased_phase(
    times: Real[Array | np.ndarray, "..."],
    tau_bias: float | Real[Array | np.ndarray, "..."],
    tau_test: float | Real[Array | np.ndarray, "..."],
) -> Bool[np.ndarray, "..."]:
    """Which checkpoints lie in the biased phase, tau_bias < tau < tau_test.

    Args:
        times: (num_times,) training times.
        tau_bias: (...) where bias sets in, per member.
        tau_test: (...) where the test loss is lowest.

    Returns:
        (..., num_times); nowhere true for a member with tau_test before tau_bias.

    Raises:
        ValueError: for values that are not finite or shapes that do not broadcast.

    Example:
        >>> hm.measures.biased_phase(np.array([1.0, 2.0, 4.0]), 1.5, 3.0).tolist()
        [False, True, False]
    """
    points = check_values("times", times)
    begin = check_values("tau_bias", np.asarray(tau_bias), min_ndim=0)[..., None]
    end = check_values("tau_test", np.asarray(tau_test), min_ndim=0)[..., None]
    return np.asarray((begin < points) & (points < end))


def _search(
    times: Float[np.ndarray, " num_times"],
    smooth: Float[np.ndarray, "*members num_times"],
    first: Int[np.ndarray, "*members"],
) -> Minimum:
    """The minimum at or after checkpoint ``first`` of each curve."""
    members, last = smooth.shape[:-1], len(times) - 1
    curves, begin = smooth.reshape(-1, last + 1), first.reshape(-1)
    rows = np.arange(len(curves))
    index = np.where(np.arange(last + 1) >= begin[:, None], curves, np.inf).argmin(1)
    at_start, at_end = index == begin, index == last
    neighbours = np.clip(index, 1, last - 1)[:, None] + np.arange(-1, 2)
    vertex = _vertex(np.log(times)[neighbours], curves[rows[:, None], neighbours])
    time = np.where(at_start | at_end, times[index], np.exp(vertex))
    parts = (time, curves[rows, index], index, at_start, at_end)
    return Minimum(*(part.reshape(members) for part in parts))


def _vertex(
    x: Float[np.ndarray, "curves 3"], y: Float[np.ndarray, "curves 3"]
) -> Float[np.ndarray, " curves"]:
    """Abscissa of the vertex of the parabola through three points; the middle one if they level."""
    left, right = x[..., 1] - x[..., 0], x[..., 2] - x[..., 1]
    rise_left, rise_right = y[..., 0] - y[..., 1], y[..., 2] - y[..., 1]
    bend = rise_left * right + rise_right * left
    shift = rise_left * right**2 - rise_right * left**2
    vertex = x[..., 1] + np.where(bend > 0, shift / np.where(bend > 0, 2 * bend, 1), 0)
    # A middle point that is not the lowest has its vertex anywhere; callers then ignore it.
    return np.clip(vertex, x[..., 0], x[..., 2])


def _smoother(log_times: Float[np.ndarray, " num_times"], width: float) -> np.ndarray:
    """Matrix whose row i gives the local line's value at time i from all values."""
    require(bool(np.isfinite(width) and width >= 0), "width", width, "finite and at least 0")
    identity = np.eye(len(log_times))
    if width == 0:
        return identity
    offset = (log_times[None, :] - log_times[:, None]) / width
    weight = np.exp(-(offset**2) / 2)
    total, first, second = ((weight * offset**power).sum(1, keepdims=True) for power in range(3))
    determinant = total * second - first**2
    # With no neighbour within reach there is no line to fit: the value stays.
    alone = determinant < 1e-12
    rows = weight * (second - offset * first) / np.where(alone, 1, determinant)
    return np.where(alone, identity, rows)


def _check_curves(
    times: Real[Array | np.ndarray, "..."], values: Real[Array | np.ndarray, "..."]
) -> tuple[np.ndarray, np.ndarray]:
    points, curves = check_values("times", times), check_values("values", values)
    require(points.ndim == 1 and len(points) >= 3, "times", points.shape, "of at least 3 times")
    increasing = bool((points > 0).all() and (np.diff(points) > 0).all())
    require(increasing, "times", points, "positive and increasing")
    fits = curves.shape[-1] == len(points)
    require(fits, "values", curves.shape, f"of {len(points)} times along the last axis")
    return points, curves
