"""Networks with parameters, as denoisers."""

import dataclasses
import functools
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from hiermodel.checks import check_trailing_shape
from hiermodel.diffusion.inputs import check_input, check_noisy
from hiermodel.diffusion.process import Noisy, Process, Steps
from hiermodel.diffusion.schedule import Schedule
from hiermodel.networks.network import Network, Params, apply, param_shapes

_apply_compiled = jax.jit(apply, static_argnames="network")


class Losses(NamedTuple):
    """How the training of a network went.

    Attributes:
        steps: (points,) steps done.
        values: (points,) mean loss over the steps since the point before, in nats per position, or
            for images in squared units of the noise.

    Example:
        >>> losses = hm.networks.Losses(np.array([1, 2]), np.array([0.9, 0.7]))
        >>> float(losses.values[-1])
        0.7
    """

    steps: Int[np.ndarray, " points"]
    values: Float[np.ndarray, " points"]


def shown(
    x_t: Float[Array, "*batch leaves states"], vocab_size: int
) -> Float[Array, "*batch leaves vocab"]:
    """What a network sees of one-hot states: a state beyond the symbols, a mask, is zero."""
    return x_t[..., :vocab_size]


@functools.partial(
    jax.tree_util.register_dataclass,
    data_fields=["params"],
    meta_fields=["network", "num_steps", "num_states"],
    drop_fields=["losses"],
)
@dataclasses.dataclass(frozen=True, eq=False)
class LearnedDenoiser:
    """A network as a Denoiser: (x_t, t) to log-probabilities of x_0 per position.

    Attributes:
        network: symbols are its target.
        params: its parameters.
        num_steps: T of the noise that it was trained on, to check steps by; None if unknown.
        num_states: number of symbols that a noisy position may hold; None if it holds reals.
        losses: its training, if ``fit`` made it. No part of it as a pytree.

    Example:
        >>> params = network.init(key)
        >>> learned = hm.networks.learned_denoiser(network, params)
        >>> (learned.num_leaves, learned.vocab_size, learned(noisy, 5).shape)
        (4, 2, (8, 4, 2))
    """

    network: Network
    params: Params
    num_steps: int | None
    num_states: int | None = None
    losses: Losses | None = None

    @property
    def num_leaves(self) -> int:
        """Length of the sequences."""
        return self.network.target.event_shape[0]

    @property
    def vocab_size(self) -> int:
        """Number of symbols."""
        return self.network.target.event_shape[1]

    def logits(self, x_t: Noisy, t: Steps) -> Float[Array, "..."]:
        """Unnormalised log-probabilities (..., num_leaves, vocab_size), without dropout.

        Raises:
            ValueError: for an x_t of the wrong shape or dtype or not finite, or a t that is not a
                step or does not broadcast against the leading axes.
        """
        unknown = np.iinfo(np.int32).max  # as many steps as there are numbers for
        noise = _Noise(unknown if self.num_steps is None else self.num_steps, self.num_states)
        checked: Any = check_input(self, noise, x_t, t)
        if self.num_states is not None:
            checked = shown(jax.nn.one_hot(checked, self.num_states), self.vocab_size)
        return _apply_compiled(self.network, self.params, checked, jnp.asarray(t))

    def __call__(self, x_t: Noisy, t: Steps) -> Float[Array, "..."]:
        """Log-probabilities (..., num_leaves, vocab_size) of x_0 given x_t at step t."""
        return jax.nn.log_softmax(self.logits(x_t, t), axis=-1)


class _Noise(NamedTuple):
    """What a denoiser's input is checked by."""

    num_steps: int
    num_states: int | None


@functools.partial(
    jax.tree_util.register_dataclass,
    data_fields=["params", "schedule"],
    meta_fields=["network"],
    drop_fields=["losses"],
)
@dataclasses.dataclass(frozen=True, eq=False)
class LearnedPixelDenoiser:
    """A network that predicts noise as a MeanDenoiser: (x_t, t) to E[x_0 | x_t].

    Attributes:
        network: noise is its target.
        params: its parameters.
        schedule: the noise that it was trained on.
        losses: its training, if ``fit`` made it. No part of it as a pytree.
    """

    network: Network
    params: Params
    schedule: Schedule
    losses: Losses | None = None

    @property
    def event_shape(self) -> tuple[int, int]:
        """Pixels and channels of one image."""
        return self.network.target.event_shape

    def noise(self, x_t: Float[Array | np.ndarray, "..."], t: Steps) -> Float[Array, "..."]:
        """The predicted noise (..., pixels, channels), without dropout.

        Raises:
            ValueError: as :meth:`LearnedDenoiser.logits`.
        """
        x_t = check_noisy(self, self.schedule.num_steps, x_t, t)
        return _apply_compiled(self.network, self.params, x_t, jnp.asarray(t))

    def __call__(self, x_t: Float[Array | np.ndarray, "..."], t: Steps) -> Float[Array, "..."]:
        """E[x_0 | x_t] = (x_t − sqrt(1 − abar_t) noise) / sqrt(abar_t), (..., pixels, channels)."""
        noise = self.noise(x_t, t)
        return self.schedule.remove_noise(jnp.asarray(x_t), noise, t)


def learned_denoiser(
    network: Network,
    params: Mapping[str, Array | np.ndarray],
    process: Process | None = None,
) -> Any:
    """Make a Denoiser of a network, or a MeanDenoiser of one that predicts noise.

    Args:
        network: the network.
        params: its parameters, as ``network.init`` makes them. A leading member axis on every one
            is allowed if the denoiser is then called under ``jax.vmap``.
        process: the noise that it was trained on; None, for symbols in Gaussian noise, to accept
            any step from 1.

    Raises:
        ValueError: if parameters are missing, unknown or misshaped; or, for a network that predicts
            noise, if the process is left out or its last step leaves no signal: there all is noise,
            and knowing it says nothing of x_0.

    Example:
        >>> params = network.init(key)
        >>> learned = hm.networks.learned_denoiser(network, params, schedule)
        >>> hm.sample_ancestral(key, learned, schedule, 3).shape
        (3, 4)
    """
    expected = param_shapes(network)
    check_names("params", params, expected)
    for name, shape in expected.items():
        check_trailing_shape(f"params[{name!r}]", params[name], shape, "the network's shape")
    own = {name: jnp.asarray(params[name]) for name in expected}
    return network.target.denoiser(network, own, process)


def check_names(argument: str, given: Any, expected: Any) -> None:
    """Refuse a mapping that lacks some of the expected names, or has others."""
    missing, unknown = sorted(set(expected) - set(given)), sorted(set(given) - set(expected))
    if missing or unknown:
        raise ValueError(
            f"{argument} does not hold the network's parameters: missing {missing}, "
            f"unknown {unknown}"
        )
