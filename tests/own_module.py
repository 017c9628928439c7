"""What a user would bring: a small Flax NNX module, with dropout, that knows only Flax."""

import jax
import jax.numpy as jnp
from flax import nnx


class OwnModule(nnx.Module):
    """A dense layer on the flattened sequence and t."""

    def __init__(self, num_leaves: int, vocab_size: int, rngs: nnx.Rngs, width: int = 16):
        size = num_leaves * vocab_size
        self.hidden = nnx.Linear(size + 1, width, rngs=rngs)
        self.dropout = nnx.Dropout(0.3, rngs=rngs)
        self.out = nnx.Linear(width, size, rngs=rngs)

    def __call__(self, x_t, t):
        flat = x_t.reshape(len(x_t), -1)
        h = self.hidden(jnp.concatenate([flat, t[:, None] / 50], axis=-1))
        return self.out(self.dropout(jax.nn.relu(h))).reshape(x_t.shape)
