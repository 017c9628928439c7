"""Generate-and-filter extraction on samples small enough to count by hand."""

import jax
import numpy as np
import pytest

import hiermodel as hm
from hiermodel.measures import find_clusters
from hiermodel.measures.extraction import score_claims

A, B, C = [0, 1, 2, 3], [4, 5, 0, 1], [2, 2, 2, 2]
NEAR_A = [0, 1, 2, 0]
SAMPLES = np.array([A, B, NEAR_A, A, C, B, A])


def test_exact_duplicates():
    clusters = find_clusters(SAMPLES)
    np.testing.assert_array_equal(clusters.centre, [A, B])
    np.testing.assert_array_equal(clusters.size, [3, 2])


def test_near_duplicates_join_the_most_frequent_centre():
    clusters = find_clusters(SAMPLES, radius=1, min_size=1)
    np.testing.assert_array_equal(clusters.centre, [A, B, C])
    np.testing.assert_array_equal(clusters.size, [4, 2, 1])
    np.testing.assert_array_equal(find_clusters(SAMPLES, radius=1, min_size=3).centre, [A])


@pytest.mark.parametrize("radius", [0, 1, 3])
def test_groups_do_not_depend_on_the_order_of_samples_and_take_all_of_them(radius):
    rng = np.random.default_rng(0)
    samples = rng.integers(3, size=(300, 5))
    clusters = find_clusters(samples, radius=radius, min_size=1)
    again = find_clusters(rng.permutation(samples), radius=radius, min_size=1)
    np.testing.assert_array_equal(clusters.centre, again.centre)
    assert clusters.size.sum() == 300
    assert (np.diff(clusters.size) <= 0).all()
    apart = (clusters.centre[:, None] != clusters.centre[None]).sum(-1)
    assert (apart[~np.eye(len(apart), dtype=bool)] > radius).all()


def test_precision_and_recall():
    train = np.array([A, NEAR_A, [5, 5, 5, 5]])
    score = score_claims(np.array([A, B]), train)
    assert score.num_claims == 2
    assert score.precision.estimate == 1 / 2
    assert score.recall.estimate == 1 / 3
    assert score_claims(np.array([A, B]), train, radius=1).recall.estimate == 2 / 3


def test_no_claims_are_no_proof_of_anything():
    score = score_claims(find_clusters(SAMPLES, min_size=4).centre, SAMPLES)
    assert score.num_claims == 0
    assert (score.precision.low, score.precision.high) == (0, 1)
    assert score.recall.estimate == 0
    assert 0 < score.recall.high < 0.5


def test_a_memoriser_is_extracted_and_the_exact_denoiser_is_not():
    grammar, schedule = hm.paper_grammar(), hm.Schedule.linear(20)
    leaves = np.asarray(hm.sample_leaves(jax.random.key(0), grammar, 60))
    train, other = leaves[:30], leaves[30:]
    memoriser = hm.empirical_denoiser(schedule, train, grammar.vocab_size)
    samples = hm.sample_ancestral(jax.random.key(1), memoriser, schedule, 300)
    claims = find_clusters(np.asarray(samples), min_size=3).centre
    assert score_claims(claims, train).precision.low > 0.8
    assert score_claims(claims, train).recall.low > 0.7
    assert score_claims(claims, other).precision.estimate == 0
    exact = hm.exact_denoiser(grammar, schedule)
    samples = hm.sample_ancestral(jax.random.key(1), exact, schedule, 300)
    # Its support is 6 · 4^15 sequences: three of 300 agree with a chance far below 1e-3.
    assert len(find_clusters(np.asarray(samples), min_size=3).centre) == 0


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: find_clusters(SAMPLES[:0]), "n > 0"),
        (lambda: find_clusters(SAMPLES, radius=5), "radius=5"),
        (lambda: find_clusters(SAMPLES, min_size=0), "min_size=0"),
        (lambda: find_clusters(-1 - SAMPLES), "holds the symbol -1"),
        (lambda: score_claims(SAMPLES, SAMPLES, radius=-1), "radii=-1"),
    ],
)
def test_bad_input_is_refused(call, message, unchecked_types):
    with pytest.raises(ValueError, match=message):
        call()
