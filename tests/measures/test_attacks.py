"""Membership attacks on denoisers that know nothing of the members, and on one that knows all."""

import jax
import numpy as np
import pytest

import hiermodel as hm
from hiermodel.measures import (
    attack_losses,
    epsilon_lower_bound,
    evaluate_attack,
    evaluate_loss,
    membership_score,
    repeated_u_turns,
)
from hiermodel.measures.loss import stratified_steps
from hiermodel.measures.membership import auc, tpr_at_fpr
from hiermodel.measures.reproduction import near_copies
from hiermodel.networks.learned import learned_denoiser
from hiermodel.networks.mlp import MLPConfig
from hiermodel.networks.network import init_params

GRAMMAR, SCHEDULE = hm.paper_grammar(), hm.Schedule.linear(40)
LEAVES = np.asarray(hm.sample_leaves(jax.random.key(0), GRAMMAR, 240))
OWN, OTHER, FRESH = LEAVES[:60], LEAVES[60:120], LEAVES[120:]
FIXED = np.full(8, 8)
SPREAD = np.asarray(stratified_steps(jax.random.key(1), 40, 20))
BLIND = MLPConfig(16, 6, width=8, num_blocks=1)


def blind_network(seed):
    params = init_params(jax.random.key(seed), BLIND)
    return learned_denoiser(BLIND, params, hm.Schedule.linear(40))


def scores(denoiser, reference, steps):
    """Of own and fresh sequences."""
    both = np.concatenate([OWN, FRESH])
    losses = [
        attack_losses(jax.random.key(2), each, SCHEDULE, both, steps)
        for each in (denoiser, reference)
        if each is not None
    ]
    found = membership_score(*losses)
    return found[: len(OWN)], found[len(OWN) :]


REFERENCES = {
    "plain": lambda: None,
    "calibrated": lambda: hm.exact_denoiser(GRAMMAR, SCHEDULE),
    "reference": lambda: hm.empirical_denoiser(SCHEDULE, OTHER, 6),
}


@pytest.mark.parametrize("steps", [FIXED, SPREAD], ids=["fixed t", "all t"])
@pytest.mark.parametrize("reference", REFERENCES)
def test_a_network_that_never_saw_either_set_gives_nothing_away(reference, steps):
    # 99.9 % intervals: one of these six fails by chance with probability below 0.006.
    other = blind_network(1) if reference == "reference" else REFERENCES[reference]()
    attack = evaluate_attack(
        jax.random.key(3), *scores(blind_network(0), other, steps), level=0.999
    )
    assert attack.auc.contains(0.5)
    assert attack.tpr.low[0] <= 0.01


@pytest.mark.parametrize("steps", [FIXED, SPREAD], ids=["fixed t", "all t"])
@pytest.mark.parametrize("reference", REFERENCES)
def test_the_memoriser_gives_everything_away(reference, steps):
    memoriser = hm.empirical_denoiser(SCHEDULE, OWN, 6)
    attack = evaluate_attack(jax.random.key(3), *scores(memoriser, REFERENCES[reference](), steps))
    assert attack.auc.low > 0.99
    assert attack.tpr.estimate[0] > 0.9


@pytest.mark.long
def test_losses_are_means_over_noises_shared_by_all_denoisers():
    exact = hm.exact_denoiser(GRAMMAR, SCHEDULE)
    key = jax.random.key(5)
    found = attack_losses(key, exact, SCHEDULE, FRESH, SPREAD[:3])
    by_noise = [
        evaluate_loss(jax.random.fold_in(key, number), exact, SCHEDULE, FRESH, int(t))
        for number, t in enumerate(SPREAD[:3])
    ]
    np.testing.assert_allclose(found, np.mean(by_noise, 0), rtol=1e-9)
    # The first sequences' losses do not depend on what else is attacked.
    first = attack_losses(key, exact, SCHEDULE, FRESH[:7], SPREAD[:3])
    np.testing.assert_allclose(first, found[:7], rtol=1e-9)


def test_impossible_symbols_have_a_finite_loss():
    memoriser = hm.empirical_denoiser(SCHEDULE, OWN[:2], 6)
    losses = attack_losses(jax.random.key(5), memoriser, SCHEDULE, FRESH, np.array([1]))
    assert losses.max() <= -np.log(1e-8)
    assert losses.max() > 5


def test_intervals_are_those_of_resampled_scores():
    rng = np.random.default_rng(0)
    members, others = rng.normal(0.7, 1, size=(3, 50)), rng.normal(size=(3, 80))
    members[0, :5] = others[0, :5]  # ties
    attack = evaluate_attack(
        jax.random.key(0), members, others, rates=(0.1, 1.0), num_resamples=4000
    )
    pairs = list(zip(members, others, strict=True))
    np.testing.assert_allclose(attack.auc.estimate, np.mean([auc(*pair) for pair in pairs]))
    np.testing.assert_allclose(
        attack.tpr.estimate, np.mean([[tpr_at_fpr(*p, r) for p in pairs] for r in (0.1, 1.0)], 1)
    )
    resampled = []
    for _ in range(1000):
        i, j, k = (rng.integers(n, size=n) for n in (50, 80, 3))
        picked = [(members[n][i], others[n][j]) for n in k]
        resampled.append(np.mean([[auc(*p), tpr_at_fpr(*p, 0.1)] for p in picked], 0))
    low, high = np.quantile(resampled, [0.025, 0.975], axis=0)
    # Standard error of the end of such an interval: about 0.003 for the AUC, 0.01 for the TPR.
    np.testing.assert_allclose([attack.auc.low, attack.auc.high], [low[0], high[0]], atol=0.015)
    found = [attack.tpr.low[0], attack.tpr.high[0]]
    np.testing.assert_allclose(found, [low[1], high[1]], atol=0.03)
    assert attack.tpr.low[1] == attack.tpr.high[1] == 1


def test_only_the_order_of_scores_matters_to_one_network():
    rng = np.random.default_rng(1)
    members, others = rng.normal(0.5, 1, 40), rng.normal(size=60)
    plain = evaluate_attack(jax.random.key(0), members, others)
    bent = evaluate_attack(jax.random.key(0), np.exp(members), np.exp(others))
    np.testing.assert_array_equal(plain.auc[:3], bent.auc[:3])
    np.testing.assert_array_equal(plain.tpr.high, bent.tpr.high)


def test_the_interval_covers():
    """True AUC 0.5: a 90 % interval fails in 10 % of 200 repeats, more than 18 % once in 5000."""
    rng = np.random.default_rng(2)
    covered = [
        evaluate_attack(
            jax.random.key(i), rng.normal(size=60), rng.normal(size=60), level=0.9,
            num_resamples=300,
        ).auc.contains(0.5)
        for i in range(200)
    ]  # fmt: skip
    assert np.mean(covered) > 0.82


def test_epsilon_is_bounded_only_where_scores_tell_members():
    pytest.importorskip("jax_privacy")
    rng = np.random.default_rng(3)
    members, others = rng.normal(size=500), rng.normal(size=500)
    assert epsilon_lower_bound(members, others, delta=1e-3) == 0
    clear = epsilon_lower_bound(members + 10, others, delta=1e-6)
    # 500 right guesses of 500 at δ = 0: (1 + e^−ε)^−500 = 0.05 / 3 thresholds, so ε = 4.8.
    assert 4 < clear < 6
    assert 0 < epsilon_lower_bound(members + 1.5, others, delta=1e-6) < clear


def test_cycles_of_the_memoriser_fall_onto_its_training_set():
    memoriser = hm.empirical_denoiser(SCHEDULE, OWN, 6)
    exact = hm.exact_denoiser(GRAMMAR, SCHEDULE)
    key = jax.random.key(0)
    chain = repeated_u_turns(key, memoriser, SCHEDULE, FRESH, 12, 3)
    np.testing.assert_array_equal(chain[0], FRESH)
    copies = np.array([near_copies(rows, OWN, (0,)).mean() for rows in chain])
    assert copies[0] == 0
    assert copies[-1] > 0.95
    of_exact = repeated_u_turns(key, exact, SCHEDULE, FRESH, 12, 3)
    assert near_copies(of_exact[-1], OWN, (0,)).mean() < 0.05
    # More cycles leave the first ones as they were.
    np.testing.assert_array_equal(
        repeated_u_turns(key, exact, SCHEDULE, FRESH, 12, 2), of_exact[:3]
    )


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: attack_losses(
                jax.random.key(0), blind_network(0), SCHEDULE, OWN, np.array([41])
            ),
            "t=41",
        ),
        (
            lambda: attack_losses(jax.random.key(0), blind_network(0), SCHEDULE, OWN, FIXED[:0]),
            "at least one step",
        ),
        (
            lambda: evaluate_attack(jax.random.key(0), np.ones((2, 3)), np.ones(3)),
            "of 2 networks",
        ),
        (lambda: epsilon_lower_bound([1.0], [0.0], delta=0.0), "delta=0.0"),
        (
            lambda: repeated_u_turns(jax.random.key(0), blind_network(0), SCHEDULE, OWN, 3, 0),
            "num_cycles=0",
        ),
    ],
)
def test_bad_input_is_refused(call, message, unchecked_types):
    with pytest.raises(ValueError, match=message):
        call()
