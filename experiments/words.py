"""Numbers, intervals and times in words, for terminals, pages and figures."""

import math


def number_text(value: float | None, digits: int = 3) -> str:
    """A number, rounded; nothing for None or NaN, "none" for a time that never came."""
    if value is None or math.isnan(value):
        return ""
    return "none" if math.isinf(value) else f"{value:.{digits}g}"


def interval_text(
    estimate: float | None, low: float | None, high: float | None, digits: int = 3
) -> str:
    """``estimate [low, high]``; without brackets where an end is None or not finite."""
    if low is None or high is None or not (math.isfinite(low) and math.isfinite(high)):
        return number_text(estimate, digits)
    ends = (number_text(end, digits) for end in (estimate, low, high))
    return "{} [{}, {}]".format(*ends)


def duration(seconds: float) -> str:
    """A time in the largest unit that fits."""
    for size, unit in ((86400, "days"), (3600, "hours"), (60, "minutes")):
        if seconds >= size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.0f} seconds"
