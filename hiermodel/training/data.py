"""What networks are trained on: stored sequences, or fresh ones from the law at every step.

Training asks both for the rows of a batch. Of stored data an epoch is one pass; of fresh data it is
as many draws, none of which is ever seen again: what is learned from infinitely many sequences.
"""

import dataclasses
from collections.abc import Callable, Hashable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int, Key, Num

from hiermodel.checks import check_integer, require
from hiermodel.grammar.rules import Grammar
from hiermodel.grammar.sampling import sample_leaves
from hiermodel.networks.network import Target

Draw = Callable[[Key[Array, ""], Any, int], Array]
"""(key, law, number of rows) to rows, in compiled code; hashable, as programs are kept by it."""


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, eq=False)
class StoredData:
    """Training sets as they are.

    Attributes:
        rows: (num_splits, n, ...) symbols or images; of one training set, (n, ...).
    """

    rows: Num[Array | np.ndarray, "..."]

    @property
    def num_rows(self) -> int:
        """Rows of an epoch, n."""
        return self.rows.shape[1]

    def batch(
        self, split: Int[Array, ""], rows: Int[Array, " batch"], key: Key[Array, ""]
    ) -> Array:
        """Some rows of a training set."""
        return self.rows[split, rows]

    @property
    def form(self) -> Hashable:
        """Equal for what can be stacked."""
        return np.shape(self.rows)

    def stack(self, others: Sequence["StoredData"], target: Target) -> "StoredData":
        """Several training sets on a leading axis, checked.

        Raises:
            ValueError: for rows that the target cannot have.
        """
        checked = [target.checked("sequences", one.rows) for one in others]
        return StoredData(jnp.asarray(np.stack(checked)))

    @property
    def num_axes(self) -> int:
        """Axes of what is stored; one more than those of a row for one training set."""
        return np.ndim(self.rows)

    @property
    def num_leaves(self) -> int:
        """Length of a sequence."""
        return np.shape(self.rows)[-1]

    def by_split(self, num_splits: int | None) -> list[Any]:
        """The training set of each split; None for as many as there are.

        Raises:
            ValueError: for another number of splits.
        """
        shape = np.shape(self.rows)
        fits = len(shape) > 1 and num_splits in (None, shape[0])
        require(fits, "sequences", shape, f"of {num_splits} splits")
        return [np.asarray(own) for own in self.rows]


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, eq=False)
class FreshData:
    """Rows drawn from a law, other ones at every step: :func:`fresh` for grammars.

    What a network draws depends on its key and the step alone, so a resumed training goes on with
    the same draws.

    Attributes:
        leaves: arrays of the law that ``draw`` needs; of several laws, stacked.
        structure: of the law.
        draw: see ``Draw``.
        num_rows: draws that count as an epoch.


    Example:
        >>> hm.training.fresh(grammar, 100).num_rows
        100
    """

    leaves: tuple[Array, ...]
    structure: Any = dataclasses.field(metadata={"static": True})
    draw: Draw = dataclasses.field(metadata={"static": True})
    num_rows: int = dataclasses.field(metadata={"static": True})

    @classmethod
    def of(cls, law: Any, draw: Draw, num_rows: int) -> "FreshData":
        """Rows that ``draw`` makes of a law, any pytree of arrays.

        Raises:
            ValueError: for fewer rows than 1.

        Example:
            >>> def draw(key, logits, num_rows):
            ...     return jax.random.categorical(key, logits, shape=(num_rows, 4))
            >>> hm.training.FreshData.of(jnp.zeros(3), draw, num_rows=100).num_rows
            100
        """
        leaves, structure = jax.tree.flatten(law)
        leaves = tuple(map(jnp.asarray, leaves))
        return cls(leaves, structure, draw, check_integer("num_rows", num_rows, 1))

    def batch(
        self, split: Int[Array, ""], rows: Int[Array, " batch"], key: Key[Array, ""]
    ) -> Array:
        """As many new rows as are asked for."""
        law = jax.tree.unflatten(self.structure, [leaf[split] for leaf in self.leaves])
        return self.draw(key, law, len(rows))

    @property
    def form(self) -> Hashable:
        """Equal for what can be stacked."""
        shapes = tuple(leaf.shape for leaf in self.leaves)
        return self.draw, self.num_rows, self.structure, shapes

    def stack(self, others: Sequence["FreshData"], target: Target) -> "FreshData":
        """Several laws on a leading axis, checked.

        Raises:
            ValueError: for draws that the target cannot have.
        """
        drawn = self._drawn()
        require(drawn.shape[0] == 2, "draw(key, law, 2)", drawn.shape, "of 2 rows")
        target.checked("draw(key, law, 2)", drawn)
        stacked = map(jnp.stack, zip(*(one.leaves for one in others), strict=True))
        return dataclasses.replace(self, leaves=tuple(stacked))

    num_axes = 1
    """There is but one law, and so one training set."""

    @property
    def num_leaves(self) -> int:
        """Length of a sequence."""
        return self._drawn().shape[-1]

    def by_split(self, num_splits: int) -> list[Any]:
        """The same law for each split; draws differ all the same."""
        return [self] * num_splits

    def _drawn(self) -> Array:
        """Two rows, to look at."""
        law = jax.tree.unflatten(self.structure, self.leaves)
        return self.draw(jax.random.key(0), law, 2)


@dataclasses.dataclass(frozen=True)
class _Leaves:
    """Sequences of a grammar, at a filter level."""

    filter_level: int

    def __call__(self, key: Key[Array, ""], grammar: Grammar, num_rows: int) -> Array:
        return sample_leaves(key, grammar, num_rows, filter_level=self.filter_level)


def fresh(grammar: Grammar, num_sequences: int, *, filter_level: int = 0) -> FreshData:
    """Training data without end: every step draws its sequences from the grammar.

    Args:
        grammar: the law.
        num_sequences: draws that count as an epoch, by which rates, checkpoints and progress go.
        filter_level: of the law.

    Raises:
        ValueError: for a number or filter level out of range.

    Example:
        >>> data = hm.training.fresh(grammar, 100)
        >>> learned = hm.fit(key, network, data, schedule, num_steps=2, batch_size=8,
        ...                  learning_rate=1e-3, callback=None)
        >>> learned.losses.values.shape
        (2,)
    """
    check_integer("filter_level", filter_level, 0, grammar.depth)
    return FreshData.of(grammar, _Leaves(filter_level), num_sequences)


def as_data(sequences: Any) -> Any:
    """Data that have batches, as they are; arrays as StoredData."""
    return sequences if hasattr(sequences, "batch") else StoredData(sequences)


def check_private(privacy: Any, data: Any) -> None:
    """Refuse fresh data for private training, which counts how often a stored row is used.

    Raises:
        ValueError: for fresh data with privacy.
    """
    stored = privacy is None or hasattr(data, "rows")
    require(stored, "privacy", privacy, "None for fresh data, of which no row is used twice")
