"""Evaluate the same sequences, under the same noise, at several diffusion steps.

What is compared along t then differs by t alone: one noise per sequence, at the strength of each
step. Rows are taken a few at a time, so that memory does not grow with their
number.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Int, Key, Shaped

from hiermodel.diffusion.process import Process

PIECE = 128
"""Rows evaluated at a time."""


def evaluate_along(
    key: Key[Array, ""],
    schedule: Process,
    x_0: Shaped[Array, "rows ..."],
    steps: Int[Array, " steps"],
    evaluate: Callable[..., Any],
    *known: Array,
) -> Any:
    """Noise every sequence to each of the steps, and evaluate it there.

    To be traced as part of a compiled function.

    Args:
        key: one typed key, for the noise; the same at every step.
        schedule: the noise, any Process.
        x_0: clean sequences, encoded by it.
        steps: steps in 1…num_steps.
        evaluate: function of (x_t, t, *known), for some of the rows, to arrays with those rows
            first.
        known: further arrays of one row per sequence.

    Returns:
        What ``evaluate`` returns, each array with axes (rows, steps, ...).
    """

    def at_step(t: Int[Array, ""]) -> Any:
        x_t = schedule.corrupt(key, x_0, t)
        return in_pieces(lambda noisy, *rows: evaluate(noisy, t, *rows), x_t, *known)

    return jax.tree.map(lambda part: jnp.moveaxis(part, 0, 1), jax.lax.map(at_step, steps))


def in_pieces(function: Callable[..., Any], *arrays: Array) -> Any:
    """Apply a function of rows to a few of them at a time, and join what it returns.

    Rows must not influence each other: the last piece is filled up with some of the first ones.
    """
    num_rows = len(arrays[0])
    size = min(PIECE, num_rows)
    index = jnp.arange(num_rows + -num_rows % size) % num_rows
    pieces = [array[index].reshape(-1, size, *array.shape[1:]) for array in arrays]
    found = jax.lax.map(lambda rows: function(*rows), pieces)
    return jax.tree.map(lambda part: part.reshape(-1, *part.shape[2:])[:num_rows], found)
