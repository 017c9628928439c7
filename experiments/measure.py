"""Measure a trained run: from checkpoints to arrays, one file per stage."""

from collections.abc import Collection
from pathlib import Path

from experiments.configs import Protocol
from experiments.onsets import ensemble
from experiments.stages.pipeline import Context, make
from experiments.stages.registry import context_of, stages_of, with_needs
from experiments.store import Measurements

UNSHOWN = frozenset({"samples"})
"""Stages whose results other stages read, and which are too large to hand on."""


def measure_run(
    own: Protocol,
    root: Path | str,
    *,
    wanted: Collection[str] | None = None,
    progress: bool = True,
) -> dict[str, Measurements]:
    """Make stages of a trained run, and those that they need; return their measurements by stage.

    Args:
        own: the run, trained to its end, and settings of its stages.
        root: where run folders are.
        wanted: the stages to make; None for all that have settings of their own.
        progress: show progress bars.

    Returns:
        Every stage made but the samples themselves; and "onsets", from what there is of
        evaluation and comparison, if there is an evaluation; and "ensemble": which networks
        share a training set.

    Raises:
        ValueError: for a stage that does not exist, or settings of another type.
    """
    context = context_of(own, root, make=True)
    names = _names(own, wanted)
    for name in names:
        make(context, name, stages_of(own.run)[name].plan(context), progress)
    return _results(context, names)


def load_finished(
    own: Protocol, root: Path | str, *, wanted: Collection[str] | None = None
) -> dict[str, Measurements]:
    """What :func:`measure_run` would return, as far as it is finished.

    Nothing is computed, and no folder is made.

    Raises:
        ValueError: as :func:`measure_run`.
    """
    context = context_of(own, root)
    return _results(context, _names(own, wanted))


def _names(own: Protocol, wanted: Collection[str] | None) -> list[str]:
    return with_needs(own.run, tuple(own.stages) if wanted is None else wanted)


def _results(context: Context, names: list[str]) -> dict[str, Measurements]:
    results: dict[str, Measurements] = {
        name: context.load(name)
        for name in names
        if name not in UNSHOWN and context.file(name).exists()
    }
    if "evaluation" in results:
        results["onsets"] = context.onsets()
    if results:
        results["ensemble"] = ensemble(context.config.num_splits, context.config.num_seeds)
    return results
