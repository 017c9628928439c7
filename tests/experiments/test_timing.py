"""The benchmark's clock."""

import time

from experiments.benchmarks.timing import measure


def test_rate_is_units_per_second_of_the_median_call():
    def sleep():
        time.sleep(0.01)

    row = measure("sleep", sleep, count=5, unit="naps", repeats=3, reference=100)
    assert 0.01 <= row.seconds < 0.05
    assert row.rate * row.seconds == 5
    assert row.ratio == row.rate / 100
    assert row.matmul > 0
    assert row.spread >= 1
