"""What can be known of noisy data: ancestors and symbols, by exact inference.

No network is involved. Each part of a study is one file of measurements, named by a hash of the
settings; finished is finished.
"""

import dataclasses
import functools
from collections.abc import Callable
from pathlib import Path

import jax
import numpy as np

from experiments.store import Measurement
from experiments.theory.study import measure_parts
from experiments.worlds.grammar import GrammarConfig
from hiermodel.checks import check_integer, require
from hiermodel.diffusion.schedule import Schedule
from hiermodel.measures.floor import loss_floor
from hiermodel.measures.reconstruction import crossing_time, reconstruct_ancestors
from hiermodel.measures.uncertainty import Interval, student_interval
from hiermodel.random_bits import THREEFRY

PAPER = GrammarConfig()
HIERARCHY = GrammarConfig(kind="hierarchy", vocab_size=32, rules_per_symbol=8, depth=7)

FIRST_TIME = 0.04
"""t/T from which on steps are dense: before it, every level is known in the grammars used here."""

BOUNDS = ("low", "estimate", "high")
"""The axis "bound" of measurements with a 95 % interval."""


ABOUT = {
    "success": "probability that the most probable symbol of a node is the true one",
    "unchanged": "probability that a node's symbol is unchanged after a U-turn to t",
}


@dataclasses.dataclass(frozen=True)
class OracleStudy:
    """Which grammars, how much noise, how many sequences.

    Attributes:
        grammar: the grammar of the experiments with networks.
        hierarchy: one with many symbols, whose levels are lost one after another.
        shallow: depths at which the hierarchy's root is followed too.
        num_steps: T, diffusion steps.
        num_times: how many of them are looked at, denser where there is less noise.
        num_sequences: of ``grammar``.
        num_hierarchy_sequences: of the hierarchy, at each depth.
        seed: of data and noise.
    """

    grammar: GrammarConfig = PAPER
    hierarchy: GrammarConfig = HIERARCHY
    shallow: tuple[int, ...] = (3, 5)
    num_steps: int = 500
    num_times: int = 45
    num_sequences: int = 4000
    num_hierarchy_sequences: int = 256
    seed: int = 0

    def __post_init__(self):
        level = self.grammar.filter_level
        require(level == 0, "grammar.filter_level", level, "0: the study looks at all levels")
        check_integer("num_times", self.num_times, 2, self.num_steps)
        for name in ("num_sequences", "num_hierarchy_sequences"):
            check_integer(name, getattr(self, name), 2)

    @property
    def steps(self) -> np.ndarray:
        """The first step, where nothing is lost, and then steps spaced evenly in log t."""
        later = np.geomspace(FIRST_TIME, 1, self.num_times - 1) * self.num_steps
        return np.unique(np.concatenate([[1], np.round(later)]).astype(np.int32).clip(1))

    @property
    def times(self) -> np.ndarray:
        """The same as fractions t/T."""
        return self.steps / self.num_steps


def run_study(study: OracleStudy, root: Path | str) -> dict[str, Measurement]:
    """Make the measurements of a study, part by part; those that are there are only read."""
    time = Measurement(study.times, ("time",), "t / T", "diffusion time")
    return {"time": time, **measure_parts(study, _parts(study), root)}


def _parts(study: OracleStudy) -> dict[str, Callable[[], dict[str, Measurement]]]:
    """What measures each part of a study, by name; each has a key of its own."""
    root_key = jax.random.key(study.seed, impl=THREEFRY)
    paper = functools.partial(_ancestors, study, study.grammar, study.num_sequences)
    parts = {"grammar": paper}
    for depth in (*study.shallow, study.hierarchy.depth):
        config = dataclasses.replace(study.hierarchy, depth=depth)
        sizes = (config, study.num_hierarchy_sequences)
        parts[f"depth_{depth}"] = functools.partial(_ancestors, study, *sizes)
    keys = {name: jax.random.fold_in(root_key, index) for index, name in enumerate(parts)}
    parts = {name: functools.partial(part, name, keys[name]) for name, part in parts.items()}
    floor_key = jax.random.fold_in(root_key, len(parts))
    return parts | {"loss": functools.partial(_floors, study, floor_key)}


def _floors(study: OracleStudy, key: jax.Array) -> dict[str, Measurement]:
    """Loss of the exact denoisers of every filter level, on the same noisy data."""
    grammar, schedule = study.grammar.build(), Schedule.linear(study.num_steps)
    floors = [
        loss_floor(key, grammar, schedule, study.steps, study.num_sequences, denoiser_level=level)
        for level in range(grammar.depth + 1)
    ]
    losses = Measurement(
        np.stack([_bounds(floor) for floor in floors]),
        ("filter_level", "bound", "time"),
        "nats per position",
        "cross-entropy of the filtered-k denoiser on the full model's data; k = 0 is the floor",
    )
    return {"loss": losses}


def _ancestors(
    study: OracleStudy, config: GrammarConfig, num_sequences: int, name: str, key: jax.Array
) -> dict[str, Measurement]:
    """Reconstruction of ancestors: curves with intervals, their ends, and where they fall."""
    data_key, cross_key = jax.random.split(key)
    schedule = Schedule.linear(study.num_steps)
    found = reconstruct_ancestors(data_key, config.build(), schedule, study.steps, num_sequences)
    results: dict[str, Measurement] = {}

    def add(quantity: str, values: np.ndarray, dims: tuple[str, ...], units: str, what: str):
        results[f"{name}_{quantity}"] = Measurement(values, dims, units, what)

    for quantity, what in ABOUT.items():
        curves = getattr(found, f"expected_{quantity}")
        chance = np.asarray(getattr(found, f"chance_{quantity}"))
        halfway = crossing_time(cross_key, curves, study.times, chance)
        bands = _bounds(student_interval(curves))
        add(quantity, bands, ("bound", "time", "level"), "probability", what)
        add(f"{quantity}_chance", chance, ("level",), "probability", f"without evidence, {what}")
        definition = f"time halfway from 1 to chance of: {what}"
        add(f"{quantity}_halfway", _bounds(halfway), ("bound", "level"), "t / T", definition)
    return results


def _bounds(interval: Interval) -> np.ndarray:
    """Low end, estimate and high end, stacked."""
    return np.stack([np.asarray(getattr(interval, bound)) for bound in BOUNDS])
