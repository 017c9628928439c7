"""How the input of a denoiser is checked, outside a trace at next to no cost."""

import contextlib
import functools
from collections.abc import Callable
from typing import Any, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from hiermodel.checks import (
    InputError,
    check_steps,
    check_symbols,
    check_trailing_shape,
    is_concrete,
    require,
)
from hiermodel.diffusion.denoiser import AnyDenoiser, event_shape, gives_means
from hiermodel.diffusion.process import Noisy, Steps


@runtime_checkable
class Form(Protocol):
    """All that is asked of a process here.

    Attributes:
        num_steps: T.
        num_states: number of symbols that a noisy position may hold; None if it holds reals.
    """

    @property
    def num_steps(self) -> int:
        """Number of steps, T."""
        ...

    @property
    def num_states(self) -> int | None:
        """Number of symbols that a noisy position may hold; None if it holds reals."""
        ...


def check_input(
    denoiser: AnyDenoiser, process: Form, x_t: Noisy, t: Steps, argument: str = "x_t"
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
        fine = jnp.isfinite(process.evidence(checked, t)).all()
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
        is_image = gives_means(denoiser)
        names = "(pixels, channels)" if is_image else "(num_leaves, vocab_size)"
        check_trailing_shape(argument, x_t, trailing, names)
    check_steps(t, num_steps)
    x_t = jnp.asarray(x_t)
    if not jnp.issubdtype(x_t.dtype, jnp.floating):
        raise InputError(
            f"{argument} has dtype {x_t.dtype}, which is not allowed: it must be floating"
        )
    # A program of its own finds out, at no copy, that all is well.
    if is_concrete(x_t) and is_concrete(fine := _all_finite(x_t)) and not fine:
        values = np.asarray(x_t)
        wrong = values[~np.isfinite(values)][0]
        raise InputError(f"{argument} holds {wrong}, which is not allowed: it must be finite")
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
