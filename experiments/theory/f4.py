"""F4: when networks learn the law, and when they learn their sequences by heart (science.md#f4)."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

import hiermodel as hm
from experiments.store import Measurement, Measurements
from experiments.theory.f3 import PROCESS, SIZES, divergence, tests
from experiments.theory.study import Parts, realisations
from experiments.theory.training import Regime, along_training, tree_u_net
from hiermodel.measures.loss import denoising_loss, stratified_steps

RULES = 3
"""m."""

WIDTHS = (12, 24, 48)
"""W."""

LARGER = 4
"""Batches of the control, in units of the usual ones, at the middle width and half the steps."""

LONGER = 1.5
"""Length of the control whose rate falls, in units of the usual one: three quarters of its sum of
rates."""


@dataclasses.dataclass(frozen=True)
class F4Study:
    """How many grammars, training sets and tests.

    Attributes:
        num_realisations: grammars.
        num_sequences: n, over a decade.
        num_tests: noised sequences, of the law and of each training set.
        regime: of training, but for the width.
        seed: of grammars, data, noise and networks.
    """

    num_realisations: int = 8
    num_sequences: tuple[int, ...] = (12, 26, 56, 120)
    num_tests: int = 320
    regime: Regime = dataclasses.field(
        default_factory=lambda: Regime(num_steps=3200, num_checkpoints=24)
    )
    seed: int = 0


def parts(study: F4Study) -> Parts:
    """A part per width, and the controls: of larger batches, and of a rate that falls."""
    found = {
        name_of(width): functools.partial(
            _times, study, name_of(width), dataclasses.replace(study.regime, width=width)
        )
        for width in WIDTHS
    }
    control = dataclasses.replace(
        study.regime,
        width=WIDTHS[1],
        batch_size=LARGER * study.regime.batch_size,
        num_steps=study.regime.num_steps // 2,
    )
    falling = dataclasses.replace(
        study.regime,
        width=WIDTHS[1],
        num_steps=int(LONGER * study.regime.num_steps),
        falling=True,
    )
    controls = {"control": control, "falling": falling}
    return found | {
        name: functools.partial(_times, study, name, regime) for name, regime in controls.items()
    }


def name_of(width: int) -> str:
    """Of a width's part and measurements."""
    return f"width_{width}"


def _times(study: F4Study, name: str, regime: Regime) -> Measurements:
    """The same grammars, data and noise for every width and batch."""
    found = list(realisations(study.seed, study.num_realisations, rules_per_symbol=RULES, **SIZES))
    t = stratified_steps(jax.random.key(study.seed), PROCESS.num_steps, study.num_tests)
    sets, inputs, oracles, known, own_rows = [], [], [], [], []
    for key, grammar in found:
        train_key, test_key, noise_key, _ = jax.random.split(key, 4)
        rows = np.asarray(hm.sample_leaves(train_key, grammar, max(study.num_sequences)))
        x_t, levels = tests(test_key, grammar, study.num_tests, t)
        for number in study.num_sequences:
            repeated = np.resize(rows[:number], (study.num_tests, rows.shape[1]))
            noisy = PROCESS.corrupt(noise_key, PROCESS.encode(repeated, grammar.vocab_size), t)
            memory = hm.empirical_denoiser(PROCESS, rows[:number], grammar.vocab_size)
            exact = hm.exact_denoiser(grammar, PROCESS)
            known.append([_loss(each(noisy, t), repeated) for each in (exact, memory)])
            sets.append(rows[:number])
            own_rows.append(repeated)
            inputs.append(jnp.concatenate([x_t, noisy]))
            oracles.append(levels)

    def measure(log_probs: Float[Array, "members inputs leaves vocab"]) -> np.ndarray:
        on_tests, on_own = np.split(np.asarray(log_probs), 2, axis=1)
        return np.array(
            [
                (*(divergence(oracle, test) for oracle in levels), _loss(own, rows))
                for levels, test, own, rows in zip(oracles, on_tests, on_own, own_rows, strict=True)
            ]
        )

    *_, network_key = jax.random.split(found[-1][0], 4)
    measured = along_training(
        network_key,
        regime,
        tree_u_net(regime, SIZES["depth"], PROCESS),
        PROCESS,
        sets,
        jnp.stack(inputs),
        jnp.concatenate([t, t]),
        measure,
    )
    shape = (len(measured), study.num_realisations, len(study.num_sequences), -1)
    curves = np.moveaxis(measured.reshape(shape), 0, 2)
    dims = ("realisation", "num_sequences", "checkpoint")
    losses = np.array(known).reshape(*shape[1:3], 1, 2)
    return {
        f"{name}_step": Measurement(
            regime.times, ("checkpoint",), "steps", "of Adam, at the first rate"
        ),
        f"{name}_sequences": Measurement(
            np.array(study.num_sequences), ("num_sequences",), "sequences", "n"
        ),
        f"{name}_divergence": Measurement(
            curves[..., :-1],
            (*dims, "filter_level"),
            "nats per sequence",
            "KL(oracle of the filter level ‖ network) on test sequences",
        ),
        f"{name}_memory": Measurement(
            (losses[..., 0] - curves[..., -1]) / (losses[..., 0] - losses[..., 1]),
            dims,
            "fraction",
            "of the way from the exact to the empirical denoiser's loss on the training set",
        ),
    }


def _loss(log_probs: Array | np.ndarray, rows: np.ndarray) -> float:
    return float(np.mean(denoising_loss(log_probs, rows)))
