"""Copies of training sequences, whole and in blocks, on examples small enough to count by hand."""

import jax
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import hiermodel as hm
from hiermodel.measures import block_reproduction, excess_reproduction, near_copies
from hiermodel.measures.reproduction import copies_beyond_others, found_blocks

OWN = np.array([[0, 1, 2, 3], [4, 5, 0, 1]])
OTHER = np.array([[0, 1, 4, 4], [2, 3, 2, 3]])


def test_near_copies_by_radius():
    generated = np.array([[0, 1, 2, 3], [0, 1, 2, 0], [5, 5, 5, 5]])
    expected = [[True, True, True], [False, True, True], [False, False, False]]
    np.testing.assert_array_equal(near_copies(generated, OWN), expected)
    np.testing.assert_array_equal(near_copies(generated, OWN, (3,)), [[True], [True], [True]])


def test_excess_over_a_baseline():
    copies = np.repeat(OWN, 50, axis=0)
    excess = excess_reproduction(copies, OTHER, OWN, (0, 4))
    np.testing.assert_array_equal(excess.estimate, [1, 0])
    assert excess.low[0] > 0.3  # the baseline has but two sequences
    leaves = np.asarray(hm.sample_leaves(jax.random.key(0), hm.paper_grammar(), 2100))
    excess = excess_reproduction(leaves[:1000], leaves[1000:2000], leaves[2000:], (0, 5))
    assert (excess.low < 0).all()
    assert (excess.high > 0).all()  # no copy at all does not prove that there are none


def test_copies_beyond_others_by_hand():
    generated = np.array([[0, 1, 2, 3], [0, 1, 4, 4], [0, 1, 2, 0], [5, 5, 5, 5]])
    # Copies: 1/4 of OWN, 1/4 of OTHER; within 1: 2/4 and 1/4.
    found = copies_beyond_others(generated, OWN, OTHER, (0, 1))
    np.testing.assert_array_equal(found, [0, 1 / 4])
    # Two sets of others, of which the second is OWN itself; of a third, one sequence is left out.
    more = np.concatenate([OTHER, OWN, OWN[:1]])
    found = copies_beyond_others(generated, OWN, more, (0, 1))
    np.testing.assert_array_equal(found, [0, 1 / 8])
    # OWN twice as likely as OTHER: as many copies of it are no surprise.
    fresh = np.concatenate([OWN, OWN, OTHER])
    found = copies_beyond_others(generated, OWN, OTHER, (0,), fresh=fresh)
    np.testing.assert_allclose(found, [1 / 4 - 2 / 4])
    np.testing.assert_array_equal(
        copies_beyond_others(generated, OWN, OTHER, (0,), fresh=OWN[:1]), [0]
    )
    # Fewer others than training sequences: as many of these.
    np.testing.assert_array_equal(copies_beyond_others(generated, OWN, OTHER[1:], (0,)), [1 / 4])


def test_what_is_nearly_never_right_does_not_seem_to_copy_less_than_chance():
    """Unlike excess over fresh data; mean over training sets, 4 standard errors (rate 1e-4)."""
    grammar = hm.paper_grammar()
    leaves = np.asarray(hm.sample_leaves(jax.random.key(0), grammar, 40 * 400))
    noisy = np.array(leaves[:400])
    noisy[:, 0] = np.random.default_rng(0).integers(0, 6, 400)
    found = [
        copies_beyond_others(noisy, rows, others, (5,))[0]
        for rows, others in zip(
            leaves[400:].reshape(39, 400, -1)[:13],
            leaves[400:].reshape(39, 400, -1)[13:].reshape(13, 800, -1),
            strict=True,
        )
    ]
    assert abs(np.mean(found)) < 4 * np.std(found, ddof=1) / np.sqrt(len(found))
    assert np.std(found) > 0


def test_blocks_on_a_handcrafted_example():
    generated = np.array([[0, 1, 2, 3], [4, 5, 4, 4], [2, 3, 4, 5]])
    # Whole: the first is in OWN. Halves, each at its own place: (01, 23), (45, –), (–, –) are in
    # OWN; (01, 23), (–, 44), (23, –) in OTHER. Leaves: columns of OWN {04}{15}{20}{31}, of OTHER
    # {02}{13}{42}{43}.
    in_own = np.array([[1, 1, 1], [0, 1 / 2, 1 / 2], [0, 0, 0]])
    in_other = np.array([[0, 1, 1], [0, 1 / 2, 1 / 2], [0, 1 / 2, 3 / 4]])
    np.testing.assert_array_equal(found_blocks(generated, OWN, 2, 2), in_own)
    np.testing.assert_array_equal(found_blocks(generated, OTHER, 2, 2), in_other)
    result = block_reproduction(generated, OWN, OTHER, 2, 2)
    np.testing.assert_array_equal(result, in_own - in_other)


@given(
    st.integers(0, 2**32 - 1),
    st.sampled_from([(2, 1), (2, 3), (3, 2), (5, 1)]),
    st.sampled_from([2, 3, 1000]),
)
def test_found_blocks_equal_brute_force(seed, shape, vocab_size):
    branching, depth = shape
    rng = np.random.default_rng(seed)
    generated = rng.integers(vocab_size, size=(30, branching**depth))
    train = rng.integers(vocab_size, size=(12, branching**depth))
    train[0] = generated[0]
    expected = np.empty((30, depth + 1))
    for level in range(depth + 1):
        blocks = [rows.reshape(len(rows), branching**level, -1) for rows in (generated, train)]
        same = (blocks[0][:, None] == blocks[1][None]).all(-1)
        expected[:, level] = same.any(1).mean(1)
    np.testing.assert_allclose(found_blocks(generated, train, branching, depth), expected)


def test_block_reproduction_sets_in_at_the_scale_of_what_is_copied():
    leaves = np.asarray(hm.sample_leaves(jax.random.key(0), hm.paper_grammar(), 9000))
    own, other, fresh = leaves[:500], leaves[500:1000], leaves[1000:]
    halves = np.concatenate([own[np.arange(8000) % 500, :8], fresh[:, 8:]], axis=1)
    result = block_reproduction(halves, own, other, 2, 4).mean(0)
    # A stitched sequence is new as a whole; its left half is in the training set.
    np.testing.assert_allclose(result[0], 0, atol=0.01)
    assert result[1] > 0.35
    assert result[1] > result[2] > result[3] > 0.0
    # What does not depend on the split shows no preference, once both directions are averaged.
    both = block_reproduction(fresh, own, other, 2, 4) + block_reproduction(fresh, other, own, 2, 4)
    np.testing.assert_array_equal(both, 0)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: near_copies(OWN, OTHER, (5,)), "radii=5"),
        (lambda: found_blocks(OWN, OTHER, 2, 3), "last axes must be"),
        (lambda: found_blocks(OWN, OTHER, 1, 2), "branching=1"),
        (lambda: found_blocks(OWN, OTHER[:0], 2, 2), "train"),
        (lambda: found_blocks(OWN - 1, OTHER, 2, 2), "generated holds the symbol -1"),
        (lambda: block_reproduction(OWN, OWN, OTHER[:1], 2, 2), "of the shape of own"),
    ],
)
def test_bad_input_is_refused(call, message, unchecked_types):
    with pytest.raises(ValueError, match=message):
        call()
