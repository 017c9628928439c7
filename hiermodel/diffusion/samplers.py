"""From noise to sequences, one reverse step after the other, and U-turns (science.md#diffusion).

If x_0 is drawn from the true p(x_0 | x_t) as a whole at every step, x_{t−1} has the law of noised
data exactly, whatever the size of the step. A denoiser gives only the law of each position. With it
Gaussian steps go by the mean, and discrete ones draw every position on its own; both forget that
positions hang together, which matters less the smaller the steps are.
"""

from collections.abc import Callable
from math import prod

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int, Key, Num, Shaped

from hiermodel.checks import (
    InputError,
    check_integer,
    check_key,
    check_steps,
    check_symbols,
    require,
)
from hiermodel.diffusion.compiled import run_sampler
from hiermodel.diffusion.denoiser import (
    AnyDenoiser,
    check_schedule,
    denoiser_name,
    event_shape,
    expectation,
    finished,
    known_vocab_size,
)
from hiermodel.diffusion.inputs import check_input
from hiermodel.diffusion.process import Noisy, Process
from hiermodel.randomness import sample_keys, threefry_key


def sample_ancestral(
    key: Key[Array, ""],
    denoiser: AnyDenoiser,
    schedule: Process,
    num_samples: int | None = None,
    *,
    x_T: Noisy | None = None,
    start: int | None = None,
    joint: bool = False,
) -> Num[Array, "..."]:
    """Draw sequences or images by reverse steps x_{t−1} ~ q(x_{t−1} | x_t, x̂_0), t = start…1.

    Without ``joint`` x̂_0 is what the denoiser expects: of Gaussian noise these are the ancestral
    (DDPM) steps; of discrete noise x_{t−1} follows Σ_{x_0} q(x_{t−1} | x_t, x_0) p(x_0 | x_t) per
    position. Both are right only as steps get small. With it, x̂_0 is drawn as a whole: for the
    exact denoiser samples follow the grammar's law exactly, in any number of steps, if alpha_bar is
    0 at T. Positions of the masked process keep the symbol that they once got.

    Every sample has its own key for every step, so it depends on nothing but ``key``, its place in
    the batch and its x_T. Two denoisers given the same key see the same noise.

    Args:
        key: one typed key.
        denoiser: gives p(x_0 | x_t) per position, or E[x_0 | x_t].
        schedule: the noise, any Process.
        num_samples: how many, starting from pure noise; or leave it out and give ``x_T``.
        x_T: where to start from, at step ``start``: (..., num_leaves, vocab_size), or states
            (..., num_leaves) of a discrete process, of which known symbols among masks are filled
            in.
        start: first step, in 1…num_steps; num_steps if left out.
        joint: draw x_0 as a whole; for denoisers with a method ``draw``, the exact (or filtered)
            and the empirical one.

    Returns:
        int32 symbols, (num_samples, num_leaves) or (..., num_leaves); of vectors the argmax of x_0.
        Of a MeanDenoiser x_0 itself: images (..., pixels, channels).

    Raises:
        ValueError: unless exactly one of ``num_samples`` and ``x_T`` is given, if one of the
            arguments is out of range, if the schedule's length is not that of the denoiser's own,
            if the denoiser cannot draw jointly, or if it gives NaN. Inside a trace, a sequence
            spoilt by NaN is −1.

    Example:
        >>> hm.sample_ancestral(key, denoiser, schedule, 3).shape
        (3, 4)
    """
    check_key(key)
    allowed = "False for a denoiser that knows single positions only"
    require(not joint or hasattr(denoiser, "draw"), "joint", joint, allowed)
    noise_key, step_key = jax.random.split(key)
    x_T, start = starting_point(noise_key, denoiser, schedule, num_samples, x_T, start)
    reverse = _reverse_jointly if joint else _reverse
    return run_sampler(reverse, denoiser, step_key, schedule, x_T, jnp.asarray(start))


def u_turn(
    key: Key[Array, ""],
    denoiser: AnyDenoiser,
    schedule: Process,
    x_0: Num[Array | np.ndarray, "..."],
    t: int,
    *,
    joint: bool = False,
) -> Num[Array, "..."]:
    """Noise clean sequences or images up to step t and denoise them back to 0.

    Args:
        key: one typed key.
        denoiser: as in :func:`sample_ancestral`, on the way back.
        schedule: the noise, any Process.
        x_0: (..., num_leaves) symbols, or the same one-hot, (..., num_leaves, vocab_size); or
            images (..., pixels, channels), if the denoiser is of such.
        t: the turning point, in 1…num_steps.
        joint: as in :func:`sample_ancestral`.

    Returns:
        int32 sequences (..., num_leaves), or images.

    Raises:
        ValueError: as :func:`sample_ancestral`, if a symbol or step is out of range, or if neither
            denoiser nor noise has a fixed vocabulary.

    Example:
        >>> hm.u_turn(key, denoiser, schedule, leaves, 10).shape
        (8, 4)
    """
    check_key(key)
    check_schedule(denoiser, schedule)
    check_steps(t, schedule.num_steps)
    x_0 = _clean(denoiser, schedule, jnp.asarray(x_0))
    x_0 = check_input(denoiser, schedule, x_0, t, "x_0")
    up_key, down_key = jax.random.split(key)
    x_t = schedule.corrupt(up_key, x_0, t)
    return sample_ancestral(down_key, denoiser, schedule, x_T=x_t, start=t, joint=joint)


def starting_point(
    key: Key[Array, ""],
    denoiser: AnyDenoiser,
    schedule: Process,
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
        raise InputError("num_samples=None is not allowed: give either num_samples or x_T")
    num_samples = check_integer("num_samples", num_samples, 0)
    shape = _shape_of_noise(denoiser, schedule)
    if shape is None:
        raise InputError(
            f"x_T=None is not allowed: {denoiser_name(denoiser)} has no fixed shape (num_leaves "
            "and vocab_size), so x_T must be an array"
        )
    return schedule.pure_noise(key, num_samples, *shape), start


def _shape_of_noise(denoiser: AnyDenoiser, process: Process) -> tuple[int, int] | None:
    """The denoiser's axes of one x_t; symbols that the process knows it need not name."""
    num_leaves = getattr(denoiser, "num_leaves", None)
    if process.vocab_size is None or num_leaves is None:
        return event_shape(denoiser)
    return num_leaves, process.vocab_size


def _clean(denoiser: AnyDenoiser, process: Process, x_0: Array) -> Array:
    """Clean data in the process's layout, if they are given as symbols."""
    if jnp.issubdtype(x_0.dtype, jnp.floating):
        return x_0
    vocab_size = known_vocab_size(denoiser, process)
    if vocab_size is None:
        raise InputError(
            f"x_0 with dtype {x_0.dtype} is not allowed: {denoiser_name(denoiser)} has no "
            "fixed vocabulary (vocab_size), so x_0 must be one-hot"
        )
    check_symbols("x_0", x_0, vocab_size)
    return process.encode(x_0, vocab_size)


def _reverse(
    denoiser: AnyDenoiser,
    key: Key[Array, ""],
    process: Process,
    x_T: Shaped[Array, "..."],
    start: Int[Array, ""],
) -> Num[Array, "..."]:
    return _steps_back(
        lambda x_t, t: expectation(denoiser, process, x_t, t), denoiser, key, process, x_T, start
    )


def _reverse_jointly(
    denoiser: AnyDenoiser,
    key: Key[Array, ""],
    process: Process,
    x_T: Shaped[Array, "..."],
    start: Int[Array, ""],
) -> Num[Array, "..."]:
    draw_key, step_key = jax.random.split(key)

    def drawn(x_t: Array, t: Array) -> Array:
        return _draw(denoiser, jax.random.fold_in(threefry_key(draw_key), t), process, x_t, t)

    return _steps_back(drawn, denoiser, step_key, process, x_T, start)


def _steps_back(
    estimate: Callable[[Array, Array], Array],
    denoiser: AnyDenoiser,
    key: Key[Array, ""],
    process: Process,
    x_T: Shaped[Array, "..."],
    start: Int[Array, ""],
) -> Num[Array, "..."]:
    """Reverse steps from ``start`` on with x̂_0 = estimate(x_t, t)."""

    def step(index: Array, x_t: Array) -> Array:
        t = start - index
        step_key = jax.random.fold_in(threefry_key(key), t)
        return process.reverse_step(step_key, x_t, estimate(x_t, t), t)

    # A dynamic number of steps: one compilation serves every starting point.
    return finished(denoiser, process, jax.lax.fori_loop(0, start, step, x_T))


def _draw(denoiser, key: Key[Array, ""], process: Process, x_t: Array, t: Array) -> Array:
    """Whole sequences x_0, one-hot, each from its own key; NaN where the denoiser failed."""
    num_axes = 2 if process.num_states is None else 1
    batch, event = x_t.shape[:-num_axes], x_t.shape[-num_axes:]
    num_rows = prod(batch)
    x_0 = denoiser.draw(sample_keys(key, num_rows), x_t.reshape(num_rows, *event), t)
    dtype = x_t.dtype if process.num_states is None else None
    num_symbols = process.vocab_size or denoiser.vocab_size
    one_hot = jax.nn.one_hot(x_0, num_symbols, dtype=dtype or jnp.result_type(float))
    one_hot = jnp.where((x_0 < 0)[..., None], jnp.nan, one_hot)
    return one_hot.reshape(*batch, *one_hot.shape[1:])
