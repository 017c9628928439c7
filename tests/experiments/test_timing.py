"""The benchmark's clock."""

import functools
import time

from experiments.benchmarks.public_code import Reference
from experiments.benchmarks.timing import in_own_process, measure


def test_rate_is_units_per_second_of_the_median_call():
    def sleep():
        time.sleep(0.01)

    row = measure(
        "sleep", sleep, count=5, unit="naps", repeats=3, reference=Reference(100, "somewhere")
    )
    assert 0.01 <= row.seconds < 0.05
    assert row.rate * row.seconds == 5
    assert row.ratio == row.rate / 100
    assert row.matmul > 0
    assert row.spread >= 1


def test_a_row_from_a_process_of_its_own_tells_its_peak_memory():
    task = functools.partial(measure, "sum", sum, (1, 2), count=2, unit="numbers", repeats=1)
    row = in_own_process(task)
    assert row.peak_memory is not None
    assert 50 < row.peak_memory < 20_000  # MiB, with JAX loaded
    assert row.rate > 0
    assert row.compile >= 0
