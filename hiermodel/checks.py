"""How bad input is refused: a ValueError that names the argument, its value and what is allowed.

Shapes are known everywhere, so they are always checked. Values are known only outside a JAX
trace; inside one the value checks are skipped.
"""

import operator
from collections.abc import Sequence
from typing import Any, TypeGuard

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer


class InputError(ValueError):
    """Input that is refused; its message says what is wrong and what is allowed.

    Commands show the message alone. A ValueError of another kind is a fault of the program.
    """


def require(condition: bool, argument: str, value: object, allowed: str) -> None:
    """Raise InputError naming ``argument``, its ``value`` and what is ``allowed``, if not met."""
    if not condition:
        raise InputError(f"{argument}={value!r} is not allowed: {argument} must be {allowed}")


def is_concrete(*values: Any) -> bool:
    """True if no value (or leaf of a value) is being traced, so that its numbers can be read."""
    return not any(isinstance(leaf, Tracer) for leaf in jax.tree.leaves(values))


def is_typed_key(key: Any) -> TypeGuard[jax.Array]:
    """True for keys made by ``jax.random.key``."""
    return isinstance(key, jax.Array) and jnp.issubdtype(key.dtype, jax.dtypes.prng_key)


def check_key(key: Any) -> None:
    """Refuse anything but one typed key."""
    require(
        is_typed_key(key) and key.shape == (), "key", key, "a single key made by jax.random.key"
    )


def check_integer(argument: str, value: Any, minimum: int, maximum: int | None = None) -> int:
    """Return ``value`` as a Python int if it is an integer within the bounds (inclusive)."""
    allowed = (
        f"an integer, at least {minimum}"
        if maximum is None
        else f"an integer in {minimum}…{maximum}"
    )
    try:
        number = operator.index(value)
    except TypeError:
        raise InputError(f"{argument}={value!r} is not allowed: must be {allowed}") from None
    in_range = minimum <= number and (maximum is None or number <= maximum)
    require(in_range, argument, number, allowed)
    return number


def check_trailing_shape(argument: str, array: Any, trailing: Sequence[int], names: str) -> None:
    """Refuse an array whose last axes are not ``trailing`` (described as ``names``)."""
    shape = tuple(np.shape(array))
    trailing = tuple(trailing)
    if shape[len(shape) - len(trailing) :] != trailing or len(shape) < len(trailing):
        raise InputError(
            f"{argument} has shape {shape}, which is not allowed: its last axes must be "
            f"{names} = {trailing}"
        )


def check_integers(argument: str, values: Any) -> None:
    """Refuse arrays that do not hold integers."""
    kind = values.dtype if hasattr(values, "dtype") else np.asarray(values).dtype
    if not np.issubdtype(kind, np.integer):
        raise InputError(
            f"{argument} has dtype {kind}, which is not allowed: it must hold integers"
        )


def _within(values: np.ndarray, minimum: int, maximum: int) -> bool:
    return values.size == 0 or bool(values.min() >= minimum and values.max() <= maximum)


def check_symbols(argument: str, symbols: Any, vocab_size: int) -> None:
    """Refuse arrays of symbols that are not integers in 0…vocab_size − 1."""
    check_integers(argument, symbols)
    if is_concrete(symbols):
        values = np.asarray(symbols)
        if not _within(values, 0, vocab_size - 1):
            wrong = values[(values < 0) | (values >= vocab_size)]
            raise InputError(
                f"{argument} holds the symbol {wrong.flat[0]}, which is not allowed: "
                f"symbols must be in 0…{vocab_size - 1}"
            )


def _is_step(t: Any, num_steps: int) -> bool:
    return type(t) is int and 1 <= t <= num_steps


def check_steps(t: Any, num_steps: int) -> None:
    """Refuse diffusion steps outside 1…num_steps, or ones that are not integers."""
    if _is_step(t, num_steps):
        return  # the usual case, at no cost
    kind = t.dtype if hasattr(t, "dtype") else np.asarray(t).dtype
    if not np.issubdtype(kind, np.integer):
        raise InputError(f"t={t!r} is not allowed: t must hold integers in 1…{num_steps}")
    if is_concrete(t):
        values = np.asarray(t)
        if not _within(values, 1, num_steps):
            wrong = values[(values < 1) | (values > num_steps)]
            raise InputError(
                f"t={wrong.flat[0]} is not allowed: t must be an integer in 1…{num_steps}"
            )
