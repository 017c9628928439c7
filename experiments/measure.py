"""Measure a trained run: from checkpoints to arrays, one file per stage.

Each stage is a function from files to one file, named by a hash of all it depends on. A stage that
is finished is not run again; one that was interrupted goes on after its last checkpoint.
"""

import shutil
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
from tqdm import tqdm

from experiments import configs, evaluation, generation, runtime, signals, store
from experiments.onsets import find_onsets
from experiments.store import Measurement, Measurements
from experiments.train import (
    EVALUATION,
    FRESH,
    GENERATION,
    checkpoints_of,
    epochs_of,
    make_data,
    open_run,
    run_key,
)


def measure_run(
    config: configs.RunConfig,
    evaluating: configs.EvaluationConfig,
    generating: configs.GenerationConfig,
    root: Path | str,
    *,
    progress: bool = True,
) -> dict[str, Measurements]:
    """All stages of a trained run; returns their measurements by stage."""
    evaluation_file = _evaluate(config, evaluating, root, progress)
    samples_file = _generate(config, generating, root, progress)
    comparison_file = _compare(config, generating, samples_file, root, progress)
    evaluated, compared = map(store.load_measurements, (evaluation_file, comparison_file))
    return {
        "evaluation": evaluated,
        "comparison": compared,
        "onsets": find_onsets(evaluated, compared),
    }


def _evaluate(
    config: configs.RunConfig, settings: configs.EvaluationConfig, root: Path | str, progress: bool
) -> Path:
    run = open_run(config, root)

    def prepare() -> tuple[Callable[[int], Measurements], Measurements]:
        checkpoints = checkpoints_of(config, run)
        inputs = evaluation.make_inputs(
            run_key(config, EVALUATION),
            settings,
            config.grammar.build(),
            config.schedule,
            make_data(config),
        )

        def at_epoch(epoch: int) -> Measurements:
            return evaluation.evaluate(
                config.network,
                config.schedule,
                settings,
                inputs,
                checkpoints.load_params(epoch),
                config.num_splits,
                config.num_seeds,
            )

        return at_epoch, {"loss_floor": evaluation.loss_floor(inputs, config.num_seeds)}

    file = run.measurement_file("evaluation", configs.identity(config, settings))
    return _stage(run, "evaluation", file, epochs_of(config), prepare, progress)


def _generate(
    config: configs.RunConfig, settings: configs.GenerationConfig, root: Path | str, progress: bool
) -> Path:
    run = open_run(config, root)

    def prepare() -> tuple[Callable[[int], Measurements], Measurements]:
        checkpoints = checkpoints_of(config, run)

        def at_epoch(epoch: int) -> Measurements:
            sequences = generation.generate(
                run_key(config, GENERATION),
                config.network,
                config.schedule,
                checkpoints.load_params(epoch),
                settings.num_samples,
            )
            dims = ("member", "sample", "leaf")
            return {"sequences": Measurement(sequences, dims, "symbol", "generated sequences")}

        return at_epoch, {}

    epochs = _sampled_epochs(config, settings)
    file = run.measurement_file("samples", configs.identity(config, settings))
    return _stage(run, "samples", file, epochs, prepare, progress)


def _compare(
    config: configs.RunConfig,
    settings: configs.GenerationConfig,
    samples_file: Path,
    root: Path | str,
    progress: bool,
) -> Path:
    run = open_run(config, root)
    epochs = _sampled_epochs(config, settings)

    def prepare() -> tuple[Callable[[int], Measurements], Measurements]:
        grammar = config.grammar.build()
        train = make_data(config).train
        sequences = store.load_measurements(samples_file)["sequences"].values
        key = run_key(config, FRESH)
        fresh_counts, about_fresh = generation.references(
            key, grammar, settings, train, config.filter_level
        )

        def at_epoch(epoch: int) -> Measurements:
            drawn = sequences[epochs.index(epoch)]
            return generation.compare(
                grammar, settings, drawn, train, fresh_counts, config.num_seeds
            )

        return at_epoch, about_fresh

    file = run.measurement_file("comparison", configs.identity(config, settings))
    return _stage(run, "comparison", file, epochs, prepare, progress)


def _sampled_epochs(config: configs.RunConfig, settings: configs.GenerationConfig) -> list[int]:
    """Every so many checkpoints, so that the last is among them."""
    return epochs_of(config)[:: -settings.every][::-1]


def _stage(
    run: store.RunFolder,
    name: str,
    file: Path,
    epochs: list[int],
    prepare: Callable[[], tuple[Callable[[int], Measurements], Measurements]],
    progress: bool,
) -> Path:
    """Run a stage at every epoch, unless its file is there; keep a part per epoch meanwhile.

    ``prepare`` returns what measures one epoch, and the measurements that do not depend on it.
    """
    parts = file.with_suffix("")
    if file.exists():
        shutil.rmtree(parts, ignore_errors=True)  # left if the process ended just before removing
        return file
    with runtime.stage(run, name):
        at_epoch, constant = prepare()
        for epoch in _bar(epochs, name, progress):
            signals.leave_if_asked()
            part = parts / f"epoch_{epoch:09d}.npz"
            if not part.exists():
                store.save_measurements(part, at_epoch(epoch))
        along = store.stack(
            [store.load_measurements(parts / f"epoch_{epoch:09d}.npz") for epoch in epochs],
            "checkpoint",
        )
        epoch_axis = Measurement(np.array(epochs), ("checkpoint",), "epochs", "epoch")
        store.save_measurements(file, {"epoch": epoch_axis, **constant, **along})
        shutil.rmtree(parts)
    return file


def _bar(epochs: list[int], name: str, progress: bool) -> Iterable[int]:
    return tqdm(epochs, desc=f"{name:>10}", unit="checkpoint", disable=None if progress else True)
