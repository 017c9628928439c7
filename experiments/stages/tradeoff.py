"""What is learned against what is copied: the same numbers for networks and for their averages."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key

from experiments.configs import RunConfig
from experiments.runs.data import make_data, run_key
from experiments.stages.denoising import denoise_rows
from experiments.stages.evaluation import split_pairs
from experiments.stages.pipeline import Context, Plan
from experiments.stages.registry import Stage
from experiments.stages.sampled import plan_sampled
from experiments.stages.settings import (
    check_counts,
    check_relative_times,
    num_members,
    num_sampled,
    step_at,
)
from experiments.store import Measurement, Measurements
from hiermodel.checks import require
from hiermodel.diffusion.averaged import averaged_denoiser
from hiermodel.diffusion.corruption import add_noise, one_hot
from hiermodel.diffusion.denoiser import Denoiser
from hiermodel.diffusion.denoisers import exact_denoiser
from hiermodel.diffusion.samplers import sample_ancestral
from hiermodel.grammar.sampling import sample_leaves
from hiermodel.grammar.splits import Splits
from hiermodel.measures.divergence import kl_divergence
from hiermodel.measures.loss import stratified_steps
from hiermodel.measures.membership import attack_losses, auc, membership_score
from hiermodel.measures.reproduction import copies_beyond_others


@dataclasses.dataclass(frozen=True)
class TradeoffConfig:
    """How learning is set against copying, at every checkpoint that is sampled.

    Attributes:
        num_sequences: test sequences.
        num_noises: noises per sequence for the divergence.
        num_loss_noises: noises per sequence for losses and attacks, at stratified steps.
        relative_time: t/T of the divergence.
        radii: Hamming distances up to which a sample counts as a near-copy.
        num_fresh: fresh sequences that samples are compared with.
        averages: measure averages of two networks too.
    """

    num_sequences: int = 3000
    num_noises: int = 2
    num_loss_noises: int = 16
    relative_time: float = 0.15
    radii: tuple[int, ...] = (0, 1)
    num_fresh: int = 20_000
    averages: bool = False

    def __post_init__(self):
        check_counts(self, "num_sequences", "num_noises", "num_loss_noises", "num_fresh")
        require(bool(self.radii), "radii", self.radii, "at least one distance")
        check_relative_times(self.relative_time)


KINDS = {
    "network": "single networks",
    "same": "averages of two networks of the same training set",
    "halves": "averages of two networks of disjoint training sets",
}
"""What is measured. The training set of an average is all that its networks were trained on."""


@dataclasses.dataclass(frozen=True)
class Setting:
    """What is the same at all checkpoints.

    Attributes:
        config: the run.
        own: settings of the stage.
        splits: training sets and test set.
        keys: of noise and of samples.
        steps: of the losses.
        x_t: (noises, m, leaves, vocab) noisy test sequences at the fixed step.
        oracle: the exact denoiser's output there.
        exact: by split, and last for the test set, the exact denoiser's losses.
        fresh: fresh sequences.
    """

    config: RunConfig
    own: TradeoffConfig
    splits: Splits
    keys: Key[Array, " two"]
    steps: Int[np.ndarray, " noises"]
    x_t: Float[Array, "noises m leaves vocab"]
    oracle: Float[Array, "noises m leaves vocab"]
    exact: list[np.ndarray]
    fresh: Int[np.ndarray, "fresh leaves"]

    @property
    def test(self) -> Int[np.ndarray, "m leaves"]:
        """Test sequences that are used; for copies, all that were not trained on are."""
        return self.splits.test[: self.own.num_sequences]

    def losses(self, denoiser: Denoiser, rows: np.ndarray) -> Float[np.ndarray, " n"]:
        """Mean over t, under the same noise for all denoisers."""
        return attack_losses(self.keys[0], denoiser, self.config.schedule, rows, self.steps)


def plan(context: Context) -> Plan:
    """The stage "tradeoff"."""

    def setting_of(config: RunConfig, own: TradeoffConfig, _: int) -> Setting:
        return make_setting(config, own)

    return plan_sampled(context, "tradeoff", setting_of, measure)


def make_setting(config: RunConfig, own: TradeoffConfig) -> Setting:
    """Draw noise and fresh sequences, and evaluate the exact denoiser."""
    step_key, noise_key, loss_key, sample_key, fresh_key = jax.random.split(
        run_key(config, "tradeoff"), 5
    )
    splits: Any = make_data(config)
    grammar, schedule = config.data.build(), config.schedule
    test = splits.test[: own.num_sequences]
    exact = exact_denoiser(grammar, schedule, filter_level=config.data.filter_level)
    x_0 = one_hot(test, grammar.vocab_size)
    t = step_at(own.relative_time, schedule)
    x_t = add_noise(noise_key, schedule, jnp.broadcast_to(x_0, (own.num_noises, *x_0.shape)), t)
    fresh = sample_leaves(fresh_key, grammar, own.num_fresh, filter_level=config.data.filter_level)
    setting = Setting(
        config,
        own,
        splits,
        jnp.stack([loss_key, sample_key]),
        np.asarray(stratified_steps(step_key, schedule.num_steps, own.num_loss_noises)),
        x_t,
        denoise_rows(exact, x_t, jnp.full(x_t.shape[:2], t)),
        [],
        np.asarray(fresh),
    )
    losses = [setting.losses(exact, rows) for rows in (*splits.train, test)]
    return dataclasses.replace(setting, exact=losses)


def members_by_unit(config: RunConfig, kind: str) -> list[tuple[int, ...]]:
    """The members that each unit of a kind (``KINDS``) is made of."""
    if kind == "halves":
        return split_pairs(config.num_splits, config.num_seeds)
    num_members = config.num_splits * config.num_seeds
    if kind == "network":
        return [(member,) for member in range(num_members)]
    even = range(0, config.num_seeds - 1, 2)
    splits = range(0, num_members, config.num_seeds)
    return [(first + seed, first + seed + 1) for first in splits for seed in even]


def measure(
    setting: Setting,
    networks: list,
    samples: Int[np.ndarray, "member sample leaves"],
) -> Measurements:
    """Loss, divergence, reproduction and attacks of networks and, if asked for, their averages."""
    config = setting.config
    results: dict[str, Measurement] = {}
    for kind in KINDS if setting.own.averages else ("network",):
        groups, rows = members_by_unit(config, kind), []
        if not groups:  # one seed has no two networks of the same training set
            continue
        for group in groups:
            denoiser = averaged_denoiser([networks[member] for member in group])
            if len(group) == 1:
                denoiser, drawn = networks[group[0]], samples[group[0]]
            else:
                size = samples.shape[1]
                drawn = sample_ancestral(setting.keys[1], denoiser, config.schedule, size)
            splits = sorted({member // config.num_seeds for member in group})
            rows.append(_numbers(setting, denoiser, np.asarray(drawn), splits))
        for name, (dims, units, about) in _MEASURED.items():
            values = np.array([np.asarray(row[name]) for row in rows])
            results[f"{name}_{kind}"] = Measurement(
                values, ("unit", *dims), units, f"{about}; {KINDS[kind]}"
            )
    return results


def _numbers(
    setting: Setting, denoiser: Denoiser, samples: np.ndarray, splits: list[int]
) -> dict[str, np.ndarray | float]:
    train = np.concatenate([setting.splits.train[split] for split in splits])
    own, test = (setting.losses(denoiser, rows) for rows in (train, setting.test))
    exact_own = np.concatenate([setting.exact[split] for split in splits])
    t = step_at(setting.own.relative_time, setting.config.schedule)
    output = denoise_rows(denoiser, setting.x_t, jnp.full(setting.x_t.shape[:2], t))
    found = copies_beyond_others(
        samples, train, setting.splits.unseen, setting.own.radii, fresh=setting.fresh
    )
    is_other = setting.splits.test_split[: len(test)] < 0
    others, exact_others = test[is_other], setting.exact[-1][is_other]
    calibrated = auc(membership_score(own, exact_own), membership_score(others, exact_others))
    return {
        "loss": test.mean(),
        "divergence": float(kl_divergence(setting.oracle, output).mean()),
        "reproduction": found,
        "auc": np.array([auc(-own, -others), calibrated]),
    }


_MEASURED = {
    "loss": ((), "nats per position", "denoising loss on test sequences, mean over t"),
    "divergence": ((), "nats per sequence", "KL(exact ‖ model) on test sequences at the fixed t"),
    "reproduction": (
        ("radius",),
        "fraction",
        "samples near training sequences − near as many test sequences in no split (times how "
        "much likelier the former are), by radius",
    ),
    "auc": (
        ("attack",),
        "probability",
        "AUC of the plain and of the calibrated attack, all t; others are test "
        "sequences in no split",
    ),
}


def _passes(run: Any, settings: Mapping[str, Any]) -> float:
    own = settings["tradeoff"]
    test = min(own.num_sequences, run.test_size)
    per_network = (run.split_size + test) * own.num_loss_noises + test * own.num_noises
    return float(num_sampled(run, settings) * num_members(run) * per_network)


STAGES = (Stage("tradeoff", TradeoffConfig, plan, reads=("samples",), passes=_passes),)
