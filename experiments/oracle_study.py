"""What can be known of noisy data at all: ancestors and symbols, by exact inference alone.

No network is involved. The result is one file of measurements, named by a hash of the settings;
finished is finished.
"""

import dataclasses
from pathlib import Path

import jax
import numpy as np

from experiments import configs, store
from experiments.configs import GrammarConfig
from experiments.store import Measurement
from hiermodel.checks import check_integer
from hiermodel.diffusion.schedule import Schedule
from hiermodel.measures.floor import loss_floor
from hiermodel.measures.reconstruction import (
    Reconstruction,
    crossing_time,
    reconstruct_ancestors,
)
from hiermodel.measures.uncertainty import Interval, student_interval

PAPER = GrammarConfig()
HIERARCHY = GrammarConfig(kind="hierarchy", vocab_size=32, rules_per_symbol=8, depth=7)

FIRST_TIME = 0.04
"""t/T from which on steps are dense: before it, every level is known in the grammars used here."""

BOUNDS = ("low", "estimate", "high")
"""The axis "bound" of measurements with a 95 % interval."""


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
        check_integer("num_times", self.num_times, 2, self.num_steps)
        for name in ("num_sequences", "num_hierarchy_sequences"):
            check_integer(name, getattr(self, name), 2)

    @property
    def steps(self) -> np.ndarray:
        """The first step, where nothing is lost, and then steps spaced evenly in log t."""
        later = np.geomspace(FIRST_TIME, 1, self.num_times - 1) * self.num_steps
        return np.unique(np.concatenate([[1], np.round(later)]).astype(np.int32).clip(1))


def run_study(study: OracleStudy, root: Path | str) -> Path:
    """Make the measurements of a study, unless they are there; returns their file."""
    identity = configs.identity(study)
    run = store.RunFolder.open(root, identity, configs.to_json(study))
    file = run.measurement_file("oracles", identity)
    if not file.exists():
        with run.timed("oracles"):
            store.save_measurements(file, measure(study))
    return file


def measure(study: OracleStudy) -> dict[str, Measurement]:
    """All measurements of a study."""
    schedule, steps = Schedule.linear(study.num_steps), study.steps
    grammar_key, *hierarchy_keys, floor_key, cross_key = jax.random.split(
        jax.random.key(study.seed), 4 + len(study.shallow)
    )
    times = steps / study.num_steps
    results = {"time": Measurement(times, ("time",), "t / T", "diffusion time")}
    depths = (*study.shallow, study.hierarchy.depth)
    parts = {"grammar": (study.grammar, study.num_sequences, grammar_key)}
    for depth, key in zip(depths, hierarchy_keys, strict=True):
        config = dataclasses.replace(study.hierarchy, depth=depth)
        parts[f"depth_{depth}"] = (config, study.num_hierarchy_sequences, key)
    for name, (config, num_sequences, key) in parts.items():
        found = reconstruct_ancestors(key, config.build(), schedule, steps, num_sequences)
        results |= _reconstruction(name, found, times, cross_key)
    grammar = study.grammar.build()
    floors = [
        loss_floor(floor_key, grammar, schedule, steps, study.num_sequences, denoiser_level=level)
        for level in range(grammar.depth + 1)
    ]
    results["loss"] = Measurement(
        np.stack([_bounds(floor) for floor in floors]),
        ("filter_level", "bound", "time"),
        "nats per position",
        "cross-entropy of the filtered-k denoiser on the full model's data; k = 0 is the floor",
    )
    return results


def _reconstruction(
    name: str, found: Reconstruction, times: np.ndarray, key: jax.Array
) -> dict[str, Measurement]:
    """Curves with intervals, what they are by chance, and where they fall."""
    results = {}
    about = {
        "success": "probability that the most probable symbol of a node is the true one",
        "unchanged": "probability that a node's symbol is unchanged after a U-turn to t",
    }
    for quantity, what in about.items():
        curves = getattr(found, f"expected_{quantity}")
        chance = np.asarray(getattr(found, f"chance_{quantity}"))
        add = {
            quantity: (
                _bounds(student_interval(curves)),
                ("bound", "time", "level"),
                "probability",
                what,
            ),
            f"{quantity}_chance": (
                chance,
                ("level",),
                "probability",
                f"{what}, without evidence",
            ),
            f"{quantity}_halfway": (
                _bounds(crossing_time(key, curves, times, chance)),
                ("bound", "level"),
                "t / T",
                f"time at which it is halfway from 1 to chance: {what}",
            ),
        }
        results |= {f"{name}_{key_}": Measurement(*value) for key_, value in add.items()}
    return results


def _bounds(interval: Interval) -> np.ndarray:
    """Low end, estimate and high end, stacked."""
    return np.stack([np.asarray(getattr(interval, bound)) for bound in BOUNDS])
