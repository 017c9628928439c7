"""From noise to sequences: the ancestral sampler and the U-turn (science.md#diffusion)."""

import functools
from collections.abc import Callable
from math import prod
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key, Num

from hiermodel.checks import check_integer, check_key, check_steps, check_symbols, require
from hiermodel.diffusion.corruption import add_noise, one_hot
from hiermodel.diffusion.denoisers import (
    AnyDenoiser,
    Corruption,
    Noisy,
    Steps,
    check_drawn,
    check_input,
    check_noisy,
    check_schedule,
    denoiser_name,
    event_shape,
    expectation,
    finished,
)
from hiermodel.diffusion.schedule import Schedule
from hiermodel.randomness import normal_at_step


def posterior_step(
    schedule: Schedule, x_0: Float[Array, "..."], x_t: Float[Array, "..."], t: Steps
) -> tuple[Float[Array, "..."], Float[Array, "..."]]:
    """Mean and variance of q(x_{t−1} | x_t, x_0); at t = 1 the mean is x_0 and the variance 0.

    Args:
        schedule: the noise.
        x_0: (..., num_leaves, vocab_size) clean data, or its expectation.
        x_t: the same shape, noisy data at step t.
        t: steps in 1…num_steps, broadcasting against the leading axes.

    Returns:
        The mean, shaped as x_t, and the variance of every coordinate, shaped as t.
    """
    steps = jnp.asarray(t)
    x0_weight = schedule.posterior_x0_weight[steps].astype(x_t.dtype)[..., None, None]
    xt_weight = schedule.posterior_xt_weight[steps].astype(x_t.dtype)[..., None, None]
    variance = schedule.posterior_variance[steps].astype(x_t.dtype)
    return x0_weight * x_0 + xt_weight * x_t, variance


def sample_ancestral(
    key: Key[Array, ""],
    denoiser: AnyDenoiser,
    schedule: Schedule,
    num_samples: int | None = None,
    *,
    x_T: Float[Array | np.ndarray, "..."] | None = None,
    start: int | None = None,
) -> Num[Array, "..."]:
    """Draw sequences or images by ancestral (DDPM) steps, x_{t−1} ~ q(x_{t−1} | x_t, E[x_0 | x_t]).

    Every sample has its own key for every step, so it depends on nothing but ``key``, its place in
    the batch and its x_T. Two denoisers given the same key see the same noise.

    Args:
        key: one typed key.
        denoiser: gives E[x_0 | x_t].
        schedule: the noise.
        num_samples: how many, starting from pure noise; or leave it out and give ``x_T``.
        x_T: (..., num_leaves, vocab_size) where to start from, at step ``start``.
        start: first step, in 1…num_steps; num_steps if left out.

    Returns:
        int32 symbols, (num_samples, num_leaves) or (..., num_leaves): the argmax of x_0. Of a
        MeanDenoiser x_0 itself: images (..., pixels, channels).

    Raises:
        ValueError: unless exactly one of ``num_samples`` and ``x_T`` is given, if one of the
            arguments is out of range, if the schedule's length is not that of the denoiser's own,
            or if the denoiser gives NaN. Inside a trace, a sequence spoilt by NaN is −1.
    """
    check_key(key)
    noise_key, step_key = jax.random.split(key)
    x_T, start = starting_point(noise_key, denoiser, schedule, num_samples, x_T, start)
    return run_sampler(_ancestral, denoiser, step_key, schedule, x_T, jnp.asarray(start))


def starting_point(
    key: Key[Array, ""],
    denoiser: AnyDenoiser,
    schedule: Corruption,
    num_samples: int | None,
    x_T: Noisy | None,
    start: int | None,
) -> tuple[Array, int]:
    """Where a sampler begins: the given x_T, or pure noise of each sample's own; and at which step.

    Raises:
        ValueError: as :func:`sample_ancestral`.
    """
    check_schedule(denoiser, schedule)
    start = schedule.num_steps if start is None else start
    start = check_integer("start", start, 1, schedule.num_steps)
    if x_T is not None:
        require(num_samples is None, "num_samples", num_samples, "left out when x_T is given")
        return check_input(denoiser, schedule, x_T, start, "x_T"), start
    if num_samples is None:
        raise ValueError("num_samples=None is not allowed: give either num_samples or x_T")
    num_samples = check_integer("num_samples", num_samples, 0)
    shape = _shape_of_noise(denoiser, schedule)
    if shape is None:
        raise ValueError(
            f"x_T=None is not allowed: {denoiser_name(denoiser)} has no fixed shape (num_leaves "
            "and vocab_size), so x_T must be an array"
        )
    return schedule.pure_noise(key, num_samples, *shape), start


def _shape_of_noise(denoiser: AnyDenoiser, process: Corruption) -> tuple[int, int] | None:
    """The denoiser's axes of one x_t; symbols that the process knows it need not name."""
    num_leaves = getattr(denoiser, "num_leaves", None)
    if process.vocab_size is None or num_leaves is None:
        return event_shape(denoiser)
    return num_leaves, process.vocab_size


class _Constant:
    """A part of a denoiser that is no array, known to the compiler by which object it is."""

    def __init__(self, value: Any):
        self.value = value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Constant) and self.value is other.value

    def __hash__(self) -> int:
        return id(self.value)


def run_compiled(function: Callable[..., Array], denoiser: AnyDenoiser, *arguments: Any) -> Array:
    """Compile ``function(denoiser, *arguments)`` and run it.

    The arrays of a denoiser that is a pytree go in as arguments, so that others of its kind share
    the program; whatever else it is made of, as a plain function is, is a constant of it.
    """
    leaves, structure = jax.tree.flatten(denoiser)
    known = [isinstance(leaf, jax.typing.ArrayLike) for leaf in leaves]
    arrays = [leaf for leaf, is_array in zip(leaves, known, strict=True) if is_array]
    constants = tuple(
        None if is_array else _Constant(leaf) for leaf, is_array in zip(leaves, known, strict=True)
    )
    return _call(function, structure, constants, arrays, *arguments)


def run_sampler(function: Callable[..., Array], denoiser: AnyDenoiser, *arguments: Any) -> Array:
    """As ``run_compiled``, for what draws samples: raises DenoiserError if one met NaN."""
    return check_drawn(denoiser, run_compiled(function, denoiser, *arguments))


def u_turn(
    key: Key[Array, ""],
    denoiser: AnyDenoiser,
    schedule: Schedule,
    x_0: Int[Array | np.ndarray, "... leaves"] | Float[Array | np.ndarray, "... leaves vocab"],
    t: int,
) -> Num[Array, "..."]:
    """Noise clean sequences or images up to step t and denoise them back to 0.

    Args:
        key: one typed key.
        denoiser: gives E[x_0 | x_t] on the way back.
        schedule: the noise.
        x_0: (..., num_leaves) symbols, or the same one-hot, (..., num_leaves, vocab_size); or
            images (..., pixels, channels), if the denoiser is of such.
        t: the turning point, in 1…num_steps.

    Returns:
        int32 sequences (..., num_leaves), or images.

    Raises:
        ValueError: if a symbol or step is out of range, or the denoiser has no fixed vocabulary.
    """
    check_key(key)
    check_schedule(denoiser, schedule)
    check_steps(t, schedule.num_steps)
    x_0 = jnp.asarray(x_0)
    if not jnp.issubdtype(x_0.dtype, jnp.floating):
        vocab_size = getattr(denoiser, "vocab_size", None)
        if vocab_size is None:
            raise ValueError(
                f"x_0 with dtype {x_0.dtype} is not allowed: {denoiser_name(denoiser)} has no "
                "fixed vocabulary (vocab_size), so x_0 must be one-hot"
            )
        check_symbols("x_0", x_0, vocab_size)
        x_0 = one_hot(x_0, vocab_size)
    x_0 = check_noisy(denoiser, schedule.num_steps, x_0, t, "x_0")
    up_key, down_key = jax.random.split(key)
    x_t = add_noise(up_key, schedule, x_0, t)
    return sample_ancestral(down_key, denoiser, schedule, x_T=x_t, start=t)


@functools.partial(jax.jit, static_argnums=(0, 1, 2))
def _call(
    function: Callable[..., Array],
    structure: Any,
    constants: tuple[_Constant | None, ...],
    arrays: list[Array],
    *arguments: Any,
) -> Array:
    given = iter(arrays)
    leaves = [next(given) if one is None else one.value for one in constants]
    return function(jax.tree.unflatten(structure, leaves), *arguments)


def _ancestral(
    denoiser: AnyDenoiser,
    key: Key[Array, ""],
    schedule: Schedule,
    x_T: Float[Array, "... leaves vocab"],
    start: Int[Array, ""],
) -> Num[Array, "..."]:
    num_samples = prod(x_T.shape[:-2])

    def step(index: Array, x_t: Array) -> Array:
        t = start - index
        mean, variance = posterior_step(schedule, expectation(denoiser, x_t, t), x_t, t)
        noise = normal_at_step(key, t, num_samples, x_T.shape[-2:], x_T.dtype)
        return mean + jnp.sqrt(variance) * noise.reshape(x_T.shape)

    # A dynamic number of steps: one compilation serves every starting point.
    x_0 = jax.lax.fori_loop(0, start, step, x_T)
    return finished(denoiser, x_0)
