"""A study made of parts, each a file of measurements; finished is finished."""

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import jax
from jaxtyping import Array, Key

from experiments import configs, store
from experiments.store import Measurement, Measurements
from hiermodel.grammar.rules import Grammar
from hiermodel.random_bits import THREEFRY

Parts = Mapping[str, Callable[[], Measurements]]
"""What makes each part of a study, by its name."""


def measure_parts(study: Any, parts: Parts, root: Path | str) -> dict[str, Measurement]:
    """Measure the parts of a study that are not there yet, and load all of them.

    Args:
        study: a frozen dataclass of settings, which names the run folder by its hash.
        parts: by name; a part's measurements carry names of their own.
        root: where run folders are.
    """
    identity = configs.identity(study)
    run = store.RunFolder.open(root, identity, configs.to_json(study))
    measured: dict[str, Measurement] = {}
    for name, measure in parts.items():
        file = run.measurement_file(name, identity)
        if not file.exists():
            with run.timed(name):
                store.save_measurements(file, measure())
        measured |= store.load_measurements(file)
    return measured


def time_spent(study: Any, root: Path | str) -> dict[str, Any]:
    """Seconds that all of its parts took together, over all starts, and on how many cores."""
    run = store.RunFolder.of(root, configs.identity(study))
    cores = store.read_json(run.provenance_file)["cores"]
    return {"seconds": sum(run.timings().values()), "cores": cores}


def realisations(
    seed: int,
    number: int,
    *,
    vocab_size: int,
    rules_per_symbol: int,
    depth: int,
    branching: int = 2,
) -> Iterator[tuple[Key[Array, ""], Grammar]]:
    """Random hierarchy models, each with a key for what is drawn from it."""
    for key in realisation_keys(seed, number):
        grammar_key, data_key = jax.random.split(key)
        grammar = Grammar.random_hierarchy(
            grammar_key,
            vocab_size=vocab_size,
            depth=depth,
            branching=branching,
            rules_per_symbol=rules_per_symbol,
        )
        yield data_key, grammar


def realisation_keys(seed: int, number: int) -> list[Key[Array, ""]]:
    """A key per realisation; more of them leave the first ones as they were."""
    root = jax.random.key(seed, impl=THREEFRY)
    return [jax.random.fold_in(root, index) for index in range(number)]


def with_seed(study: Any, seed: int | None) -> Any:
    """The same study of another seed; the study itself for None."""
    return study if seed is None else dataclasses.replace(study, seed=seed)
