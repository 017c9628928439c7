"""F9: whether networks denoise as empirical denoisers of blocks do (science.md#f9)."""

import dataclasses
import functools
from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

import hiermodel as hm
from experiments.store import Measurement, Measurements
from experiments.theory.blocks import block_log_probs, explained
from experiments.theory.study import Parts, realisations
from experiments.theory.training import Regime, along_training
from hiermodel.grammar.rules import Grammar
from hiermodel.networks import MLPConfig, Network, TransformerConfig, TreeUNetConfig

SIZES = {"vocab_size": 8, "rules_per_symbol": 3, "depth": 3, "branching": 2}
DEPTH, SYMBOLS = SIZES["depth"], SIZES["vocab_size"]
LEAVES = SIZES["branching"] ** DEPTH

PROCESS = hm.Schedule.linear(100)

NETWORKS: Mapping[str, Callable[[int], Network]] = {
    "tree": lambda width: TreeUNetConfig(DEPTH, 2, SYMBOLS, width=width),
    "transformer": lambda width: TransformerConfig(
        LEAVES, SYMBOLS, width, num_layers=3, dropout=0.0, pre_norm=True, start="independent_blocks"
    ),
    "mlp": lambda width: MLPConfig(LEAVES, SYMBOLS, width=4 * width, num_blocks=2),
}
"""By name, from a width."""

SETS = ("test", "train")
"""Of which noised sequences come."""

KINDS = ("own", "pooled", "oracle")
"""Empirical blocks of a place, of all places, both by k for s^k leaves; filtered oracles by k."""


@dataclasses.dataclass(frozen=True)
class F9Study:
    """How many grammars, training sets and tests.

    Attributes:
        num_realisations: grammars.
        num_sequences: n; a training set of each size per grammar.
        num_tests: test sequences per grammar, and as many of each training set (some twice if it
            is smaller), each noised once for every step.
        steps: of noise at which denoisers are compared.
        regime: of training; the width is that of a node or token.
        seed: of grammars, data, noise and networks.
    """

    num_realisations: int = 6
    num_sequences: tuple[int, ...] = (12, 512)
    num_tests: int = 128
    steps: tuple[int, ...] = (10, 15, 20, 30, 40)
    regime: Regime = dataclasses.field(
        default_factory=lambda: Regime(num_steps=4000, num_checkpoints=14)
    )
    seed: int = 0


def parts(study: F9Study) -> Parts:
    """A part per architecture."""
    return {name: functools.partial(_agreement, study, name) for name in NETWORKS}


def _agreement(study: F9Study, name: str) -> Measurements:
    """The same grammars, data and noise for every architecture."""
    found = list(realisations(study.seed, study.num_realisations, **SIZES))
    t = jnp.tile(jnp.repeat(jnp.array(study.steps), study.num_tests), len(SETS))
    sets, inputs, known, marginals = [], [], [], []
    for key, grammar in found:
        train_key, test_key, noise_key, _ = jax.random.split(key, 4)
        rows = np.asarray(hm.sample_leaves(train_key, grammar, max(study.num_sequences)))
        tests = np.asarray(hm.sample_leaves(test_key, grammar, study.num_tests))
        for number in study.num_sequences:
            own = rows[:number]
            shown = np.resize(own, tests.shape)
            clean = np.concatenate(
                [np.tile(each, (len(study.steps), 1)) for each in (tests, shown)]
            )
            x_t = PROCESS.corrupt(noise_key, PROCESS.encode(clean, SYMBOLS), t)
            sets.append(own)
            inputs.append(x_t)
            known.append(np.exp([*empirical(own, x_t, t), *oracles(grammar, x_t, t)]))
            marginals.append(np.eye(SYMBOLS)[own].mean(0))

    def agreement(log_probs: Float[Array, "members inputs leaves vocab"]) -> np.ndarray:
        shape = (len(SETS), len(study.steps), study.num_tests, LEAVES, SYMBOLS)
        return np.array(
            [
                [explained(network, one.reshape(shape), marginal) for one in references]
                for network, references, marginal in zip(
                    np.exp(log_probs).reshape(-1, *shape), known, marginals, strict=True
                )
            ]
        )

    network = NETWORKS[name](study.regime.width)
    *_, network_key = jax.random.split(found[-1][0], 4)
    measured = along_training(
        network_key, study.regime, network, PROCESS, sets, jnp.stack(inputs), t, agreement
    )
    return _stored(study, name, measured)


def empirical(
    rows: Int[np.ndarray, "rows leaves"], x_t: Array, t: Int[Array, " inputs"]
) -> list[Array]:
    """Log-probabilities by blocks of s^k leaves, k = 0 … L: of their own place, then of all."""
    return [
        block_log_probs(PROCESS, rows, SYMBOLS, 2**level, x_t, t, pooled=pooled)
        for pooled in (False, True)
        for level in range(DEPTH + 1)
    ]


def oracles(grammar: Grammar, x_t: Array, t: Int[Array, " inputs"]) -> list[Array]:
    """Log-probabilities of the oracles of filter levels 0 … L."""
    levels = range(DEPTH + 1)
    return [hm.exact_denoiser(grammar, PROCESS, filter_level=level)(x_t, t) for level in levels]


def _stored(
    study: F9Study,
    name: str,
    measured: Float[np.ndarray, "checkpoints members references sets steps"],
) -> Measurements:
    shape = (len(measured), study.num_realisations, len(study.num_sequences), len(KINDS), -1)
    by_kind = measured.reshape(*shape, *measured.shape[-2:])
    # (kind, realisation, num_sequences, checkpoint, set, step, level)
    by_kind = by_kind.transpose(3, 1, 2, 0, 5, 6, 4)
    dims = ("realisation", "num_sequences", "checkpoint", "set", "noise")
    meaning = "share of the network's variance about the training set's symbols explained by"
    return {
        f"{name}_own": Measurement(
            by_kind[0], (*dims, "block_level"), "fraction", f"{meaning} blocks of the same place"
        ),
        f"{name}_pooled": Measurement(
            by_kind[1], (*dims, "block_level"), "fraction", f"{meaning} blocks of all places"
        ),
        f"{name}_oracle": Measurement(
            by_kind[2], (*dims, "filter_level"), "fraction", f"{meaning} the filtered oracle"
        ),
        f"{name}_step": Measurement(study.regime.checkpoints, ("checkpoint",), "steps", "of Adam"),
        f"{name}_noise": Measurement(
            np.asarray(PROCESS.noise_variance)[list(study.steps)],
            ("noise",),
            "variance",
            "1 − abar",
        ),
    }
