"""Do the networks' samples follow the grammar's law, along training (science.md#measures)?"""

import dataclasses

import jax
import numpy as np
from jaxtyping import Array, Bool, Float, Int, Key

from experiments.runs.data import data_as_drawn, run_key
from experiments.stages.generation import sampled_epochs, samples_of
from experiments.stages.pipeline import Context, Plan, Recipe, along_checkpoints
from experiments.stages.registry import Stage
from experiments.store import Measurement, Measurements
from hiermodel.checks import require
from hiermodel.grammar.rules import Grammar
from hiermodel.grammar.sampling import sample_leaves
from hiermodel.measures.examine import Examination, examine_sampler

LEVEL = 0.05
"""Chance of a false alarm in a network's tests, if nothing else is asked for."""


@dataclasses.dataclass(frozen=True)
class ExaminationConfig:
    """How samples are examined.

    Attributes:
        level: chance of a false alarm, over all tests of one network at one checkpoint.
    """

    level: float = LEVEL

    def __post_init__(self):
        require(bool(0 < self.level < 1), "level", self.level, "above 0 and below 1")


def plan_examination(context: Context) -> Plan:
    """The stage "examination": every test on every network, and on draws of the law itself."""
    config, level = context.config, context.own["examination"].level
    epochs = sampled_epochs(config, context.own["samples"])

    def prepare() -> Recipe:
        grammar, train = config.data.build(), data_as_drawn(config).train
        samples, key = samples_of(context), run_key(config, "examination")
        control = np.asarray(
            sample_leaves(
                jax.random.fold_in(key, len(samples)),
                grammar,
                samples.shape[2],
                filter_level=config.data.filter_level,
            )
        )
        exact = _examined(key, control, grammar, train[0], level)
        names = [row.name for row in exact.rows]

        def at_epoch(epoch: int) -> Measurements:
            drawn = samples[epochs.index(epoch)]
            sets = np.repeat(train, config.num_seeds, axis=0)
            found = [
                p_values_of(_examined(key, rows, grammar, own, level), names)
                for rows, own in zip(drawn, sets, strict=True)
            ]
            return {"p_value": Measurement(np.stack(found), ("member", "test"), *ABOUT)}

        constant = {
            "test": Measurement(np.array(names), ("test",), "name", "what is compared, and where"),
            "p_value_of_law": Measurement(p_values_of(exact, names), ("test",), *ABOUT),
        }
        return Recipe(at_epoch, constant)

    return along_checkpoints(epochs, prepare)


ABOUT = "probability", "p-value of a test of examine_sampler, corrected together (Holm)"


def p_values_of(examination: Examination, names: list[str]) -> Float[np.ndarray, " tests"]:
    """Corrected p-values of tests by name; NaN for those that so few derivable samples allow."""
    found = {row.name: row.corrected_p_value for row in examination.rows}
    return np.array([found.get(name, np.nan) for name in names])


def fails(p_values: Float[np.ndarray, "*tests"]) -> Bool[np.ndarray, "*tests"]:
    """Which tests samples fail: also those for which too few of them are derivable (NaN)."""
    return ~(p_values > LEVEL)


def _examined(
    key: Key[Array, ""],
    rows: Int[np.ndarray, "sample leaf"],
    grammar: Grammar,
    train: Int[np.ndarray, "n leaf"],
    level: float,
) -> Examination:
    return examine_sampler(rows, grammar, train=train, level=level, key=key)


STAGES = (Stage("examination", ExaminationConfig, plan_examination, reads=("samples",)),)
