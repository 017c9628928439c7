"""Sums and normalisation in log space where −inf means exactly zero."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float


def log_sum_exp(values: Float[Array, "..."], axis: int) -> Float[Array, "..."]:
    """Log of the sum of exponentials over ``axis``; −inf, with zero gradient, if all are −inf."""
    peak = finite_or_zero(values.max(axis, keepdims=True))
    total = jnp.exp(values - peak).sum(axis)
    positive = total > 0
    log_total = jnp.where(positive, jnp.log(jnp.where(positive, total, 1)), -jnp.inf)
    return log_total + jnp.squeeze(peak, axis)


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
