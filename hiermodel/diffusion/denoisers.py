"""Denoisers that are posteriors under a model of the data (science.md#diffusion, #denoisers).

The exact one is the posterior under the grammar; the others are those under poorer or richer
models. All take any Process. A learned network has the same protocol.
"""

import dataclasses
import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, Key, Shaped

from hiermodel.checks import InputError, check_integer, check_symbols, is_concrete, require
from hiermodel.diffusion.inputs import check_input, run_checked
from hiermodel.diffusion.process import Noisy, Process, Steps
from hiermodel.grammar.rules import Grammar
from hiermodel.inference.belief_propagation import leaf_log_marginals
from hiermodel.inference.posterior import draw_leaves
from hiermodel.log_space import finite_or_zero
from hiermodel.randomness import categorical_per_sample

CHUNK = 2**14
"""Training sequences that the empirical denoiser compares with x_t at a time."""


def _check_vocabulary(process: Process, vocab_size: int) -> None:
    """Refuse a process on other symbols than those of the data."""
    if process.vocab_size not in (None, vocab_size):
        raise InputError(
            f"schedule has vocab_size {process.vocab_size}, which is not allowed: it must be that "
            f"of the data, {vocab_size}"
        )


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, eq=False)
class TreeDenoiser:
    """The posterior marginals under a grammar, or under its level-k filtered model."""

    grammar: Grammar
    schedule: Process
    filter_level: int = dataclasses.field(metadata={"static": True})

    @property
    def num_leaves(self) -> int:
        """Length of the sequences."""
        return self.grammar.num_leaves

    @property
    def vocab_size(self) -> int:
        """Number of symbols."""
        return self.grammar.vocab_size

    def __call__(self, x_t: Noisy, t: Steps) -> Float[Array, "..."]:
        """Exact log p(x_0 | x_t) per position, (..., num_leaves, vocab_size)."""
        return run_checked(_tree_log_probs, self, x_t, t)

    def draw(
        self, keys: Key[Array, " rows"], x_t: Shaped[Array, "rows ..."], t: Steps
    ) -> Int[Array, "rows leaves"]:
        """Whole sequences from p(x_0 | x_t), each from its own key: one posterior tree per row.

        Where no sequence agrees with x_t, one is drawn as if x_t said nothing.
        """
        field = self.schedule.evidence(check_input(self, self.schedule, x_t, t), t)
        return draw_leaves(keys, self.grammar, field, self.filter_level)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, eq=False)
class IndependentDenoiser:
    """The posterior under independent positions: softmax of the field plus a log-prior."""

    schedule: Process
    log_probs: Float[Array, "leaves vocab"] | None

    @property
    def num_leaves(self) -> int | None:
        """Length of the sequences; None if no prior was given."""
        return None if self.log_probs is None else self.log_probs.shape[-2]

    @property
    def vocab_size(self) -> int | None:
        """Number of symbols; None if no prior was given."""
        return None if self.log_probs is None else self.log_probs.shape[-1]

    def __call__(self, x_t: Noisy, t: Steps) -> Float[Array, "..."]:
        """Log-probabilities (..., num_leaves, vocab_size) of x_0 given x_t at step t."""
        # Step by step: fused, the field would be rounded before its maximum but not after it.
        return _independent_log_probs(self, check_input(self, self.schedule, x_t, t), t)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, eq=False)
class EmpiricalDenoiser:
    """The posterior under the empirical distribution of a training set: the memoriser."""

    schedule: Process
    sequences: Int[Array, "num_sequences leaves"]
    vocab_size: int = dataclasses.field(metadata={"static": True})

    @property
    def num_leaves(self) -> int:
        """Length of the sequences."""
        return self.sequences.shape[-1]

    def __call__(self, x_t: Noisy, t: Steps) -> Float[Array, "..."]:
        """Log-probabilities (..., num_leaves, vocab_size); −inf for symbols that no sequence has.

        Where every sequence contradicts x_t, as symbols of a discrete process can, they are those
        of the whole training set.
        """
        return run_checked(_empirical_log_probs, self, x_t, t)

    def draw(
        self, keys: Key[Array, " rows"], x_t: Shaped[Array, "rows ..."], t: Steps
    ) -> Int[Array, "rows leaves"]:
        """Training sequences from p(x_0 | x_t), each from its own key."""
        x_t = check_input(self, self.schedule, x_t, t)
        chosen = categorical_per_sample(keys, self._scores(x_t, t))
        return self.sequences[chosen].astype(jnp.int32)

    def _scores(self, x_t: Array, t: Steps) -> Float[Array, "... num_sequences"]:
        """Log-likelihood of every sequence up to a constant; all 0 if none agrees with x_t."""
        field = _shifted_field(self, x_t, t)
        chunks, _ = _chunks(self.sequences)
        by_chunk = jax.lax.map(functools.partial(_scores_of, self, field), chunks)
        padded = math.prod(chunks.shape[:2])
        scores = jnp.moveaxis(by_chunk, 0, -2).reshape(*field.shape[:-2], padded)
        whole = scores[..., : len(self.sequences)]
        if self.schedule.num_states is None:
            return whole
        agrees = (whole > -jnp.inf).any(-1, keepdims=True)
        return jnp.where(agrees, whole, 0)


def _chunks(
    sequences: Int[Array, "n leaves"],
) -> tuple[Int[Array, "chunks size leaves"], Bool[Array, "chunks size"]]:
    """The training set in pieces, to compare with x_t one by one; which rows are no padding."""
    num, num_leaves = sequences.shape
    size = min(CHUNK, num)
    padded = jnp.pad(sequences, ((0, -num % size), (0, 0)))
    is_real = jnp.arange(len(padded)) < num
    return padded.reshape(-1, size, num_leaves), is_real.reshape(-1, size)


def _shifted_field(
    denoiser: EmpiricalDenoiser, x_t: Array, t: Steps
) -> Float[Array, "... leaves vocab"]:
    """Evidence shifted to 0 for the best symbol: a likely sequence then keeps all its digits."""
    field = denoiser.schedule.evidence(x_t, t)
    return field - field.max(-1, keepdims=True)


def _scores_of(
    denoiser: EmpiricalDenoiser,
    field: Float[Array, "... leaves vocab"],
    sequences: Int[Array, "rows leaves"],
) -> Float[Array, "... rows"]:
    """Log-likelihood of some sequences up to a constant; −inf for those that contradict x_t."""
    one_hot = jax.nn.one_hot(sequences, denoiser.vocab_size, dtype=field.dtype)
    count = functools.partial(jnp.einsum, "...lv,nlv->...n", precision=jax.lax.Precision.HIGHEST)
    if denoiser.schedule.num_states is None:
        return count(field, one_hot)
    # A product would make NaN of −inf · 0, so contradictions are counted apart.
    forbidden = field == -jnp.inf
    contradictions = count(forbidden.astype(field.dtype), one_hot)
    return jnp.where(contradictions > 0, -jnp.inf, count(jnp.where(forbidden, 0, field), one_hot))


def _tree_log_probs(denoiser: TreeDenoiser, x_t: Array, t: Steps) -> Array:
    field = denoiser.schedule.evidence(x_t, t)
    return leaf_log_marginals(denoiser.grammar, field, filter_level=denoiser.filter_level)


def _independent_log_probs(denoiser: IndependentDenoiser, x_t: Array, t: Steps) -> Array:
    field = denoiser.schedule.evidence(x_t, t)
    if denoiser.log_probs is not None:
        prior = denoiser.log_probs.astype(field.dtype)
        # Evidence that leaves a position no symbol is ignored there.
        possible = ((field + prior) > -jnp.inf).any(-1, keepdims=True)
        field = jnp.where(possible, field, 0) + prior
    return jax.nn.log_softmax(field, axis=-1)


def _empirical_log_probs(denoiser: EmpiricalDenoiser, x_t: Array, t: Steps) -> Array:
    """Sums of weights relative to the best score so far, chunk by chunk."""
    field = _shifted_field(denoiser, x_t, t)
    chunks, is_real = _chunks(denoiser.sequences)
    batch, shape = field.shape[:-2], field.shape[-2:]

    def add(state, chunk):
        peak, counts, unweighted = state
        sequences, real = chunk
        scores = jnp.where(real, _scores_of(denoiser, field, sequences), -jnp.inf)
        higher = jnp.maximum(peak, jax.lax.stop_gradient(scores).max(-1))
        shift = finite_or_zero(higher)
        weights = jnp.exp(scores - shift[..., None])
        kept = jnp.exp(peak - shift)[..., None, None]
        counts = counts * kept + _weighted_counts(denoiser, weights, sequences)
        unweighted = unweighted + _weighted_counts(denoiser, real.astype(field.dtype), sequences)
        return (higher, counts, unweighted), None

    nothing = jnp.full(batch, -jnp.inf, field.dtype), jnp.zeros_like(field)
    begin = *nothing, jnp.zeros(shape, field.dtype)
    (peak, counts, unweighted), _ = jax.lax.scan(add, begin, (chunks, is_real))
    # Where every sequence contradicts x_t, the whole training set is as likely as before.
    counts = jnp.where((peak == -jnp.inf)[..., None, None], unweighted, counts)
    return jnp.log(counts / counts.sum(-1, keepdims=True))


def _weighted_counts(
    denoiser: EmpiricalDenoiser,
    weights: Float[Array, "... rows"],
    sequences: Int[Array, "rows leaves"],
) -> Float[Array, "... leaves vocab"]:
    one_hot = jax.nn.one_hot(sequences, denoiser.vocab_size, dtype=weights.dtype)
    highest = jax.lax.Precision.HIGHEST
    return jnp.einsum("...n,nlv->...lv", weights, one_hot, precision=highest)


def exact_denoiser(grammar: Grammar, schedule: Process, *, filter_level: int = 0) -> TreeDenoiser:
    """The exact denoiser E[x_0 | x_t] (k = 0), or that of the level-k filtered model.

    Args:
        grammar: the model of the data.
        schedule: the noise, any Process.
        filter_level: k in 0…depth (science.md#filter-levels).

    Raises:
        ValueError: if the filter level is out of range, or the process has other symbols.

    Example:
        >>> hm.exact_denoiser(grammar, schedule)(noisy, 5).shape
        (8, 4, 2)
    """
    filter_level = check_integer("filter_level", filter_level, 0, grammar.depth)
    _check_vocabulary(schedule, grammar.vocab_size)
    return TreeDenoiser(grammar, schedule, filter_level)


def independent_denoiser(
    schedule: Process, log_probs: Float[Array | np.ndarray, "leaves vocab"] | None = None
) -> IndependentDenoiser:
    """The denoiser that knows no tree at all.

    Args:
        schedule: the noise, any Process.
        log_probs: (num_leaves, vocab_size) natural-log symbol marginals per position; None for
            uniform ones, with which any length and vocabulary will do.

    Raises:
        ValueError: if ``log_probs`` is not such an array of normalised log-probabilities, or the
            process has other symbols.

    Example:
        >>> hm.independent_denoiser(schedule)(noisy, 5).shape
        (8, 4, 2)
    """
    if log_probs is not None:
        log_probs = jnp.asarray(log_probs)
        require(log_probs.ndim == 2, "log_probs", log_probs, "of shape (num_leaves, vocab_size)")
        if is_concrete(log_probs):
            sums = np.exp(np.asarray(log_probs, dtype=np.float64)).sum(-1)
            normalised = bool(np.all(np.abs(sums - 1) < 1e-4))
            require(normalised, "log_probs", log_probs, "log-probabilities whose rows sum to 1")
        _check_vocabulary(schedule, log_probs.shape[1])
    return IndependentDenoiser(schedule, log_probs)


def empirical_denoiser(
    schedule: Process,
    sequences: Int[Array | np.ndarray, "num_sequences leaves"],
    vocab_size: int,
) -> EmpiricalDenoiser:
    """The denoiser of someone who knows only the training set, by heart.

    Args:
        schedule: the noise, any Process.
        sequences: (n, num_leaves) training sequences.
        vocab_size: q.

    Raises:
        ValueError: if there are no sequences, a symbol is out of range, or the process has other
            symbols.

    Example:
        >>> hm.empirical_denoiser(schedule, leaves, 2)(noisy, 5).shape
        (8, 4, 2)
    """
    vocab_size = check_integer("vocab_size", vocab_size, 2)
    shape = np.shape(sequences)
    require(len(shape) == 2 and shape[0] > 0, "sequences", shape, "of shape (n, num_leaves), n > 0")
    check_symbols("sequences", sequences, vocab_size)
    _check_vocabulary(schedule, vocab_size)
    return EmpiricalDenoiser(schedule, jnp.asarray(sequences), vocab_size)
