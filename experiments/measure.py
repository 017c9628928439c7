"""Measure a trained run: from checkpoints to arrays, one file per stage."""

from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from types import MappingProxyType

from experiments import configs
from experiments.images import evaluation as image_evaluation
from experiments.images import generation as image_generation
from experiments.images.configs import ImageRunConfig
from experiments.stages import (
    advice,
    along_time,
    attacks,
    decomposition,
    evaluation,
    generation,
    levels,
    tradeoff,
    u_turns,
)
from experiments.stages.pipeline import READS, Context, Plan, make
from experiments.store import Measurements
from hiermodel.checks import require

PLANS: Mapping[str, Callable[[Context], Plan]] = {
    "evaluation": evaluation.plan,
    "samples": generation.plan_samples,
    "comparison": generation.plan_comparison,
    "decomposition": decomposition.plan,
    "along_time": along_time.plan,
    "u_turns": u_turns.plan,
    "random_u_turns": u_turns.plan_random,
    "levels": levels.plan,
    "attacks": attacks.plan,
    "advice": advice.plan,
    "tradeoff": tradeoff.plan,
}

IMAGE_PLANS: Mapping[str, Callable[[Context], Plan]] = {
    "evaluation": image_evaluation.plan,
    "samples": image_generation.plan_samples,
    "comparison": image_generation.plan_comparison,
}
"""The same stages of runs on images."""

FURTHER: Mapping[str, type[configs.StageConfig]] = {
    "decomposition": configs.DecompositionConfig,
    "along_time": configs.AlongTimeConfig,
    "u_turns": configs.UTurnConfig,
    "random_u_turns": configs.RandomUTurnConfig,
    "levels": configs.LevelsConfig,
    "attacks": configs.AttacksConfig,
    "advice": configs.AdviceConfig,
    "tradeoff": configs.TradeoffConfig,
}
"""Stages that have settings of their own, beyond evaluation and generation."""

NOTHING: Mapping[str, configs.StageConfig] = MappingProxyType({})


def measure_run(
    config: configs.AnyRunConfig,
    evaluating: configs.AnyEvaluationConfig,
    generating: configs.AnyGenerationConfig,
    root: Path | str,
    *,
    stages: Mapping[str, configs.StageConfig] = NOTHING,
    wanted: Collection[str] | None = None,
    progress: bool = True,
) -> dict[str, Measurements]:
    """Make stages of a trained run, and those that they need; return their measurements by stage.

    Args:
        config: the run, trained to its end.
        evaluating: settings of the stage "evaluation".
        generating: settings of "samples" and "comparison".
        root: where run folders are.
        stages: settings of further stages, by name.
        wanted: the stages to make; None for "evaluation", "comparison" and all of ``stages``.
        progress: show progress bars.

    Returns:
        Every stage made but the samples themselves; and "onsets", from what there is of
        evaluation and comparison, if there is an evaluation.

    Raises:
        ValueError: for a stage that does not exist or has no settings.
    """
    context = Context.open(config, evaluating, generating, stages, root)
    names = _with_needs(stages, wanted)
    plans = IMAGE_PLANS if isinstance(config, ImageRunConfig) else PLANS
    for name in names:
        make(context, name, plans[name](context), progress)
    return _results(context, names)


def load_finished(
    config: configs.AnyRunConfig,
    evaluating: configs.AnyEvaluationConfig,
    generating: configs.AnyGenerationConfig,
    root: Path | str,
    *,
    stages: Mapping[str, configs.StageConfig] = NOTHING,
    wanted: Collection[str] | None = None,
) -> dict[str, Measurements]:
    """What :func:`measure_run` would return, as far as it is finished; nothing is computed.

    Raises:
        ValueError: as :func:`measure_run`.
    """
    context = Context.open(config, evaluating, generating, stages, root)
    return _results(context, _with_needs(stages, wanted))


def _with_needs(
    stages: Mapping[str, configs.StageConfig], wanted: Collection[str] | None
) -> list[str]:
    """The stages to make, each after those that it reads."""
    if wanted is None:
        wanted = ("evaluation", "comparison", *stages)
    have = [name for name in READS if name not in FURTHER or name in stages]
    needed: set[str] = set()
    for name in {*wanted, *stages}:
        require(name in have, "stage", name, f"one of {have}; further ones need settings")
    unseen = set(wanted)
    while unseen:
        needed |= unseen
        unseen = {other for name in unseen for other in READS[name]} - needed
    for name, settings in stages.items():
        allowed = f"a {FURTHER[name].__name__}"
        require(isinstance(settings, FURTHER[name]), f"stages[{name!r}]", settings, allowed)
    return [name for name in READS if name in needed]


def _results(context: Context, names: list[str]) -> dict[str, Measurements]:
    results: dict[str, Measurements] = {
        name: context.load(name)
        for name in names
        if name != "samples" and context.file(name).exists()
    }
    if "evaluation" in results:
        results["onsets"] = context.onsets()
    return results
