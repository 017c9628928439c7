"""Parts of an ensemble that are trained apart, each in a job of its own, and read as one.

A member depends on the run's key, its split and its seed alone, so a block holds the very members
that any ensemble with these splits and seeds would. (To the last bit where members are trained one
after the other, on a CPU; on an accelerator up to the order of its sums.) Blocks stay where they
were trained; reading joins them.
"""

import dataclasses
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Key

from hiermodel.checks import check_integer, require
from hiermodel.training.checkpoints import Checkpoints
from hiermodel.training.state import Ensemble, TrainState, init_member, member_key


@dataclasses.dataclass(frozen=True)
class Block:
    """The members of some splits and some seeds, both from the first up to, not with, the last.

    Raises:
        ValueError: for a range that is empty or begins below 0.
    """

    splits: tuple[int, int]
    seeds: tuple[int, int]

    def __post_init__(self):
        for name in ("splits", "seeds"):
            begin, end = getattr(self, name)
            fits = check_integer(name, begin, 0) < check_integer(name, end, 1)
            require(fits, name, (begin, end), "a range that is not empty")

    @property
    def name(self) -> str:
        """Of the block's folder."""
        return "splits-{}-{}-seeds-{}-{}".format(*self.splits, *self.seeds)

    @classmethod
    def from_name(cls, name: str) -> "Block":
        """The block whose folder is called ``name``."""
        _, first, last, _, begin, end = name.split("-")
        return cls((int(first), int(last)), (int(begin), int(end)))

    def members(self) -> list[tuple[int, int]]:
        """Split and seed of each of its members, in their order."""
        return [(split, seed) for split in range(*self.splits) for seed in range(*self.seeds)]

    def ensemble(self, whole: Ensemble) -> Ensemble:
        """The block as an ensemble of its own."""
        return dataclasses.replace(
            whole,
            num_splits=self.splits[1] - self.splits[0],
            num_seeds=self.seeds[1] - self.seeds[0],
        )

    def untrained(self, key: Key[Array, ""], whole: Ensemble) -> TrainState:
        """Its members before training, as ``init_ensemble(key, whole)`` makes them."""
        splits, seeds = jnp.array(self.members()).T
        keys = jax.vmap(member_key, in_axes=(None, 0, 0))(key, splits, seeds)
        averaged = whole.training.ema_decay is not None
        return jax.vmap(lambda own: init_member(own, whole.network, averaged=averaged))(keys)


class JoinedCheckpoints:
    """The networks of an ensemble that was trained in blocks, read as ``Checkpoints`` are.

    Args:
        parts: each block with its checkpoints; they may overlap, and hold more than is asked for.
        num_splits: splits of the ensemble.
        num_seeds: seeds of the ensemble.
    """

    def __init__(self, parts: Sequence[tuple[Block, Checkpoints]], num_splits: int, num_seeds: int):
        wanted = [(split, seed) for split in range(num_splits) for seed in range(num_seeds)]
        holders = {
            member: index for index, (block, _) in enumerate(parts) for member in block.members()
        }
        self.missing = [member for member in wanted if member not in holders]
        used = sorted({holders[member] for member in wanted if member in holders})
        self._parts = [parts[index] for index in used]
        stacked = [(index, member) for index in used for member in parts[index][0].members()]
        places = {entry: place for place, entry in enumerate(stacked)}
        self._places = [places[holders[m], m] for m in wanted if m in holders]

    def saved_epochs(self) -> list[int]:
        """Epochs at which the parameters of all members are there, increasing."""
        if self.missing:
            return []
        saved = [set(checkpoints.saved_epochs()) for _, checkpoints in self._parts]
        return sorted(set.intersection(*saved))

    def complete(self, epochs: Sequence[int]) -> bool:
        """Whether the training of all members has ended."""
        parts = (checkpoints for _, checkpoints in self._parts)
        return not self.missing and all(part.complete(epochs) for part in parts)

    def load_params(self, epoch: int) -> dict[str, np.ndarray]:
        """Parameters of all members at a saved epoch, stacked on a leading axis.

        Raises:
            ValueError: if a member has no such checkpoint, or one is damaged.
        """
        without = f"without (split, seed) {self.missing}"
        require(not self.missing, "blocks", without, "all members of the run")
        parts = [checkpoints.load_params(epoch) for _, checkpoints in self._parts]
        return {
            name: np.concatenate([part[name] for part in parts])[self._places] for name in parts[0]
        }
