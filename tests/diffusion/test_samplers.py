"""Ancestral sampling and U-turns with denoisers that are known exactly."""

import jax
import numpy as np
import oracles
import pytest

import hiermodel as hm

PAPER = hm.paper_grammar()
SCHEDULE = hm.Schedule.linear(500)
SHORT = hm.Schedule.linear(50)
TINY = hm.Grammar.from_tensor(
    np.array([[[0.5, 0.0], [0.0, 0.5]], [[0.0, 0.8], [0.2, 0.0]]]),
    depth=1,
    root_probs=np.array([0.7, 0.3]),
)


def test_exact_samples_are_derivable():
    denoiser = hm.exact_denoiser(PAPER, SCHEDULE)
    sequences = hm.sample_ancestral(jax.random.key(0), denoiser, SCHEDULE, 50)
    assert (sequences.shape, sequences.dtype) == ((50, 16), np.int32)
    assert np.all(hm.log_prob(PAPER, sequences) > -np.inf)
    assert len(np.unique(sequences, axis=0)) > 40


def test_exact_samples_follow_the_law_of_the_grammar():
    """Discretisation in 500 steps costs far less than 4000 samples can see."""
    denoiser = hm.exact_denoiser(TINY, SCHEDULE)
    sequences = hm.sample_ancestral(jax.random.key(1), denoiser, SCHEDULE, 4000)
    law = np.array([0.35, 0.3 * 0.8, 0.3 * 0.2, 0.35])
    assert oracles.agrees_with_law(oracles.encode(sequences, 2), law)


def test_independent_samples_follow_the_given_marginals():
    probs = np.array([[0.2, 0.8], [0.5, 0.5]])
    denoiser = hm.independent_denoiser(SCHEDULE, np.log(probs))
    sequences = hm.sample_ancestral(jax.random.key(2), denoiser, SCHEDULE, 4000)
    law = np.outer(*probs).ravel()
    assert oracles.agrees_with_law(oracles.encode(sequences, 2), law)


def test_the_empirical_denoiser_reproduces_its_training_set():
    train = hm.sample_leaves(jax.random.key(3), PAPER, 30)
    denoiser = hm.empirical_denoiser(SCHEDULE, train, 6)
    sequences = hm.sample_ancestral(jax.random.key(4), denoiser, SCHEDULE, 50)
    assert set(map(tuple, sequences.tolist())) <= set(map(tuple, train.tolist()))


def test_two_denoisers_from_the_same_noise_see_the_same_steps():
    """So samples of the exact and of a poorer denoiser resemble each other, pair by pair."""
    x_T = np.random.default_rng(0).normal(size=(30, 2, 2))
    prior = np.asarray(hm.run_bp(TINY, np.zeros((2, 2))).log_marginals[-1])
    exact, independent = (
        hm.sample_ancestral(jax.random.key(8), denoiser, SHORT, x_T=x_T)
        for denoiser in (hm.exact_denoiser(TINY, SHORT), hm.independent_denoiser(SHORT, prior))
    )
    assert np.mean(exact == independent) > 0.8  # 1/2 by chance


def test_leading_axes_of_the_start_are_kept(precision):
    denoiser = hm.exact_denoiser(TINY, SHORT)
    x_T = np.random.default_rng(1).normal(size=(2, 3, 2, 2)).astype(precision.dtype)
    nested = hm.sample_ancestral(jax.random.key(9), denoiser, SHORT, x_T=x_T)
    flat = hm.sample_ancestral(jax.random.key(9), denoiser, SHORT, x_T=x_T.reshape(6, 2, 2))
    np.testing.assert_array_equal(nested.reshape(6, 2), flat)
    single = hm.sample_ancestral(jax.random.key(9), denoiser, SHORT, x_T=x_T[0, 0])
    np.testing.assert_array_equal(single, flat[0])


def test_starting_at_the_last_step_is_one_look_at_the_denoiser():
    """At t = 1 the step is deterministic: the most probable symbol per position."""
    denoiser = hm.exact_denoiser(PAPER, SCHEDULE)
    x_1 = np.random.default_rng(2).normal(size=(50, 16, 6))
    sequences = hm.sample_ancestral(jax.random.key(10), denoiser, SCHEDULE, x_T=x_1, start=1)
    np.testing.assert_array_equal(sequences, denoiser(x_1, 1).argmax(-1))


@pytest.mark.parametrize("one_hot", [False, True])
def test_the_shortest_u_turn_returns_sequences_of_the_grammar(one_hot):
    x_0 = hm.sample_leaves(jax.random.key(11), PAPER, 50)
    start = hm.one_hot(x_0, 6) if one_hot else x_0
    denoiser = hm.exact_denoiser(PAPER, SCHEDULE)
    np.testing.assert_array_equal(hm.u_turn(jax.random.key(12), denoiser, SCHEDULE, start, 1), x_0)


def test_the_longest_u_turn_forgets_where_it_began():
    """From two starts with the same key: nothing but 1 % of signal is left at t = T."""
    denoiser = hm.exact_denoiser(TINY, SCHEDULE)
    law = np.array([0.35, 0.3 * 0.8, 0.3 * 0.2, 0.35])
    start = np.zeros((4000, 2), np.int32)
    back = hm.u_turn(jax.random.key(13), denoiser, SCHEDULE, start, 500)
    # alpha_bar_T = 4e-5: a mean shifted by 0.6 % of a standard deviation, below what 4000 show.
    assert oracles.agrees_with_law(oracles.encode(back, 2), law)


def test_a_u_turn_overlaps_less_the_later_it_turns():
    denoiser = hm.exact_denoiser(PAPER, SCHEDULE)
    x_0 = hm.sample_leaves(jax.random.key(14), PAPER, 50)
    overlaps = [
        np.mean(hm.u_turn(jax.random.key(15), denoiser, SCHEDULE, x_0, t) == x_0)
        for t in (5, 60, 150, 500)
    ]
    assert overlaps == sorted(overlaps, reverse=True)
    assert overlaps[0] == 1
    assert overlaps[-1] < 0.5


def test_every_sample_of_a_u_turn_has_noise_of_its_own():
    x_0 = np.tile(hm.sample_leaves(jax.random.key(16), PAPER, 1), (50, 1))
    denoiser = hm.exact_denoiser(PAPER, SCHEDULE)
    back = np.asarray(hm.u_turn(jax.random.key(17), denoiser, SCHEDULE, x_0, 300))
    assert len(np.unique(back, axis=0)) > 25
