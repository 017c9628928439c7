"""Back from discrete noise: reverse steps, unmasking in any order, and U-turns.

Source: science.md#diffusion.

A reverse step draws x_0 given x_t, then x_{t−1} ~ q(x_{t−1} | x_t, x_0). If x_0 is drawn from the
true p(x_0 | x_t) as a whole, x_{t−1} has the law of noised data exactly, whatever the size of the
step. A denoiser gives only the law of each position, and drawing positions apart forgets that they
hang together, which matters less the fewer of them change in one step.
"""

import functools
from collections.abc import Callable
from math import prod

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Int, Key

from hiermodel.checks import check_key, check_steps, check_symbols, is_concrete, require
from hiermodel.diffusion.denoisers import FAILED, Denoiser, Steps, check_schedule
from hiermodel.diffusion.discrete import DiscreteProcess, Symbols, corrupt
from hiermodel.diffusion.samplers import run_sampler, starting_point
from hiermodel.randomness import categorical_per_sample, keys_at_step, sample_keys

SymbolDenoiser = Denoiser | Callable[..., Array]
"""A Denoiser, or a plain function (x_t, t) to log-probabilities."""


def sample_discrete(
    key: Key[Array, ""],
    denoiser: SymbolDenoiser,
    process: DiscreteProcess,
    num_samples: int | None = None,
    *,
    x_T: Symbols | None = None,
    start: int | None = None,
    joint: bool = False,
) -> Int[Array, "... leaves"]:
    """Draw sequences by reverse steps t = start…1 of a discrete process.

    Without ``joint``, every position's x_0 is drawn from the denoiser's law on its own, which makes
    x_{t−1} follow Σ_{x_0} q(x_{t−1} | x_t, x_0) p(x_0 | x_t) per position: right only as steps get
    small. With it, x_0 is drawn as a whole: for the exact denoiser samples follow the grammar's
    law exactly, in any number of steps, if alpha_bar is 0 at T. Either way, positions of the masked
    process keep the symbol that they once got.

    Args:
        key: one typed key; every sample has its own for every step.
        denoiser: gives log p(x_0 | x_t) per position, for x_t of symbols (..., num_leaves).
        process: the noise.
        num_samples: how many, starting from pure noise; or leave it out and give ``x_T``.
        x_T: (..., num_leaves) states to start from, at step ``start``; known symbols among masks
            are filled in.
        start: first step, in 1…num_steps; num_steps if left out.
        joint: draw x_0 as a whole; for denoisers with a method ``draw``, the exact (or filtered)
            and the empirical one.

    Returns:
        int32 symbols, (num_samples, num_leaves) or (..., num_leaves).

    Raises:
        ValueError: unless exactly one of ``num_samples`` and ``x_T`` is given, if one of the
            arguments is out of range, if the process's length is not that of the denoiser's own, if
            the denoiser cannot draw jointly, or if it gives NaN. Inside a trace, a sequence spoilt
            by NaN is −1.
    """
    check_key(key)
    allowed = "False for a denoiser that knows single positions only"
    require(not joint or hasattr(denoiser, "draw"), "joint", joint, allowed)
    noise_key, step_key = jax.random.split(key)
    x_T, start = starting_point(noise_key, denoiser, process, num_samples, x_T, start)
    reverse = _reverse_jointly if joint else _reverse_by_position
    rows = x_T.reshape(prod(x_T.shape[:-1]), x_T.shape[-1])
    x_0 = run_sampler(reverse, denoiser, step_key, process, rows, jnp.asarray(start))
    return x_0.reshape(x_T.shape)


def sample_any_order(
    key: Key[Array, ""],
    denoiser: SymbolDenoiser,
    process: DiscreteProcess,
    num_samples: int | None = None,
    *,
    x_T: Symbols | None = None,
) -> Int[Array, "... leaves"]:
    """Unmask one position at a time, every sample in a random order of its own.

    Each symbol is drawn given all those before it, so that with the exact denoiser samples follow
    the grammar's law exactly, from single-position laws alone (Hoogeboom et al.,
    arXiv:2110.02037). The denoiser is told the first step at which as many masks are expected.

    Args:
        key: one typed key; every sample has its own.
        denoiser: as in sample_discrete.
        process: the masked process.
        num_samples: as in sample_discrete.
        x_T: as in sample_discrete; only masks are drawn.

    Returns:
        int32 symbols, (num_samples, num_leaves) or (..., num_leaves).

    Raises:
        ValueError: as sample_discrete, or for a process that does more than masking.
    """
    check_key(key)
    only_masks = process.mask is not None and (
        not is_concrete(process.noise_law) or bool(np.asarray(process.noise_law)[-1] == 1)
    )
    require(only_masks, "process.noise_law", process.noise_law, "all on the mask")
    noise_key, step_key = jax.random.split(key)
    x_T, _ = starting_point(noise_key, denoiser, process, num_samples, x_T, None)
    rows = x_T.reshape(prod(x_T.shape[:-1]), x_T.shape[-1])
    return run_sampler(_unmask, denoiser, step_key, process, rows).reshape(x_T.shape)


def u_turn_discrete(
    key: Key[Array, ""],
    denoiser: SymbolDenoiser,
    process: DiscreteProcess,
    x_0: Symbols,
    t: int,
    *,
    joint: bool = False,
) -> Int[Array, "... leaves"]:
    """Corrupt clean sequences up to step t and denoise them back to 0.

    Args:
        key: one typed key.
        denoiser: as in sample_discrete.
        process: the noise.
        x_0: (..., num_leaves) symbols.
        t: the turning point, in 1…num_steps.
        joint: as in sample_discrete.

    Returns:
        int32 sequences (..., num_leaves).

    Raises:
        ValueError: as sample_discrete.
    """
    check_key(key)
    check_schedule(denoiser, process)
    check_symbols("x_0", x_0, process.vocab_size)
    check_steps(t, process.num_steps)
    up_key, down_key = jax.random.split(key)
    x_t = corrupt(up_key, process, x_0, t)
    return sample_discrete(down_key, denoiser, process, x_T=x_t, start=t, joint=joint)


Draw = Callable[[SymbolDenoiser, Key[Array, "..."], Array, Steps], tuple[Array, Array]]
"""x_0 of every row, and which rows met NaN."""


def _reverse(
    draw: Draw,
    denoiser: SymbolDenoiser,
    key: Key[Array, ""],
    process: DiscreteProcess,
    x_T: Int[Array, "rows leaves"],
    start: Int[Array, ""],
) -> Int[Array, "rows leaves"]:
    keys = sample_keys(key, len(x_T))

    def step(index: Array, state: tuple[Array, Array]) -> tuple[Array, Array]:
        x_t, failed = state
        t = start - index
        step_keys = keys_at_step(keys, t)
        x_0, wrong = draw(denoiser, keys_at_step(step_keys, 0), x_t, t)
        log_probs = process.log_posterior(x_t, x_0, t)
        return categorical_per_sample(keys_at_step(step_keys, 1), log_probs), failed | wrong

    # A dynamic number of steps: one compilation serves every starting point.
    x_0, failed = jax.lax.fori_loop(0, start, step, (x_T, jnp.zeros(len(x_T), bool)))
    return _mark(x_0, failed)


def _mark(x_0: Int[Array, "rows leaves"], failed: Bool[Array, " rows"]) -> Array:
    """The sequences, −1 throughout where a denoiser's NaN had a part in them."""
    return jnp.where(failed[:, None], FAILED, x_0)


def _draw_by_position(
    denoiser: SymbolDenoiser, keys: Array, x_t: Array, t: Steps
) -> tuple[Array, Array]:
    log_probs = denoiser(x_t, t)
    return categorical_per_sample(keys, log_probs), jnp.isnan(log_probs).any((-2, -1))


def _draw_jointly(denoiser, keys: Array, x_t: Array, t: Steps) -> tuple[Array, Array]:
    x_0 = denoiser.draw(keys, x_t, t)
    wrong = (x_0 == FAILED).any(-1)
    return jnp.where(wrong[:, None], 0, x_0), wrong


# Made once, as run_sampler knows a program by its function.
_reverse_by_position = functools.partial(_reverse, _draw_by_position)
_reverse_jointly = functools.partial(_reverse, _draw_jointly)


def _unmask(
    denoiser: SymbolDenoiser,
    key: Key[Array, ""],
    process: DiscreteProcess,
    x_T: Int[Array, "rows leaves"],
) -> Int[Array, "rows leaves"]:
    num_leaves = x_T.shape[-1]
    keys = sample_keys(key, len(x_T))
    order_keys = keys_at_step(keys, num_leaves)
    order = jax.vmap(lambda one: jax.random.permutation(one, num_leaves))(order_keys)

    def step(index: Array, state: tuple[Array, Array]) -> tuple[Array, Array]:
        x_t, failed = state
        is_masked = x_t == process.mask
        t = jnp.searchsorted(process.noise_prob, is_masked.mean(-1))
        log_probs = denoiser(x_t, jnp.clip(t, 1, process.num_steps))
        here = jnp.arange(num_leaves) == order[:, index, None]
        own = jnp.take_along_axis(log_probs, order[:, index, None, None], axis=1)[:, 0]
        symbols = categorical_per_sample(keys_at_step(keys, index), own)
        # NaN where nothing is drawn does no harm.
        drawn = here & is_masked
        failed = failed | (jnp.isnan(own).any(-1) & drawn.any(-1))
        return jnp.where(drawn, symbols[:, None], x_t), failed

    return _mark(*jax.lax.fori_loop(0, num_leaves, step, (x_T, jnp.zeros(len(x_T), bool))))
