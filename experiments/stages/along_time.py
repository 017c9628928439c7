"""Divergences along the noise: where each filter level matters, and what networks miss.

Source: science.md#measures.
"""

import dataclasses
import functools
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key

from experiments.onsets import nearest_epochs
from experiments.runs.data import make_data, run_key
from experiments.runs.members import checkpoints_of
from experiments.stages.denoising import mean_and_error, params_at
from experiments.stages.pipeline import Context, Plan, Recipe, along_noise
from experiments.stages.registry import Stage
from experiments.stages.settings import check_counts, num_members
from experiments.store import Measurement, Measurements
from experiments.worlds.registry import world_of
from experiments.worlds.world import World
from hiermodel.diffusion.corruption import add_noise, one_hot
from hiermodel.diffusion.denoisers import TreeDenoiser
from hiermodel.measures.divergence import CLIP, kl_divergence, unsupported_mass
from hiermodel.measures.onset import minimum_interval


@dataclasses.dataclass(frozen=True)
class AlongTimeConfig:
    """How divergences are measured along the noise (science.md#measures).

    Attributes:
        num_sequences: clean test sequences.
        num_noises: noises per sequence.
        stride: distance between the steps t that are taken.
    """

    num_sequences: int = 3000
    num_noises: int = 1
    stride: int = 1

    def __post_init__(self):
        check_counts(self, "num_sequences", "num_noises", "stride")


WIDTH = 0.1
"""Smoothing, in natural-log t/T, before a peak is looked for."""

PER_SEQUENCE = "filtered_by_sequence"
"""The measurement that is only kept until peaks are located."""


def plan(context: Context) -> Plan:
    """The stage "along_time"."""
    config, settings = context.config, context.own["along_time"]
    grammar, schedule = config.data.build(), config.schedule
    steps = range(1, schedule.num_steps + 1, settings.stride)

    def prepare() -> Recipe:
        epochs = nearest_epochs(context.load("evaluation"), context.onsets()["tau_test"].values)
        params = params_at(checkpoints_of(config, context.run), epochs)
        clean = make_data(config).test[: settings.num_sequences]
        x_0 = one_hot(clean, grammar.vocab_size)
        noisy = jnp.broadcast_to(x_0, (settings.num_noises, *x_0.shape))
        noise_key, peak_key = jax.random.split(run_key(config, "along_time"))
        world = world_of(config)
        denoisers: Any = tuple(world.oracles(config))

        def at_step(number: int) -> Measurements:
            # The same key at every step: one noise, scaled, so that curves along t are smooth.
            t = steps[number]
            x_t = add_noise(noise_key, schedule, noisy, t)
            own = world, config.network, denoisers, params
            return _of_one_step(*map(np.asarray, _divergences(*own, x_t, jnp.asarray(t))))

        levels = np.arange(1, grammar.depth + 1)
        axis = Measurement(levels, ("level",), "", "filter level k of each entry along level")
        return Recipe(at_step, {"filter_level": axis}, functools.partial(_finish, peak_key))

    return along_noise(steps, schedule.num_steps, prepare)


@functools.partial(jax.jit, static_argnames=("world", "network"))
def _divergences(
    world: World,
    network: Any,
    denoisers: tuple[TreeDenoiser, ...],
    params: Any,
    x_t: Float[Array, "noises n leaves vocab"],
    t: Int[Array, ""],
) -> tuple[Float[Array, "level n"], Float[Array, "level n"], Float[Array, "member n"]]:
    """KL(exact ‖ filtered), the mass that filtered ones rule out, and KL(exact ‖ model)."""

    def one_noise(noisy: Array) -> tuple[Array, Array, Array]:
        exact, *filtered = [denoiser(noisy, t) for denoiser in denoisers]
        coarse = jnp.stack(filtered)
        truth = jnp.broadcast_to(exact, coarse.shape)
        learned = jax.lax.map(
            lambda own: kl_divergence(exact, world.prediction(network, own, noisy, t)), params
        )
        return kl_divergence(truth, coarse), unsupported_mass(truth, coarse), learned

    return jax.tree.map(lambda part: part.mean(0), jax.lax.map(one_noise, x_t))


def _of_one_step(
    filtered: Float[np.ndarray, "level n"],
    ruled_out: Float[np.ndarray, "level n"],
    model: Float[np.ndarray, "member n"],
) -> Measurements:
    nats = "nats per sequence"
    clip = f"probabilities at least {CLIP:g}"
    about = f"KL(exact denoiser ‖ filtered k) on noised test sequences, {clip}"
    about_model = f"KL(exact denoiser ‖ model at its test-loss minimum), likewise, {clip}"
    return {
        PER_SEQUENCE: Measurement(filtered, ("level", "sequence"), nats, "by sequence"),
        **mean_and_error(filtered, "filtered", ("level",), nats, about),
        "filtered_unsupported": Measurement(
            ruled_out.mean(-1),
            ("level",),
            "positions",
            f"mass of the exact denoiser where the filtered one is below {CLIP:g}",
        ),
        **mean_and_error(model, "model", ("member",), nats, about_model),
    }


def _finish(key: Key[Array, ""], joined: Measurements) -> Measurements:
    """Locate the peaks, with bootstrap intervals over sequences."""
    times = joined["relative_time"].values
    curves = joined[PER_SEQUENCE].values  # (level, sequence, time)
    peaks = [
        minimum_interval(jax.random.fold_in(key, index), times, -of_level, width=WIDTH)
        for index, of_level in enumerate(curves)
    ]
    about = "t/T at which KL(exact ‖ filtered k) is largest"
    located = {
        "peak_time": ([peak.estimate for peak in peaks], about),
        "peak_low": ([peak.low for peak in peaks], "lower end of its 95 % bootstrap interval"),
        "peak_high": ([peak.high for peak in peaks], "upper end of that interval"),
    }
    kept = {name: measured for name, measured in joined.items() if name != PER_SEQUENCE}
    return kept | {
        name: Measurement(np.array(values), ("level",), "t/T", definition)
        for name, (values, definition) in located.items()
    }


def _passes(run: Any, settings: Mapping[str, Any]) -> float:
    own = settings["along_time"]
    steps = run.num_steps / own.stride
    return num_members(run) * steps * own.num_sequences * own.num_noises


STAGES = (Stage("along_time", AlongTimeConfig, plan, reads=("evaluation",), passes=_passes),)
