"""Training splits and test sets: disjoint, reproducible, and never from anywhere else."""

import jax
import numpy as np
import oracles
import pytest

import hiermodel as hm
from hiermodel.grammar.splits import draw_pool, take_split

PAPER = hm.paper_grammar()


def rows(*arrays):
    return [row.tobytes() for array in arrays for row in array.reshape(-1, array.shape[-1])]


def splits(num_splits=3, split_size=400, test_size=300, seed=0, grammar=PAPER):
    return hm.make_splits(
        jax.random.key(seed),
        grammar,
        num_splits=num_splits,
        split_size=split_size,
        test_size=test_size,
    )


def tiny_grammar():
    """12 sequences of two symbols, of unequal probability."""
    return hm.Grammar.random(jax.random.key(9), vocab_size=4, depth=1, rules_per_symbol=3)


def test_no_sequence_is_in_two_places():
    made = splits()
    assert made.train.shape == (3, 400, 16)
    assert made.test.shape == (300, 16)
    assert len(set(rows(made.train))) == 1200
    assert not set(rows(made.train)) & set(rows(made.test))


def test_every_sequence_comes_from_the_grammar():
    made = splits()
    for sequences in (made.train, made.test):
        assert np.all(hm.log_prob(PAPER, sequences) > -np.inf)


def test_further_splits_leave_the_first_ones_alone():
    few, many = splits(num_splits=2), splits(num_splits=5)
    np.testing.assert_array_equal(few.train, many.train[:2])


def test_larger_splits_take_from_the_same_pool():
    small, large = splits(num_splits=4, split_size=200), splits(num_splits=2, split_size=400)
    np.testing.assert_array_equal(small.train.reshape(800, 16), large.train.reshape(800, 16))


def test_a_key_fixes_the_splits():
    np.testing.assert_array_equal(splits().train, splits().train)
    np.testing.assert_array_equal(splits().test, splits().test)
    assert not np.array_equal(splits(seed=1).train, splits().train)


def test_the_test_set_follows_the_law_outside_the_splits():
    grammar = tiny_grammar()
    made = splits(num_splits=2, split_size=2, test_size=20_000, grammar=grammar)
    every = np.stack(np.unravel_index(np.arange(16), (4, 4)), -1)
    law = np.exp(hm.log_prob(grammar, every))
    law[oracles.encode(made.train.reshape(4, 2), 4)] = 0
    assert oracles.agrees_with_law(oracles.encode(made.test, 4), law)


def test_filtered_data_can_be_split_too():
    made = hm.make_splits(
        jax.random.key(2), PAPER, num_splits=1, split_size=500, test_size=10, filter_level=2
    )
    log_probs = hm.log_prob(PAPER, made.train, filter_level=2)
    assert np.all(log_probs > -np.inf)
    assert np.any(hm.log_prob(PAPER, made.train) == -np.inf)


def test_large_vocabularies_keep_their_symbols():
    grammar = hm.Grammar.random(jax.random.key(3), vocab_size=300, depth=1, rules_per_symbol=4)
    pool = draw_pool(jax.random.key(4), grammar, 500)
    assert np.all(hm.log_prob(grammar, pool) > -np.inf)


def test_a_pool_larger_than_the_grammar_is_refused():
    with pytest.raises(ValueError, match=r"size=13 is not allowed.*only 12 different"):
        draw_pool(jax.random.key(5), tiny_grammar(), 13)


def test_a_split_beyond_its_pool_is_refused():
    pool = draw_pool(jax.random.key(6), PAPER, 100)
    np.testing.assert_array_equal(take_split(pool, 1, 50), pool[50:])
    with pytest.raises(ValueError, match=r"index=2 is not allowed.*0…1"):
        take_split(pool, 2, 50)
    with pytest.raises(ValueError, match=r"split_size=101 is not allowed.*1…100"):
        take_split(pool, 0, 101)


def test_a_test_set_is_never_taken_from_the_splits():
    with pytest.raises(ValueError, match=r"test_size=1 is not allowed"):
        splits(num_splits=1, split_size=12, test_size=1, grammar=tiny_grammar())
