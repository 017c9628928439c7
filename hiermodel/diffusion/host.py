"""Denoisers that are no JAX program: PyTorch, NumPy or anything else on the host."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from hiermodel.checks import InputError, check_integer
from hiermodel.diffusion.process import Noisy, Steps

HostFunction = Callable[[np.ndarray, np.ndarray], Any]
"""(x_t, t) with one batch axis to log-probabilities, all of them NumPy arrays."""


@dataclasses.dataclass(frozen=True, eq=False)
class HostDenoiser:
    """A function of the host as a Denoiser (:func:`host_denoiser`).

    Attributes:
        function: see ``HostFunction``.
        num_leaves: length of the sequences.
        vocab_size: number of symbols.
    """

    function: HostFunction
    num_leaves: int
    vocab_size: int

    def __call__(self, x_t: Noisy, t: Steps) -> Float[Array, "..."]:
        """Log-probabilities (..., num_leaves, vocab_size) of x_0 given x_t at step t."""
        x_t = jnp.asarray(x_t)
        reals = jnp.issubdtype(x_t.dtype, jnp.floating)
        batch = x_t.shape[:-2] if reals else x_t.shape[:-1]
        dtype = x_t.dtype if reals else jnp.result_type(float)
        shape = jax.ShapeDtypeStruct((*batch, self.num_leaves, self.vocab_size), dtype)
        steps = jnp.broadcast_to(jnp.asarray(t), batch)
        return jax.pure_callback(self._run, shape, x_t, steps, vmap_method="broadcast_all")

    def _run(self, x_t: Any, t: Any) -> np.ndarray:
        """The function on one batch axis; more of them, as from vmap, are made one."""
        x_t, t = np.asarray(x_t), np.asarray(t)
        event = (self.num_leaves, self.vocab_size)
        log_probs = np.asarray(self.function(x_t.reshape(-1, *x_t.shape[t.ndim :]), t.reshape(-1)))
        if log_probs.shape != (t.size, *event):
            raise InputError(
                f"function={getattr(self.function, '__name__', self.function)} is not allowed: for "
                f"{t.size} sequences it gave shape {log_probs.shape}, and must give "
                f"{(t.size, *event)}"
            )
        dtype = x_t.dtype if np.issubdtype(x_t.dtype, np.floating) else jnp.result_type(float)
        return log_probs.reshape(*t.shape, *event).astype(dtype)


def host_denoiser(function: HostFunction, num_leaves: int, vocab_size: int) -> HostDenoiser:
    """Let samplers and measures call a function that JAX cannot compile: of PyTorch or NumPy.

    The compiled program stops at every call, copies x_t to the host, waits for the function, and
    copies its result back: on a CPU some 0.1–0.3 ms a call besides the function's own time, on an
    accelerator the transfer too. It has no gradient, so ``score`` works and likelihoods by
    derivatives do not. Write networks in JAX where they are to be trained or sampled much.

    Args:
        function: takes x_t (batch, num_leaves, vocab_size), or symbols (batch, num_leaves) of a
            discrete process, and t (batch,), as NumPy arrays, and gives log-probabilities (batch,
            num_leaves, vocab_size) as anything that NumPy can read.
        num_leaves: length of the sequences.
        vocab_size: number of symbols.

    Raises:
        ValueError: for numbers out of range; and, when called, for a result of another shape.

    Example:
        >>> import jax, numpy as np, hiermodel as hm
        >>> def uniform(x_t, t):
        ...     return np.full((len(t), 4, 3), -np.log(3))
        >>> denoiser = hm.host_denoiser(uniform, num_leaves=4, vocab_size=3)
        >>> hm.sample_ancestral(jax.random.key(0), denoiser, hm.Schedule.linear(20), 5).shape
        (5, 4)
    """
    num_leaves = check_integer("num_leaves", num_leaves, 1)
    return HostDenoiser(function, num_leaves, check_integer("vocab_size", vocab_size, 2))
