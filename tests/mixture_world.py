"""Points at two places, up to normal noise: a law whose exact denoiser fits in two lines."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

from experiments.worlds.images import ImageSplits
from experiments.worlds.world import Reference, World
from hiermodel.diffusion.schedule import Schedule


@dataclasses.dataclass(frozen=True)
class MixtureConfig:
    """How widely points scatter about ±1."""

    width: float = 0.5


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, eq=False)
class ExactDenoiser:
    """E[x_0 | x_t]: in either component x_0 and x_t are jointly normal."""

    schedule: Schedule
    width: float
    event_shape = (4, 1)

    def __call__(self, x_t, t):
        """Of shape (..., 4, 1)."""
        steps = jnp.broadcast_to(jnp.asarray(t), x_t.shape[:-2])[..., None, None]
        keep, noise = self.schedule.alpha_bar[steps], self.schedule.noise_variance[steps]
        spread = keep * self.width**2 + noise
        up = jax.nn.sigmoid((2 * jnp.sqrt(keep) * x_t / spread).sum((-2, -1), keepdims=True))
        gain = jnp.sqrt(keep) * self.width**2 / spread
        sides = [side + gain * (x_t - jnp.sqrt(keep) * side) for side in (1.0, -1.0)]
        return up * sides[0] + (1 - up) * sides[1]


class Mixture(World):
    """Four points at a time, all near +1 or all near −1."""

    config = MixtureConfig
    examples = "points"
    axes = ("point", "channel")

    def shape(self, data):
        """Two by two, for a U-Net."""
        return {"height": 2, "width": 2, "channels": 1}

    def fresh(self, key, run, count):
        """Points from the law."""
        side_key, key = jax.random.split(key)
        sides = jax.random.rademacher(side_key, (count, 1, 1))
        scatter = run.data.width * jax.random.normal(key, (count, 4, 1))
        return np.asarray(sides + scatter, np.float32)

    def splits(self, key, run):
        """Independent draws."""
        size = run.num_splits * run.split_size
        points = self.fresh(key, run, size + run.test_size).reshape(-1, 2, 2, 1)
        train = points[:size].reshape(run.num_splits, run.split_size, 2, 2, 1)
        return ImageSplits(train, points[size:])

    def as_drawn(self, splits):
        """Points along one axis."""
        train, test = (part.reshape(*part.shape[:-3], 4, 1) for part in (splits.train, splits.test))
        return ImageSplits(train, test)

    def shared(self, run):
        """Only seeds leave a network alone."""
        return {"num_seeds": 1}

    def exact(self, run):
        """In closed form."""
        return ExactDenoiser(run.schedule, run.data.width)

    def oracles(self, run):
        """It alone."""
        return (self.exact(run),)

    def references(self, run):
        """The floor of the loss."""
        return {"loss_floor": Reference("loss of the exact denoiser", lambda _: self.exact(run))}

    def describe(self, run):
        """Where the points are."""
        return f"points about ±1, width {run.data.width}"


WORLD = Mixture()
