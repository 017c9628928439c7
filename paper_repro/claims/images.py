"""Claims of figures 1a, 2 and 7: when networks on disjoint images draw and see differently."""

import numpy as np

from hiermodel.measures.onset import paired_log_ratio
from paper_repro.claims.claim import (
    Claim,
    Run,
    border_note,
    gap_of_pairs,
    nearest_checkpoint,
    per_network,
    per_pair,
)

FEW = 0.05
"""Share of memorised samples that still counts as hardly any."""


def samples_of_pairs(run: Run, figure: str) -> list[Claim]:
    """What paired samples and nearest images can speak to (figures 1a and 7)."""
    claims = []
    if len(run.pairs):
        claims = [_alike_before_test(run, figure), *_leaning_to_own_images(run, figure)]
    return [*claims, _not_yet_memorised(run, figure)]


def seeing_the_same(run: Run, figure: str) -> list[Claim]:
    """Predicted noises part while the test loss still falls (figure 2)."""
    if "tau_cosine" not in run.results["onsets"]:
        return []
    evaluation = run.results["evaluation"]
    cosine = evaluation["noise_cosine"].values[:, :, 1]
    claims = []
    for place, time in enumerate(evaluation["noise_level"].values):
        tau = run.onset("tau_cosine")[:, place]
        located = run.onset("tau_cosine_located")[:, place]
        at_test = cosine[nearest_checkpoint(evaluation, run.onset("tau_test")), :, place]
        at_best = cosine[nearest_checkpoint(evaluation, tau), :, place]
        note = _note(run, **{f"maximum at t/T = {time:g}": located})
        claims += [
            per_pair(
                run,
                name=f"cosine-before-test-{time:g}",
                figure=figure,
                statement="networks of disjoint splits predict most alike noise before the test "
                f"loss is lowest, at t/T = {time:g}",
                statistic="ln(τ_test / τ_cosine), the maximum of the cosine on test images",
                values=paired_log_ratio(_test_of_pairs(run), tau),
                note=note,
            ),
            per_pair(
                run,
                name=f"cosine-falls-{time:g}",
                figure=figure,
                statement="the cosine of their noises falls while the test loss still falls, at "
                f"t/T = {time:g}",
                statistic="cosine on test images: τ_cosine − τ_test",
                values=at_best - at_test,
                note=note,
            ),
        ]
    return claims


def _test_of_pairs(run: Run) -> np.ndarray:
    """Geometric mean of the test-loss minima of both networks of a pair."""
    return np.exp(np.log(run.onset("tau_test"))[run.pairs].mean(1))


def _note(run: Run, **located: np.ndarray) -> str:
    return border_note(τ_test=run.onset("tau_test_located"), **located)


def _alike_before_test(run: Run, figure: str) -> Claim:
    count = len(run.pairs)  # independent ones come first
    return per_pair(
        run,
        name="alike-before-test",
        figure=figure,
        statement="paired samples of networks on disjoint splits are most alike before the test "
        "loss is lowest",
        statistic="ln(τ_test / τ_pair), minima of test loss and of the samples' dissimilarity",
        values=paired_log_ratio(_test_of_pairs(run), run.onset("tau_pair")[:count]),
        note=_note(run, τ_pair=run.onset("tau_pair_located")[:count]),
    )


def _leaning_to_own_images(run: Run, figure: str) -> list[Claim]:
    at_test, at_pair = (gap_of_pairs(run, name) for name in ("tau_test", "tau_pair"))
    statistic = "own–other gap in pixel units, mean over both directions"
    return [
        per_pair(
            run,
            name="image-gap-at-test",
            figure=figure,
            statement="at the test-loss minimum, samples already lean to their own training images",
            statistic=statistic,
            values=at_test,
        ),
        per_pair(
            run,
            name="image-gap-grows",
            figure=figure,
            statement="they lean to them more there than where paired samples are most alike",
            statistic=f"{statistic}: τ_test − τ_pair",
            values=at_test - at_pair,
        ),
    ]


def _not_yet_memorised(run: Run, figure: str) -> Claim:
    comparison = run.results["comparison"]
    when = nearest_checkpoint(comparison, run.onset("tau_test"))
    return per_network(
        run,
        name="not-yet-memorised",
        figure=figure,
        statement=f"at the test-loss minimum, hardly any sample is memorised (below {FEW:.0%})",
        statistic="fraction of samples much nearer to one training image than to any other",
        values=comparison["memorised"].values[when],
        low=-np.inf,
        high=FEW,
    )
