"""F11: samplers of few steps with the exact denoiser (science.md#f11)."""

import dataclasses
import functools
from collections.abc import Callable

import jax
import numpy as np
from jaxtyping import Array, Int, Key

import hiermodel as hm
from experiments.store import Measurement, Measurements
from experiments.theory.study import Parts, realisations
from hiermodel.grammar.pair_laws import leaf_pairs_at, pair_law
from hiermodel.grammar.paths_on_host import HostPaths
from hiermodel.grammar.rules import Grammar
from hiermodel.measures.examine import examine_sampler

SIZES = {"vocab_size": 6, "rules_per_symbol": 3, "depth": 3, "branching": 2}

CALLS = (2, 8, 32)
"""Calls of the denoiser, per sample."""

Sampler = Callable[[Key[Array, ""], Grammar, int, int], Int[Array, "samples leaves"]]


@dataclasses.dataclass(frozen=True)
class F11Study:
    """How many grammars and samples.

    Attributes:
        num_realisations: grammars.
        num_samples: per sampler and number of calls.
        num_steps: T of the Gaussian noise, of which samplers visit few steps.
        seed: of grammars and samples.
    """

    num_realisations: int = 6
    num_samples: int = 16384
    num_steps: int = 500
    seed: int = 0


def parts(study: F11Study) -> Parts:
    """A part per realisation, so that what is done is done."""
    return {
        f"realisation_{index}": functools.partial(_realisation, study, index)
        for index in range(study.num_realisations)
    }


def samplers(study: F11Study) -> dict[str, Sampler]:
    """From a key, a grammar, a number of samples and of denoiser calls, to sequences."""
    schedule = hm.Schedule.linear(study.num_steps)

    def ancestral(key, grammar, number, calls):
        denoiser = hm.exact_denoiser(grammar, schedule)
        return hm.sample_ddim(key, denoiser, schedule, number, num_steps=calls, eta=1.0)

    def ddim(key, grammar, number, calls):
        denoiser = hm.exact_denoiser(grammar, schedule)
        return hm.sample_ddim(key, denoiser, schedule, number, num_steps=calls)

    def ode(key, grammar, number, calls):
        denoiser = hm.exact_denoiser(grammar, schedule)
        return hm.sample_ode(key, denoiser, schedule, number, num_steps=calls // 2)

    def masked(key, grammar, number, calls, joint=False):
        process = hm.DiscreteProcess.masked(grammar.vocab_size, calls)
        denoiser = hm.exact_denoiser(grammar, process)
        return hm.sample_ancestral(key, denoiser, process, number, joint=joint)

    def any_order(key, grammar, number, calls):
        process = hm.DiscreteProcess.masked(grammar.vocab_size, calls)
        return hm.sample_any_order(key, hm.exact_denoiser(grammar, process), process, number)

    return {
        "ancestral": ancestral,
        "ddim": ddim,
        "ode": ode,
        "masked": masked,
        "joint": functools.partial(masked, joint=True),
        "any_order": any_order,
    }


def calls_of(name: str) -> tuple[int, ...]:
    """Numbers of denoiser calls at which a sampler is looked at.

    A joint draw is exact in any number of them; in any order there are as many as leaves.
    """
    leaves = SIZES["branching"] ** SIZES["depth"]
    return {"joint": (CALLS[0],), "any_order": (leaves,)}.get(name, CALLS)


def _realisation(study: F11Study, index: int) -> Measurements:
    *_, (key, grammar) = realisations(study.seed, index + 1, **SIZES)
    found: dict[str, Measurement] = {}
    for place, (name, sampler) in enumerate(samplers(study).items()):
        errors, valid, passes = [], [], []
        for calls in calls_of(name):
            own_key = jax.random.fold_in(jax.random.fold_in(key, place), calls)
            rows = np.asarray(sampler(own_key, grammar, study.num_samples, calls))
            errors.append(pair_errors(grammar, rows))
            valid.append(np.isfinite(np.asarray(hm.log_prob(grammar, rows))).mean())
            passes.append(examine_sampler(rows, grammar).passes)
        dims = ("realisation", "calls")
        found[f"{index}_{name}_error"] = Measurement(
            np.array([errors]),
            (*dims, "distance"),
            "squared covariance",
            "squared error of pair laws over squared covariance, less what sampling noise adds",
        )
        found[f"{index}_{name}_valid"] = Measurement(
            np.array([valid]), dims, "fraction", "samples that the grammar can produce"
        )
        found[f"{index}_{name}_passes"] = Measurement(
            np.array([passes], dtype=float), dims, "0 or 1", "whether examine_sampler passes them"
        )
    return found


def pair_errors(grammar: Grammar, rows: Int[np.ndarray, "samples leaves"]) -> list[float]:
    """Per distance 1…L, Σ (p̂ − p)² less its expectation under p, over Σ (p − p_i p_j)².

    Over all pairs of symbols and of leaves at the distance. 0 for the right law, 1 where leaves
    keep their own laws and lose what ties them.
    """
    paths, number = HostPaths.of(grammar), len(rows)
    found = []
    for distance in range(1, grammar.depth + 1):
        off = signal = 0.0
        for i, j in leaf_pairs_at(grammar, distance):
            law = pair_law(grammar, paths, i, j)
            codes = rows[:, i].astype(np.int64) * grammar.vocab_size + rows[:, j]
            seen = np.bincount(codes, minlength=law.size).reshape(law.shape) / number
            noise = (seen * (1 - seen)).sum() / (number - 1)
            off += float(np.square(seen - law).sum() - noise)
            signal += float(np.square(law - np.outer(law.sum(1), law.sum(0))).sum())
        found.append(off / signal)
    return found
