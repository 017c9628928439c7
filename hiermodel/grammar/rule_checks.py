"""What lists of rules and their probabilities must be, and how others are refused."""

import numpy as np
from jaxtyping import Array

from hiermodel.checks import InputError

PROBABILITY_TOLERANCE = 1e-5
"""How far a row of probabilities may be from summing to one (they are then normalised exactly)."""


def check_children(children: Array | np.ndarray, depth: int) -> np.ndarray:
    """The children of rules as an array, if its shape and type can be meant."""
    children = np.asarray(children)
    has_levels = children.ndim == 4 and len(children) == depth
    sizes = children.shape[-3:]
    if not (children.ndim == 3 or has_levels) or sizes[0] < 2 or sizes[1] < 1 or sizes[2] < 2:
        raise InputError(
            f"children has shape {children.shape}, which is not allowed: it must be (q, m, s) or "
            f"({depth}, q, m, s) with q and s at least 2 and m at least 1"
        )
    if not np.issubdtype(children.dtype, np.integer):
        raise InputError(
            f"children has dtype {children.dtype}, which is not allowed: it must hold integers"
        )
    return children


def check_rules(children: np.ndarray, probs: np.ndarray) -> None:
    """Refuse, among the rules that exist, children that are no symbols, and repetitions."""
    vocab_size, exists = children.shape[1], probs > 0
    wrong = exists[..., None] & ((children < 0) | (children >= vocab_size))
    if wrong.any():
        raise InputError(
            f"children holds the symbol {children[wrong][0]}, which is not allowed: "
            f"symbols must be in 0…{vocab_size - 1}"
        )
    level, parent, _ = np.nonzero(exists)
    rules, counts = np.unique(
        np.column_stack([level, parent, children[exists]]), axis=0, return_counts=True
    )
    if counts.max() > 1:
        level, parent, *twice = rules[counts.argmax()].tolist()
        raise InputError(
            f"children holds {twice} twice for symbol {parent}, which is not allowed: "
            f"the rules of a symbol must differ (table {level})"
        )


def check_probabilities(argument: str, rows: np.ndarray) -> None:
    """Refuse rows that are no probabilities, or do not sum to one."""
    wrong = ~(np.isfinite(rows) & (rows >= 0))
    if wrong.any():
        raise InputError(
            f"{argument} holds {rows[wrong].flat[0]!r}, which is not allowed: "
            f"{argument} must hold finite probabilities of at least 0"
        )
    sums = rows.sum(-1)
    worst = sums.flat[np.argmax(np.abs(sums - 1))]
    if abs(worst - 1) > PROBABILITY_TOLERANCE:
        raise InputError(
            f"{argument} has a row that sums to {worst!r}, which is not allowed: every row of "
            f"{argument} must sum to 1 within {PROBABILITY_TOLERANCE}"
        )
