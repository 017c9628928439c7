"""Networks on many training sets, trained as one program and looked at along the way."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key

import hiermodel as hm
from hiermodel.diffusion.process import Process
from hiermodel.networks import LearnedDenoiser, Network, TreeUNetConfig

LEAST = 0.001
"""Of the first rate, what is left of one that falls."""


@dataclasses.dataclass(frozen=True)
class Regime:
    """How networks are trained: by Adam, measured on a running average.

    Attributes:
        width: features of a node or token.
        num_steps: of Adam.
        batch_size: sequences per step.
        learning_rate: Adam's, the first one.
        average: share that the running average of the weights keeps at each step.
        every: the least distance of checkpoints, in steps.
        num_checkpoints: about evenly spaced in the logarithm of the step.
        falling: whether the rate falls, as a cosine to ``LEAST`` of it; it is constant otherwise.
    """

    width: int = 32
    num_steps: int = 2400
    batch_size: int = 32
    learning_rate: float = 3e-3
    average: float = 0.998
    every: int = 20
    num_checkpoints: int = 12
    falling: bool = False

    @property
    def checkpoints(self) -> Int[np.ndarray, " checkpoints"]:
        """Steps at which networks are looked at."""
        most = self.num_steps // self.every
        return self.every * np.unique(np.rint(np.geomspace(1, most, self.num_checkpoints))).astype(
            int
        )

    @property
    def times(self) -> Float[np.ndarray, " checkpoints"]:
        """Sums of rates up to the checkpoints, in units of the first one: steps, if constant."""
        if not self.falling:
            return self.checkpoints.astype(np.float64)
        cosine = (1 + np.cos(np.pi * np.arange(self.num_steps) / self.num_steps)) / 2
        return np.cumsum(LEAST + (1 - LEAST) * cosine)[self.checkpoints - 1]


def tree_u_net(regime: Regime, depth: int, process: Process) -> TreeUNetConfig:
    """The tree U-Net of a regime's width for binary trees; the process knows its symbols."""
    assert process.vocab_size is not None  # noise on symbols
    return TreeUNetConfig(
        depth=depth, branching=2, vocab_size=process.vocab_size, width=regime.width
    )


def follow(
    key: Key[Array, ""],
    regime: Regime,
    network: Network,
    process: Process,
    sets: Sequence[Int[np.ndarray, "rows leaves"]],
    look: Callable[[LearnedDenoiser], Any],
) -> Any:
    """Train a network on each set, and look at all of them at every checkpoint.

    Sets of different sizes are repeated to the same length: one program for all.

    Args:
        key: initial values, order of the data and noise.
        regime: how they are trained.
        network: of symbols.
        process: the noise.
        sets: training sequences, one network each.
        look: given all networks as one, a first axis of its parameters being theirs, gives an
            array, or a tree of them.

    Returns:
        What was seen, with a first axis of checkpoints.
    """
    rows, wanted, found = max(map(len, sets)), set(regime.checkpoints.tolist()), []

    def callback(progress: hm.training.FitProgress) -> None:
        if progress.step in wanted:
            found.append(look(jax.tree.map(lambda *own: jnp.stack(own), *progress.denoisers())))

    hm.fit(
        key,
        network,
        np.stack([np.resize(own, (rows, own.shape[1])) for own in sets]),
        process,
        num_steps=regime.num_steps,
        batch_size=regime.batch_size,
        learning_rate=regime.learning_rate,
        ema_decays=(regime.average,),
        **({"rate_schedule": "cosine", "final_factor": LEAST} if regime.falling else {}),
        points=regime.num_steps // regime.every,
        callback=callback,
        progress=False,
    )
    return jax.tree.map(lambda *own: np.stack(own), *found)


def along_training(
    key: Key[Array, ""],
    regime: Regime,
    network: Network,
    process: Process,
    sets: Sequence[Int[np.ndarray, "rows leaves"]],
    x_t: Array,
    t: Int[Array, " inputs"],
    measure: Callable[[Float[Array, "members inputs leaves vocab"]], np.ndarray],
) -> Float[np.ndarray, "checkpoints ..."]:
    """Train a network on each set, and measure what all of them give at every checkpoint.

    Args:
        key: as the four that come after it: of ``follow``.
        regime: how they are trained.
        network: of symbols.
        process: the noise.
        sets: training sequences, one network each.
        x_t: (members, inputs, …) noisy sequences, for each network its own.
        t: their steps, the same for all networks.
        measure: given log-probabilities of x_0 of all networks.
    """
    return follow(
        key, regime, network, process, sets, lambda members: measure(_outputs(members, x_t, t))
    )


@jax.jit
def _outputs(members: Any, x_t: Array, t: Array) -> Float[Array, "members inputs leaves vocab"]:
    return jax.lax.map(lambda own: own[0](own[1], t), (members, x_t))
