"""The mean of several denoisers: a mixture of what they predict at every position."""

import dataclasses
import math
from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from hiermodel.checks import require
from hiermodel.diffusion.denoiser import Denoiser, own_num_steps
from hiermodel.diffusion.process import Noisy, Steps


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, eq=False)
class AveragedDenoiser:
    """Averages the probabilities, and so the predicted E[x_0 | x_t], of its parts."""

    parts: tuple[Denoiser, ...]

    @property
    def num_leaves(self) -> int | None:
        """Length of the sequences."""
        return self.parts[0].num_leaves

    @property
    def vocab_size(self) -> int | None:
        """Number of symbols."""
        return self.parts[0].vocab_size

    @property
    def num_steps(self) -> int | None:
        """T of the noise that a part knows; None if none does."""
        return next(filter(None, map(own_num_steps, self.parts)), None)

    def __call__(self, x_t: Noisy, t: Steps) -> Float[Array, "..."]:
        """Log-probabilities (..., num_leaves, vocab_size) of x_0 given x_t at step t."""
        outputs = jnp.stack([part(x_t, t) for part in self.parts])
        return jax.nn.logsumexp(outputs, axis=0) - math.log(len(self.parts))


def averaged_denoiser(parts: Sequence[Denoiser]) -> AveragedDenoiser:
    """The denoiser whose probabilities are the mean of those of its parts.

    Raises:
        ValueError: for no parts, or parts of different shapes or numbers of steps.

    Example:
        >>> coarse = hm.exact_denoiser(grammar, schedule, filter_level=2)
        >>> hm.diffusion.averaged_denoiser([denoiser, coarse])(noisy, 5).shape
        (8, 4, 2)
    """
    require(len(parts) > 0, "parts", parts, "at least one denoiser")
    shapes = {(part.num_leaves, part.vocab_size) for part in parts}
    require(len(shapes) == 1, "parts", shapes, "denoisers of one length and vocabulary")
    lengths = {own_num_steps(part) for part in parts} - {None}
    require(len(lengths) <= 1, "parts", lengths, "denoisers of noise with one num_steps")
    return AveragedDenoiser(tuple(parts))
