"""Networks with parameters, as denoisers."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from hiermodel.checks import check_trailing_shape
from hiermodel.diffusion.inputs import check_noisy
from hiermodel.diffusion.process import Steps
from hiermodel.diffusion.schedule import Schedule
from hiermodel.networks.network import Network, Params, apply, param_shapes

_apply_compiled = jax.jit(apply, static_argnames="network")


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, eq=False)
class LearnedDenoiser:
    """A network as a Denoiser: (x_t, t) to log-probabilities of x_0 per position.

    Attributes:
        network: symbols are its target.
        params: its parameters.
        num_steps: T of the noise that it was trained on, to check steps by; None if unknown.
    """

    network: Network = dataclasses.field(metadata={"static": True})
    params: Params
    num_steps: int | None = dataclasses.field(metadata={"static": True})

    @property
    def num_leaves(self) -> int:
        """Length of the sequences."""
        return self.network.target.event_shape[0]

    @property
    def vocab_size(self) -> int:
        """Number of symbols."""
        return self.network.target.event_shape[1]

    def logits(self, x_t: Float[Array | np.ndarray, "..."], t: Steps) -> Float[Array, "..."]:
        """Unnormalised log-probabilities (..., num_leaves, vocab_size), without dropout.

        Raises:
            ValueError: for an x_t of the wrong shape or dtype or not finite, or a t that is not a
                step or does not broadcast against the leading axes.
        """
        unknown = np.iinfo(np.int32).max  # as many steps as there are numbers for
        x_t = check_noisy(self, unknown if self.num_steps is None else self.num_steps, x_t, t)
        return _apply_compiled(self.network, self.params, x_t, jnp.asarray(t))

    def __call__(self, x_t: Float[Array | np.ndarray, "..."], t: Steps) -> Float[Array, "..."]:
        """Log-probabilities (..., num_leaves, vocab_size) of x_0 given x_t at step t."""
        return jax.nn.log_softmax(self.logits(x_t, t), axis=-1)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, eq=False)
class LearnedPixelDenoiser:
    """A network that predicts noise as a MeanDenoiser: (x_t, t) to E[x_0 | x_t].

    Attributes:
        network: noise is its target.
        params: its parameters.
        schedule: the noise that it was trained on.
    """

    network: Network = dataclasses.field(metadata={"static": True})
    params: Params
    schedule: Schedule

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
    process: Schedule | None = None,
) -> Any:
    """Make a Denoiser of a network, or a MeanDenoiser of one that predicts noise.

    Args:
        network: the network.
        params: its parameters, as ``init_params`` makes them. A leading member axis on every one
            is allowed if the denoiser is then called under ``jax.vmap``.
        process: the noise that it was trained on; None, for symbols, to accept any step from 1.

    Raises:
        ValueError: if parameters are missing, unknown or misshaped; or, for a network that predicts
            noise, if the process is left out or its last step leaves no signal: there all is noise,
            and knowing it says nothing of x_0.
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
