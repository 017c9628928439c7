"""Denoisers: functions from a noisy sequence to a distribution over symbols at every position.

The exact one is the posterior under the grammar; the others are the posteriors under poorer or
richer models of the data (science.md#diffusion, #denoisers). A learned network has the same
protocol.
"""

import contextlib
import dataclasses
import functools
from collections.abc import Callable
from typing import Any, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key, Shaped

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
from hiermodel.inference.posterior import draw_leaves
from hiermodel.randomness import categorical_per_sample

FAILED = -1
"""In place of every symbol of a sequence that a denoiser's NaN has spoiled."""

Steps = int | Int[Array | np.ndarray, "..."]
"""Diffusion steps: one, or an integer array that broadcasts against the leading batch axes."""


Noisy = Float[Array | np.ndarray, "..."] | Int[Array | np.ndarray, "..."]
"""Noisy sequences: (..., num_leaves, vocab_size) reals, or (..., num_leaves) symbols of a discrete
process."""


@runtime_checkable
class Corruption(Protocol):
    """A forward process, as oracles and samplers know it: a Schedule or a DiscreteProcess.

    Attributes:
        num_steps: T.
        vocab_size: number of clean symbols; None if any will do.
        num_states: number of symbols that a noisy position may hold; None if it holds reals.
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

    def leaf_evidence(self, x_t: Array, t: Steps) -> Float[Array, "... leaves vocab"]:
        """Log q(x_t | x_0 = a) per position and symbol a, up to a constant per position."""
        ...

    def log_constant(self, x_t: Array, t: Steps) -> Float[Array, "..."]:
        """The sum of those constants over the positions."""
        ...

    def pure_noise(
        self, key: Key[Array, ""], num_samples: int, num_leaves: int, vocab_size: int
    ) -> Array:
        """Sequences that tell nothing of the clean ones, each from its own key."""
        ...


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

    def __call__(self, x_t: Noisy, t: Steps) -> Float[Array, "..."]:
        """Log-probabilities (..., num_leaves, vocab_size) of x_0 given x_t at step t."""
        ...


@runtime_checkable
class MeanDenoiser(Protocol):
    """Anything that maps (x_t, t) to E[x_0 | x_t] of data that are real numbers: images.

    Attributes:
        event_shape: the two axes of one x_t: pixels and channels of an image.
    """

    @property
    def event_shape(self) -> tuple[int, int]:
        """Pixels and channels of an image."""
        ...

    def __call__(self, x_t: Noisy, t: Steps) -> Float[Array, "..."]:
        """E[x_0 | x_t], shaped as x_t."""
        ...


AnyDenoiser = Denoiser | MeanDenoiser | Callable[..., Array]
"""Samplers and scores take either kind, or a plain function (x_t, t) to log-probabilities."""


class DenoiserError(ValueError):
    """A denoiser gave NaN, so that nothing can be drawn from it."""


def denoiser_name(denoiser: AnyDenoiser) -> str:
    """A denoiser as messages call it: a function's own name, or that of its class."""
    return getattr(denoiser, "__name__", type(denoiser).__name__)


def check_schedule(denoiser: AnyDenoiser, process: Corruption) -> None:
    """Refuse noise with another number of steps than the noise of the denoiser, where it has one.

    At the same t, the two would speak of different amounts of noise.
    """
    own = own_num_steps(denoiser)
    if own is not None and own != process.num_steps:
        raise ValueError(
            f"schedule has num_steps={process.num_steps}, which is not allowed: it must be that of "
            f"{denoiser_name(denoiser)}, {own}"
        )


def own_num_steps(denoiser: AnyDenoiser) -> int | None:
    """T of the noise that a denoiser knows: its own, or its schedule's; None if it has neither."""
    num_steps = getattr(denoiser, "num_steps", None)
    return getattr(getattr(denoiser, "schedule", None), "num_steps", num_steps)


def expectation(denoiser: AnyDenoiser, x_t: Array, t: Steps) -> Float[Array, "..."]:
    """E[x_0 | x_t], of the shape and dtype of x_t, from either kind of denoiser.

    Raises:
        ValueError: if the denoiser gives another shape.
    """
    output = denoiser(x_t, t)
    if np.shape(output) != x_t.shape:
        raise ValueError(
            f"denoiser={denoiser_name(denoiser)} is not allowed: it gave shape {np.shape(output)}, "
            f"and must give that of x_t, {x_t.shape}"
        )
    mean = output if isinstance(denoiser, MeanDenoiser) else jnp.exp(output)
    return mean.astype(x_t.dtype)


def finished(denoiser: AnyDenoiser, x_0: Array) -> Array:
    """What a sampler returns of x_0: the likeliest symbols as int32, or the pixels themselves.

    A sequence that holds NaN is −1 throughout.
    """
    if isinstance(denoiser, MeanDenoiser):
        return x_0
    failed = jnp.isnan(x_0).any((-2, -1))[..., None]
    return jnp.where(failed, FAILED, x_0.argmax(-1)).astype(jnp.int32)


def check_drawn(denoiser: AnyDenoiser, drawn: Array) -> Array:
    """Return what a sampler drew; outside a trace, raise DenoiserError if any of it failed."""
    if not is_concrete(drawn):
        return drawn
    symbols = jnp.issubdtype(drawn.dtype, jnp.integer)
    wrong = (drawn == FAILED) if symbols else jnp.isnan(drawn)
    if bool(wrong.any()):
        rows = wrong.any(-1 if symbols else (-2, -1))
        raise DenoiserError(
            f"{denoiser_name(denoiser)} gave NaN for {int(rows.sum())} of {rows.size} samples; a "
            "denoiser must give log-probabilities (or means) without NaN for every x_t it may meet"
        )
    return drawn


def event_shape(denoiser: AnyDenoiser) -> tuple[int, int] | None:
    """The two axes of one x_t: leaves and symbols, or pixels and channels; None if any will do."""
    if isinstance(denoiser, MeanDenoiser):
        return denoiser.event_shape
    num_leaves = getattr(denoiser, "num_leaves", None)
    vocab_size = getattr(denoiser, "vocab_size", None)
    return None if num_leaves is None or vocab_size is None else (num_leaves, vocab_size)


def leaf_field(
    schedule: Schedule, x_t: Float[Array, "... leaves vocab"], t: Steps
) -> Float[Array, "... leaves vocab"]:
    """Log-field h_i(a) = sqrt(abar_t) / (1 − abar_t) · x_t[i, a] of noisy leaves.

    Source: science.md#diffusion.
    """
    return schedule.leaf_evidence(x_t, t)


def check_input(
    denoiser: AnyDenoiser, process: Corruption, x_t: Noisy, t: Steps, argument: str = "x_t"
) -> Array:
    """Return x_t as an array, after checking it and t: reals or symbols, as the process has it."""
    if process.num_states is None:
        return check_noisy(denoiser, process.num_steps, x_t, t, argument)
    require(np.ndim(x_t) >= 1, argument, x_t, "of shape (..., num_leaves)")
    num_leaves = getattr(denoiser, "num_leaves", None)
    if num_leaves is not None:
        check_trailing_shape(argument, x_t, (num_leaves,), "(num_leaves,)")
    check_symbols(argument, x_t, process.num_states)
    check_steps(t, process.num_steps)
    _check_broadcast(t, np.shape(x_t)[:-1])
    return jnp.asarray(x_t, jnp.int32)


Compute = Callable[[Any, Array, Steps], Array]


def run_checked(compute: Compute, denoiser: Any, x_t: Noisy, t: Steps) -> Array:
    """Check x_t and t, then ``compute(denoiser, x_t, t)``; outside a trace, in one program.

    Forms are checked as the program is traced, once for each, and that the values are fine is one
    number of its result: to look at them apart would cost as much as a small grammar's posterior.

    Args:
        compute: a function of the module, as programs are kept by it.
        denoiser: a pytree with a ``schedule``.
        x_t: noisy input.
        t: its steps.
    """
    if not is_concrete(denoiser, x_t, t):
        return compute(denoiser, check_input(denoiser, denoiser.schedule, x_t, t), t)
    check_steps(t, denoiser.schedule.num_steps)
    if not isinstance(x_t, Array):
        x_t = np.asarray(x_t)
        if denoiser.schedule.num_states is not None:  # JAX may cut them to 32 bits
            check_symbols("x_t", x_t, denoiser.schedule.num_states)
    # NumPy's steps, as JAX takes a hundred times longer to make an array of a number.
    steps = t if isinstance(t, Array) else np.asarray(t)
    with contextlib.suppress(ValueError):
        result, fine = _compute_and_check(compute, denoiser, x_t, steps)
        if not is_concrete(fine) or fine:
            return result
    # Once more, slowly: one of these two says what is wrong, with its value.
    return compute(denoiser, check_input(denoiser, denoiser.schedule, x_t, t), t)


@functools.partial(jax.jit, static_argnums=0)
def _compute_and_check(
    compute: Compute, denoiser: Any, x_t: Array, t: Array
) -> tuple[Array, Array]:
    """The result, and whether x_t and the evidence of it are what they may be."""
    process = denoiser.schedule
    checked = check_input(denoiser, process, x_t, t)
    if process.num_states is None:
        # The evidence is a multiple of x_t, and finite only if that is.
        fine = jnp.isfinite(process.leaf_evidence(checked, t)).all()
    else:
        fine = ((x_t >= 0) & (x_t < process.num_states)).all()
    return compute(denoiser, checked, t), fine


def check_noisy(
    denoiser: AnyDenoiser,
    num_steps: int,
    x_t: Noisy,
    t: Steps,
    argument: str = "x_t",
) -> Float[Array, "... leaves vocab"]:
    """Return x_t (which the caller knows as ``argument``) as an array, after checking it and t."""
    trailing = event_shape(denoiser)
    if trailing is not None:
        is_image = isinstance(denoiser, MeanDenoiser)
        names = "(pixels, channels)" if is_image else "(num_leaves, vocab_size)"
        check_trailing_shape(argument, x_t, trailing, names)
    check_steps(t, num_steps)
    x_t = jnp.asarray(x_t)
    if not jnp.issubdtype(x_t.dtype, jnp.floating):
        raise ValueError(
            f"{argument} has dtype {x_t.dtype}, which is not allowed: it must be floating"
        )
    # A program of its own finds out, at no copy, that all is well.
    if is_concrete(x_t) and is_concrete(fine := _all_finite(x_t)) and not fine:
        values = np.asarray(x_t)
        wrong = values[~np.isfinite(values)][0]
        raise ValueError(f"{argument} holds {wrong}, which is not allowed: it must be finite")
    _check_broadcast(t, x_t.shape[:-2])
    return x_t


_all_finite = jax.jit(lambda values: jnp.isfinite(values).all())


def _check_broadcast(t: Steps, batch: tuple[int, ...]) -> None:
    """Refuse steps that cannot be stretched to the batch."""
    shape = np.shape(t)
    aligned = zip(reversed(shape), reversed(batch), strict=False)
    require(
        len(shape) <= len(batch) and all(size in (1, full) for size, full in aligned),
        "t",
        t,
        f"an integer or an array that broadcasts against the batch shape {batch}",
    )


def _check_vocabulary(process: Corruption, vocab_size: int) -> None:
    """Refuse a process on other symbols than those of the data."""
    if process.vocab_size not in (None, vocab_size):
        raise ValueError(
            f"schedule has vocab_size {process.vocab_size}, which is not allowed: it must be that "
            f"of the data, {vocab_size}"
        )


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, eq=False)
class TreeDenoiser:
    """The posterior marginals under a grammar, or under its level-k filtered model."""

    grammar: Grammar
    schedule: Corruption
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
        field = self.schedule.leaf_evidence(check_input(self, self.schedule, x_t, t), t)
        return draw_leaves(keys, self.grammar, field, self.filter_level)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, eq=False)
class IndependentDenoiser:
    """The posterior under independent positions: softmax of the field plus a log-prior."""

    schedule: Corruption
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

    schedule: Corruption
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
        field = self.schedule.leaf_evidence(x_t, t)
        # Shifted so that the best symbol scores 0, a likely sequence keeps all its digits.
        field = field - field.max(-1, keepdims=True)
        one_hot = jax.nn.one_hot(self.sequences, self.vocab_size, dtype=field.dtype)
        count = functools.partial(
            jnp.einsum, "...lv,nlv->...n", precision=jax.lax.Precision.HIGHEST
        )
        if self.schedule.num_states is None:
            return count(field, one_hot)
        # A product would make NaN of −inf · 0, so contradictions are counted apart.
        forbidden = field == -jnp.inf
        contradictions = count(forbidden.astype(field.dtype), one_hot)
        scores = jnp.where(
            contradictions > 0, -jnp.inf, count(jnp.where(forbidden, 0, field), one_hot)
        )
        agrees = (scores > -jnp.inf).any(-1, keepdims=True)
        return jnp.where(agrees, scores, 0)


def _tree_log_probs(denoiser: TreeDenoiser, x_t: Array, t: Steps) -> Array:
    field = denoiser.schedule.leaf_evidence(x_t, t)
    return leaf_log_marginals(denoiser.grammar, field, filter_level=denoiser.filter_level)


def _independent_log_probs(denoiser: IndependentDenoiser, x_t: Array, t: Steps) -> Array:
    field = denoiser.schedule.leaf_evidence(x_t, t)
    if denoiser.log_probs is not None:
        prior = denoiser.log_probs.astype(field.dtype)
        # Evidence that leaves a position no symbol is ignored there.
        possible = ((field + prior) > -jnp.inf).any(-1, keepdims=True)
        field = jnp.where(possible, field, 0) + prior
    return jax.nn.log_softmax(field, axis=-1)


def _empirical_log_probs(denoiser: EmpiricalDenoiser, x_t: Array, t: Steps) -> Array:
    weights = jax.nn.softmax(denoiser._scores(x_t, t), axis=-1)
    one_hot = jax.nn.one_hot(denoiser.sequences, denoiser.vocab_size, dtype=weights.dtype)
    highest = jax.lax.Precision.HIGHEST
    return jnp.log(jnp.einsum("...n,nlv->...lv", weights, one_hot, precision=highest))


def exact_denoiser(
    grammar: Grammar, schedule: Corruption, *, filter_level: int = 0
) -> TreeDenoiser:
    """The exact denoiser E[x_0 | x_t] (k = 0), or that of the level-k filtered model.

    Args:
        grammar: the model of the data.
        schedule: the noise, a Schedule or a DiscreteProcess.
        filter_level: k in 0…depth (science.md#filter-levels).

    Raises:
        ValueError: if the filter level is out of range, or the process has other symbols.
    """
    filter_level = check_integer("filter_level", filter_level, 0, grammar.depth)
    _check_vocabulary(schedule, grammar.vocab_size)
    return TreeDenoiser(grammar, schedule, filter_level)


def independent_denoiser(
    schedule: Corruption, log_probs: Float[Array | np.ndarray, "leaves vocab"] | None = None
) -> IndependentDenoiser:
    """The denoiser that knows no tree at all.

    Args:
        schedule: the noise, a Schedule or a DiscreteProcess.
        log_probs: (num_leaves, vocab_size) natural-log symbol marginals per position; None for
            uniform ones, with which any length and vocabulary will do.

    Raises:
        ValueError: if ``log_probs`` is not such an array of normalised log-probabilities, or the
            process has other symbols.
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
    schedule: Corruption,
    sequences: Int[Array | np.ndarray, "num_sequences leaves"],
    vocab_size: int,
) -> EmpiricalDenoiser:
    """The denoiser of someone who knows only the training set, by heart.

    Args:
        schedule: the noise, a Schedule or a DiscreteProcess.
        sequences: (n, num_leaves) training sequences.
        vocab_size: q.

    Raises:
        ValueError: if there are no sequences, a symbol is out of range, or the process has other
            symbols.
    """
    vocab_size = check_integer("vocab_size", vocab_size, 2)
    shape = np.shape(sequences)
    require(len(shape) == 2 and shape[0] > 0, "sequences", shape, "of shape (n, num_leaves), n > 0")
    check_symbols("sequences", sequences, vocab_size)
    _check_vocabulary(schedule, vocab_size)
    return EmpiricalDenoiser(schedule, jnp.asarray(sequences), vocab_size)
