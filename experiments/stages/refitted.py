"""What n sequences force on any learner: the grammar refitted to each training set.

Its weights are those that make the training set likeliest, its rules the true ones, so no learner
of the same sequences knows more (science.md#any-learner). Its samples and its denoiser go through
the measures of the networks; what networks show beyond it is their own.
"""

import dataclasses

import jax.numpy as jnp
import numpy as np
from jaxtyping import Int

from experiments.configs import RunConfig
from experiments.runs.data import make_data, run_key
from experiments.stages.denoising import denoise_rows
from experiments.stages.noisy_inputs import (
    EvaluationConfig,
    NoisyInputs,
    over_noises,
    test_inputs,
)
from experiments.stages.pipeline import Context, Plan, Recipe
from experiments.stages.registry import Stage
from experiments.stages.settings import check_counts
from experiments.store import Measurement, Measurements
from experiments.worlds.registry import world_of
from hiermodel.diffusion.denoisers import exact_denoiser
from hiermodel.grammar.rules import Grammar
from hiermodel.grammar.sampling import sample_leaves
from hiermodel.inference.learning import fit_grammar
from hiermodel.measures.spread import gap_of_sets


@dataclasses.dataclass(frozen=True)
class RefittedConfig:
    """How refitted grammars are measured.

    Attributes:
        num_samples: sequences drawn from each.
    """

    num_samples: int = 10_000

    def __post_init__(self):
        check_counts(self, "num_samples")


def plan(context: Context) -> Plan:
    """The stage "refitted": a piece for each training set."""
    config, settings = context.config, context.own["refitted"]

    def prepare() -> Recipe:
        splits, evaluation = make_data(config), context.own["evaluation"]
        inputs = test_inputs(run_key(config, "evaluation"), config, evaluation, splits)
        key = run_key(config, "refitted")
        law = config.data.build()

        def of_split(split: int) -> Measurements:
            grammar = fit_grammar(law, splits.train[split])
            # As with networks, all draw with the same key.
            samples = np.asarray(sample_leaves(key, grammar, settings.num_samples))
            return {
                **_near(config, samples, splits.train, split),
                **_far(config, evaluation, grammar, inputs),
            }

        return Recipe(of_split, finish=_with_gap)

    numbers = np.arange(config.num_splits)
    along = {"training_set": Measurement(numbers, ("split",), "number", "training set")}
    return Plan(range(config.num_splits), along, prepare)


def _with_gap(joined: Measurements) -> Measurements:
    """The gap, of which there is none with one training set alone."""
    distances = joined["distance_to_sets"].values
    if len(distances) < 2:
        return joined
    about = "own–other gap: pseudo-values of the mean over all pairs of training sets"
    gap = Measurement(gap_of_sets(distances), ("split",), "symbols", about)
    return {**joined, "gap_of_sets": gap}


def _near(
    config: RunConfig,
    samples: Int[np.ndarray, "sample leaves"],
    train: Int[np.ndarray, "split n leaves"],
    split: int,
) -> Measurements:
    """How near its samples lie to its own training set."""
    distance = world_of(config).distance
    own = distance(samples, train[split])
    means = np.array([distance(samples, rows).mean() for rows in train])
    about = "mean distance of samples to the nearest sequence of every training set"
    return {
        "distance_to_sets": Measurement(means, ("to",), "symbols", about),
        "copies": Measurement(
            (own == 0).mean(), (), "fraction", "samples that are training sequences"
        ),
    }


def _far(
    config: RunConfig, evaluation: EvaluationConfig, grammar: Grammar, inputs: NoisyInputs
) -> Measurements:
    """How far its denoiser is from the oracles, on the networks' test inputs."""
    assert inputs.oracles is not None  # the law is a grammar, so all is known
    assert inputs.exact is not None
    world, denoiser = world_of(config), exact_denoiser(grammar, config.schedule)
    at_loss = denoise_rows(denoiser, inputs.x_loss, inputs.t_loss)
    steps = jnp.broadcast_to(inputs.t[:, None], inputs.x_t.shape[:2])
    at_t = denoise_rows(denoiser, inputs.x_t, steps)[:, None]
    from_oracles = world.divergence(inputs.oracles, jnp.broadcast_to(at_t, inputs.oracles.shape))
    levels = over_noises(evaluation, np.asarray(from_oracles.mean(-1).T))
    distilled = np.asarray(world.distillation(inputs.exact, at_loss).mean())
    return {
        "distillation": Measurement(distilled, (), world.units["loss"], "loss above its floor"),
        "model_oracle": Measurement(
            levels,
            ("level",),
            world.units["divergence"],
            "KL(A ‖ B), A the filtered-k denoiser, B that of the refitted grammar, test inputs",
        ),
    }


STAGES = (Stage("refitted", RefittedConfig, plan, reads=("evaluation",)),)
