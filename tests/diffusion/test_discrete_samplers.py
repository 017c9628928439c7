"""Reverse samplers of discrete noise against laws that are enumerated in full.

Chi-square tests fail a correct program once in 1e6 (oracles.FALSE_ALARM).
"""

import functools
import itertools

import jax
import numpy as np
import oracles
import pytest
import scipy.stats

import hiermodel as hm

GRAMMAR = hm.Grammar.random(jax.random.key(3), vocab_size=3, depth=2, rules_per_symbol=2)
SEQUENCES = np.indices((3,) * 4).reshape(4, -1).T  # in the order of their codes; 24 are derivable
NUM = 4000
MANY = 30
LAWS = {
    "masked": [0, 0, 0, 1],
    "uniform": [1 / 3, 1 / 3, 1 / 3],
    "mixed": [0.3, 0, 0.2, 0.5],
}


@functools.cache
def model(kind, effective_steps=MANY, filter_level=0):
    """alpha_bar falls evenly to 0 in the effective steps; the others up to MANY do nothing more.

    So all of a kind have one shape and share what is compiled.
    """
    falling = 1 / np.arange(effective_steps, 0, -1)
    betas = np.append(falling, np.ones(MANY - effective_steps))
    process = hm.DiscreteProcess.from_betas(betas, LAWS[kind], 3)
    return hm.exact_denoiser(GRAMMAR, process, filter_level=filter_level), process


@functools.cache
def law_of_data(filter_level=0):
    tensor = np.asarray(GRAMMAR.to_tensor(), float)
    return oracles.leaf_law(oracles.list_trees([tensor] * 2, np.full(3, 1 / 3), filter_level))


def likelihood(process, x_0, t):
    """q(x_t | x_0) for every row of x_0 and every x_t, in the order of its code."""
    forward = np.exp(np.asarray(process.log_forward(x_0, t)))
    table = forward[:, 0]
    for position in range(1, forward.shape[1]):
        table = (table[:, :, None] * forward[:, position, None, :]).reshape(len(x_0), -1)
    return table


@pytest.mark.parametrize(
    ("kind", "effective_steps", "filter_level"),
    [
        ("masked", 1, 0),
        ("masked", 3, 0),
        ("masked", MANY, 0),
        ("masked", 3, 2),
        ("uniform", 1, 0),
        ("uniform", 3, 0),
        ("uniform", MANY, 0),
        ("mixed", 3, 0),
        ("mixed", MANY, 0),
    ],
)
def test_joint_samples_follow_the_law_of_the_data_in_any_number_of_steps(
    kind, effective_steps, filter_level
):
    denoiser, process = model(kind, effective_steps, filter_level)
    samples = hm.sample_ancestral(jax.random.key(0), denoiser, process, NUM, joint=True)
    assert (samples.shape, samples.dtype) == ((NUM, 4), np.int32)
    assert oracles.agrees_with_law(oracles.encode(samples, 3), law_of_data(filter_level))


@pytest.mark.parametrize("kind", LAWS)
def test_joint_u_turns_follow_the_law_of_data_given_the_noisy_sequence(kind):
    """Σ over x_t of q(x_t | x_0) p(x_0' | x_t), for one x_0: more than the right law on average."""
    denoiser, process = model(kind)
    law, t = law_of_data(), 15
    start = SEQUENCES[np.flatnonzero(law)[0]]
    joint = law[:, None] * likelihood(process, SEQUENCES, t)
    weights = likelihood(process, start[None], t)[0]
    expected = (joint / np.where(joint.sum(0) > 0, joint.sum(0), 1)) @ weights
    starts = np.tile(start, (NUM, 1))
    back = hm.u_turn(jax.random.key(1), denoiser, process, starts, t, joint=True)
    assert oracles.agrees_with_law(oracles.encode(back, 3), expected)


def test_known_symbols_are_filled_in_by_their_posterior():
    denoiser, process = model("masked", 3)
    law = law_of_data()
    known = SEQUENCES[np.flatnonzero(law)[5]]
    fits = (SEQUENCES[:, 1:3] == known[1:3]).all(1)
    x_T = np.tile([3, *known[1:3], 3], (NUM, 1))
    joint = hm.sample_ancestral(jax.random.key(2), denoiser, process, x_T=x_T, joint=True)
    in_turn = hm.sample_any_order(jax.random.key(3), denoiser, process, x_T=x_T)
    for samples in (joint, in_turn):
        assert oracles.agrees_with_law(oracles.encode(samples, 3), law * fits)


def test_unmasking_in_any_order_follows_the_law_of_the_data():
    denoiser, process = model("masked")
    samples = hm.sample_any_order(jax.random.key(4), denoiser, process, NUM)
    assert oracles.agrees_with_law(oracles.encode(samples, 3), law_of_data())


PAIRS = hm.Grammar.from_tensor(
    np.array([[[0.5, 0.0], [0.0, 0.5]], [[0.0, 0.8], [0.2, 0.0]]]),
    depth=1,
    root_probs=np.array([0.7, 0.3]),
)
LAW_OF_PAIRS = np.array([0.35, 0.3 * 0.8, 0.3 * 0.2, 0.35])


def law_of_factorised_steps(process):
    """The law of pairs after steps that draw each position on its own, by products of matrices."""
    states = process.num_states
    pairs = list(itertools.product(range(states), repeat=2))
    clean = np.array(list(itertools.product(range(2), repeat=2)))
    noise = np.asarray(process.noise_law, float)
    law = np.outer(noise, noise).ravel()
    x_t, x_0 = (grid.ravel() for grid in np.indices((states, 2)))
    for t in range(process.num_steps, 0, -1):
        posterior = LAW_OF_PAIRS[:, None] * likelihood(process, clean, t)
        reverse = np.exp(process.log_posterior(x_t, x_0, t)).reshape(states, 2, states)
        after = np.zeros_like(law)
        for pair, weights, mass in zip(pairs, posterior.T, law, strict=True):
            if mass > 0:
                marginals = (np.bincount(clean[:, i], weights / weights.sum(), 2) for i in (0, 1))
                steps = (m @ reverse[symbol] for m, symbol in zip(marginals, pair, strict=True))
                after += mass * np.outer(*steps).ravel()
        law = after
    return law.reshape(states, states)[:2, :2].ravel()


@pytest.mark.parametrize("kind", ["masked", "uniform"])
def test_factorised_samples_follow_the_law_of_their_steps(kind):
    """Not that of the data: both positions can change in one step, each not knowing the other."""
    process = getattr(hm.DiscreteProcess, kind)(2, 4)
    law = law_of_factorised_steps(process)
    np.testing.assert_allclose(law.sum(), 1, rtol=1e-5)
    if kind == "masked":  # two positions are unmasked together with probability 1/T
        table = LAW_OF_PAIRS.reshape(2, 2)
        apart = np.outer(table.sum(1), table.sum(0)).ravel()
        np.testing.assert_allclose(law, 0.75 * LAW_OF_PAIRS + 0.25 * apart, rtol=1e-5)
    denoiser = hm.exact_denoiser(PAIRS, process)
    codes = oracles.encode(hm.sample_ancestral(jax.random.key(5), denoiser, process, NUM), 2)
    assert oracles.agrees_with_law(codes, law)
    assert not oracles.agrees_with_law(codes, LAW_OF_PAIRS)


@pytest.mark.long
def test_factorised_masked_samples_are_derivable_as_often_as_steps_are_small():
    """All but those with two of N positions unmasked in one step: less often than N² / 2T."""
    failures = []
    for effective_steps in (3, MANY):
        denoiser, process = model("masked", effective_steps)
        samples = hm.sample_ancestral(jax.random.key(6), denoiser, process, NUM)
        failures.append(np.sum(law_of_data()[oracles.encode(samples, 3)] == 0))
    # 4 · 3 / 2 pairs, each unmasked together with probability 1/T.
    assert failures[1] <= scipy.stats.binom.isf(oracles.FALSE_ALARM, NUM, 6 / MANY)
    assert failures[1] < failures[0]


def test_every_exact_sample_of_the_paper_grammar_is_derivable():
    grammar, process = hm.paper_grammar(), hm.DiscreteProcess.uniform(6, 5)
    denoiser = hm.exact_denoiser(grammar, process)
    samples = hm.sample_ancestral(jax.random.key(7), denoiser, process, 200, joint=True)
    assert np.all(hm.log_prob(grammar, samples) > -np.inf)
    assert len(np.unique(samples, axis=0)) > 190


SAMPLERS = {
    "by position": hm.sample_ancestral,
    "joint": functools.partial(hm.sample_ancestral, joint=True),
    "any order": hm.sample_any_order,
}


def memoriser():
    """Quickly compiled, able to draw in every way, and exact in each: its law is even."""
    process = model("masked")[1]
    return hm.empirical_denoiser(process, SEQUENCES, 3), process


@pytest.mark.parametrize("name", SAMPLERS)
def test_the_memoriser_draws_evenly_and_every_sample_from_its_own_key_and_start(name):
    denoiser, process = memoriser()
    draw, key = SAMPLERS[name], jax.random.key(10)
    many = draw(key, denoiser, process, NUM)
    assert oracles.agrees_with_law(oracles.encode(many, 3), np.full(81, 1 / 81))
    np.testing.assert_array_equal(draw(key, denoiser, process, 20), many[:20])
    assert not np.array_equal(draw(jax.random.key(11), denoiser, process, 20), many[:20])
    x_T = hm.add_noise(key, process, many[:20], 15)
    flat = draw(key, denoiser, process, x_T=x_T)
    nested = draw(key, denoiser, process, x_T=x_T.reshape(4, 5, 4))
    np.testing.assert_array_equal(nested.reshape(20, 4), flat)
    np.testing.assert_array_equal(np.where(x_T < 3, x_T, flat), flat)  # what is known stays


@pytest.mark.parametrize("joint", [False, True])
def test_sequences_off_the_grammar_are_filled_in_all_the_same(joint):
    """No completion of this pair is derivable, so at every step it is as if x_t said nothing.

    Only what a joint draw unmasks in one step hangs together: one time in MANY.
    """
    denoiser, process = model("masked")
    produced = np.asarray(GRAMMAR.to_tensor()).sum(0)
    pair = np.argwhere(produced == 0)[0]
    x_T = np.tile([*pair, 3, 3], (NUM, 1))
    samples = hm.sample_ancestral(jax.random.key(13), denoiser, process, x_T=x_T, joint=joint)
    np.testing.assert_array_equal(samples[:, :2], x_T[:, :2])
    table = law_of_data().reshape(9, 3, 3).sum(0)
    law = np.outer(table.sum(1), table.sum(0))
    if joint:
        law = law + (table - law) / MANY
    assert oracles.agrees_with_law(oracles.encode(samples[:, 2:], 3), law.ravel())


def test_any_function_of_symbols_is_a_denoiser():
    class Even:
        num_leaves, vocab_size = 4, 3

        def __call__(self, x_t, t):
            return jax.numpy.full((*x_t.shape, 3), np.log(1 / 3))

    _, process = model("masked")
    samples = hm.sample_ancestral(jax.random.key(14), Even(), process, 20)
    assert len(np.unique(samples, axis=0)) > 10
    assert set(np.unique(samples)) == {0, 1, 2}
