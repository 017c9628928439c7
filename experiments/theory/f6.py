"""F6: where U-turns lose a class, and an empirical denoiser knows its sequence (science.md#f6)."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Key

from experiments.store import Measurement, Measurements
from experiments.theory.study import Parts, realisations
from experiments.theory.u_turns import u_turns
from hiermodel import theory
from hiermodel.diffusion.corruption import one_hot
from hiermodel.diffusion.schedule import Schedule
from hiermodel.grammar.rules import Grammar
from hiermodel.grammar.sampling import sample_leaves

CLASSES = {
    "pairs": {"vocab_size": 32, "rules_per_symbol": 8, "branching": 2, "depth": 9},
    "wide": {"vocab_size": 8, "rules_per_symbol": 2, "branching": 6, "depth": 3},
}
"""Few rules and many children, m < s, where means of leaves tell the class; and m > s."""

MEMORISED = {"vocab_size": 6, "rules_per_symbol": 4, "branching": 2, "depth": 4}
"""Of the empirical denoiser's sequences."""

NUM_SEQUENCES = (64, 512, 4096)
"""n, of the empirical denoiser."""

NUM_STEPS = 1000


@dataclasses.dataclass(frozen=True)
class F6Study:
    """How many grammars and sequences.

    Attributes:
        num_realisations: grammars.
        num_u_turns: sequences per grammar whose class is followed.
        num_noises: levels of noise.
        num_starts: training sequences that the empirical denoiser is asked for.
        num_information: sequences in the mean that predicts where it knows them.
        seed: of grammars, data and noise.
    """

    num_realisations: int = 6
    num_u_turns: int = 48
    num_noises: int = 25
    num_starts: int = 200
    num_information: int = 256
    seed: int = 0

    @property
    def noise(self) -> np.ndarray:
        """1 − abar, evenly spaced in the logarithm of the signal to noise abar / (1 − abar)."""
        return 1 / (1 + np.geomspace(100, 0.03, self.num_noises))

    @property
    def schedule(self) -> Schedule:
        """Fine steps."""
        return Schedule.linear(NUM_STEPS)


def parts(study: F6Study) -> Parts:
    """Classes of two kinds of trees, and collapse."""
    found = {name: functools.partial(_classes, study, name) for name in CLASSES}
    return found | {"collapse": functools.partial(_collapse, study)}


def _classes(study: F6Study, name: str) -> Measurements:
    curves, signals = [], []
    for key, grammar in realisations(study.seed, study.num_realisations, **CLASSES[name]):
        turns = u_turns(
            key, grammar, study.noise, "gaussian", study.num_u_turns, with_covariance=False
        )
        curves.append(turns.unchanged)
        signals.append(theory.class_signal(grammar))
    return {
        f"{name}_noise": Measurement(study.noise, ("noise",), "probability", "1 − abar"),
        f"{name}_unchanged": Measurement(
            np.stack(curves),
            ("realisation", "noise", "level"),
            "probability",
            "nodes that a U-turn leaves as they are",
        ),
        f"{name}_signal": Measurement(
            np.stack(signals),
            ("realisation", "node_level"),
            "squared length",
            "largest eigenvalue of the covariance of the leaves' mean given the node's symbol",
        ),
    }


def _collapse(study: F6Study) -> Measurements:
    steps = np.unique(np.geomspace(5, NUM_STEPS, 60).astype(int))
    known, predicted = [], []
    for key, grammar in realisations(study.seed, study.num_realisations, **MEMORISED):
        data_key, noise_key, information_key = jax.random.split(key, 3)
        known.append(
            [_own_weight(study, data_key, noise_key, grammar, n, steps) for n in NUM_SEQUENCES]
        )
        predicted.append(
            [
                theory.collapse_step(
                    information_key, grammar, study.schedule, n, num_samples=study.num_information
                )
                for n in NUM_SEQUENCES
            ]
        )
    return {
        "collapse_step": Measurement(steps, ("step",), "steps", "t"),
        "collapse_known": Measurement(
            np.array(known),
            ("realisation", "num_sequences", "step"),
            "probability",
            "that a draw of the empirical denoiser gives back the sequence that was noised",
        ),
        "collapse_predicted": Measurement(
            np.array(predicted),
            ("realisation", "num_sequences"),
            "steps",
            "where the exact information on a sequence is ln n",
        ),
    }


def _own_weight(
    study: F6Study,
    data_key: Key[Array, ""],
    noise_key: Key[Array, ""],
    grammar: Grammar,
    number: int,
    steps: np.ndarray,
) -> list[float]:
    """Mean posterior weight of the own sequence among n, at each step."""
    sequences = sample_leaves(data_key, grammar, max(NUM_SEQUENCES))[:number]
    rows = one_hot(sequences, grammar.vocab_size).reshape(number, -1)
    starts = rows[: min(study.num_starts, number)]
    noise = jax.random.normal(noise_key, starts.shape)
    abar = study.schedule.alpha_bar
    return [float(_weight(rows, starts, noise, abar[step])) for step in steps]


@jax.jit
def _weight(rows: Array, starts: Array, noise: Array, abar: Array) -> Array:
    noisy = jnp.sqrt(abar) * starts + jnp.sqrt(1 - abar) * noise
    logs = jnp.sqrt(abar) / (1 - abar) * jnp.matmul(noisy, rows.T, precision="highest")
    return jax.nn.softmax(logs, -1)[jnp.arange(len(starts)), jnp.arange(len(starts))].mean()
