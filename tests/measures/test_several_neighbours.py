"""First to second neighbour, against all distances."""

import numpy as np
import pytest

from hiermodel.measures import neighbour_ratio

RNG = np.random.default_rng(0)


def brute_force(distances):
    first, second = np.sort(distances, axis=1)[:, :2].T
    return first / second


def test_sequences_against_all_pairs():
    queries, references = RNG.integers(5, size=(40, 9)), RNG.integers(5, size=(30, 9))
    queries[0] = references[3]
    distances = (queries[:, None] != references[None]).sum(-1)
    found = neighbour_ratio(queries, references)
    np.testing.assert_allclose(found, brute_force(distances), rtol=1e-12)
    assert found[0] == 0


def test_images_against_all_pairs():
    queries, references = RNG.normal(size=(40, 3, 4)), RNG.normal(size=(30, 3, 4))
    distances = np.sqrt(np.square(queries[:, None] - references[None]).sum((-2, -1)))
    found = neighbour_ratio(queries, references, metric="euclidean")
    np.testing.assert_allclose(found, brute_force(distances), rtol=1e-6)
    shuffled = neighbour_ratio(queries, RNG.permutation(references), metric="euclidean")
    np.testing.assert_allclose(found, shuffled, rtol=1e-6)


def test_a_copy_of_a_doubled_reference_belongs_to_neither():
    references = np.array([[0, 1], [0, 1], [3, 3]])
    np.testing.assert_array_equal(neighbour_ratio(references, references), [1, 1, 0])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: neighbour_ratio(np.eye(2), np.eye(2)[:1]), "at least two rows"),
        (
            lambda: neighbour_ratio(np.eye(2, dtype=int), np.eye(3, dtype=int)),
            "of the queries' size",
        ),
        (lambda: neighbour_ratio(np.eye(2), np.eye(2)), "must hold integers"),
        (lambda: neighbour_ratio(np.eye(2), np.eye(2), metric="l1"), "metric='l1'"),
        (lambda: neighbour_ratio(np.array([[-1, 0]]), np.array([[0, 1], [1, 1]])), "symbol -1"),
    ],
)
def test_bad_input_is_refused(call, message, unchecked_types):
    with pytest.raises(ValueError, match=message):
        call()
