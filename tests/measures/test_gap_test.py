"""The permutation test of the own–other gap, against dealing out by hand."""

import jax
import numpy as np
import pytest

import hiermodel as hm
from hiermodel.measures import two_way_gap
from hiermodel.measures.dependence import deal
from hiermodel.measures.uncertainty import generator_from_key

KEY = jax.random.key(0)
RNG = np.random.default_rng(0)


def cases():
    symbols = RNG.integers(4, size=(160, 7))
    images = RNG.normal(size=(160, 2, 3))
    for rows, metric in ((symbols, "hamming"), (images, "euclidean")):
        a, b = rows[:60].reshape(2, 30, *rows.shape[1:]), rows[60:120].reshape(
            2, 30, *rows.shape[1:]
        )  # fmt: skip
        yield (a, b, rows[120:140], rows[140:]), metric


@pytest.mark.parametrize(("case", "metric"), list(cases()), ids=["sequences", "images"])
def test_every_permutation_equals_dealing_out_by_hand(case, metric):
    generated_a, generated_b, train_a, train_b = case
    found = hm.permuted_gap(KEY, *case, num_permutations=15, metric=metric)
    pool = np.concatenate([train_a, train_b])
    ways = deal(generator_from_key(KEY), 20, 15)
    expected = [
        [
            two_way_gap(a, b, pool[way], pool[~way], metric=metric).mean()
            for a, b in zip(generated_a, generated_b, strict=True)
        ]
        for way in ways
    ]
    np.testing.assert_allclose(found.observed, expected[0], rtol=1e-5)
    np.testing.assert_allclose(found.permuted, expected[1:], rtol=1e-5)


def test_the_pool_can_hold_fewer_than_the_neighbours_looked_at():
    eye = np.eye(2, dtype=int)
    found = hm.permuted_gap(KEY, eye[None], eye[None], eye[:1], eye[1:])
    assert set(np.abs(found.permuted).ravel()) == {0.0}


@pytest.mark.parametrize(
    ("shapes", "message"),
    [
        (((2, 5, 3), (2, 4, 3), (6, 3), (6, 3)), "of the shape of generated_a"),
        (((2, 5, 3), (2, 5, 3), (6, 3), (5, 3)), "of the shape of train_a"),
        (((2, 5, 3), (2, 5, 3), (6, 4), (6, 4)), "of the queries' size"),
    ],
)
def test_bad_input_is_refused(shapes, message, unchecked_types):
    with pytest.raises(ValueError, match=message):
        hm.permuted_gap(KEY, *(np.zeros(shape, int) for shape in shapes))
