"""The paper's claims, and some beyond it, tested on the measurements that there are.

Units are training sets, or pairs of them that share none: seeds are averaged within a training set
first, and with fewer than four units nothing is claimed. A minimum on the border of the measured
range bounds a time from one side; a note says for how many that is so, and a sign test decides
(``experiments.claim.RULES``, ``hiermodel.measures.units.decide``). No claim tests what holds by
construction: the place of an extremum is taken from other pairs than its height.
"""

from collections.abc import Callable, Collection, Mapping

from experiments.claim import Claim
from experiments.store import Measurements
from paper_repro.claims import images, phases, structure, training
from paper_repro.claims.claim import Run

__all__ = ["Claim", "Run", "examine", "examine_runs"]

Examiner = Callable[[Run, str], list[Claim]]

# By size: figure, the stages that it takes, and what is claimed of them.
EXAMINERS: Mapping[str, tuple[tuple[str, tuple[str, ...], Examiner], ...]] = {
    "small": (
        ("3b", ("along_time",), structure.peaks),
        ("6", ("evaluation",), training.along_training),
        ("9", ("evaluation", "comparison"), training.samples_along_training),
        ("9", ("evaluation", "comparison", "u_turns"), phases.u_turns),
    ),
    "middle": (
        ("1b", ("evaluation",), training.along_training),
        ("3b", ("along_time",), structure.peaks),
        ("4a", ("evaluation", "comparison"), training.samples_along_training),
        ("4b", ("evaluation", "comparison", "decomposition"), phases.loss_decomposition),
        ("5", ("evaluation", "comparison", "u_turns"), phases.u_turns),
        ("levels", ("evaluation", "comparison", "levels"), structure.data_dependence),
    ),
    "large": (
        ("3b", ("along_time",), structure.peaks),
        ("6", ("evaluation",), training.along_training),
        ("10", ("evaluation", "comparison"), training.samples_along_training),
        ("10", ("evaluation", "comparison", "u_turns"), phases.u_turns),
    ),
    "images": (
        ("1a", ("evaluation", "comparison"), images.samples_of_pairs),
        ("2", ("evaluation",), images.seeing_the_same),
    ),
    "images_haar": (("7", ("evaluation", "comparison"), images.samples_of_pairs),),
    "images_pca": (("7", ("evaluation", "comparison"), images.samples_of_pairs),),
}


def examine(results: Mapping[str, Measurements], num_splits: int, num_seeds: int) -> list[Claim]:
    """All claims that the measurements of one ensemble, of the middle size, can speak to.

    Args:
        results: measurements by stage, as ``measure_run`` returns them.
        num_splits: disjoint training sets.
        num_seeds: networks per training set.
    """
    return _examine_run(Run(results, num_splits, num_seeds))


def examine_runs(runs: Mapping[str, Run], figures: Collection[str]) -> list[Claim]:
    """Claims of the given figures, from the ensembles by size, in the order of the figures.

    Args:
        runs: what is measured of each size; sizes may be missing.
        figures: ids of the figures.
    """
    claims = [claim for run in runs.values() for claim in _examine_run(run)]
    for smaller, larger, figure in (("small", "middle", "9"), ("middle", "large", "10")):
        if all(size in runs and "comparison" in runs[size].results for size in (smaller, larger)):
            claims += phases.growth(runs[smaller], runs[larger], figure)
    order = list(figures)
    return sorted(
        (claim for claim in claims if claim.figure in order),
        key=lambda claim: order.index(claim.figure),
    )


def _examine_run(run: Run) -> list[Claim]:
    return [
        claim
        for figure, stages, examiner in EXAMINERS[run.size]
        if set(stages) <= set(run.results)
        for claim in examiner(run, figure)
    ]
