"""Sums and normalisation in log space where −inf means exactly zero."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int


def log_sum_exp(values: Float[Array, "..."], axis: int) -> Float[Array, "..."]:
    """Log of the sum of exponentials over ``axis``; −inf, with zero gradient, if all are −inf."""
    peak = finite_or_zero(values.max(axis, keepdims=True))
    total = jnp.exp(values - peak).sum(axis)
    positive = total > 0
    log_total = jnp.where(positive, jnp.log(jnp.where(positive, total, 1)), -jnp.inf)
    return log_total + jnp.squeeze(peak, axis)


def log_sum_by_child(
    values: Float[Array, "*batch parents rules"],
    children: Int[Array | np.ndarray, "parents rules s"],
) -> Float[Array, "*batch s vocab"]:
    """Log of the sum of exponentials over all rules in which the child at a position is a symbol.

    Entry [..., j, b] sums over the rules (a, r) with children[a, r, j] = b; −inf, with zero
    gradient, if all are −inf or there is none. There are as many symbols as parents.
    """
    *batch, vocab_size, max_rules = values.shape
    branching = children.shape[-1]
    flat = values.reshape(*batch, 1, vocab_size * max_rules)
    symbols = jnp.asarray(children).reshape(-1, branching).T  # (position, rule)
    positions = jnp.arange(branching)[:, None]
    empty = jnp.full((*batch, branching, vocab_size), -jnp.inf, values.dtype)
    peak = finite_or_zero(empty.at[..., positions, symbols].max(jax.lax.stop_gradient(flat)))
    shares = jnp.exp(flat - peak[..., positions, symbols])
    total = jnp.zeros_like(empty).at[..., positions, symbols].add(shares)
    positive = total > 0
    return jnp.where(positive, jnp.log(jnp.where(positive, total, 1)), -jnp.inf) + peak


def finite_or_zero(values: Float[Array, "..."]) -> Float[Array, "..."]:
    """A shift to subtract: the values, as constants, with 0 where they are infinite."""
    values = jax.lax.stop_gradient(values)
    return jnp.where(jnp.isfinite(values), values, 0)


def split_peak(
    values: Float[Array, "*batch vocab"],
) -> tuple[Float[Array, "*batch vocab"], Float[Array, "*batch"]]:
    """Values less their maximum over the last axis, and that maximum (0 where all are −inf)."""
    peak = finite_or_zero(values.max(-1))
    return values - peak[..., None], peak


def subtract(values: Float[Array, "..."], normaliser: Float[Array, "..."]) -> Float[Array, "..."]:
    """``values − normaliser`` with −inf − (−inf) = −inf: no share of an impossible whole."""
    possible = normaliser > -jnp.inf
    return jnp.where(possible, values - jnp.where(possible, normaliser, 0), -jnp.inf)
