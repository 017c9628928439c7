"""Unmasking one position at a time, in any order (science.md#diffusion)."""

from collections.abc import Callable
from math import prod

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Int, Key

from hiermodel.checks import check_key, is_concrete, require
from hiermodel.diffusion.compiled import run_sampler
from hiermodel.diffusion.denoiser import Denoiser
from hiermodel.diffusion.discrete import DiscreteProcess
from hiermodel.diffusion.process import FAILED, Symbols
from hiermodel.diffusion.samplers import starting_point
from hiermodel.randomness import categorical_per_sample, keys_at_step, sample_keys

SymbolDenoiser = Denoiser | Callable[..., Array]
"""A Denoiser, or a plain function (x_t, t) to log-probabilities."""


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
        denoiser: as in sample_ancestral.
        process: the masked process.
        num_samples: as in sample_ancestral.
        x_T: as in sample_ancestral; only masks are drawn.

    Returns:
        int32 symbols, (num_samples, num_leaves) or (..., num_leaves).

    Raises:
        ValueError: as sample_ancestral, or for a process that does more than masking.

    Example:
        >>> masked = hm.DiscreteProcess.masked(2, 20)
        >>> hm.sample_any_order(key, hm.exact_denoiser(grammar, masked), masked, 3).shape
        (3, 4)
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


def _mark(x_0: Int[Array, "rows leaves"], failed: Bool[Array, " rows"]) -> Array:
    """The sequences, −1 throughout where a denoiser's NaN had a part in them."""
    return jnp.where(failed[:, None], FAILED, x_0)
