"""Nearest neighbours against brute force and the authors' values; what follows from them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

import hiermodel as hm
from hiermodel.measures import (
    distance_histogram,
    histogram_divergence,
    law_histogram,
    nearest_images,
    nearest_neighbour_divergence,
    nearest_neighbour_floor,
    nearest_neighbours,
    own_other_gap,
    reference_law,
    two_way_gap,
)

FALSE_ALARM = 1e-6


def test_equals_the_reference_values(reference):
    values = reference("nn")
    counts = {}
    for kind in ("gen", "data"):
        found = nearest_neighbours(values[kind], values["train"])
        np.testing.assert_array_equal(found.distance, values[f"dist_{kind}"])
        np.testing.assert_array_equal(found.row, values[f"index_{kind}"])
        counts[kind] = distance_histogram(found.distance, 16)
        np.testing.assert_array_equal(counts[kind], values[f"counts_{kind}"])
    divergence = histogram_divergence(counts["gen"], counts["data"])
    np.testing.assert_allclose(divergence, values["kl"], rtol=1e-12)
    assert divergence == nearest_neighbour_divergence(
        values["gen"], values["data"], values["train"]
    )


# Few combinations, as each is compiled: words partly filled, full and several; chunks likewise.
@given(
    st.integers(0, 2**32 - 1),
    st.sampled_from(
        [
            (1, 2, (1, 1), np.int8),
            (16, 6, (5, 40), np.int8),
            (16, 6, (1030, 9), np.int32),
            (32, 17, (600, 3), np.int16),
            (33, 3, (512, 20), np.int64),
            (81, 2, (5, 40), np.int32),
        ]
    ),
)
def test_equals_brute_force(seed, case):
    num_leaves, vocab_size, sizes, dtype = case
    rng = np.random.default_rng(seed)
    queries, references = (
        rng.integers(vocab_size, size=(size, num_leaves)).astype(dtype) for size in sizes
    )
    queries[0] = references[-1]
    distances = (queries[:, None] != references[None]).sum(-1)
    found = nearest_neighbours(queries, references)
    np.testing.assert_array_equal(found.distance, distances.min(1))
    np.testing.assert_array_equal(found.row, distances.argmin(1))  # the first of equals


def test_runs_under_jit_given_the_vocabulary():
    rng = np.random.default_rng(0)
    queries, references = rng.integers(6, size=(7, 16)), rng.integers(6, size=(20, 16))
    search = jax.jit(lambda q, r: nearest_neighbours(q, r, vocab_size=6))
    for one, other in zip(
        search(queries, references), nearest_neighbours(queries, references), strict=True
    ):
        np.testing.assert_array_equal(one, other)
    with pytest.raises(ValueError, match="vocab_size=None"):
        jax.jit(nearest_neighbours)(queries, references)


def test_nearest_images_equal_brute_force():
    rng = np.random.default_rng(1)
    references = rng.normal(size=(50, 8, 8)).astype(np.float32)
    queries = rng.normal(size=(300, 8, 8)).astype(np.float32)
    queries[:50] = references + 1e-3 * queries[:50]  # near-copies, where cancellation bites
    distances = np.sqrt(np.square(queries[:, None] - references[None]).sum((2, 3)))
    found = nearest_images(queries, references)
    np.testing.assert_array_equal(found.row, distances.argmin(1))
    np.testing.assert_allclose(found.distance, distances.min(1), rtol=1e-5)


@pytest.mark.parametrize(("num_leaves", "num_bins"), [(16, 20), (20, 20), (64, 20), (5, 1)])
def test_histogram_bins_are_closed_on_the_left(num_leaves, num_bins):
    distances = np.arange(num_leaves + 1)
    counts = distance_histogram(distances, num_leaves, num_bins=num_bins)
    expected = np.zeros(num_bins, int)
    for distance in distances:
        inside = [
            b
            for b in range(num_bins)
            if b * num_leaves <= distance * num_bins < (b + 1) * num_leaves
        ]
        expected[inside[0] if inside else num_bins - 1] += 1
    np.testing.assert_array_equal(counts, expected)
    assert distance_histogram(np.array([num_leaves]), num_leaves, num_bins=num_bins)[-1] == 1


def test_histogram_divergence_closed_forms():
    assert histogram_divergence(np.array([3, 1]), np.array([30, 10])) == 0
    np.testing.assert_allclose(
        histogram_divergence(np.array([1, 1]), np.array([1, 3])),
        0.5 * np.log(2) + 0.5 * np.log(2 / 3),
        rtol=1e-14,
    )
    np.testing.assert_allclose(
        histogram_divergence(np.array([5, 0]), np.array([0, 5])), (1 - 1e-8) * np.log(1e8)
    )


@pytest.fixture(scope="module")
def paper_data():
    """Two training sets of 500 and 8000 fresh sequences of the paper's grammar."""
    leaves = np.asarray(hm.sample_leaves(jax.random.key(0), hm.paper_grammar(), 9000))
    return leaves[:500], leaves[500:1000], leaves[1000:]


def test_floor_contains_the_divergence_of_fresh_data(paper_data):
    """Central interval of 0.998: false alarm 1 in 500 per pair of samples, its key being fixed."""
    train, _, fresh = paper_data
    floor = nearest_neighbour_floor(
        jax.random.key(1), fresh, train, num_generated=1000, num_fresh=2000, level=0.998
    )
    value = nearest_neighbour_divergence(fresh[:1000], fresh[1000:3000], train)
    assert floor.low <= floor.estimate <= floor.high
    assert floor.contains(value)
    # A model that copies a tenth of the time stands out.
    copying = np.concatenate([train[:100], fresh[:900]])
    assert nearest_neighbour_divergence(copying, fresh[1000:3000], train) > floor.high
    again = nearest_neighbour_floor(
        jax.random.key(1), fresh, train, num_generated=1000, num_fresh=2000, level=0.998
    )
    assert again == floor


def test_gap_is_zero_on_average_if_generation_ignores_the_split(paper_data):
    """Over the draw of the splits, as both are drawn alike; z-test at rate FALSE_ALARM."""
    _, _, pool = paper_data
    generated = pool[:20]
    blocks = pool[20 : 20 + 2 * 79 * 50].reshape(79, 2, 50, 16)
    gaps = [two_way_gap(generated[:10], generated[10:], a, b).mean() for a, b in blocks]
    z = np.mean(gaps) / (np.std(gaps, ddof=1) / np.sqrt(len(gaps)))
    assert abs(z) < scipy.stats.t.isf(FALSE_ALARM / 2, len(gaps) - 1)


def test_two_directions_cancel_exactly_for_the_same_samples(paper_data):
    train_a, train_b, fresh = paper_data
    assert own_other_gap(fresh, train_a, train_b).mean() != 0
    np.testing.assert_array_equal(two_way_gap(fresh, fresh, train_a, train_b), 0)


def test_gap_is_positive_for_copies(paper_data):
    train_a, train_b, _ = paper_data
    gap = own_other_gap(train_a, train_a, train_b)
    np.testing.assert_array_equal(gap, nearest_neighbours(train_a, train_b).distance)
    assert gap.mean() > 1
    assert (two_way_gap(train_a, train_b, train_a, train_b) >= 0).all()


def test_gap_of_images_is_in_pixel_distance():
    own, other = np.zeros((1, 2, 2)), np.ones((1, 2, 2))
    np.testing.assert_allclose(own_other_gap(own, own, other, metric="euclidean"), [2.0])
    whole = own_other_gap(
        np.zeros((1, 4), int), np.zeros((1, 4), int), np.full((1, 4), 3), metric="euclidean"
    )
    np.testing.assert_allclose(whole, [6.0])  # integers do not make it a Hamming distance


@pytest.mark.parametrize("filter_level", [0, 1])
def test_reference_is_the_law_itself_where_it_is_small(filter_level):
    """Against 40 000 fresh sequences: χ² at FALSE_ALARM."""
    grammar = hm.Grammar.random(jax.random.key(3), vocab_size=4, depth=2, rules_per_symbol=3)
    train = hm.make_splits(jax.random.key(4), grammar, num_splits=1, split_size=10, test_size=1)
    own = train.train[0]
    law = reference_law(jax.random.key(5), grammar, filter_level=filter_level)
    by_law = law_histogram(law, own)
    assert by_law.sum() == pytest.approx(1, abs=1e-5)
    copies = np.exp(hm.log_prob(grammar, own, filter_level=filter_level)).sum()
    assert by_law[0] == pytest.approx(copies, rel=1e-4)
    fresh = hm.sample_leaves(jax.random.key(6), grammar, 40_000, filter_level=filter_level)
    counts = distance_histogram(nearest_neighbours(fresh, own).distance, 4)
    np.testing.assert_array_equal(counts[by_law == 0], 0)
    filled = by_law > 0
    expected = by_law[filled] / by_law.sum() * counts.sum()
    assert scipy.stats.chisquare(counts[filled], expected).pvalue > FALSE_ALARM / 2


def test_reference_of_a_large_law_is_many_fresh_sequences(paper_data):
    train, _, _ = paper_data
    law = reference_law(jax.random.key(7), hm.paper_grammar(), num_fresh=5000)
    assert law.sequences.shape == (5000, 16)
    np.testing.assert_allclose(law.probs, 1 / 5000)
    counts = distance_histogram(nearest_neighbours(law.sequences, train).distance, 16)
    np.testing.assert_allclose(law_histogram(law, train), counts / 5000)


A, B = np.zeros((3, 4), np.int32), np.ones((2, 4), np.int32)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: nearest_neighbours(A, B[:, :3]), "rows of the queries' size"),
        (lambda: nearest_neighbours(A, B[:0]), "at least one row"),
        (lambda: nearest_neighbours(A[0], B), r"queries=\(4,\)"),
        (lambda: nearest_neighbours(A - 1, B), "queries holds the symbol -1"),
        (lambda: nearest_neighbours(A, B + 1, vocab_size=2), "references holds the symbol 2"),
        (lambda: nearest_neighbours(A.astype(float), B), "must hold integers"),
        (lambda: nearest_images(np.full((2, 2), np.nan), np.ones((1, 2))), "not finite"),
        (lambda: distance_histogram(np.array([5]), 4), "distances holds the symbol 5"),
        (lambda: distance_histogram(np.array([1]), 4, num_bins=0), "num_bins=0"),
        (lambda: histogram_divergence(np.array([1]), np.array([1, 2])), "counts_q"),
        (lambda: histogram_divergence(np.array([0, 0]), np.array([1, 2])), "counts_p"),
        (lambda: histogram_divergence(np.array([-1, 2]), np.array([1, 2])), "counts_p"),
        (lambda: histogram_divergence(np.array([1]), np.array([1]), clip=0.0), "clip"),
        (lambda: own_other_gap(A, A, B), "other"),
        (lambda: two_way_gap(A, B, A, A), "generated_b"),
        (lambda: own_other_gap(A, A, A, metric="l1"), "metric='l1'"),
        (lambda: own_other_gap(A + 0.5, A, A), "must hold integers"),
        (lambda: nearest_neighbour_floor(jax.random.key(0), A, B, num_fresh=0), "sample size=0"),
        (lambda: nearest_neighbour_floor(jax.random.key(0), A, B, level=1.0), "level=1.0"),
        (lambda: nearest_neighbour_floor(jnp.zeros(2), A, B), "key"),
    ],
)
def test_bad_input_is_refused(call, message, unchecked_types):
    with pytest.raises(ValueError, match=message):
        call()
