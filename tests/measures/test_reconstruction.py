"""What exact inference says of noisy data: floor of the loss, ancestors, entropy of the leaves.

Statistical tests use intervals that miss with probability FALSE_ALARM, shared by all they check.
"""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import oracles
import pytest
import scipy.stats
import strategies

import hiermodel as hm
from hiermodel.grammar.statistics import leaf_entropy, symbol_log_marginals
from hiermodel.measures import (
    estimate_leaf_entropy,
    loss_floor,
    reconstruct_ancestors,
    student_interval,
)
from hiermodel.measures.reconstruction import crossing_time

FALSE_ALARM = 1e-6
SCHEDULE = hm.Schedule.linear()
STEPS = np.array([1, 40, 80, 150, 500])
NUM = 3000
SURE = 1 - FALSE_ALARM / 100  # level of intervals, of which there are less than a hundred


@pytest.fixture(scope="module")
def grammar():
    """A small grammar: little to compile."""
    return hm.Grammar.random(jax.random.key(7), vocab_size=3, depth=2, rules_per_symbol=2)


@pytest.fixture(scope="module")
def found(grammar):
    return reconstruct_ancestors(jax.random.key(0), grammar, SCHEDULE, STEPS, NUM)


PAIR = np.array([[[0.6, 0.1], [0.2, 0.1]], [[0.05, 0.15], [0.1, 0.7]]])
PAIR_ROOT = np.array([0.3, 0.7])


def quadrature(t):
    """Floor of the loss, and success for the root, of one pair of two-valued leaves.

    Of a leaf's two noisy values only the difference matters, so two dimensions are integrated.
    """
    alpha_bar = float(np.asarray(SCHEDULE.alpha_bar)[t])
    points, weights = np.polynomial.hermite_e.hermegauss(101)
    z = np.stack(np.meshgrid(points, points), -1)
    weights = np.multiply.outer(weights, weights) / weights.sum() ** 2
    loss = success = 0.0
    for root, left, right in itertools.product(range(2), repeat=3):
        x_0 = np.array([left, right])
        difference = np.sqrt(alpha_bar) * (2 * x_0 - 1) + np.sqrt(2 * (1 - alpha_bar)) * z
        field = np.sqrt(alpha_bar) / (1 - alpha_bar) * difference
        likelihood = np.exp(field[..., None] * np.arange(2))  # (…, leaf, symbol)
        joint = np.einsum(
            "r,rab,...a,...b->...rab", PAIR_ROOT, PAIR, *np.moveaxis(likelihood, -2, 0)
        )
        joint /= joint.sum((-3, -2, -1), keepdims=True)
        of_left, of_right = joint.sum((-3, -1))[..., left], joint.sum((-3, -2))[..., right]
        prior = PAIR_ROOT[root] * PAIR[root, left, right]
        loss -= prior * np.sum(weights * np.log(of_left * of_right)) / 2
        success += prior * np.sum(weights * (joint.sum((-2, -1)).argmax(-1) == root))
    return loss, success


def test_floor_and_reconstruction_of_a_pair_agree_with_quadrature():
    grammar = hm.Grammar.from_tensor(PAIR, depth=1, root_probs=PAIR_ROOT)
    steps = np.array([60, 150, 300])
    floor = loss_floor(jax.random.key(1), grammar, SCHEDULE, steps, 20_000, level=SURE)
    found = reconstruct_ancestors(jax.random.key(2), grammar, SCHEDULE, steps, 20_000)
    success = student_interval(found.success[..., 0], level=SURE)
    for index, t in enumerate(steps):
        loss, right = quadrature(t)
        assert floor.low[index] <= loss <= floor.high[index]
        # the integrand jumps where the guess changes: quadrature is good to some 1e-3
        assert success.low[index] - 2e-3 <= right <= success.high[index] + 2e-3
    assert np.all(floor.high - floor.low < 0.05)


def test_the_floor_rises_from_zero_to_the_entropy_of_a_symbol(grammar):
    floor = loss_floor(jax.random.key(3), grammar, SCHEDULE, STEPS, NUM, level=SURE)
    assert 0 <= floor.estimate[0] < 1e-6
    assert np.all(np.diff(floor.estimate) > 0)
    log_marginals = symbol_log_marginals(grammar)[-1]
    entropy = -(np.exp(log_marginals) * log_marginals).sum(-1).mean()
    assert floor.low[-1] - 1e-3 <= entropy <= floor.high[-1] + 1e-3  # a trace of signal is left


@pytest.mark.long
def test_the_denoiser_of_the_data_has_the_least_loss(grammar):
    """On the same noisy sequences; the differences are far above their errors at this key."""
    key, steps = jax.random.key(4), np.array([80, 150])
    for filter_level, other in ((0, 2), (2, 0)):
        own, foreign = (
            loss_floor(
                key,
                grammar,
                SCHEDULE,
                steps,
                NUM,
                filter_level=filter_level,
                denoiser_level=level,
            ).estimate
            for level in (filter_level, other)
        )
        assert np.all(own < foreign)


def test_expected_and_actual_reconstruction_agree(found):
    """Nishimori: the truth is as likely under the posterior as a draw from it."""
    assert found.levels == (0, 1, 2)
    assert found.success.shape == (NUM, len(STEPS), 3)
    for actual, expected in (
        (found.success, found.expected_success),
        (found.unchanged, found.expected_unchanged),
    ):
        difference = np.asarray(actual - expected)[:, 2:]  # errors are too rare before
        assert student_interval(difference, level=SURE).contains(0.0)
        assert np.all(expected.std(0) <= actual.std(0) + 1e-12)


def test_a_draw_from_the_posterior_restores_a_node_as_often_as_said(grammar, found):
    t = int(STEPS[2])
    tree = hm.sample_tree(jax.random.key(5), grammar, NUM)
    x_t = hm.add_noise(jax.random.key(6), SCHEDULE, hm.one_hot(tree[-1], 3), t)
    drawn = hm.sample_posterior(jax.random.key(7), grammar, SCHEDULE.evidence(x_t, t), 1)
    for level in range(3):
        restored = np.asarray(drawn[level][0] == tree[level]).mean(-1)
        said = np.asarray(found.unchanged[:, 2, level])  # from other sequences
        error = np.sqrt((restored.var() + said.var()) / NUM)
        assert abs(restored.mean() - said.mean()) < scipy.stats.norm.isf(FALSE_ALARM / 6) * error


def test_reconstruction_falls_from_certainty_to_chance(found):
    for curves, chance in (
        (found.expected_success, found.chance_success),
        (found.expected_unchanged, found.chance_unchanged),
    ):
        mean = np.asarray(curves.mean(0))
        np.testing.assert_allclose(mean[0], 1, atol=1e-6)
        assert np.all(np.diff(mean, axis=0) < 0)
        np.testing.assert_allclose(mean[-1], chance, atol=0.02)


def test_more_sequences_leave_the_first_ones_alone(grammar, found):
    few = reconstruct_ancestors(jax.random.key(0), grammar, SCHEDULE, STEPS, 5)
    np.testing.assert_allclose(few.unchanged, found.unchanged[:5], atol=1e-12)


def test_filtered_models_lack_their_levels():
    deep = strategies.build(strategies.DEEP, np.random.default_rng(0)).grammar
    found = reconstruct_ancestors(
        jax.random.key(8), deep, SCHEDULE, STEPS[2:4], NUM, filter_level=2
    )
    assert found.levels == (0, 2, 3)
    assert student_interval(found.success - found.expected_success, level=SURE).contains(0.0)


def test_crossing_times_are_interpolated_and_resampled():
    times = np.linspace(0, 1, 11)
    lines = np.stack([1 - times, 1 - 0.5 * times], -1)
    noise = np.random.default_rng(0).normal(scale=0.05, size=(400, 1, 2))
    low, high = 0.1, 0.5  # chance
    curves = lines + noise - noise.mean(0)
    found = crossing_time(jax.random.key(0), curves, times, np.array([low, high]), fraction=0.75)
    np.testing.assert_allclose(found.estimate, [0.225, 0.25])
    # error of the mean, 0.05 / 20, over the slope
    np.testing.assert_allclose(
        (found.high - found.low) / 2, 1.96 * 0.0025 * np.array([1, 2]), rtol=0.2
    )


def test_the_entropy_of_the_leaves_is_estimated(grammar):
    estimate = estimate_leaf_entropy(jax.random.key(9), grammar, NUM, level=SURE)
    assert estimate.contains(float(leaf_entropy(grammar)))
    case = strategies.build(strategies.AMBIGUOUS, np.random.default_rng(2))
    for filter_level in (0, 2):
        law = oracles.leaf_law(case.trees(filter_level))
        exact = -np.sum(law[law > 0] * np.log(law[law > 0]))
        estimate = estimate_leaf_entropy(
            jax.random.key(10), case.grammar, NUM, filter_level=filter_level, level=SURE
        )
        assert estimate.contains(exact)
        assert estimate.high - estimate.low < 0.3


KEY = jax.random.key(0)
FALLING = jnp.linspace(1, 0, 5)[None, :, None]


@pytest.mark.usefixtures("unchecked_types")
@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda g: loss_floor(KEY, g, SCHEDULE, np.array([0]), 5), "t=0"),
        (lambda g: loss_floor(KEY, g, SCHEDULE, np.zeros((1, 1), int), 5), "steps="),
        (lambda g: loss_floor(KEY, g, SCHEDULE, STEPS, 1), "num_sequences=1"),
        (lambda g: loss_floor(KEY, g, SCHEDULE, STEPS, 5, denoiser_level=3), "denoiser_level=3"),
        (lambda g: reconstruct_ancestors(KEY, g, SCHEDULE, STEPS, 0), "num_sequences=0"),
        (
            lambda g: reconstruct_ancestors(KEY, g, SCHEDULE, STEPS, 5, filter_level=3),
            "filter_level=3",
        ),
        (lambda g: estimate_leaf_entropy(KEY, g, 1), "num_samples=1"),
        (lambda g: crossing_time(KEY, FALLING, np.arange(5), np.zeros(1), fraction=1), "fraction"),
        (lambda g: crossing_time(KEY, FALLING, np.arange(5), np.array([-3.0])), "curves="),
    ],
)
def test_bad_input_is_refused(call, message, grammar):
    with pytest.raises(ValueError, match=message):
        call(grammar)
