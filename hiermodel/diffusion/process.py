"""The forward process: what noise does to clean data, and what can be said backwards from it.

Everything that draws noise, removes it or measures what is left of a sequence takes a ``Process``:
Gaussian noise on vectors (``Schedule``), masks and redrawn symbols (``DiscreteProcess``), or a
class of your own with the methods below.
"""

from typing import Protocol, runtime_checkable

import numpy as np
from jax.typing import DTypeLike
from jaxtyping import Array, Float, Int, Key, Shaped

from hiermodel.random_bits import RowKey

FAILED = -1
"""In place of every symbol of a sequence that a denoiser's NaN has spoiled."""

Steps = int | Int[Array | np.ndarray, "..."]
"""Diffusion steps: one, or an integer array that broadcasts against the leading batch axes."""

Noisy = Float[Array | np.ndarray, "..."] | Int[Array | np.ndarray, "..."]
"""Noisy sequences: (..., num_leaves, vocab_size) reals, or (..., num_leaves) symbols of a discrete
process."""

Symbols = Int[Array | np.ndarray, "..."]
"""Clean sequences (..., num_leaves)."""


@runtime_checkable
class Process(Protocol):
    """A Markov chain q(x_t | x_{t−1}), t = 1…num_steps, that acts on every position by itself.

    x_0 and x_t have one layout, the process's own: (..., num_leaves, vocab_size) reals, or
    (..., num_leaves) symbols. A process is a pytree, and its methods run under ``jit`` and
    ``vmap``. They draw by row: what happens to a row depends on the key and on the row's number
    along the flattened leading axes, never on how many rows there are.

    **Training** draws a step t and noise per row with a ``RowKey`` and shows the network
    what a real vector per position can say of x_t::

        x_0 = process.encode(symbols, vocab_size)               # (batch, num_leaves[, vocab_size])
        x_t = process.corrupt(RowKey(key, rows), x_0, t)        # t: (batch,)
        logits = network(process.network_input(x_t), t)         # (batch, num_leaves, vocab_size)

    **Sampling** goes back by x_{t−1} = reverse_step(key_t, x_t, x_0_hat, t) from pure_noise, and
    **inference** runs on ``evidence``.

    Attributes:
        num_steps: T.
        vocab_size: number of clean symbols; None if any will do.
        num_states: number of symbols that a noisy position may hold; None if it holds reals.

    Example:
        >>> masked = hm.DiscreteProcess.masked(2, 20)
        >>> isinstance(schedule, hm.Process), isinstance(masked, hm.Process)
        (True, True)
    """

    @property
    def num_steps(self) -> int:
        """Number of steps, T."""
        ...

    @property
    def vocab_size(self) -> int | None:
        """Number of clean symbols; None if any will do."""
        ...

    @property
    def num_states(self) -> int | None:
        """Number of symbols that a noisy position may hold; None if it holds reals."""
        ...

    def encode(
        self, symbols: Symbols, vocab_size: int, dtype: DTypeLike | None = None
    ) -> Shaped[Array, "..."]:
        """Clean data x_0 in the process's layout, from symbols (..., num_leaves)."""
        ...

    def decode(self, x_0: Shaped[Array, "..."]) -> Int[Array, "... leaves"]:
        """Symbols int32 from what reverse steps have arrived at; FAILED throughout where NaN is."""
        ...

    def corrupt(
        self, key: Key[Array, ""] | RowKey, x_0: Shaped[Array | np.ndarray, "..."], t: Steps
    ) -> Shaped[Array, "..."]:
        """Draw x_t ~ q(x_t | x_0), at a step that may differ from row to row.

        The same key gives the same noise at every t, of another strength. A RowKey says which
        numbers the rows have, along a single leading axis; then a batch can be cut into pieces.
        """
        ...

    def evidence(self, x_t: Shaped[Array, "..."], t: Steps) -> Float[Array, "... leaves vocab"]:
        """Log q(x_t[i] | x_0[i] = a) per position i and symbol a, up to a constant per position.

        It is the field for ``run_bp``; the posterior is p(x_0 | x_t) ∝ p(x_0) Π_i exp(evidence_i).
        """
        ...

    def log_likelihood(
        self, x_t: Shaped[Array, "..."], t: Steps
    ) -> tuple[Float[Array, "... leaves vocab"], Float[Array, "..."]]:
        """Log q(x_t[i] | x_0[i] = a) less a constant, and the sum of the constants over positions.

        As the evidence, but rounded so that sums of both parts keep their digits: a density.
        """
        ...

    def reverse_step(
        self,
        key: Key[Array, ""],
        x_t: Shaped[Array, "..."],
        x_0_hat: Float[Array, "... leaves vocab"],
        t: Steps,
    ) -> Shaped[Array, "..."]:
        """Draw x_{t−1} given x_t and what is thought of x_0; for each step another key.

        Args:
            key: one typed key.
            x_t: noisy data at step t.
            x_0_hat: E[x_0 | x_t], x_0 being vectors or one-hot symbols: a denoiser's
                probabilities; or x_0 itself, one-hot, drawn as a whole.
            t: steps in 1…num_steps.

        Returns:
            x_{t−1}, laid out as x_t; at t = 1 it is x_0. With x_0_hat = x_0 it is a draw from
            q(x_{t−1} | x_t, x_0). NaN in x_0_hat spoils its row, then and in all later steps.
        """
        ...

    def pure_noise(
        self, key: Key[Array, ""], num_samples: int, num_leaves: int, vocab_size: int
    ) -> Shaped[Array, "num_samples ..."]:
        """What data are at step num_steps, if nothing of them is left."""
        ...

    def network_input(
        self, x_t: Shaped[Array, "..."], dtype: DTypeLike | None = None
    ) -> Float[Array, "... leaves channels"]:
        """What a network is shown of x_t: the vectors as they are, or one-hot states."""
        ...
