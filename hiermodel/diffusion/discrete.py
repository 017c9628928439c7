"""Discrete corruption: symbols that are masked, or drawn anew, one position at a time.

Source: science.md#diffusion.

At step t every position, with probability beta_t, loses its symbol to a draw from a fixed *noise
law* pi over the states: Q_t = (1 − beta_t) I + beta_t 1 pi^T. With pi uniform over the symbols this
is the uniform process, with pi all on an extra state, the mask, the masked (absorbing) one (Austin
et al., arXiv:2107.03006; Sahoo et al., arXiv:2406.07524). For every pi the product of the first t
steps is again abar_t I + (1 − abar_t) 1 pi^T, so one set of formulas serves all.
"""

import dataclasses
from math import prod
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike
from jaxtyping import Array, Float, Int, Key
from numpy.typing import ArrayLike

from hiermodel.checks import check_integer, check_steps, check_symbols, require
from hiermodel.diffusion.process import FAILED, Steps, Symbols
from hiermodel.log_space import log_sum_exp, subtract
from hiermodel.random_bits import RowKey
from hiermodel.randomness import (
    categorical_per_sample,
    keys_at_step,
    sample_keys,
    uniform_per_sample,
)

Decay = Literal["linear", "cosine"]
"""How alpha_bar falls: 1 − t/T; or cos², as in Nichol and Dhariwal, arXiv:2102.09672, eq. 17."""


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, eq=False)
class DiscreteProcess:
    """A forward process on symbols, q(x_t | x_0) = abar_t [x_t = x_0] + (1 − abar_t) pi(x_t).

    Its methods are those of a :class:`~hiermodel.diffusion.process.Process` on symbols: clean and
    noisy sequences are integers (..., num_leaves). The first three arrays have ``num_steps + 1``
    entries, so that a step t in 1…num_steps indexes them directly; entry 0 is the clean end. They
    are computed in float64 and rounded once; results have their dtype.

    Attributes:
        alpha_bar: probability that a position was never hit.
        noise_prob: 1 − alpha_bar.
        beta: probability to be hit at this step.
        noise_law: (num_states,) pi; one entry per symbol, and a last one if there is a mask.
        vocab_size: number of clean symbols, q.

    Example:
        >>> masked = hm.DiscreteProcess.masked(2, 20)
        >>> bool((masked.corrupt(key, leaves, 20) == masked.mask).all())
        True
    """

    alpha_bar: Float[Array, " steps_plus_1"]
    noise_prob: Float[Array, " steps_plus_1"]
    beta: Float[Array, " steps_plus_1"]
    noise_law: Float[Array, " states"]
    vocab_size: int = dataclasses.field(metadata={"static": True})

    @classmethod
    def masked(
        cls, vocab_size: int, num_steps: int = 500, *, decay: Decay = "linear"
    ) -> "DiscreteProcess":
        """The masked (absorbing) process; the symbol ``vocab_size`` is the mask.

        Args:
            vocab_size: q, at least 2.
            num_steps: T, at least 1; at T everything is masked.
            decay: how alpha_bar falls, "linear" or "cosine".

        Raises:
            ValueError: if an argument is out of its range.

        Example:
            >>> process = hm.DiscreteProcess.masked(2, num_steps=4)
            >>> process.alpha_bar.tolist(), process.noise_law.tolist(), process.mask
            ([1.0, 0.75, 0.5, 0.25, 0.0], [0.0, 0.0, 1.0], 2)
        """
        vocab_size = check_integer("vocab_size", vocab_size, 2)
        noise_law = np.append(np.zeros(vocab_size), 1.0)
        return cls.from_betas(_betas(num_steps, decay), noise_law, vocab_size)

    @classmethod
    def uniform(
        cls, vocab_size: int, num_steps: int = 500, *, decay: Decay = "linear"
    ) -> "DiscreteProcess":
        """The uniform process: a position that is hit gets any symbol, its own included.

        Args and errors as :meth:`masked`; at T nothing of x_0 is left.

        Example:
            >>> process = hm.DiscreteProcess.uniform(2, num_steps=4)
            >>> process.noise_law.tolist(), process.mask is None
            ([0.5, 0.5], True)
        """
        vocab_size = check_integer("vocab_size", vocab_size, 2)
        noise_law = np.full(vocab_size, 1 / vocab_size)
        return cls.from_betas(_betas(num_steps, decay), noise_law, vocab_size)

    @classmethod
    def from_betas(
        cls, betas: ArrayLike, noise_law: ArrayLike, vocab_size: int
    ) -> "DiscreteProcess":
        """Any process, from the probability to be hit at each step 1…T.

        Args:
            betas: (T,) probabilities, each above 0 and at most 1.
            noise_law: pi; (vocab_size,) probabilities, or one more for a mask.
            vocab_size: q, at least 2.

        Raises:
            ValueError: if an argument is not so.

        Example:
            >>> process = hm.DiscreteProcess.from_betas([0.5, 1.0], [0.25, 0.75], vocab_size=2)
            >>> [f"{prob:.3f}" for prob in jnp.exp(process.log_forward(np.array([0]), 1))[0]]
            ['0.625', '0.375']
        """
        vocab_size = check_integer("vocab_size", vocab_size, 2)
        hits = np.asarray(betas, dtype=np.float64)
        require(hits.ndim == 1 and hits.size > 0, "betas", hits, "a one-dimensional array")
        require(bool(np.all((hits > 0) & (hits <= 1))), "betas", hits, "above 0 and at most 1")
        law = np.asarray(noise_law, dtype=np.float64)
        fits = law.shape in ((vocab_size,), (vocab_size + 1,))
        allowed = f"{vocab_size} probabilities, or {vocab_size + 1} with a mask, that sum to 1"
        is_law = fits and bool(np.all(law >= 0) and abs(law.sum() - 1) < 1e-5)
        require(is_law, "noise_law", law, allowed)
        # 1 − alpha_bar by its own recursion: no cancellation where almost nothing is hit.
        noise_prob = np.zeros(len(hits) + 1)
        for step, beta in enumerate(hits, start=1):
            noise_prob[step] = beta + (1 - beta) * noise_prob[step - 1]
        alpha_bar = np.append(1.0, np.cumprod(1 - hits))
        arrays = (alpha_bar, noise_prob, np.append(0.0, hits), law / law.sum())
        alpha_bar, noise_prob, beta, law = map(jnp.asarray, arrays)
        return cls(alpha_bar, noise_prob, beta, law, vocab_size)

    @property
    def num_steps(self) -> int:
        """T, the number of steps."""
        return self.alpha_bar.shape[-1] - 1

    @property
    def num_states(self) -> int:
        """How many symbols a noisy position may hold: q, or q + 1 with a mask."""
        return self.noise_law.shape[-1]

    @property
    def mask(self) -> int | None:
        """The symbol of a masked position; None if there is no mask."""
        return self.vocab_size if self.num_states > self.vocab_size else None

    def encode(
        self, symbols: Symbols, vocab_size: int, dtype: DTypeLike | None = None
    ) -> Int[Array, "... leaves"]:
        """The symbols themselves, int32.

        Raises:
            ValueError: for a symbol out of range, or another vocabulary than the process's.
        """
        del dtype  # integers are integers
        require(vocab_size == self.vocab_size, "vocab_size", vocab_size, str(self.vocab_size))
        check_symbols("symbols", symbols, vocab_size)
        return jnp.asarray(symbols, jnp.int32)

    def decode(self, x_0: Int[Array, "... leaves"]) -> Int[Array, "... leaves"]:
        """The symbols themselves."""
        return x_0

    def network_input(
        self, x_t: Int[Array, "... leaves"], dtype: DTypeLike | None = None
    ) -> Float[Array, "... leaves states"]:
        """One-hot states; a mask has an entry of its own, the last."""
        return jax.nn.one_hot(x_t, self.num_states, dtype=dtype or jnp.result_type(float))

    def corrupt(
        self, key: Key[Array, ""] | RowKey, x_0: Symbols, t: Steps
    ) -> Int[Array, "... leaves"]:
        """Draw x_t ~ q(x_t | x_0): positions are hit with probability 1 − abar_t, and redrawn.

        With the same key, what is hit at a step is hit at every later one, and becomes the same.

        Args:
            key: one typed key; or a RowKey for rows along one leading axis.
            x_0: (..., num_leaves) clean symbols.
            t: steps in 1…num_steps, broadcasting with the leading axes; several steps of one
                sequence get noise of their own.

        Returns:
            int32 states (..., num_leaves); ``vocab_size`` where masked.

        Raises:
            ValueError: for a symbol or step out of range.
        """
        require(np.ndim(x_0) >= 1, "x_0", x_0, "of shape (..., num_leaves)")
        check_symbols("x_0", x_0, self.vocab_size)
        check_steps(t, self.num_steps)
        return _corrupt(key, self, jnp.asarray(x_0, jnp.int32), jnp.asarray(t))

    def log_forward(self, x_0: Symbols, t: Steps) -> Float[Array, "... leaves states"]:
        """Log q(x_t | x_0) of every state x_t may have: abar_t [x_t = x_0] + (1 − abar_t) pi(x_t).

        Args:
            x_0: (..., num_leaves) symbols in 0…vocab_size − 1.
            t: steps in 1…num_steps, broadcasting with the leading axes.

        Raises:
            ValueError: for a symbol or step out of range.
        """
        check_symbols("x_0", x_0, self.vocab_size)
        check_steps(t, self.num_steps)
        return jnp.log(_forward(self, jnp.asarray(x_0), jnp.asarray(t)))

    def log_posterior(
        self, x_t: Symbols, x_0: Symbols, t: Steps
    ) -> Float[Array, "... leaves states"]:
        """Log q(x_{t−1} | x_t, x_0) of every state of x_{t−1} (Austin et al., equation 3).

        In proportion to q(x_t | x_{t−1}) q(x_{t−1} | x_0). At t = 1 it is x_0 for certain; a
        position of the masked process that is not masked stays as it is. An x_0 that cannot have
        led to x_t leaves x_t as it is.

        Args:
            x_t: (..., num_leaves) states at step t.
            x_0: (..., num_leaves) clean symbols.
            t: steps in 1…num_steps, broadcasting with the leading axes.

        Raises:
            ValueError: for a symbol or step out of range.
        """
        check_symbols("x_t", x_t, self.num_states)
        check_symbols("x_0", x_0, self.vocab_size)
        check_steps(t, self.num_steps)
        return _log_posterior(self, jnp.asarray(x_t), jnp.asarray(x_0), jnp.asarray(t))

    def evidence(self, x_t: Symbols, t: Steps) -> Float[Array, "... leaves vocab"]:
        """Log q(x_t | x_0 = a) per position and symbol a, less its maximum: the field for run_bp.

        A masked position says nothing: 0 throughout. Any other is 0 at its own symbol and
        −log(1 + abar_t / ((1 − abar_t) pi(x_t))) at the others; in the masked process, −inf
        whatever the step, so that sequences filled in part are evidence at any t.

        Args:
            x_t: (..., num_leaves) states at step t.
            t: steps in 1…num_steps, broadcasting with the leading axes.

        Raises:
            ValueError: for a state or step out of range.
        """
        check_symbols("x_t", x_t, self.num_states)
        check_steps(t, self.num_steps)
        return _evidence(self, jnp.asarray(x_t), jnp.asarray(t))

    def log_likelihood(
        self, x_t: Symbols, t: Steps
    ) -> tuple[Float[Array, "... leaves vocab"], Float[Array, "..."]]:
        """The evidence, and what it leaves out of log q(x_t | x_0), summed over positions.

        Arguments and errors as :meth:`evidence`.
        """
        evidence = self.evidence(x_t, t)
        return evidence, _log_constant(self, jnp.asarray(x_t), jnp.asarray(t))

    def reverse_step(
        self,
        key: Key[Array, ""],
        x_t: Int[Array, "... leaves"],
        x_0_hat: Float[Array, "... leaves vocab"],
        t: Steps,
    ) -> Int[Array, "... leaves"]:
        """Draw x_0 of every position from x_0_hat, then x_{t−1} ~ q(x_{t−1} | x_t, x_0).

        So x_{t−1} follows Σ_{x_0} q(x_{t−1} | x_t, x_0) x_0_hat[x_0] per position. In the masked
        process, symbols stay.

        Args:
            key: one typed key, another at every step.
            x_t: states at step t.
            x_0_hat: a denoiser's probabilities, or a whole x_0, one-hot.
            t: steps in 1…num_steps, broadcasting against the leading axes.
        """
        return _reverse_step(self, key, x_t, x_0_hat, jnp.asarray(t))

    def pure_noise(
        self, key: Key[Array, ""], num_samples: int, num_leaves: int, vocab_size: int
    ) -> Int[Array, "num_samples leaves"]:
        """Every position drawn from pi, each sample from its own key."""
        del vocab_size  # the process has its own
        shape = (num_samples, num_leaves, self.num_states)
        log_law = jnp.broadcast_to(jnp.log(self.noise_law), shape)
        return categorical_per_sample(sample_keys(key, num_samples), log_law)


@jax.jit
def _forward(
    process: DiscreteProcess, x_0: Int[Array, "..."], t: Int[Array, "..."]
) -> Float[Array, "..."]:
    """Probability q(x_t | x_0) of every state, for steps from 0."""
    same = x_0[..., None] == jnp.arange(process.num_states)
    alpha_bar, noise_prob = (
        array[t][..., None, None] for array in (process.alpha_bar, process.noise_prob)
    )
    return alpha_bar * same + noise_prob * process.noise_law


@jax.jit
def _log_posterior(
    process: DiscreteProcess, x_t: Int[Array, "..."], x_0: Int[Array, "..."], t: Int[Array, "..."]
) -> Float[Array, "..."]:
    stays = x_t[..., None] == jnp.arange(process.num_states)
    beta = process.beta[t][..., None, None]
    onward = (1 - beta) * stays + beta * process.noise_law[x_t][..., None]  # q(x_t | x_{t−1})
    scores = jnp.log(onward) + jnp.log(_forward(process, x_0, t - 1))
    total = log_sum_exp(scores, -1)[..., None]
    unmoved = jnp.where(stays, 0.0, -jnp.inf).astype(scores.dtype)
    return jnp.where(total > -jnp.inf, subtract(scores, total), unmoved)


@jax.jit
def _evidence(
    process: DiscreteProcess, x_t: Int[Array, "..."], t: Int[Array, "..."]
) -> Float[Array, "..."]:
    noise = process.noise_prob[t][..., None] * process.noise_law[x_t]
    possible = noise > 0
    others = -jnp.log1p(process.alpha_bar[t][..., None] / jnp.where(possible, noise, 1))
    others = jnp.where(possible, others, -jnp.inf)[..., None]
    symbols = jnp.arange(process.vocab_size)
    best = (x_t[..., None] == symbols) | (x_t[..., None] == process.vocab_size)
    return jnp.where(best, 0.0, others).astype(noise.dtype)


@jax.jit
def _log_constant(
    process: DiscreteProcess, x_t: Int[Array, "..."], t: Int[Array, "..."]
) -> Float[Array, "..."]:
    noise = process.noise_prob[t][..., None] * process.noise_law[x_t]
    # A mask never was a symbol.
    kept = jnp.where(x_t == process.vocab_size, 0, process.alpha_bar[t][..., None])
    return jnp.log(kept + noise).sum(-1)


@jax.jit
def _corrupt(
    key: Key[Array, ""] | RowKey,
    process: DiscreteProcess,
    x_0: Int[Array, "... leaves"],
    t: Int[Array, "..."],
) -> Int[Array, "... leaves"]:
    num_leaves = x_0.shape[-1]
    batch = jnp.broadcast_shapes(x_0.shape[:-1], t.shape)
    hit, drawn = jnp.split(uniform_per_sample(key, batch, 2 * num_leaves), 2, axis=-1)
    # Where the sum of pi up to a state exceeds a uniform number: never a state without weight.
    up_to = jnp.cumsum(process.noise_law)
    new = (drawn[..., None] >= up_to[:-1] / up_to[-1]).sum(-1, dtype=jnp.int32)
    return jnp.where(hit < process.noise_prob[t][..., None], new, x_0)


@jax.jit
def _reverse_step(
    process: DiscreteProcess,
    key: Key[Array, ""],
    x_t: Int[Array, "... leaves"],
    x_0_hat: Float[Array, "... leaves vocab"],
    t: Int[Array, "..."],
) -> Int[Array, "... leaves"]:
    *batch, num_leaves = x_t.shape
    num_rows = prod(batch)
    keys = sample_keys(key, num_rows)
    states = x_t.reshape(num_rows, num_leaves)
    probs = x_0_hat.reshape(num_rows, num_leaves, process.vocab_size)
    x_0 = categorical_per_sample(keys_at_step(keys, 0), jnp.log(probs))
    log_probs = _log_posterior(process, states, x_0, jnp.broadcast_to(t, batch).reshape(num_rows))
    drawn = categorical_per_sample(keys_at_step(keys, 1), log_probs)
    spoilt = jnp.isnan(probs).any((-2, -1)) | (states == FAILED).any(-1)
    return jnp.where(spoilt[:, None], FAILED, drawn).reshape(x_t.shape)


def _betas(num_steps: int, decay: str) -> Float[np.ndarray, " steps"]:
    """Probability to be hit at each step, so that alpha_bar falls to 0 in the given way."""
    num_steps = check_integer("num_steps", num_steps, 1)
    require(decay in ("linear", "cosine"), "decay", decay, "'linear' or 'cosine'")
    steps = np.arange(1, num_steps + 1)
    if decay == "linear":
        return 1 / (num_steps - steps + 1)  # alpha_bar = 1 − t/T
    ratio = (np.append(0, steps) / num_steps + 0.008) / 1.008
    alpha_bar = np.cos(np.pi / 2 * ratio) ** 2
    return 1 - alpha_bar[1:] / alpha_bar[:-1]
