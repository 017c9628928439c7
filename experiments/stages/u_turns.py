"""U-turns from data at the two minima, and from random strings (science.md#measures)."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
from jaxtyping import Array, Float, Int, Key

from experiments.onsets import nearest_epochs
from experiments.runs.data import make_data, run_key
from experiments.runs.members import checkpoints_of
from experiments.stages.denoising import SETS, denoisers_of, mean_and_error, params_at
from experiments.stages.pipeline import Context, Plan, Recipe, along_noise
from experiments.stages.registry import Stage
from experiments.stages.settings import (
    check_counts,
    check_relative_times,
    num_members,
    num_rows,
    step_at,
)
from experiments.store import Measurement, Measurements
from experiments.worlds.registry import world_of
from hiermodel.diffusion.denoiser import Denoiser
from hiermodel.diffusion.denoisers import empirical_denoiser, exact_denoiser
from hiermodel.diffusion.samplers import u_turn
from hiermodel.diffusion.schedule import Schedule
from hiermodel.measures.u_turn import overlap, overlap_ratio


@dataclasses.dataclass(frozen=True)
class UTurnConfig:
    """How U-turns from data are measured (science.md#measures).

    Attributes:
        num_sequences: starts per set (all of the training split, if it is smaller).
        num_noises: U-turns per start.
        relative_times: t/T of the turning points.
    """

    num_sequences: int = 1000
    num_noises: int = 100
    relative_times: tuple[float, ...] = (0.01, 0.03, 0.05, 0.085, 0.12)

    def __post_init__(self):
        check_counts(self, "num_sequences", "num_noises")
        check_relative_times(*self.relative_times)


@dataclasses.dataclass(frozen=True)
class RandomUTurnConfig:
    """How U-turns from random strings are measured (science.md#measures).

    Attributes:
        num_sequences: uniform strings, each turned once.
        relative_times: t/T of the turning points.
    """

    num_sequences: int = 1000
    relative_times: tuple[float, ...] = (0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.6, 0.8, 1.0)

    def __post_init__(self):
        check_counts(self, "num_sequences")
        check_relative_times(*self.relative_times)


MOMENTS = {"bias": "tau_neighbour", "test": "tau_test"}
"""Where networks are taken from: their own minima of nearest-neighbour divergence, test loss."""

GROUP = 10
"""Noises turned at once: enough to keep the device busy, few enough to fit in memory."""


def plan(context: Context) -> Plan:
    """The stage "u_turns"."""
    config, settings = context.config, context.own["u_turns"]
    schedule = config.schedule
    steps = [step_at(time, schedule) for time in settings.relative_times]

    def prepare() -> Recipe:
        key = run_key(config, "u_turns")
        exact = exact_denoiser(config.data.build(), schedule)
        splits, onsets = make_data(config), context.onsets()
        starts = [rows[: settings.num_sequences] for rows in (*splits.train, splits.test)]
        checkpoints = checkpoints_of(config, context.run)
        epochs = {
            moment: nearest_epochs(context.load("comparison"), onsets[tau].values)
            for moment, tau in MOMENTS.items()
        }
        networks = [
            denoisers_of(config, params_at(checkpoints, of_moment)) for of_moment in epochs.values()
        ]

        def at_step(number: int) -> Measurements:
            # One key throughout: the i-th start of every set, and every denoiser, sees one noise.
            def turned(denoiser: Any, rows: np.ndarray) -> np.ndarray:
                return overlaps(key, denoiser, schedule, rows, steps[number], settings.num_noises)

            by_exact = [turned(exact, rows) for rows in starts]
            by_model = [
                [
                    [turned(network, starts[index]) for index in (member // config.num_seeds, -1)]
                    for member, network in enumerate(members)
                ]
                for members in networks
            ]
            return _ratios(by_model, by_exact, config.num_seeds)

        used = np.array(list(epochs.values()))
        about = "checkpoint nearest to the minimum (bias: nearest-neighbour divergence)"
        used_epochs = Measurement(used, ("moment", "member"), "epochs", about)
        return Recipe(at_step, {"moment_epoch": used_epochs})

    return along_noise(steps, schedule.num_steps, prepare)


def plan_random(context: Context) -> Plan:
    """The stage "random_u_turns"."""
    config, settings = context.config, context.own["random_u_turns"]
    schedule = config.schedule
    steps = [step_at(time, schedule) for time in settings.relative_times]

    def prepare() -> Recipe:
        start_key, key = jax.random.split(run_key(config, "random_u_turns"))
        grammar, size = config.data.build(), settings.num_sequences
        shape = size, grammar.num_leaves
        starts = np.asarray(jax.random.randint(start_key, shape, 0, grammar.vocab_size))
        epochs = nearest_epochs(context.load("evaluation"), context.onsets()["tau_test"].values)
        params = params_at(checkpoints_of(config, context.run), epochs)
        train, vocab_size = make_data(config).train, grammar.vocab_size
        empirical = [empirical_denoiser(schedule, rows, vocab_size) for rows in train]
        filtered: Any = world_of(config).oracles(config)
        networks: Any = denoisers_of(config, params)
        kinds = (
            ("filtered", "level", "the denoisers of filter levels k = 0…L", filtered),
            ("empirical", "split", "the posterior under each training set", empirical),
            ("model", "member", "networks at their test-loss minimum", networks),
        )

        def at_step(number: int) -> Measurements:
            results: dict[str, Measurement] = {}
            for name, dim, what, denoisers in kinds:
                values = [
                    overlaps(key, denoiser, schedule, starts, steps[number], 1)[:, 0]
                    for denoiser in denoisers
                ]
                about = f"overlap of uniform random strings with their U-turns under {what}"
                results |= mean_and_error(np.stack(values), name, (dim,), "fraction", about)
            return results

        return Recipe(at_step)

    return along_noise(steps, schedule.num_steps, prepare)


def overlaps(
    key: Key[Array, ""],
    denoiser: Denoiser,
    schedule: Schedule,
    starts: Int[np.ndarray, "n leaves"],
    t: int,
    num_noises: int,
) -> Float[np.ndarray, "n noises"]:
    """Overlap of each start with the ends of its U-turns.

    More noises leave the first ones as they were.
    """
    turned = []
    for begin in range(0, num_noises, GROUP):
        shape = (min(GROUP, num_noises - begin), *starts.shape)
        rows = np.broadcast_to(starts, shape)
        ends = u_turn(jax.random.fold_in(key, begin), denoiser, schedule, rows, t)
        turned.append(np.asarray(overlap(rows, ends)))
    return np.concatenate(turned).T


def _ratios(
    by_model: list[list[list[np.ndarray]]], by_exact: list[np.ndarray], num_seeds: int
) -> Measurements:
    """Ratios and overlaps from overlaps (n, noises): by moment, member and set; by start set."""
    num_members = len(by_model[0])
    exact = [[by_exact[member // num_seeds], by_exact[-1]] for member in range(num_members)]
    ratios = [
        [
            [overlap_ratio(model, truth) for model, truth in zip(sets, own, strict=True)]
            for sets, own in zip(members, exact, strict=True)
        ]
        for members in by_model
    ]
    dims = ("moment", "member", "set")

    def reduce(function: Any, nested: Any) -> np.ndarray:
        """Apply to every array at the bottom; training and test sets may differ in size."""
        if isinstance(nested, np.ndarray):
            return function(nested)
        return np.stack([reduce(function, each) for each in nested])

    what = f"over sequences, of overlap after the model's U-turn / the exact denoiser's; {SETS}"
    return {
        "ratio": Measurement(reduce(np.mean, ratios), dims, "ratio", f"mean, {what}"),
        "ratio_error": Measurement(
            reduce(lambda each: each.std() / np.sqrt(max(len(each) - 1, 1)), ratios),
            dims,
            "ratio",
            f"standard error of the mean, {what}",
        ),
        "model_overlap": Measurement(
            reduce(np.mean, by_model), dims, "fraction", "overlap after the model's U-turn"
        ),
        "exact_overlap": Measurement(
            reduce(np.mean, exact), dims[1:], "fraction", "overlap after the exact denoiser's"
        ),
    }


def _passes(run: Any, settings: Mapping[str, Any]) -> float:
    own = settings["u_turns"]
    steps = sum(own.relative_times) * run.num_steps
    return 2.0 * num_members(run) * num_rows(run, own.num_sequences) * own.num_noises * steps


def _random_passes(run: Any, settings: Mapping[str, Any]) -> float:
    own = settings["random_u_turns"]
    return num_members(run) * own.num_sequences * sum(own.relative_times) * run.num_steps


STAGES = (
    Stage("u_turns", UTurnConfig, plan, reads=("evaluation", "comparison"), passes=_passes),
    Stage(
        "random_u_turns",
        RandomUTurnConfig,
        plan_random,
        reads=("evaluation",),
        passes=_random_passes,
    ),
)
