"""How much memory a member takes while it is trained, told from shapes, without compiling."""

import dataclasses
import math
import os

import jax
import jax.numpy as jnp

from hiermodel.training.epochs import runs_side_by_side
from hiermodel.training.state import Ensemble, init_member
from hiermodel.training.step import Batch, step_loss

_STATE_COPIES = 2
"""A call of ``train_epochs`` reads one state and writes another."""


@dataclasses.dataclass(frozen=True)
class MemberMemory:
    """Bytes of one member.

    Attributes:
        state: parameters, Adam's moments and whatever else is kept from step to step.
        step: gradient, update, and what the forward pass keeps for the backward pass.
    """

    state: int
    step: int

    @property
    def side_by_side(self) -> int:
        """All that it takes where the steps of members run side by side."""
        return _STATE_COPIES * self.state + self.step


def member_memory(ensemble: Ensemble) -> MemberMemory:
    """What a member of an ensemble takes, in float32.

    The step's part is an upper bound: fusion keeps less than is counted here, but for the
    neighbourhoods of pixels that a CPU gathers for convolutions.
    """
    key = jax.random.key(0)

    decays = ensemble.training.ema_decays

    def kept_between_steps():
        member = init_member(key, ensemble.network, decays=decays)
        return member.params, member.opt_state, member.averages

    state = jax.eval_shape(kept_between_steps)
    training = ensemble.training
    rows = min(training.batch_size, training.rows_at_once)
    target = ensemble.network.target
    x_0 = jnp.zeros((rows, *target.shape), target.dtype)
    batch = Batch(x_0, jnp.ones(rows, jnp.float32), jnp.arange(rows, dtype=jnp.uint32))

    def kept_in_step(params):
        def loss(params):
            return step_loss(params, ensemble.network, training, ensemble.schedule, batch, key)

        return jax.vjp(loss, params)[1]

    params = state[0]
    gradients = 1 if training.privacy is None else rows  # private ones are held row by row
    step = (1 + gradients) * _num_bytes(params) + _num_bytes(jax.eval_shape(kept_in_step, params))
    return MemberMemory(_num_bytes(state), step)


def _num_bytes(tree) -> int:
    return sum(math.prod(leaf.shape) * leaf.dtype.itemsize for leaf in jax.tree.leaves(tree))


def free_bytes() -> int:
    """Memory that all devices of this process offer together.

    Accelerators say what they have. On a CPU it is what the host has left, or half of all that it
    has where the system does not tell.
    """
    limits = [(device.memory_stats() or {}).get("bytes_limit", 0) for device in jax.local_devices()]
    if all(limits):
        return sum(limits)
    pages = "SC_AVPHYS_PAGES" if "SC_AVPHYS_PAGES" in os.sysconf_names else "SC_PHYS_PAGES"
    share = 1.0 if pages == "SC_AVPHYS_PAGES" else 0.5
    return int(share * os.sysconf(pages) * os.sysconf("SC_PAGE_SIZE"))


def members_in(memory: MemberMemory, available: int) -> int:
    """How many members fit: each with its step where they run side by side, else one per device."""
    devices = jax.devices()
    if runs_side_by_side(devices[0].platform):
        return available // memory.side_by_side
    return (available - len(devices) * memory.step) // (_STATE_COPIES * memory.state)
