"""Claims of figures 1a, 2 and 7: when networks on disjoint images draw and see differently."""

import numpy as np

from experiments.claim import Claim, Statistic
from experiments.store import Measurements
from hiermodel.measures.uncertainty import proportion_interval
from paper_repro.claims.claim import (
    Run,
    at_times,
    border_note,
    gap_of_pairs,
    located,
    of_other_units,
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
    """Predicted noises part while the test loss still falls (figure 2).

    A maximum lies above any other point of the same noisy curve. So where the cosine is largest is
    taken from the other pairs of training sets, and its fall from there is tested on each.
    """
    if "tau_cosine" not in run.results["onsets"]:
        return []
    evaluation, test = run.results["evaluation"], run.times_of_pairs("tau_test")
    claims = []
    for place, time in enumerate(evaluation["noise_level"].values):
        tau = run.times_of_pairs("tau_cosine", place)
        best = of_other_units(tau, run.num_splits // 2)
        note = border_note(**{"τ_test": test, f"maximum at t/T = {time:g}": tau})
        cosine = {**evaluation, "here": _at_place(evaluation, place)}
        claims += [
            per_pair(
                run,
                test - tau,
                name=f"cosine-before-test-{time:g}",
                figure=figure,
                statement="networks of disjoint splits predict most alike noise before the test "
                f"loss is lowest, at t/T = {time:g}",
                about="ln(τ_test / τ_cosine), the maximum of the cosine on test images",
                note=note,
                resolution=run.spacing("evaluation"),
            ),
            per_pair(
                run,
                Statistic.known(
                    at_times(cosine, "here", best) - at_times(cosine, "here", test),
                    located(best, test),
                ),
                name=f"cosine-falls-{time:g}",
                figure=figure,
                statement="the cosine of their noises falls from where it is largest for other "
                f"pairs to where the test loss is lowest, at t/T = {time:g}",
                about="cosine on test images: τ_cosine of the other pairs − τ_test",
                note=note,
            ),
        ]
    return claims


def _at_place(evaluation: Measurements, place: int):
    """The cosine on test images at one of the times of the noise, (checkpoint, pair)."""
    cosine = evaluation["noise_cosine"]
    about = ("checkpoint", "pair")
    return type(cosine)(cosine.values[:, :, 1, place], about, cosine.units, cosine.definition)


def _alike_before_test(run: Run, figure: str) -> Claim:
    test, pair = run.times_of_pairs("tau_test"), run.times_of_pairs("tau_pair")
    return per_pair(
        run,
        test - pair,
        name="alike-before-test",
        figure=figure,
        statement="paired samples of networks on disjoint splits are most alike before the test "
        "loss is lowest",
        about="ln(τ_test / τ_pair), minima of test loss and of the samples' dissimilarity",
        note=border_note(τ_test=test, τ_pair=pair),
        resolution=run.spacing("evaluation", "comparison"),
    )


def _leaning_to_own_images(run: Run, figure: str) -> list[Claim]:
    """Where samples are most alike is taken from the other pairs, since the gap uses the same."""
    test = run.times_of_pairs("tau_test")
    pair = of_other_units(run.times_of_pairs("tau_pair"), run.num_splits // 2)
    at_test, at_pair = gap_of_pairs(run, test), gap_of_pairs(run, pair)
    about = "own–other gap in pixel units, mean over both directions"
    return [
        per_pair(
            run,
            Statistic.known(at_test, located(test)),
            name="image-gap-at-test",
            figure=figure,
            statement="at the test-loss minimum, samples already lean to their own training images",
            about=about,
            note=border_note(τ_test=test),
        ),
        per_pair(
            run,
            Statistic.known(at_test - at_pair, located(test, pair)),
            name="image-gap-grows",
            figure=figure,
            statement="they lean to them more there than where paired samples are most alike",
            about=f"{about}: τ_test − τ_pair of the other pairs",
            note=border_note(τ_test=test, τ_pair=pair),
        ),
    ]


def _not_yet_memorised(run: Run, figure: str) -> Claim:
    """Bounds are Wilson's of each network's share: no memorised sample is no proof of none.

    With them a sign test over training sets decides, not an interval around zeros.
    """
    comparison, test = run.results["comparison"], run.times("tau_test")
    share = at_times(comparison, "memorised", test)
    bounds = proportion_interval(np.rint(share * run.num_samples), run.num_samples)
    known = located(test)
    return per_network(
        run,
        Statistic(
            share, np.where(known, bounds.low, -np.inf), np.where(known, bounds.high, np.inf)
        ),
        name="not-yet-memorised",
        figure=figure,
        statement=f"at the test-loss minimum, hardly any sample is memorised (below {FEW:.0%})",
        about="fraction of samples much nearer to one training image than to any other",
        note=border_note(τ_test=test),
        low=-np.inf,
        high=FEW,
    )
