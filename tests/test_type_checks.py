"""The run-time type checks really run in these tests."""

import jax
import jax.numpy as jnp
import jaxtyping
import numpy as np
import pytest

import hiermodel as hm
from hiermodel.randomness import sample_keys


def test_a_wrong_dtype_is_caught():
    with pytest.raises(jaxtyping.TypeCheckError):
        hm.log_prob(hm.paper_grammar(), np.zeros(16, np.float64))


def test_a_wrong_rank_is_caught():
    with pytest.raises(jaxtyping.TypeCheckError):
        sample_keys(jax.random.split(jax.random.key(0)), 3)


def test_checks_act_on_traced_values_too():
    with pytest.raises(jaxtyping.TypeCheckError):
        jax.jit(lambda leaves: hm.log_prob(hm.paper_grammar(), leaves))(jnp.zeros(16))
