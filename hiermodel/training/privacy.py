"""Differentially private training (DP-SGD) through jax-privacy: the only file that knows it.

Abadi et al., arXiv:1607.00133. At each step every sequence takes part with probability
batch_size / n, by itself (Poisson sampling); each one's gradient is clipped to a norm; Gaussian
noise is added to the *sum* of the clipped gradients, which is then divided by the expected batch
size. Batches of every size up to n are computed whole, in micro-batches of which only those that
hold sequences cost time: nothing is truncated, so the accountant's assumption holds exactly.

What is guaranteed: (epsilon, delta) for adding or removing one sequence, for whoever sees all
checkpoints. Losses, gradient norms and the progress bar are exact figures of the data, and are not
covered.
"""

import dataclasses
import functools
import math
from collections.abc import Callable
from types import ModuleType
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, Key

from hiermodel.checks import check_integer, require

Accountant = Literal["rdp", "pld"]


@dataclasses.dataclass(frozen=True)
class PrivacyConfig:
    """How much each sequence may tell, and how much of it noise hides.

    Attributes:
        clip_norm: bound on the norm of one sequence's gradient.
        noise_multiplier: standard deviation of the noise on the sum, in units of ``clip_norm``.

    Raises:
        ValueError: for any value outside these.

    Example:
        >>> hm.training.PrivacyConfig(clip_norm=0.5, noise_multiplier=2.0).noise_multiplier
        2.0
    """

    clip_norm: float = 1.0
    noise_multiplier: float = 1.0

    def __post_init__(self):
        for name in ("clip_norm", "noise_multiplier"):
            value = getattr(self, name)
            require(0 < value < math.inf, name, value, "positive and finite")


def _jax_privacy() -> ModuleType:
    """The library, loaded when it is first needed.

    Raises:
        ImportError: if it is not installed, naming the extra.
    """
    try:
        import jax_privacy
    except ImportError as error:
        raise ImportError(
            "private training needs jax-privacy: pip install 'hiermodel[privacy]'"
        ) from error
    return jax_privacy


# Which sequences take part.


def sampling_threshold(num_sequences: int, batch_size: int) -> int:
    """Of the 2^32 values of a random word, how many let a sequence take part in a step.

    Their share is the sampling probability batch_size / n, never more than it.
    """
    return min(batch_size, num_sequences) * 2**32 // num_sequences


def poisson_batch(
    key: Key[Array, ""], num_sequences: int, batch_size: int
) -> tuple[Int[Array, " num_sequences"], Float[Array, " num_sequences"]]:
    """Rows that take part in a step, and 1 for each of them; the rest is padding of weight 0.

    Args:
        key: of this step.
        num_sequences: n.
        batch_size: the expected number of rows.
    """
    threshold = sampling_threshold(num_sequences, batch_size)
    words = jax.random.bits(key, (num_sequences,), jnp.uint32)
    chosen = words <= np.uint32(threshold - 1) if threshold else jnp.zeros_like(words, bool)
    (rows,) = jnp.nonzero(chosen, size=num_sequences, fill_value=0)
    weights = jnp.arange(num_sequences) < chosen.sum()
    return rows.astype(jnp.int32), weights.astype(jnp.float32)


# The gradient.


def private_gradient(
    loss: Callable[[Any, Any], Float[Array, ""]],
    params: Any,
    batch: Any,
    is_real: Bool[Array, " rows"],
    key: Key[Array, ""],
    privacy: PrivacyConfig,
    *,
    batch_size: int,
    micro_batch_size: int,
    batch_axis: str | None = None,
) -> tuple[Float[Array, ""], Any]:
    """Mean loss of the real rows, not private, and a private estimate of its gradient.

    Args:
        loss: of parameters and a batch of one row.
        params: parameters.
        batch: a tree of arrays with rows first, real rows before padding.
        is_real: which rows are not padding.
        key: of the noise.
        privacy: norm and noise.
        batch_size: the expected number of real rows, by which the noisy sum is divided.
        micro_batch_size: rows whose gradients are held at a time.
        batch_axis: mesh axis over whose devices to spread the rows; None for no mesh.

    Returns:
        The loss, not finite if the gradient of any real row is not: clipping would hide that.
    """
    total, losses = clipped_sum(
        loss, params, batch, is_real, privacy.clip_norm, micro_batch_size, batch_axis
    )
    noisy = add_noise_to_sum(total, key, privacy)
    gradient = jax.tree.map(lambda array: array / batch_size, noisy)
    return losses / jnp.maximum(is_real.sum(), 1).astype(losses.dtype), gradient


def clipped_sum(
    loss: Callable[[Any, Any], Float[Array, ""]],
    params: Any,
    batch: Any,
    is_real: Bool[Array, " rows"],
    clip_norm: float,
    micro_batch_size: int,
    batch_axis: str | None = None,
) -> tuple[Any, Float[Array, ""]]:
    """Sum over the real rows of their clipped gradients, without noise, and of their losses."""
    if batch_axis is not None:
        batch, is_real = _own_share((batch, is_real), batch_axis)
    num_rows = len(is_real)
    batch, is_real = _pad((batch, is_real), -num_rows % micro_batch_size)
    # Micro-batch i takes every so-manieth row; in this order real rows fill the first of them.
    order = np.arange(len(is_real)).reshape(-1, micro_batch_size).T.ravel()
    batch, is_real = jax.tree.map(lambda array: array[order], (batch, is_real))
    gradients = _jax_privacy().clipped_grad(
        loss,
        l2_clip_norm=clip_norm,
        return_values=True,
        return_grad_norms=True,
        microbatch_size=micro_batch_size,
    )
    total, about = gradients(params, batch, is_padding_example=~is_real)
    fine = jnp.isfinite(about.grad_norms)
    losses = jnp.where(is_real, jnp.where(fine, about.values, jnp.nan), 0).sum()
    return (total, losses) if batch_axis is None else jax.lax.psum((total, losses), batch_axis)


def add_noise_to_sum(total: Any, key: Key[Array, ""], privacy: PrivacyConfig) -> Any:
    """The sum of clipped gradients, with noise of standard deviation multiplier × norm on it."""
    deviation = privacy.noise_multiplier * privacy.clip_norm
    mechanism = _jax_privacy().noise_addition.gaussian_privatizer(stddev=deviation, prng_key=key)
    noisy, _ = mechanism.update(total, mechanism.init(total))
    return noisy


def _own_share(rows: Any, batch_axis: str) -> Any:
    """Every so-manieth row, so that each device of the axis has as many real ones."""
    num_devices = jax.lax.axis_size(batch_axis)
    num_rows = len(jax.tree.leaves(rows)[0])
    padded = _pad(rows, -num_rows % num_devices)
    index = jax.lax.axis_index(batch_axis)
    return jax.tree.map(lambda a: a.reshape(-1, num_devices, *a.shape[1:])[:, index], padded)


def _pad(rows: Any, count: int) -> Any:
    return jax.tree.map(lambda a: jnp.pad(a, [(0, count)] + [(0, 0)] * (a.ndim - 1)), rows)


# The accountant.


@functools.lru_cache(maxsize=1024)
def epsilon_spent(
    privacy: PrivacyConfig,
    num_sequences: int,
    batch_size: int,
    epochs: int,
    *,
    delta: float | None = None,
    accountant: Accountant = "rdp",
) -> float:
    """Epsilon after some epochs, for adding or removing one sequence.

    Args:
        privacy: norm and noise.
        num_sequences: n.
        batch_size: expected sequences per step; an epoch is ⌈n / batch_size⌉ steps.
        epochs: from the start of training, 0 or more.
        delta: probability at which more may leak; None for 1 / n.
        accountant: "rdp", by Rényi divergences, quick; or "pld", by the law of the privacy loss,
            tighter and seconds per call. Both are upper bounds.

    Raises:
        ValueError: for numbers that make no sense.
        ImportError: without jax-privacy.

    Example:
        >>> privacy = hm.training.PrivacyConfig(noise_multiplier=2.0)
        >>> few, many = (hm.training.epsilon_spent(privacy, 1000, 100, n) for n in (1, 10))
        >>> 0 < few < many
        True
    """
    num_sequences = check_integer("num_sequences", num_sequences, 1)
    batch_size = min(check_integer("batch_size", batch_size, 1), num_sequences)
    epochs = check_integer("epochs", epochs, 0)
    delta = 1 / num_sequences if delta is None else delta
    require(0 < delta <= 1, "delta", delta, "above 0 and at most 1")
    require(accountant in ("rdp", "pld"), "accountant", accountant, "'rdp' or 'pld'")
    accounting = _jax_privacy().accounting
    kinds = {"rdp": accounting.RdpAccountantConfig, "pld": accounting.PldAccountantConfig}
    asked = accounting.DpParams(
        noise_multipliers=privacy.noise_multiplier,
        num_samples=num_sequences,
        delta=delta,
        batch_size=batch_size,
    )
    steps = epochs * -(-num_sequences // batch_size)
    training = accounting.DpsgdTrainingAccountant(kinds[accountant]())
    return float(training.compute_epsilon(steps, asked))
