"""Programs for denoisers of any kind, compiled once for each form."""

import functools
from collections.abc import Callable
from typing import Any

import jax
from jaxtyping import Array

from hiermodel.diffusion.denoiser import AnyDenoiser, check_drawn


class _Constant:
    """A part of a denoiser that is no array, known to the compiler by which object it is."""

    def __init__(self, value: Any):
        self.value = value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Constant) and self.value is other.value

    def __hash__(self) -> int:
        return id(self.value)


def run_compiled(function: Callable[..., Array], denoiser: AnyDenoiser, *arguments: Any) -> Array:
    """Compile ``function(denoiser, *arguments)`` and run it.

    The arrays of a denoiser that is a pytree go in as arguments, so that others of its kind share
    the program; whatever else it is made of, as a plain function is, is a constant of it.
    """
    leaves, structure = jax.tree.flatten(denoiser)
    known = [isinstance(leaf, jax.typing.ArrayLike) for leaf in leaves]
    arrays = [leaf for leaf, is_array in zip(leaves, known, strict=True) if is_array]
    constants = tuple(
        None if is_array else _Constant(leaf) for leaf, is_array in zip(leaves, known, strict=True)
    )
    return _call(function, structure, constants, arrays, *arguments)


def run_sampler(function: Callable[..., Array], denoiser: AnyDenoiser, *arguments: Any) -> Array:
    """As ``run_compiled``, for what draws samples: raises DenoiserError if one met NaN."""
    return check_drawn(denoiser, run_compiled(function, denoiser, *arguments))


@functools.partial(jax.jit, static_argnums=(0, 1, 2))
def _call(
    function: Callable[..., Array],
    structure: Any,
    constants: tuple[_Constant | None, ...],
    arrays: list[Array],
    *arguments: Any,
) -> Array:
    given = iter(arrays)
    leaves = [next(given) if one is None else one.value for one in constants]
    return function(jax.tree.unflatten(structure, leaves), *arguments)
