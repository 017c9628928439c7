"""Stopping advice on curves with known answers, and on noise."""

import jax
import numpy as np
import pytest

import hiermodel as hm
from hiermodel.measures import PermutedGap
from hiermodel.measures.sequential import first_alarm

KEY = jax.random.key(0)
STEPS = np.geomspace(100, 10_000, 21)
LOG = np.log(STEPS / 100)  # 0 … 4.6
BIAS, TEST = STEPS[8], STEPS[15]


def curves(rng, mean, spread=0.2, units=60):
    """Units with levels of their own, and noise at every look."""
    level = rng.normal(size=units)
    return mean[:, None] + level + spread * rng.normal(size=(len(mean), units))


def valley(step):
    return 0.3 * np.square(LOG - np.log(step / 100))


def lean(rng, begin, units=200):
    """A gap that is zero until a step, and then grows with log time."""
    mean = 0.5 * np.maximum(LOG - np.log(begin / 100), 0)
    return mean[:, None] + rng.normal(size=(len(LOG), units))


def at_every_look(**signals):
    """The advice after each checkpoint."""
    return [
        hm.advise_stop(KEY, STEPS[:look], **{n: v[:look] for n, v in signals.items()})
        for look in range(1, len(STEPS) + 1)
    ]


def test_keep_going_then_biased_then_past_the_minimum():
    rng = np.random.default_rng(0)
    advice = at_every_look(test_loss=curves(rng, valley(TEST)), gap=lean(rng, BIAS))
    verdicts = [each.verdict for each in advice]
    order = ["keep going", "biased", "past the test minimum"]
    assert verdicts == sorted(verdicts, key=order.index)
    first = {verdict: verdicts.index(verdict) for verdict in order}
    assert STEPS[first["biased"]] in STEPS[8:12]
    assert STEPS[first["past the test minimum"]] in STEPS[15:20]
    biased = advice[first["biased"]]
    assert biased.since in STEPS[8:11]
    assert biased.keep in STEPS[7:10]
    assert biased.stop
    assert advice[-1].since in STEPS[14:17]
    assert f"since step {biased.since:g}" in str(biased)
    assert not advice[0].stop


@pytest.mark.parametrize("name", ["split_divergence", "neighbour_divergence"])
def test_a_divergence_that_rises_again_means_bias(name):
    rng = np.random.default_rng(1)
    curve = valley(BIAS)
    if name == "split_divergence":
        curve = curve.copy()
        curve[:3] = [0.5, 1.5, 2.5]  # untrained networks agree; that rise is no bias
    falling = curves(rng, -LOG)
    advice = at_every_look(test_loss=falling, **{name: curves(rng, 5 + curve)})
    assert not advice[6].stop
    assert advice[-1].verdict == "biased"
    assert advice[-1].since in STEPS[7:10]


def test_what_was_said_is_not_taken_back():
    rng = np.random.default_rng(2)
    signals = {"test_loss": curves(rng, valley(TEST)), "gap": lean(rng, BIAS)}
    signals["neighbour_divergence"] = curves(rng, valley(BIAS))
    by_look = at_every_look(**signals)
    for number in range(3):
        alarms = [each.evidence[number].alarm for each in by_look]
        heard = [alarm for alarm in alarms if alarm is not None]
        assert len(set(heard)) == 1
        assert alarms[-1] is not None


@pytest.mark.long
def test_silent_on_noise():
    """False alarms for bias and for the minimum are each at most 5 %, over all looks.

    Of 150 trials, more than 14 alarms of a kind have a chance of 0.01 at that rate.
    """
    rng = np.random.default_rng(3)
    bias = minimum = 0
    for trial in range(150):
        flat = np.zeros(len(STEPS))
        loss, gap = curves(rng, flat), 0.3 * rng.normal(size=(1, 40)) + lean(rng, np.inf, 40)
        split, neighbour = curves(rng, flat + 9, units=40), curves(rng, flat + 9, units=40)
        advice = hm.advise_stop(
            jax.random.key(trial),
            STEPS,
            loss,
            gap=gap,
            split_divergence=split,
            neighbour_divergence=neighbour,
            num_looks=len(STEPS),
            num_permutations=800,
        )
        minimum += advice.evidence[0].alarm is not None
        bias += any(each.alarm is not None for each in advice.evidence[1:])
    assert bias <= 14
    assert minimum <= 14


@pytest.mark.long
def test_silent_on_a_loss_that_falls_and_networks_that_differ_by_chance():
    """Gaps of two generators that are unlike each other, but not because of the split.

    Exact: at most 5 %. Of 40 trials, more than 6 alarms have a chance of 0.003.
    """
    rng, alarms = np.random.default_rng(4), 0
    steps = STEPS[::4]
    for trial in range(40):
        pool = rng.normal(size=(40, 3))
        shift = 0.7 * rng.normal(size=(2, 3))
        a, b = (rng.normal(size=(len(steps), 60, 3)) + own for own in shift)
        gap = hm.permuted_gap(
            jax.random.key(trial),
            a,
            b,
            pool[:20],
            pool[20:],
            num_permutations=400,
            metric="euclidean",
        )
        advice = hm.advise_stop(KEY, steps, curves(rng, -LOG[::4]), gap=gap, num_looks=len(steps))
        assert advice.evidence[0].alarm is None
        alarms += advice.stop
    assert alarms <= 6


def test_networks_that_copy_are_found_out():
    rng = np.random.default_rng(5)
    pool = rng.normal(size=(80, 4))
    own = [pool[:40], pool[40:]]
    share = np.array([0, 0, 0, 0.3, 0.6, 0.9])
    generated = [
        np.stack([
            np.where(rng.uniform(size=(50, 1)) < s, rows[rng.integers(40, size=50)],
                     rng.normal(size=(50, 4)))
            for s in share
        ])
        for rows in own
    ]  # fmt: skip
    gap = hm.permuted_gap(KEY, *generated, *own, metric="euclidean")
    advice = hm.advise_stop(KEY, STEPS[:6], curves(rng, -LOG[:6]), gap=gap, num_looks=6)
    assert (advice.verdict, advice.since, advice.keep) == ("biased", STEPS[3], STEPS[2])


def test_no_more_rows_cross_than_are_allowed():
    """Every row, taken as the observed one: the share that ever crosses is at most the rate."""
    rows = np.random.default_rng(6).normal(size=(400, 10)).cumsum(1)
    crossed = [
        first_alarm(np.roll(rows, shift, axis=0), 0.1, 12) is not None for shift in range(400)
    ]
    assert 0.05 < np.mean(crossed) <= 0.1


GOOD = {"key": KEY, "steps": STEPS, "test_loss": np.ones((21, 5)), "gap": np.zeros((21, 5))}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"gap": None}, "gap=None"),
        ({"steps": STEPS[::-1]}, "steps"),
        ({"test_loss": np.ones((20, 5))}, "test loss"),
        ({"gap": np.full((21, 5), np.nan)}, "gap holds nan"),
        ({"gap": PermutedGap(np.ones(3), np.ones((9, 3)))}, "gap"),
        ({"num_looks": 20}, "num_looks=20"),
        ({"false_alarm": 0.0}, "false_alarm=0.0"),
        ({"split_divergence": np.ones((21, 1))}, "at least two units"),
    ],
)
def test_bad_input_is_refused(changes, message, unchecked_types):
    with pytest.raises(ValueError, match=message):
        hm.advise_stop(**{**GOOD, **changes})


def test_constant_curves_say_nothing():
    advice = hm.advise_stop(**GOOD, split_divergence=np.ones((21, 5)))
    assert advice.verdict == "keep going"
