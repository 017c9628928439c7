"""Which productions a grammar has: one array, known in NumPy or traced by JAX."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int

from hiermodel.checks import is_concrete


@jax.tree_util.register_pytree_node_class
class RuleTable:
    """The children of every rule: which productions exist, without their weights.

    A pytree of one array, so that grammars of one shape share their compiled programs, and a stack
    of them can be mapped over. To JAX the symbols are float32 (exact up to 2^24), as it
    differentiates no integers: gradients of a whole grammar then have zeros here.
    """

    def __init__(self, children: np.ndarray):
        self._known: np.ndarray | None = _read_only(children)
        with jax.ensure_compile_time_eval():
            self._codes: Array = jnp.asarray(self._known, jnp.float32)

    @property
    def children(self) -> Any:
        """int32 array (levels, vocab_size, max_rules, branching).

        ``children[l, a, r]`` is the tuple that rule r of symbol a produces at level l. Parents with
        fewer rules are padded with zeros; their padding has log-weight −inf. In NumPy, read-only,
        where the rules are known; inside a trace a traced array.
        """
        if self._known is None:
            if not is_concrete(self._codes):
                return self._codes.astype(jnp.int32)
            self._known = _read_only(np.asarray(self._codes))
        return self._known

    @property
    def shape(self) -> tuple[int, ...]:
        """(levels, vocab_size, max_rules, branching); further axes lead in a stack of grammars."""
        return self._codes.shape

    def tree_flatten(self) -> tuple[tuple[Any], None]:
        """The one array."""
        return (self._codes,), None

    @classmethod
    def tree_unflatten(cls, _: None, leaves: tuple[Any]) -> "RuleTable":
        """From the one array, or whatever JAX puts in its place."""
        table = object.__new__(cls)
        table._known, (table._codes,) = None, leaves
        return table

    def __hash__(self) -> int:
        return hash((self.children.shape, self.children.tobytes()))

    def __eq__(self, other: object) -> bool:
        return self is other or (
            isinstance(other, RuleTable) and np.array_equal(self.children, other.children)
        )

    def __repr__(self) -> str:
        return f"RuleTable{self.shape}"


def _read_only(children: np.ndarray) -> Int[np.ndarray, "..."]:
    children = np.ascontiguousarray(children, dtype=np.int32)
    children.flags.writeable = False
    return children
