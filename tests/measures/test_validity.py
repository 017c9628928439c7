"""Validity by level against enumeration of what each symbol can produce."""

import itertools

import jax
import numpy as np
import oracles
import pytest
import strategies
from hypothesis import given
from hypothesis import strategies as st

import hiermodel as hm
from hiermodel.measures import level_validity


def derivable_tuples(case):
    """Per level, the set of leaf tuples that some symbol of that level can produce."""
    vocab_size = case.grammar.vocab_size
    from_symbol = [{(symbol,)} for symbol in range(vocab_size)]
    levels = [set().union(*from_symbol)]
    for tensor in reversed(case.tensors):
        below = from_symbol
        from_symbol = [set() for _ in range(vocab_size)]
        for parent, *children in np.argwhere(tensor > 0):
            for parts in itertools.product(*(below[child] for child in children)):
                from_symbol[parent].add(sum(parts, ()))
        levels.append(set().union(*from_symbol))
    roots = np.flatnonzero(case.root_probs)
    levels[-1] = set().union(*(from_symbol[root] for root in roots))
    return levels[::-1]


@given(data=st.data())
def test_equals_enumeration_on_any_sequences(data):
    case = data.draw(strategies.cases())
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    num_leaves, vocab_size = case.grammar.num_leaves, case.grammar.vocab_size
    trees = case.trees()
    rows = trees.levels[-1][rng.integers(len(trees.prior), size=20)]
    corrupted = rng.random(rows.shape) < rng.choice([0, 0.2, 1], size=(20, 1))
    rows = np.where(corrupted, rng.integers(vocab_size, size=rows.shape), rows)
    result = level_validity(case.grammar, rows)
    for level, derivable in enumerate(derivable_tuples(case)):
        blocks = rows.reshape(20, -1, num_leaves // case.grammar.branching**level)
        expected = [
            np.mean([tuple(block) in derivable for block in row]) for row in blocks.tolist()
        ]
        np.testing.assert_allclose(result.by_level[:, level], expected, rtol=1e-12)
    law = oracles.leaf_law(trees)[oracles.encode(rows, vocab_size)]
    np.testing.assert_allclose(np.exp(result.log_prob), law, rtol=1e-10)
    np.testing.assert_array_equal(result.by_level[:, 0] == 1, np.isfinite(result.log_prob))


def test_samples_are_valid_at_every_level_and_random_ones_only_at_the_leaves():
    grammar = hm.paper_grammar()
    leaves = hm.sample_leaves(jax.random.key(0), grammar, 1000)
    result = level_validity(grammar, leaves)
    np.testing.assert_array_equal(result.by_level, np.ones((1000, 5)))
    assert np.isfinite(result.log_prob).all()
    random = jax.random.randint(jax.random.key(1), (1000, 16), 0, 6)
    by_level = level_validity(grammar, random).by_level.mean(0)
    assert by_level[4] == 1
    assert (np.diff(by_level) > 0).all()
    # 24 of the 36 pairs are allowed: five standard errors of a share of 8000.
    np.testing.assert_allclose(by_level[3], 2 / 3, atol=5 * 0.0053)


def test_half_a_sequence_broken_breaks_only_its_nodes():
    grammar = hm.paper_grammar()
    tensor = np.asarray(grammar.to_tensor())
    forbidden = np.argwhere(tensor.sum(0) == 0)[0]
    leaves = np.array(hm.sample_leaves(jax.random.key(2), grammar, 1000))
    leaves[0, :2] = forbidden
    np.testing.assert_allclose(
        level_validity(grammar, leaves).by_level[0], [0, 1 / 2, 3 / 4, 7 / 8, 1]
    )


@pytest.mark.parametrize(
    ("leaves", "message"),
    [(np.zeros((2, 8), int), "leaves has shape"), (np.full((2, 16), 6), "symbol 6")],
)
def test_bad_input_is_refused(leaves, message, unchecked_types):
    with pytest.raises(ValueError, match=message):
        level_validity(hm.paper_grammar(), leaves)
