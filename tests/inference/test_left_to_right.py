"""Laws of the next symbol given a prefix, against enumeration and the chain rule."""

import jax
import numpy as np
import oracles
import pytest
import strategies
from hypothesis import given
from hypothesis import strategies as st

import hiermodel as hm
from hiermodel.inference.left_to_right import next_symbol_log_probs


def laws_by_enumeration(trees, sequence):
    """p(x_i | x_<i) for all i, from a table of all sequences; zeros after an impossible prefix."""
    size = len(sequence)
    table = oracles.leaf_law(trees).reshape((trees.vocab_size,) * size)
    rows = []
    for leaf in range(size):
        rest = table[tuple(sequence[:leaf])].reshape(trees.vocab_size, -1).sum(-1)
        rows.append(rest / rest.sum() if rest.sum() > 0 else 0 * rest)
    return np.stack(rows)


@given(data=st.data())
def test_laws_are_those_of_the_enumerated_sequences(data):
    case = data.draw(strategies.cases())
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    trees = case.trees()
    possible = trees.levels[-1][rng.integers(len(trees.prior))]
    any_one = rng.integers(case.grammar.vocab_size, size=case.grammar.num_leaves)
    sequences = np.stack([possible, any_one]).astype(np.int32)
    wanted = [laws_by_enumeration(trees, sequence) for sequence in sequences]
    laws = np.exp(next_symbol_log_probs(case.grammar, sequences))
    np.testing.assert_allclose(laws, wanted, atol=1e-10 if laws.dtype == np.float64 else 1e-5)


def test_own_symbols_add_up_to_the_log_probability():
    grammar = hm.paper_grammar()
    leaves = hm.sample_leaves(jax.random.key(0), grammar, 50)
    laws = next_symbol_log_probs(grammar, leaves)
    own = np.take_along_axis(np.asarray(laws), np.asarray(leaves)[..., None], -1)[..., 0]
    np.testing.assert_allclose(own.sum(-1), hm.log_prob(grammar, leaves), rtol=1e-5)


def test_wrong_symbols_are_refused():
    with pytest.raises(ValueError, match="symbols must be in 0…5"):
        next_symbol_log_probs(hm.paper_grammar(), np.full(16, 6))
