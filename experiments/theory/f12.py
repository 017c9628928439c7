"""F12: correlations of leaves by tree distance, exact and sampled (science.md#f12)."""

import dataclasses
import functools

import jax
import numpy as np

from experiments.store import Measurement, Measurements
from experiments.theory.study import Parts, realisations
from hiermodel import theory
from hiermodel.grammar.pair_laws import leaf_pairs_at, pair_law
from hiermodel.grammar.paths_on_host import HostPaths
from hiermodel.grammar.rules import Grammar

SIZES = ((32, 8, 3), (16, 4, 4), (64, 8, 3))
"""(v, m, L), s = 2; the first are those of figure 1 of arXiv:2406.00048."""


@dataclasses.dataclass(frozen=True)
class F12Study:
    """How many grammars, and which numbers of sequences.

    Attributes:
        num_realisations: grammars per size.
        num_pairs: pairs of leaves at each distance whose counts are drawn.
        num_sizes: numbers of sequences P, evenly spaced in ln P.
        most: the largest P.
        seed: of grammars and counts.
    """

    num_realisations: int = 48
    num_pairs: int = 2
    num_sizes: int = 9
    most: float = 1e8
    seed: int = 0

    @property
    def num_sequences(self) -> np.ndarray:
        """P."""
        return np.rint(np.geomspace(10, self.most, self.num_sizes)).astype(np.int64)


def parts(study: F12Study) -> Parts:
    """A part per size."""
    return {_name(*sizes): functools.partial(_correlations, study, *sizes) for sizes in SIZES}


def _name(vocab_size: int, rules: int, depth: int) -> str:
    return f"v{vocab_size}_m{rules}_L{depth}"


def _correlations(study: F12Study, vocab_size: int, rules: int, depth: int) -> Measurements:
    exact, seen, errors = [], [], []
    for key, grammar in realisations(
        study.seed,
        study.num_realisations,
        vocab_size=vocab_size,
        rules_per_symbol=rules,
        depth=depth,
    ):
        exact.append(theory.rms_leaf_covariance(grammar))
        seed = np.asarray(jax.random.key_data(key)).tolist()
        own_seen, own_errors = _sampled(study, grammar, np.random.default_rng(seed))
        seen.append(own_seen)
        errors.append(own_errors)
    name = _name(vocab_size, rules, depth)
    dims = ("realisation", "distance", "num_sequences")
    return {
        f"{name}_sequences": Measurement(study.num_sequences, ("num_sequences",), "sequences", "P"),
        f"{name}_exact": Measurement(
            np.stack(exact), dims[:2], "probability", "root-mean-square covariance, exact"
        ),
        f"{name}_sampled": Measurement(
            np.stack(seen), dims, "probability", "the same of the frequencies in P sequences"
        ),
        f"{name}_error": Measurement(
            np.stack(errors), dims, "probability", "root-mean-square error of those covariances"
        ),
    }


def _sampled(
    study: F12Study, grammar: Grammar, generator: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Covariances on P sequences: counts of two leaves are multinomial by their exact joint law."""
    paths = HostPaths.of(grammar)
    seen = np.zeros((grammar.depth, study.num_sizes))
    errors = np.zeros_like(seen)
    for distance in range(1, grammar.depth + 1):
        pairs = leaf_pairs_at(grammar, distance)
        chosen = pairs[:: max(1, len(pairs) // study.num_pairs)][: study.num_pairs]
        for i, j in chosen:
            law = np.maximum(pair_law(grammar, paths, i, j), 0)
            law /= law.sum()
            true = law - np.outer(law.sum(1), law.sum(0))
            for place, number in enumerate(study.num_sequences):
                drawn = generator.multinomial(number, law.ravel()).reshape(law.shape) / number
                found = drawn - np.outer(drawn.sum(1), drawn.sum(0))
                seen[distance - 1, place] += np.square(found).mean() / len(chosen)
                errors[distance - 1, place] += np.square(found - true).mean() / len(chosen)
    return np.sqrt(seen), np.sqrt(errors)
