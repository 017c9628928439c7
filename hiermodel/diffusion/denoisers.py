"""Denoisers: functions from a noisy sequence to a distribution over symbols at every position.

The exact one is the posterior under the grammar; the others are the posteriors under poorer or
richer models of the data (SPEC sections 3 and 4). A learned network has the same protocol.
"""

import dataclasses
from typing import Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from hiermodel.checks import (
    check_integer,
    check_steps,
    check_symbols,
    check_trailing_shape,
    is_concrete,
    require,
)
from hiermodel.diffusion.schedule import Schedule
from hiermodel.grammar.rules import Grammar
from hiermodel.inference.belief_propagation import leaf_log_marginals

Steps = int | Int[Array | np.ndarray, "..."]
"""Diffusion steps: one, or an integer array that broadcasts against the leading batch axes."""


@runtime_checkable
class Denoiser(Protocol):
    """Anything that maps (x_t, t) to log-probabilities of x_0 per position.

    Attributes:
        num_leaves: length of the sequences; None if any length will do.
        vocab_size: number of symbols; None if any will do.
    """

    @property
    def num_leaves(self) -> int | None:
        """Length of the sequences."""
        ...

    @property
    def vocab_size(self) -> int | None:
        """Number of symbols."""
        ...

    def __call__(self, x_t: Float[Array, "..."], t: Steps) -> Float[Array, "..."]:
        """Log-probabilities (..., num_leaves, vocab_size) of x_0 given x_t at step t."""
        ...


def leaf_field(
    schedule: Schedule, x_t: Float[Array, "... leaves vocab"], t: Steps
) -> Float[Array, "... leaves vocab"]:
    """Log-field h_i(a) = sqrt(abar_t) / (1 − abar_t) · x_t[i, a] of noisy leaves (SPEC 3)."""
    scale = schedule.field_scale(jnp.asarray(t), x_t.dtype)
    return scale[..., None, None] * x_t


def check_noisy(
    denoiser: Denoiser,
    num_steps: int,
    x_t: Float[Array | np.ndarray, "..."],
    t: Steps,
    argument: str = "x_t",
) -> Float[Array, "... leaves vocab"]:
    """Return x_t (which the caller knows as ``argument``) as an array, after checking it and t."""
    num_leaves, vocab_size = denoiser.num_leaves, denoiser.vocab_size
    if num_leaves is not None and vocab_size is not None:
        trailing = (num_leaves, vocab_size)
        check_trailing_shape(argument, x_t, trailing, "(num_leaves, vocab_size)")
    check_steps(t, num_steps)
    x_t = jnp.asarray(x_t)
    if not jnp.issubdtype(x_t.dtype, jnp.floating):
        raise ValueError(
            f"{argument} has dtype {x_t.dtype}, which is not allowed: it must be floating"
        )
    if is_concrete(x_t):
        values = np.asarray(x_t)
        wrong = values[~np.isfinite(values)]
        if wrong.size:
            raise ValueError(
                f"{argument} holds {wrong[0]}, which is not allowed: it must be finite"
            )
    batch = x_t.shape[:-2]
    require(
        _broadcasts(np.shape(t), batch),
        "t",
        t,
        f"an integer or an array that broadcasts against the batch shape {batch}",
    )
    return x_t


def _broadcasts(shape: tuple[int, ...], batch: tuple[int, ...]) -> bool:
    """True if an array of ``shape`` can be stretched to ``batch``."""
    aligned = zip(reversed(shape), reversed(batch), strict=False)
    return len(shape) <= len(batch) and all(size in (1, full) for size, full in aligned)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class TreeDenoiser:
    """The posterior marginals under a grammar, or under its level-k filtered model."""

    grammar: Grammar
    schedule: Schedule
    filter_level: int = dataclasses.field(metadata={"static": True})

    @property
    def num_leaves(self) -> int:
        """Length of the sequences."""
        return self.grammar.num_leaves

    @property
    def vocab_size(self) -> int:
        """Number of symbols."""
        return self.grammar.vocab_size

    def __call__(self, x_t: Float[Array | np.ndarray, "..."], t: Steps) -> Float[Array, "..."]:
        """Exact log p(x_0 | x_t) per position, (..., num_leaves, vocab_size)."""
        x_t = check_noisy(self, self.schedule.num_steps, x_t, t)
        field = leaf_field(self.schedule, x_t, t)
        return leaf_log_marginals(self.grammar, field, filter_level=self.filter_level)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class IndependentDenoiser:
    """The posterior under independent positions: softmax of the field plus a log-prior."""

    schedule: Schedule
    log_probs: Float[Array, "leaves vocab"] | None

    @property
    def num_leaves(self) -> int | None:
        """Length of the sequences; None if no prior was given."""
        return None if self.log_probs is None else self.log_probs.shape[-2]

    @property
    def vocab_size(self) -> int | None:
        """Number of symbols; None if no prior was given."""
        return None if self.log_probs is None else self.log_probs.shape[-1]

    def __call__(self, x_t: Float[Array | np.ndarray, "..."], t: Steps) -> Float[Array, "..."]:
        """Log-probabilities (..., num_leaves, vocab_size) of x_0 given x_t at step t."""
        x_t = check_noisy(self, self.schedule.num_steps, x_t, t)
        field = leaf_field(self.schedule, x_t, t)
        if self.log_probs is not None:
            field = field + self.log_probs.astype(field.dtype)
        return jax.nn.log_softmax(field, axis=-1)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class EmpiricalDenoiser:
    """The posterior under the empirical distribution of a training set: the memoriser."""

    schedule: Schedule
    sequences: Int[Array, "num_sequences leaves"]
    vocab_size: int = dataclasses.field(metadata={"static": True})

    @property
    def num_leaves(self) -> int:
        """Length of the sequences."""
        return self.sequences.shape[-1]

    def __call__(self, x_t: Float[Array | np.ndarray, "..."], t: Steps) -> Float[Array, "..."]:
        """Log-probabilities (..., num_leaves, vocab_size); −inf where no sequence agrees."""
        x_t = check_noisy(self, self.schedule.num_steps, x_t, t)
        field = leaf_field(self.schedule, x_t, t)
        # Shifted so that the best symbol scores 0, a likely sequence keeps all its digits.
        field = field - field.max(-1, keepdims=True)
        one_hot = jax.nn.one_hot(self.sequences, self.vocab_size, dtype=field.dtype)
        highest = jax.lax.Precision.HIGHEST
        scores = jnp.einsum("...lv,nlv->...n", field, one_hot, precision=highest)
        weights = jax.nn.softmax(scores, axis=-1)
        return jnp.log(jnp.einsum("...n,nlv->...lv", weights, one_hot, precision=highest))


def exact_denoiser(grammar: Grammar, schedule: Schedule, *, filter_level: int = 0) -> TreeDenoiser:
    """The exact denoiser E[x_0 | x_t] (k = 0), or that of the level-k filtered model.

    Args:
        grammar: the model of the data.
        schedule: the noise.
        filter_level: k in 0…depth (SPEC section 1).

    Raises:
        ValueError: if the filter level is out of range.
    """
    filter_level = check_integer("filter_level", filter_level, 0, grammar.depth)
    return TreeDenoiser(grammar, schedule, filter_level)


def independent_denoiser(
    schedule: Schedule, log_probs: Float[Array | np.ndarray, "leaves vocab"] | None = None
) -> IndependentDenoiser:
    """The denoiser that knows no tree at all.

    Args:
        schedule: the noise.
        log_probs: (num_leaves, vocab_size) natural-log symbol marginals per position; None for
            uniform ones, with which any length and vocabulary will do.

    Raises:
        ValueError: if ``log_probs`` is not such an array of normalised log-probabilities.
    """
    if log_probs is not None:
        log_probs = jnp.asarray(log_probs)
        require(log_probs.ndim == 2, "log_probs", log_probs, "of shape (num_leaves, vocab_size)")
        if is_concrete(log_probs):
            sums = np.exp(np.asarray(log_probs, dtype=np.float64)).sum(-1)
            normalised = bool(np.all(np.abs(sums - 1) < 1e-4))
            require(normalised, "log_probs", log_probs, "log-probabilities whose rows sum to 1")
    return IndependentDenoiser(schedule, log_probs)


def empirical_denoiser(
    schedule: Schedule, sequences: Int[Array | np.ndarray, "num_sequences leaves"], vocab_size: int
) -> EmpiricalDenoiser:
    """The denoiser of someone who knows only the training set, by heart.

    Args:
        schedule: the noise.
        sequences: (n, num_leaves) training sequences.
        vocab_size: q.

    Raises:
        ValueError: if there are no sequences or a symbol is out of range.
    """
    vocab_size = check_integer("vocab_size", vocab_size, 2)
    shape = np.shape(sequences)
    require(len(shape) == 2 and shape[0] > 0, "sequences", shape, "of shape (n, num_leaves), n > 0")
    check_symbols("sequences", sequences, vocab_size)
    return EmpiricalDenoiser(schedule, jnp.asarray(sequences), vocab_size)
