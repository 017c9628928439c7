"""The least denoising loss that any denoiser can have, step by step (science.md#measures)."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key

from hiermodel.checks import check_integer, check_key, check_steps, require
from hiermodel.diffusion.denoisers import exact_denoiser
from hiermodel.diffusion.process import Process
from hiermodel.grammar.rules import Grammar
from hiermodel.grammar.sampling import sample_leaves
from hiermodel.measures.along_noise import evaluate_along
from hiermodel.measures.loss import denoising_loss
from hiermodel.measures.uncertainty import Interval, student_interval


def loss_floor(
    key: Key[Array, ""],
    grammar: Grammar,
    schedule: Process,
    steps: Int[Array | np.ndarray, " steps"],
    num_sequences: int,
    *,
    filter_level: int = 0,
    denoiser_level: int | None = None,
    level: float = 0.95,
) -> Interval:
    """Expected cross-entropy of the exact denoiser at each step: no denoiser has less.

    It is the mean over positions of H(x_0[i] | x_t): 0 at the clean end, the mean entropy of a
    symbol where no signal is left, and never falling in between. Monte Carlo over sequences drawn
    from the model, each under one noise at all steps, so that differences along t carry less error
    than the intervals, which are per step, say.

    Args:
        key: one typed key; more sequences leave the first ones as they were.
        grammar: the model of the data.
        schedule: the noise, any Process.
        steps: (steps,) integers in 1…num_steps.
        num_sequences: at least 2.
        filter_level: filter level k of the data.
        denoiser_level: filter level of the denoiser; that of the data if left out. With another
            one the result is no floor, but where the loss of a denoiser rests that knows the data
            only from this level on.
        level: nominal coverage of the intervals.

    Returns:
        Estimate and Student interval per step, in nats per position.

    Raises:
        ValueError: for a wrong key or a number out of range.

    Example:
        >>> hm.measures.loss_floor(key, grammar, schedule, np.array([1, 20]), 10).estimate.shape
        (2,)
    """
    check_key(key)
    steps = check_step_list(schedule, steps)
    num_sequences = check_integer("num_sequences", num_sequences, 2)
    filter_level = check_integer("filter_level", filter_level, 0, grammar.depth)
    if denoiser_level is None:
        denoiser_level = filter_level
    denoiser_level = check_integer("denoiser_level", denoiser_level, 0, grammar.depth)
    losses = _losses(key, grammar, schedule, steps, num_sequences, filter_level, denoiser_level)
    return student_interval(losses, level=level)


def check_step_list(
    schedule: Process, steps: Int[Array | np.ndarray, " steps"]
) -> Int[Array, " steps"]:
    """Return a list of steps as an array, after checking it."""
    require(np.ndim(steps) == 1 and len(steps) > 0, "steps", steps, "a list of at least one step")
    check_steps(steps, schedule.num_steps)
    return jnp.asarray(steps)


@functools.partial(jax.jit, static_argnames=("num_sequences", "filter_level", "denoiser_level"))
def _losses(
    key: Key[Array, ""],
    grammar: Grammar,
    schedule: Process,
    steps: Int[Array, " steps"],
    num_sequences: int,
    filter_level: int,
    denoiser_level: int,
) -> Float[Array, "num_sequences steps"]:
    data_key, noise_key = jax.random.split(key)
    leaves = sample_leaves(data_key, grammar, num_sequences, filter_level=filter_level)
    x_0 = schedule.encode(leaves, grammar.vocab_size, grammar.log_weights.dtype)
    denoiser = exact_denoiser(grammar, schedule, filter_level=denoiser_level)

    def loss(x_t: Array, t: Array, clean: Array) -> Array:
        return denoising_loss(denoiser(x_t, t), clean)

    return evaluate_along(noise_key, schedule, x_0, steps, loss, leaves)
