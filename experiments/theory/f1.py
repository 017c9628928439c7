"""F1: what noise leaves of the root of trees of many depths (science.md#f1)."""

import dataclasses
import functools

import jax
import numpy as np
from jaxtyping import Array, Key

from experiments.store import Measurement, Measurements
from experiments.theory.study import Parts, realisation_keys, realisations
from experiments.theory.u_turns import UTurns, u_turns
from hiermodel import theory
from hiermodel.grammar.rules import Grammar, paper_grammar

SIZES = ((32, 8), (32, 4), (32, 12), (16, 4), (64, 8))
"""(v, m) with a threshold, s = 2."""

WITHOUT = ((6, 4), (8, 6))
"""(v, m) with s f > 1; the first are the sizes of the paper's grammar."""

SHALLOW = 5
"""Depth of a tree beside the deep one, to see what depth does to its leaves."""

KINDS = ("erased", "redrawn", "gaussian")


@dataclasses.dataclass(frozen=True)
class F1Study:
    """How many grammars, how many sequences, how much noise.

    Attributes:
        depth: L; the roots of all smaller trees are seen in it.
        num_realisations: grammars per (v, m).
        num_sequences: per grammar.
        reach: how far from a predicted threshold noise is looked at, to either side.
        num_noises: levels of noise within it.
        seed: of grammars, data and noise.
    """

    depth: int = 9
    num_realisations: int = 8
    num_sequences: int = 48
    reach: float = 0.12
    num_noises: int = 13
    seed: int = 0

    @property
    def wide(self) -> np.ndarray:
        """Noise from nearly none to nearly all."""
        return np.linspace(0.02, 0.98, 2 * self.num_noises - 1)


def parts(study: F1Study) -> Parts:
    """Every (v, m) around its threshold, every kind of noise, and where there is no threshold."""
    found = {}
    for vocab_size, rules in SIZES:
        sizes = {"vocab_size": vocab_size, "rules_per_symbol": rules}
        around = theory.noise_threshold(**sizes)
        name = f"v{vocab_size}_m{rules}"
        found[name] = functools.partial(_hierarchies, study, name, "equal", around, sizes)
    sizes = {"vocab_size": 32, "rules_per_symbol": 8}
    for kind in KINDS:
        around = theory.recovery_threshold(corruption=kind, **sizes)
        found[kind] = functools.partial(_hierarchies, study, kind, kind, around, sizes)
    shallow = dataclasses.replace(study, depth=min(SHALLOW, study.depth))
    around = theory.noise_threshold(**sizes)
    found["shallow"] = functools.partial(_hierarchies, shallow, "shallow", "equal", around, sizes)
    found["wide"] = functools.partial(_hierarchies, study, "wide", "equal", None, sizes)
    for vocab_size, rules in WITHOUT:
        sizes = {"vocab_size": vocab_size, "rules_per_symbol": rules}
        name = f"without_v{vocab_size}_m{rules}"
        found[name] = functools.partial(_hierarchies, study, name, "equal", None, sizes)
    found["without_paper"] = functools.partial(_like_the_papers, study)
    found["without_itself"] = functools.partial(_the_papers, study)
    return found


def _hierarchies(
    study: F1Study, name: str, kind: str, around: float | None, sizes: dict[str, int]
) -> Measurements:
    noise = study.wide
    if around is not None:
        span = np.linspace(-study.reach, study.reach, study.num_noises)
        noise = around + span
        noise = noise[(noise > 0.005) & (noise < 0.995)]
    grammars = realisations(study.seed, study.num_realisations, depth=study.depth, **sizes)
    return _measured(
        name,
        noise,
        [_look(study, key, grammar, noise, kind) for key, grammar in grammars],
    )


def _like_the_papers(study: F1Study) -> Measurements:
    """The law of the paper's grammar: shared rules of unequal weights."""
    found = []
    for key in realisation_keys(study.seed, study.num_realisations):
        grammar_key, data_key = jax.random.split(key)
        grammar = Grammar.random(grammar_key, vocab_size=6, depth=study.depth, rules_per_symbol=4)
        found.append(_look(study, data_key, grammar, study.wide, "equal"))
    return _measured("without_paper", study.wide, found)


def _the_papers(study: F1Study) -> Measurements:
    """The paper's grammar itself, made deeper; a realisation is a set of sequences."""
    grammar = paper_grammar()
    deep = dataclasses.replace(grammar, depth=study.depth)
    keys = realisation_keys(study.seed, study.num_realisations)
    found = [_look(study, key, deep, study.wide, "equal") for key in keys]
    return _measured("without_itself", study.wide, found)


def _look(
    study: F1Study, key: Key[Array, ""], grammar: Grammar, noise: np.ndarray, kind: str
) -> UTurns:
    return u_turns(key, grammar, noise, kind, study.num_sequences, with_covariance=False)


def _measured(name: str, noise: np.ndarray, found: list[UTurns]) -> Measurements:
    dims = ("realisation", "noise")
    beliefs = np.stack([each.beliefs for each in found])
    unchanged = np.stack([each.unchanged for each in found])
    return {
        f"{name}_noise": Measurement(noise, ("noise",), "probability", "strength of the noise"),
        f"{name}_beliefs": Measurement(
            beliefs, (*dims, "depth"), "probability", "posterior of the true root, by depth of tree"
        ),
        f"{name}_unchanged": Measurement(
            unchanged, (*dims, "level"), "probability", "nodes that a U-turn leaves as they are"
        ),
    }
