"""Linear probes: what symbols can be read off features, leaf by leaf (science.md#f7)."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int


def probe_accuracies(
    train: tuple[Float[Array, "inputs leaves width"], Int[Array, "targets inputs leaves"]],
    test: tuple[Float[Array, "inputs leaves width"], Int[Array, "targets inputs leaves"]],
    vocab_size: int,
    penalty: float = 1e-3,
) -> Float[Array, " targets"]:
    """How often linear probes name symbols, one probe for each leaf and target.

    Ridge regression of one-hot symbols on features, in closed form; the largest output is the
    answer. Features have mean 0 and variance 1 before they are penalised.

    Args:
        train: features, and symbols to tell from each leaf's, on which probes are fitted.
        test: likewise, on which they are tried.
        vocab_size: q.
        penalty: of squared weights, per input.

    Returns:
        Shares of right answers, mean over inputs and leaves.
    """
    one = jax.vmap(_answers, (1, 2, 1, None, None), 2)
    found = one(train[0], train[1], test[0], vocab_size, penalty)
    return (found == test[1]).mean((1, 2))


def _answers(
    h: Float[Array, "inputs width"],
    symbols: Int[Array, "targets inputs"],
    asked: Float[Array, "asked width"],
    vocab_size: int,
    penalty: float,
) -> Int[Array, "targets asked"]:
    """Of one leaf."""
    mean, scale = h.mean(0), jnp.maximum(h.std(0), 1e-6)
    h, asked = (h - mean) / scale, (asked - mean) / scale
    wanted = jax.nn.one_hot(symbols, vocab_size)
    prior = wanted.mean(1, keepdims=True)
    with jax.default_matmul_precision("highest"):
        gram = h.T @ h / len(h) + penalty * jnp.eye(h.shape[1])
        weights = jnp.linalg.solve(gram, h.T @ (wanted - prior) / len(h))
        return (asked @ weights + prior).argmax(-1)
