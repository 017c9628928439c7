"""What attackers gain from every network along training: membership, copies, extraction."""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import jax
import numpy as np
from jaxtyping import Array, Float, Int, Key, Num

from experiments.configs import RunConfig
from experiments.runs.data import data_as_drawn, run_key
from experiments.stages.membership import DIMS, ENDS, ORACLE, TIMES, attack_scores, membership
from experiments.stages.pipeline import Context, Plan
from experiments.stages.registry import Stage, any_world
from experiments.stages.sampled import plan_sampled
from experiments.stages.settings import (
    check_counts,
    check_relative_times,
    num_members,
    num_sampled,
    step_at,
)
from experiments.store import Measurement, Measurements
from experiments.worlds.registry import world_of
from experiments.worlds.world import Splits
from hiermodel.checks import check_integer, require
from hiermodel.diffusion.denoiser import AnyDenoiser
from hiermodel.diffusion.samplers import sample_ancestral
from hiermodel.measures.canaries import epsilon_lower_bound
from hiermodel.measures.extraction import find_clusters, score_claims
from hiermodel.measures.loss import stratified_steps
from hiermodel.measures.membership import attack_losses
from hiermodel.measures.reproduction import excess_reproduction, near_copies
from hiermodel.measures.u_turn import repeated_u_turns
from hiermodel.measures.uncertainty import Interval
from hiermodel.measures.units import other_split


@dataclasses.dataclass(frozen=True)
class AttacksConfig:
    """What attackers are given, at every checkpoint that is sampled (science.md#measures).

    Attributes:
        num_examples: members and others per attack (all of a set, if it is smaller).
        num_noises: noises per example at the fixed step, and as many at stratified ones.
        relative_time: t/T of the fixed step, and of the turning point of repeated U-turns.
        radii: Hamming distances up to which a sample counts as a near-copy.
        num_fresh: fresh sequences that samples are compared with.
        claim_size: samples in a group of duplicates that is claimed to be a training sequence.
        num_cycles: repeated U-turns from test sequences; 0 for none.
        num_resamples: of the bootstrap intervals.
        delta: δ of the audit of privacy, which takes the extra ``privacy``; None for no audit.
    """

    num_examples: int = 3000
    num_noises: int = 16
    relative_time: float = 0.15
    radii: tuple[int, ...] = (0, 1, 2)
    num_fresh: int = 20_000
    claim_size: int = 3
    num_cycles: int = 5
    num_resamples: int = 500
    delta: float | None = None

    def __post_init__(self):
        check_counts(self, "num_examples", "num_noises", "num_fresh")
        check_counts(self, "claim_size", "num_resamples")
        check_integer("num_cycles", self.num_cycles, 0)
        require(bool(self.radii), "radii", self.radii, "at least one distance")
        check_relative_times(self.relative_time)


BASELINES = ("fresh data", "exact denoiser")


@dataclasses.dataclass(frozen=True)
class Setting:
    """What is the same at all checkpoints.

    Attributes:
        config: the run.
        own: settings of the stage.
        splits: training sets and test set.
        noise_key: of the attacks' noise, shared by all denoisers.
        cycle_key: of the U-turns.
        test_key: of the bootstrap.
        steps: (times, noises) steps of the attacks.
        pool: (n, ...) every training split, then test examples that are in none of them, since an
            attack on membership needs others that are no members.
        exact: (times, n) losses of the exact denoiser; None if there is none.
        baselines: sequences that depend on no training set, in the order of ``BASELINES``; none
            where the data are not from a grammar.
    """

    config: RunConfig
    own: AttacksConfig
    splits: Splits
    noise_key: Key[Array, ""]
    cycle_key: Key[Array, ""]
    test_key: Key[Array, ""]
    steps: Int[np.ndarray, "times noises"]
    pool: Num[np.ndarray, "n ..."]
    exact: Float[np.ndarray, "times n"] | None
    baselines: tuple[np.ndarray, ...]

    def losses(self, denoiser: AnyDenoiser) -> Float[np.ndarray, "times n"]:
        """Losses on the whole pool."""
        schedule = self.config.schedule
        return np.stack(
            [
                attack_losses(key, denoiser, schedule, self.pool, steps)
                for key, steps in zip(jax.random.split(self.noise_key), self.steps, strict=True)
            ]
        )

    def rows_of(self, split: int) -> slice:
        """Where in the pool a split is; −1 for what is in no split."""
        size = min(self.config.split_size, self.own.num_examples)
        start = size * (split if split >= 0 else self.config.num_splits)
        return slice(start, start + size if split >= 0 else None)


def plan(context: Context) -> Plan:
    """The stage "attacks"."""
    return plan_sampled(context, "attacks", make_setting, measure, chance)


def make_setting(config: RunConfig, own: AttacksConfig, num_samples: int) -> Setting:
    """Draw the noise's steps and the baselines; evaluate the exact denoiser."""
    keys = jax.random.split(run_key(config, "attacks"), 6)
    step_key, noise_key, cycle_key, test_key, fresh_key, exact_key = keys
    splits, schedule, world = data_as_drawn(config), config.schedule, world_of(config)
    fixed = np.full(own.num_noises, step_at(own.relative_time, schedule))
    spread = np.asarray(stratified_steps(step_key, schedule.num_steps, own.num_noises))
    parts = [rows[: own.num_examples] for rows in (*splits.train, splits.unseen)]
    exact, baselines = world.exact(config), ()
    if exact is not None and world.grammar is not None:
        fresh = world.fresh(fresh_key, config, own.num_fresh)
        by_exact = np.asarray(sample_ancestral(exact_key, exact, schedule, num_samples))
        baselines = (np.asarray(fresh), by_exact)
    setting = Setting(
        config,
        own,
        splits,
        noise_key,
        cycle_key,
        test_key,
        np.stack([fixed, spread]),
        np.concatenate(parts),
        None,
        baselines,
    )
    if exact is None:
        return setting
    return dataclasses.replace(setting, exact=setting.losses(exact))


def measure(
    setting: Setting,
    networks: Sequence[AnyDenoiser],
    samples: Num[np.ndarray, "member sample ..."],
) -> Measurements:
    """All attacks at one checkpoint; those that look for copies only on sequences of a grammar."""
    losses = np.stack([setting.losses(network) for network in networks])
    scores = attack_scores(setting.config, losses, setting.exact)
    rows = [setting.rows_of(member // setting.config.num_seeds) for member in range(len(networks))]
    num_resamples = setting.own.num_resamples
    found = {
        **membership(setting.test_key, scores, rows, setting.rows_of(-1), num_resamples),
        **audit(setting, scores),
    }
    if not setting.baselines:
        return found
    return {
        **found,
        **reproduction(setting, samples),
        **extraction(setting, samples),
        **cycles(setting, networks),
    }


def audit(setting: Setting, scores: Float[np.ndarray, "member attack times n"]) -> Measurements:
    """Bounds on ε, if asked for, from the halves of the pool of own and other split."""
    config, delta = setting.config, setting.own.delta
    if delta is None or config.num_splits == 1:
        return {}
    bounds = []
    for member, of_member in enumerate(scores[:, :2]):
        split = member // config.num_seeds
        own, other = (
            setting.rows_of(each) for each in (split, other_split(split, config.num_splits))
        )
        bounds += [
            epsilon_lower_bound(each[own], each[other], delta=delta)
            for each in of_member.reshape(-1, of_member.shape[-1])
        ]
    values = np.array(bounds).reshape(len(scores), 2, len(TIMES))
    about = f"largest ε refuted with 95 % confidence at δ = {delta:g} by the attacks {ORACLE[:2]}"
    return {"epsilon": Measurement(values, DIMS, "1", about)}


def reproduction(
    setting: Setting, samples: Int[np.ndarray, "member sample leaves"]
) -> Measurements:
    """Near-copies among the samples over those among the baselines."""
    radii = setting.own.radii
    found = [
        [excess_reproduction(rows, baseline, own, radii)[:3] for baseline in setting.baselines]
        for rows, own in zip(samples, _own_train(setting), strict=True)
    ]
    dims = ("member", "baseline", "radius")
    about = f"samples within the Hamming distances {radii} of a training sequence − of {BASELINES}"
    return {
        f"reproduction_{end}" if end else "reproduction": Measurement(
            part, dims, "fraction", about + note
        )
        for (end, note), part in zip(ENDS.items(), np.moveaxis(np.array(found), 2, 0), strict=True)
    }


def extraction(setting: Setting, samples: Int[np.ndarray, "member sample leaves"]) -> Measurements:
    """Claims from groups of duplicates among the samples, against own and other split."""
    config, train = setting.config, setting.splits.train
    rows = []
    for member, generated in enumerate(samples):
        split = member // config.num_seeds
        other = other_split(split, config.num_splits)
        claims = find_clusters(generated, min_size=setting.own.claim_size).centre
        rows.append([score_claims(claims, train[each]) for each in (split, other)])
    return {
        name: Measurement(
            np.array([[_number(getattr(each, name)) for each in pair] for pair in rows]),
            ("member", "against"),
            units,
            f"{about}; groups of at least {setting.own.claim_size} equal samples are claimed; "
            "against the own split, then the other",
        )
        for name, (units, about) in _EXTRACTION.items()
    }


_EXTRACTION = {
    "num_claims": ("sequences", "training sequences that an attacker claims to know from samples"),
    "precision": ("fraction", "claims that are training sequences, 0 if there are none"),
    "recall": ("fraction", "training sequences that are claimed"),
}


def _number(value: Interval | int) -> float:
    return float(value.estimate) if isinstance(value, Interval) else value


def cycles(setting: Setting, networks: Sequence[AnyDenoiser]) -> Measurements:
    """Copies of the training set along repeated U-turns from test sequences."""
    if not setting.own.num_cycles:
        return {}
    found = [
        _copies_along(setting, network, own)
        for network, own in zip(networks, _own_train(setting), strict=True)
    ]
    about = "ends of repeated U-turns from test sequences that are training sequences, by cycle"
    return {"cycle_copies": Measurement(np.stack(found), ("member", "cycle"), "fraction", about)}


def chance(setting: Setting) -> Measurements:
    """What the exact denoiser's chain and fresh data give instead."""
    if not setting.baselines:
        return {}
    config, train = setting.config, setting.splits.train
    fresh = setting.baselines[0][: len(setting.baselines[1])]  # as many as there are samples
    claims = find_clusters(fresh, min_size=setting.own.claim_size).centre
    precision = [_number(score_claims(claims, own).precision) for own in train]
    about = "precision of the same claims made from fresh data"
    results = {"precision_fresh": Measurement(np.array(precision), ("split",), "fraction", about)}
    if setting.own.num_cycles:
        exact = world_of(config).exact(config)
        copies = np.stack([_copies_along(setting, exact, own) for own in train])
        about = "cycle_copies of the exact denoiser"
        results["cycle_copies_exact"] = Measurement(copies, ("split", "cycle"), "fraction", about)
    return results


def _copies_along(
    setting: Setting, denoiser: Any, own: Int[np.ndarray, "n leaves"]
) -> Float[np.ndarray, " cycle"]:
    settings, schedule = setting.own, setting.config.schedule
    starts = setting.splits.test[: settings.num_examples]
    t = step_at(settings.relative_time, schedule)
    chain = repeated_u_turns(setting.cycle_key, denoiser, schedule, starts, t, settings.num_cycles)
    return np.array([near_copies(rows, own, (0,)).mean() for rows in chain])


def _own_train(setting: Setting) -> Iterator[np.ndarray]:
    """Each member's training set."""
    num_seeds = setting.config.num_seeds
    return (own for own in setting.splits.train for _ in range(num_seeds))


def _passes(run: Any, settings: Mapping[str, Any]) -> float:
    own = settings["attacks"]
    test = min(own.num_examples, run.test_size)
    train = run.num_splits * min(own.num_examples, run.split_size)
    turned = test * own.num_cycles * own.relative_time * run.num_steps
    per_network = 2.0 * (train + test) * own.num_noises + turned
    return num_sampled(run, settings) * num_members(run) * per_network


STAGES = (
    Stage("attacks", AttacksConfig, plan, reads=("samples",), measures=any_world, passes=_passes),
)
