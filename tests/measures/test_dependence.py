"""The permutation test of data-dependence: its statistic, its level and its power."""

import jax
import numpy as np
import pytest
import scipy.stats
from oracles import FALSE_ALARM

from hiermodel.measures import block_reproduction, permuted_block_excess
from hiermodel.measures.dependence import corrected_p_values, deal
from hiermodel.measures.uncertainty import generator_from_key

KEY = jax.random.key(0)


def draw(seed, *shape, symbols=3):
    return np.random.default_rng(seed).integers(symbols, size=shape)


def two_way(generated_a, generated_b, train_a, train_b, depth):
    """The statistic from its definition, curve by curve."""
    return np.stack(
        [
            (
                block_reproduction(a, train_a, train_b, 2, depth).mean(0)
                + block_reproduction(b, train_b, train_a, 2, depth).mean(0)
            )
            / 2
            for a, b in zip(generated_a, generated_b, strict=True)
        ]
    )


@pytest.mark.parametrize("max_numbers", [1, 2**24])
def test_statistic_is_block_reproduction_of_the_splits_and_of_permuted_ones(
    max_numbers, monkeypatch
):
    monkeypatch.setattr("hiermodel.measures.dependence.MAX_NUMBERS", max_numbers)
    generated = draw(1, 2, 3, 20, 4)  # both models, curves, samples, leaves
    train = draw(2, 2, 9, 4)  # with repeats between and within the splits
    found = permuted_block_excess(KEY, *generated, *train, 2, 2, num_permutations=5)
    np.testing.assert_allclose(found.observed, two_way(*generated, *train, 2), atol=1e-14)
    pool = np.concatenate(train)
    for in_a, permuted in zip(deal(generator_from_key(KEY), 9, 5)[1:], found.permuted, strict=True):
        expected = two_way(*generated, pool[in_a], pool[~in_a], 2)
        np.testing.assert_allclose(permuted, expected, atol=1e-14)


def test_every_way_of_dealing_out_keeps_the_sizes():
    dealt = deal(generator_from_key(KEY), 6, 40)
    assert (dealt.sum(1) == 6).all()
    assert dealt[0].tolist() == [True] * 6 + [False] * 6
    assert len(np.unique(dealt, axis=0)) > 20


def p_values_of(seed, copied):
    """Corrected p-values over 3 curves of the level of whole sequences, in small samples."""
    train = draw(seed, 2, 12, 4)
    generated = draw(seed + 10_000, 2, 3, 25, 4)
    generated[:, -1, :copied] = train[:, :copied]
    found = permuted_block_excess(
        jax.random.key(seed), *generated, *train, 2, 2, num_permutations=39
    )
    return corrected_p_values(found.observed[:, 0], found.permuted[..., 0])


def test_false_alarms_are_as_rare_as_claimed():
    """Of independent samples, at most a share α has any p ≤ α; binomial bound at FALSE_ALARM."""
    num_trials, alpha = 300, 0.2
    alarms = sum(p_values_of(seed, 0).min() <= alpha for seed in range(num_trials))
    assert alarms <= scipy.stats.binom.isf(FALSE_ALARM, num_trials, alpha)
    assert alarms >= scipy.stats.binom.ppf(FALSE_ALARM, num_trials, alpha / 4)  # nor asleep


def test_copies_are_noticed_where_they_are():
    p_values = np.stack([p_values_of(seed, 8) for seed in range(20)])
    assert np.median(p_values[:, -1]) == 1 / 40  # the least that 39 permutations can give
    assert np.median(p_values[:, 0]) > 0.1


def test_correction_ranks_the_largest_of_all_statistics():
    permuted = np.array([[1.0, 0.0], [-1.0, 1.0], [0.5, -1.0], [-0.5, 0.0]])
    scale = np.sqrt(np.square(permuted).mean(0))
    largest = (permuted / scale).max(1)
    observed = np.array([0.6, 2.0])
    expected = [(1 + (largest >= value).sum()) / 5 for value in observed / scale]
    np.testing.assert_allclose(corrected_p_values(observed, permuted), expected)
    # Units do not matter, and what no permutation changes says nothing.
    rescaled = corrected_p_values(observed * [1, 100], permuted * [1, 100])
    np.testing.assert_allclose(rescaled, expected)
    np.testing.assert_array_equal(corrected_p_values(observed, 0 * permuted), 1)


ROWS, SAMPLES = np.zeros((3, 4), int), np.zeros((2, 5, 4), int)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: permuted_block_excess(KEY, SAMPLES, SAMPLES[:1], ROWS, ROWS, 2, 2), "generated_b"),
        (lambda: permuted_block_excess(KEY, ROWS, ROWS, ROWS, ROWS, 2, 2), "generated_a"),
        (lambda: permuted_block_excess(KEY, SAMPLES, SAMPLES, ROWS, ROWS[:2], 2, 2), "train_b"),
        (lambda: permuted_block_excess(KEY, SAMPLES, SAMPLES, ROWS, ROWS, 2, 3), "train_a has sh"),
        (lambda: permuted_block_excess(KEY, SAMPLES, SAMPLES, ROWS - 1, ROWS, 2, 2), "symbol -1"),
        (
            lambda: permuted_block_excess(
                KEY, SAMPLES, SAMPLES, ROWS, ROWS, 2, 2, num_permutations=0
            ),
            "num_permutations=0",
        ),
        (lambda: permuted_block_excess(0, SAMPLES, SAMPLES, ROWS, ROWS, 2, 2), "key=0"),
        (lambda: corrected_p_values(np.zeros(2), np.zeros((4, 3))), "permuted"),
        (lambda: corrected_p_values(np.array([np.nan]), np.zeros((4, 1))), "observed"),
    ],
)
def test_bad_input_is_refused(call, message, unchecked_types):
    with pytest.raises(ValueError, match=message):
        call()
