"""What a denoiser is, and what samplers and measures ask of any.

A denoiser maps (x_t, t) to a distribution over symbols at every position, or, for images, to the
mean of x_0 (science.md#denoisers).
"""

from collections.abc import Callable
from typing import Protocol, TypeGuard, runtime_checkable

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from hiermodel.checks import InputError, is_concrete
from hiermodel.diffusion.process import FAILED, Noisy, Process, Steps


@runtime_checkable
class Denoiser(Protocol):
    """Anything that maps (x_t, t) to log-probabilities of x_0 per position.

    Attributes:
        num_leaves: length of the sequences; None if any length will do.
        vocab_size: number of symbols; None if any will do.

    Example:
        >>> denoiser.num_leaves, denoiser.vocab_size, denoiser(noisy, 5).shape
        (4, 2, (8, 4, 2))
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

    Example:
        >>> images = np.zeros((3, 4, 1))
        >>> memoriser = hm.diffusion.empirical_pixel_denoiser(schedule, images)
        >>> isinstance(memoriser, hm.diffusion.MeanDenoiser)
        True
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


class DenoiserError(InputError):
    """A denoiser gave NaN, so that nothing can be drawn from it.

    Example:
        >>> issubclass(hm.diffusion.DenoiserError, Exception)
        True
    """


def denoiser_name(denoiser: AnyDenoiser) -> str:
    """A denoiser as messages call it: a function's own name, or that of its class."""
    return getattr(denoiser, "__name__", type(denoiser).__name__)


def check_schedule(denoiser: AnyDenoiser, process: Process) -> None:
    """Refuse noise with another number of steps than the noise of the denoiser, where it has one.

    At the same t, the two would speak of different amounts of noise.
    """
    own = own_num_steps(denoiser)
    if own is not None and own != process.num_steps:
        raise InputError(
            f"schedule has num_steps={process.num_steps}, which is not allowed: it must be that of "
            f"{denoiser_name(denoiser)}, {own}"
        )


def own_num_steps(denoiser: AnyDenoiser) -> int | None:
    """T of the noise that a denoiser knows: its own, or its schedule's; None if it has neither."""
    num_steps = getattr(denoiser, "num_steps", None)
    return getattr(getattr(denoiser, "schedule", None), "num_steps", num_steps)


def gives_means(denoiser: AnyDenoiser) -> TypeGuard[MeanDenoiser]:
    """Whether a denoiser's output is E[x_0 | x_t] itself, not log-probabilities: a MeanDenoiser."""
    return hasattr(denoiser, "event_shape")


def expectation(
    denoiser: AnyDenoiser, process: Process, x_t: Array, t: Steps
) -> Float[Array, "..."]:
    """E[x_0 | x_t] from either kind of denoiser: vectors shaped as x_t, or one-hot symbols.

    Raises:
        ValueError: if the denoiser gives another shape.
    """
    output = denoiser(x_t, t)
    holds_reals = process.num_states is None
    shape = x_t.shape if holds_reals else (*x_t.shape, process.vocab_size)
    if np.shape(output) != shape:
        raise InputError(
            f"denoiser={denoiser_name(denoiser)} is not allowed: it gave shape {np.shape(output)}, "
            f"and must give that of x_t{'' if holds_reals else ' and its symbols'}, {shape}"
        )
    mean = output if gives_means(denoiser) else jnp.exp(output)
    return mean.astype(x_t.dtype) if holds_reals else mean


def finished(denoiser: AnyDenoiser, process: Process, x_0: Array) -> Array:
    """What a sampler returns of x_0: int32 symbols, FAILED where NaN was; or pixels themselves."""
    return x_0 if gives_means(denoiser) else process.decode(x_0)


def known_vocab_size(denoiser: AnyDenoiser, process: Process) -> int | None:
    """Number of clean symbols, as the noise or the denoiser says; None if neither does."""
    return process.vocab_size or getattr(denoiser, "vocab_size", None)


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
    if gives_means(denoiser):
        return denoiser.event_shape
    num_leaves = getattr(denoiser, "num_leaves", None)
    vocab_size = getattr(denoiser, "vocab_size", None)
    return None if num_leaves is None or vocab_size is None else (num_leaves, vocab_size)
