"""Named data sets: frozen bytes, the right law, and exact numbers about every sequence."""

import pickle

import jax.numpy as jnp
import numpy as np
import oracles
import pytest

import hiermodel as hm
from hiermodel.datasets import drawing, names
from hiermodel.datasets import token_entropies as entropies
from hiermodel.grammar.statistics import leaf_entropy
from hiermodel.grammar.support import is_unambiguous

SMALL = "rhm-v4-m2-s2-L2"


@pytest.mark.parametrize("name", hm.datasets.CHECKSUMS)
def test_the_bytes_of_a_name_are_frozen(name):
    assert hm.datasets.checksum(name) == hm.datasets.CHECKSUMS[name]
    assert is_unambiguous(hm.datasets.load(name, num=1).grammar)


def test_the_first_sequences_do_not_depend_on_their_number_or_on_blocks(monkeypatch):
    all_of_them = hm.datasets.load(SMALL, num=300)
    few = hm.datasets.load(SMALL, num=7)
    np.testing.assert_array_equal(few.sequences, all_of_them.sequences[:7])
    monkeypatch.setattr(drawing, "BLOCK_LEAVES", 4 * 32)  # 32 sequences, the last block not full
    in_blocks = hm.datasets.load(SMALL, num=300)
    np.testing.assert_array_equal(in_blocks.sequences, all_of_them.sequences)
    np.testing.assert_array_equal(in_blocks.log_probs, all_of_them.log_probs)
    for one, other in zip(in_blocks.trees, all_of_them.trees, strict=True):
        np.testing.assert_array_equal(one, other)


def test_words_become_integers_without_rounding():
    words = np.array([0, 1, 2**31, 2**32 - 1, 715_827_882, 715_827_883], np.uint32)
    for count in (2, 3, 6, 1000, 2**16):
        exact = [int(word) * count >> 32 for word in words]
        np.testing.assert_array_equal(drawing._uniform(jnp.asarray(words), count), exact)


def test_draws_follow_the_papers_grammar():
    """Chi-square of the root's family; false-alarm rate 1e-6."""
    trees = hm.datasets.load("paper", num=20_000, split="validation").trees
    codes = oracles.encode(np.column_stack([trees[0], trees[1]]).astype(int), 6)
    law = np.asarray(hm.paper_grammar().to_tensor(), float).reshape(-1) / 6
    assert oracles.agrees_with_law(codes, law / law.sum())


def test_draws_follow_the_random_hierarchy_model():
    """Chi-square of whole sequences; false-alarm rate 1e-6."""
    data = hm.datasets.load(SMALL, num=20_000)
    rho = np.asarray(data.grammar.to_tensor(), float)
    law = oracles.leaf_law(oracles.list_trees(list(rho), np.full(4, 0.25)))
    assert oracles.agrees_with_law(oracles.encode(data.sequences.astype(int), 4), law)


@pytest.mark.parametrize("name", ["paper", SMALL])
def test_log_probabilities_and_trees_are_those_of_the_grammar(name):
    data = hm.datasets.load(name, num=40)
    assert data.log_probs.dtype == np.float64
    np.testing.assert_allclose(data.log_probs, hm.log_prob(data.grammar, data.sequences), rtol=1e-5)
    np.testing.assert_array_equal(data.trees[-1], data.sequences)
    fixed = np.where(data.sequences[..., None] == np.arange(data.grammar.vocab_size), 0, -np.inf)
    best, _ = hm.most_probable_tree(data.grammar, fixed)
    for drawn, found in zip(data.trees, best, strict=True):
        np.testing.assert_array_equal(drawn, found)


def test_token_entropies_are_those_of_the_enumerated_law(monkeypatch):
    monkeypatch.setattr(
        entropies, "BLOCK_ENTRIES", 16 * 6
    )  # six sequences, the last block not full
    data = hm.datasets.load(SMALL, num=20)
    rho = np.asarray(data.grammar.to_tensor(), float)
    table = oracles.leaf_law(oracles.list_trees(list(rho), np.full(4, 0.25))).reshape((4,) * 4)
    for sequence, found in zip(data.sequences, data.token_entropies, strict=True):
        for leaf in range(4):
            rest = table[tuple(sequence[:leaf])].reshape(4, -1).sum(-1)
            rest = rest[rest > 0] / rest.sum()
            assert found[leaf] == pytest.approx(-(rest * np.log(rest)).sum(), abs=1e-6)


def test_token_entropies_average_to_the_entropy_of_a_sequence():
    """Within five standard errors: false-alarm rate 6e-7."""
    data = hm.datasets.load("paper", num=1000)
    totals = data.token_entropies.sum(-1)
    error = totals.std() / np.sqrt(len(totals))
    assert abs(totals.mean() - leaf_entropy(data.grammar)) < 5 * error


def test_splits_seeds_and_realisations_differ():
    calls = [
        {"name": SMALL},
        {"name": SMALL, "seed": 1},
        {"name": SMALL, "split": "validation"},
        {"name": SMALL, "split": "test"},
        {"name": f"{SMALL}-g1"},
    ]
    drawn = {hm.datasets.load(**call, num=50).sequences.tobytes() for call in calls}
    assert len(drawn) == len(calls)
    assert names.define(f"{SMALL}-g1").grammar.rules != names.define(SMALL).grammar.rules
    assert names.define("paper-g3").grammar.rules == hm.paper_grammar(3).rules


def test_other_spellings_are_the_same_data():
    one, other = (hm.datasets.load(name, num=50) for name in (SMALL, "rhm-v04-m2-s2-L2-g0"))
    assert one.name == other.name
    np.testing.assert_array_equal(one.sequences, other.sequences)


@pytest.mark.parametrize(("vocab_size", "dtype"), [(128, np.int8), (129, np.int16)])
def test_symbols_are_stored_in_the_smallest_integers(vocab_size, dtype):
    sequences = hm.datasets.load(f"rhm-v{vocab_size}-m1-s2-L1", num=2000).sequences
    assert sequences.dtype == dtype
    assert sequences.min() >= 0
    assert sequences.max() < vocab_size


def test_rows_are_copies_and_the_data_cannot_be_changed():
    data = hm.datasets.load(SMALL, num=10)
    row = data[3]
    row[:] = 99
    assert data.sequences.max() < 4
    assert (len(data), data[2:4].shape) == (10, (2, 4))
    np.testing.assert_array_equal(np.asarray(data), data.sequences)
    with pytest.raises(ValueError, match="read-only"):
        data.sequences[0] = 0
    again = pickle.loads(pickle.dumps(data))  # as worker processes get it
    np.testing.assert_array_equal(again[:], data[:])
    np.testing.assert_array_equal(again.trees[0], data.trees[0])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        ({"name": "rhm"}, r"name='rhm' .*rhm-v\{V\}-m\{M\}-s\{S\}-L\{L\}"),
        ({"name": "rhm-v1-m1-s2-L1"}, "v=1 must be in 2…"),
        ({"name": "rhm-v4-m5-s2-L1"}, "m=5 must be in 1…4"),
        ({"name": "rhm-v4-m1-s1-L1"}, "s=1 must be at least 2"),
        ({"name": "rhm-v4-m1-s99-L1"}, "s=99 must be"),
        ({"name": "rhm-v4-m1-s2-L0"}, "L=0 must be at least 1"),
        ({"name": "rhm-v4-m1-s2-L99"}, "L=99 must be"),
        ({"name": SMALL, "split": "dev"}, "split='dev' .*'train', 'validation', 'test'"),
        ({"name": SMALL, "num": 0}, "num=0"),
        ({"name": SMALL, "seed": -1}, "seed=-1"),
    ],
)
def test_what_is_not_a_data_set_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        hm.datasets.load(**call)
