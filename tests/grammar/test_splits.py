"""Training splits and test sets: disjoint, exchangeable, reproducible, and the law's own."""

import jax
import numpy as np
import oracles
import pytest
import scipy.stats

import hiermodel as hm
from experiments.configs import RunConfig
from experiments.runs.data import make_data
from experiments.worlds.grammar import GrammarConfig
from hiermodel.grammar.splits import Splits, _as_scalars, _hash, _pack, draw_sequences
from paper_repro.protocol import protocol

PAPER = hm.paper_grammar()
SHALLOW = GrammarConfig(depth=3).build()
FALSE_ALARM = 1e-6


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


def test_every_sequence_comes_from_the_grammar():
    made = splits()
    for sequences in (made.train, made.test):
        assert np.all(hm.log_prob(PAPER, sequences) > -np.inf)


@pytest.mark.parametrize(("few", "many"), [(3, 4), (5, 8), (9, 15)])
def test_further_splits_leave_the_first_ones_alone(few, many):
    """As long as the number of cells, the next power of two, is the same."""
    first, more = splits(num_splits=few), splits(num_splits=many)
    np.testing.assert_array_equal(first.train, more.train[:few])
    np.testing.assert_array_equal(first.test, more.test)


def test_larger_splits_hold_the_smaller_ones_in_their_order():
    small, large = splits(split_size=100), splits(split_size=5000)
    for own, larger in zip(small.train, large.train, strict=True):
        wanted = set(rows(own))
        assert [row for row in rows(larger) if row in wanted] == rows(own)
    np.testing.assert_array_equal(small.test, large.test)


def test_a_key_fixes_the_splits():
    np.testing.assert_array_equal(splits().train, splits().train)
    np.testing.assert_array_equal(splits().test, splits().test)
    assert not np.array_equal(splits(seed=1).train, splits().train)


@pytest.mark.parametrize("num_splits", [2, 4])
def test_no_split_is_likelier_than_another_nor_its_first_half_than_its_second(num_splits):
    """Mean log-probabilities over 30 keys; t-tests, FALSE_ALARM over all contrasts.

    Splits cut in the order of drawing differ by some 0.2 nats, and give |t| of about 14.
    """
    means = []
    for seed in range(30):
        train = splits(num_splits, 224, 1, seed, SHALLOW).train
        halves = np.asarray(hm.log_prob(SHALLOW, train)).reshape(num_splits, 2, 112).mean(-1)
        means.append(halves)
    means = np.array(means)
    by_split = means.mean(2)
    contrasts = [by_split[:, i] - by_split.mean(1) for i in range(num_splits)]
    contrasts += [by_split[:, 0] - by_split[:, -1], (means[..., 0] - means[..., 1]).mean(1)]
    for contrast in contrasts:
        t = contrast.mean() / scipy.stats.sem(contrast)
        rate = FALSE_ALARM / len(contrasts)
        assert abs(t) < scipy.stats.t.isf(rate / 2, len(contrast) - 1)


@pytest.mark.parametrize(("vocab_size", "length"), [(6, 6), (2, 16), (40, 3), (5, 30)])
def test_the_hash_spreads_sequences_evenly_and_each_by_itself(vocab_size, length):
    """χ² of 16 cells, and of the cells of sequences that differ in one symbol; at FALSE_ALARM."""
    rng = np.random.default_rng(0)
    sequences = rng.integers(vocab_size, size=(40_000, length)).astype(np.int8)
    sequences = np.unique(sequences, axis=0)
    neighbours = sequences.copy()
    neighbours[:, -1] = (neighbours[:, -1] + 1) % vocab_size
    for seed in range(2):
        key = jax.random.key(seed)
        one, other = (
            (_hash(key, _pack(each, vocab_size)) >> np.uint64(60)).astype(int)
            for each in (sequences, neighbours)
        )
        assert scipy.stats.chisquare(np.bincount(one, minlength=16)).pvalue > FALSE_ALARM / 16
        # A sequence is also another's neighbour if there are few: the pairs are not independent
        # then, but uncorrelated, and with more than 2 symbols nearly so.
        if length > 20:
            pairs = np.bincount(16 * one + other, minlength=256)
            assert scipy.stats.chisquare(pairs).pvalue > FALSE_ALARM / 16
        assert np.mean(one == other) == pytest.approx(1 / 16, abs=7 / 4 / np.sqrt(len(one)))


def test_packed_words_tell_sequences_apart():
    rng = np.random.default_rng(1)
    for vocab_size, length in ((2, 3), (6, 16), (6, 40), (300, 20)):
        sequences = rng.integers(vocab_size, size=(2000, length))
        sequences[1000:] = sequences[rng.integers(1000, size=1000)]
        sequences[:500, 0], sequences[:500, -1] = 0, vocab_size - 1
        codes = _as_scalars(_pack(sequences, vocab_size))
        _, expected = np.unique(sequences, axis=0, return_inverse=True)
        found = np.unique(codes, return_inverse=True)[1]
        np.testing.assert_array_equal(found, expected.reshape(-1))  # even in the same order


def test_the_test_set_follows_the_law_itself():
    grammar = tiny_grammar()
    made = splits(num_splits=2, split_size=2, test_size=20_000, grammar=grammar)
    every = np.stack(np.unravel_index(np.arange(16), (4, 4)), -1)
    law = np.exp(hm.log_prob(grammar, every))
    codes = oracles.encode(made.test, 4)
    assert oracles.agrees_with_law(codes, law)

    train = oracles.encode(made.train.reshape(4, 2), 4).reshape(2, 2)
    expected = [np.isin(codes, own).sum() for own in train]
    np.testing.assert_array_equal(made.test_in_train, expected)
    assert sum(expected) > 0
    np.testing.assert_array_equal(made.test_split == 1, np.isin(codes, train[1]))
    np.testing.assert_array_equal(made.unseen, made.test[~np.isin(codes, train)])


def test_overlap_is_found_in_sequences_of_several_words():
    rng = np.random.default_rng(0)
    train = rng.integers(6, size=(2, 50, 40)).astype(np.int8)
    test = np.concatenate([train[1, :3], 5 - train[0, :4], train[0, 7:9]])
    made = Splits(train, test)
    np.testing.assert_array_equal(made.test_split, [1, 1, 1, -1, -1, -1, -1, 0, 0])
    np.testing.assert_array_equal(made.test_in_train, [2, 3])


def test_filtered_data_can_be_split_too():
    made = hm.make_splits(
        jax.random.key(2), PAPER, num_splits=1, split_size=500, test_size=10, filter_level=2
    )
    log_probs = hm.log_prob(PAPER, made.train, filter_level=2)
    assert np.all(log_probs > -np.inf)
    assert np.any(hm.log_prob(PAPER, made.train) == -np.inf)


def test_large_vocabularies_keep_their_symbols():
    grammar = hm.Grammar.random(jax.random.key(3), vocab_size=300, depth=1, rules_per_symbol=4)
    made = splits(num_splits=2, split_size=100, grammar=grammar)
    assert np.all(hm.log_prob(grammar, made.train) > -np.inf)
    assert made.train.max() > 127


def test_draws_of_more_sequences_begin_with_the_same():
    few, many = (draw_sequences(jax.random.key(4), PAPER, size) for size in (5, 9000))
    np.testing.assert_array_equal(few, many[:5])
    assert len(many) == 9000
    assert len(set(rows(many))) > 8500


def test_splits_larger_than_the_grammar_are_refused():
    grammar = tiny_grammar()
    assert len(set(rows(splits(1, 12, grammar=grammar).train))) == 12
    with pytest.raises(ValueError, match=r"split_size=7 .*only 12 different .*at most 6 each"):
        splits(2, 7, grammar=grammar)
    with pytest.raises(ValueError, match=r"test_size=300 is not allowed here"):
        _ = splits(1, 12, grammar=grammar).unseen


def test_a_cell_that_is_too_small_is_refused(monkeypatch):
    monkeypatch.setattr("hiermodel.grammar.splits.SPARE_DRAWS", 1000)
    with pytest.raises(ValueError, match=r"split_size=3 is not allowed for 4 splits.*yielded 12 "):
        splits(4, 3, grammar=tiny_grammar(), seed=2)


@pytest.mark.long
def test_the_data_of_the_largest_runs_can_be_made():
    """1 050 000 different sequences, by the code and the settings of the paper's scale."""
    run = protocol("paper").sizes["large"].run
    assert isinstance(run, RunConfig)
    made = make_data(run)
    assert made.train.shape == (15, 70_000, 16)
    codes = _as_scalars(_pack(made.train.reshape(-1, 16), 6))
    assert len(np.unique(codes)) == 1_050_000
    assert 0 < made.test_in_train.sum() < len(made.test) / 2
