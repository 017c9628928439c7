"""U-turns of a Markov chain, exactly: a control without hierarchy."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key

from hiermodel.randomness import sample_keys

TOGETHER = 16


def chain_u_turns(
    key: Key[Array, ""],
    noise: Float[np.ndarray, " noise"],
    *,
    vocab_size: int,
    num_successors: int,
    length: int,
    num_sequences: int,
    num_draws: int,
) -> Float[np.ndarray, "noise rows length"]:
    """Which symbols change when leaves of belief 1 − ε + ε/v in the truth are drawn anew.

    The chain's symbols have ``num_successors`` equally likely successors each, drawn at random, and
    its first symbol is uniform. Forwards filtering, then backwards sampling.

    Returns:
        1 where a symbol changed; rows are sequences times draws.
    """
    rule_key, data_key = jax.random.split(key)
    order = jax.vmap(lambda one: jax.random.permutation(one, vocab_size))(
        jax.random.split(rule_key, vocab_size)
    )
    steps = jnp.where(order < num_successors, 1 / num_successors, 0.0)
    rows = [
        _changed(steps, data_key, jnp.asarray(level), length, num_sequences, num_draws)
        for level in noise
    ]
    return np.stack([np.asarray(each, np.float64).reshape(-1, length) for each in rows])


@functools.partial(jax.jit, static_argnames=("length", "num_sequences", "num_draws"))
def _changed(
    steps: Float[Array, "vocab vocab"],
    key: Key[Array, ""],
    noise: Float[Array, ""],
    length: int,
    num_sequences: int,
    num_draws: int,
) -> Float[Array, "sequences draws length"]:
    vocab_size = len(steps)
    weak = noise / vocab_size

    def of_sequence(key: Key[Array, ""]) -> Array:
        first_key, chain_key, draw_key = jax.random.split(key, 3)
        first = jax.random.randint(first_key, (), 0, vocab_size)
        moves = jax.random.split(chain_key, length - 1)

        def move(symbol: Array, one: Array) -> tuple[Array, Array]:
            after = jax.random.categorical(one, jnp.log(steps[symbol]))
            return after, after

        _, others = jax.lax.scan(move, first, moves)
        symbols = jnp.concatenate([first[None], others])
        likelihood = jnp.where(symbols[:, None] == jnp.arange(vocab_size), 1 - noise + weak, weak)

        def filtered(law: Array, seen: Array) -> tuple[Array, Array]:
            found = law * seen
            found = found / found.sum()
            return found @ steps, found

        start = jnp.full(vocab_size, 1 / vocab_size)
        _, laws = jax.lax.scan(filtered, start, likelihood)

        def draw(one: Array) -> Array:
            keys = jax.random.split(one, length)
            last = jax.random.categorical(keys[-1], jnp.log(laws[-1]))

            def back(after: Array, at: tuple[Array, Array]) -> tuple[Array, Array]:
                law, own_key = at
                symbol = jax.random.categorical(own_key, jnp.log(law * steps[:, after]))
                return symbol, symbol

            _, before = jax.lax.scan(back, last, (laws[:-1], keys[:-1]), reverse=True)
            return jnp.append(before, last) != symbols

        return jax.vmap(draw)(jax.random.split(draw_key, num_draws)).astype(jnp.float32)

    return jax.lax.map(of_sequence, sample_keys(key, num_sequences), batch_size=TOGETHER)
