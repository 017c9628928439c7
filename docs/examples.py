"""What the examples in docstrings share."""

import jax
import jax.numpy as jnp
import numpy as np

import hiermodel as hm

key = jax.random.key(0)
children = np.array([[[0, 1], [1, 1]], [[0, 0], [1, 0]]])
probs = np.array([[0.9, 0.1], [0.5, 0.5]])
grammar = hm.Grammar.from_rules(children, probs, depth=2)  # 2 symbols, 4 leaves
leaves = hm.sample_leaves(key, grammar, 8)
schedule = hm.Schedule.linear(20)
denoiser = hm.exact_denoiser(grammar, schedule)
noisy = hm.add_noise(key, schedule, hm.one_hot(leaves, 2), 5)
field = jnp.zeros((4, 2))  # evidence that says nothing
network = hm.networks.MLPConfig(4, 2, width=16, num_blocks=1)
rhm = {"vocab_size": 16, "rules_per_symbol": 4}
