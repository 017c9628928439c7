"""What the grammar forbids has posterior probability zero: exactly, at every step, in float32."""

import itertools

import jax
import numpy as np
import oracles
import pytest
import strategies

import hiermodel as hm

SCHEDULE = hm.Schedule.linear(500)
EVERY_STEP = np.arange(1, 501)
PAPER = hm.paper_grammar()


def noisy_at_every_step(grammar, seed):
    """Two sequences per step: one of the grammar, one of random symbols."""
    rng = np.random.default_rng(seed)
    q, n = grammar.vocab_size, grammar.num_leaves
    own = np.asarray(hm.sample_leaves(jax.random.key(seed), grammar, 500))
    x_0 = np.eye(q, dtype=np.float32)[np.stack([own, rng.integers(q, size=(500, n))], 1)]
    return hm.add_noise(jax.random.key(seed + 1), SCHEDULE, x_0, EVERY_STEP[:, None])


def sparse_case():
    """Symbol 2 is never a left child, symbol 0 never a right one; rules differ per level."""
    rng = np.random.default_rng(0)
    rho = rng.random((3, 4, 4, 4)) * (rng.random((3, 4, 4, 4)) < 0.4)
    rho[:, :, 2, :] = 0
    rho[:, :, :, 0] = 0
    rho[:, :, 0, 1] += 0.1  # so that every symbol has a rule
    rho /= rho.sum((2, 3), keepdims=True)
    return list(rho), hm.Grammar.from_tensor(rho, depth=3)


def assert_impossible_exactly(log_probs, possible):
    """No NaN, and −inf wherever there is no derivation."""
    log_probs = np.asarray(log_probs)
    assert log_probs.dtype == np.float32
    assert not np.isnan(log_probs).any()
    assert np.all(np.isneginf(log_probs[..., ~possible]))
    # The possible ones share all probability. In float32 a field of 5000, as at t = 1, is known
    # to 5e-4, and so are the logarithms of probabilities.
    np.testing.assert_allclose(np.exp(log_probs).sum(-1), 1, atol=5e-4)


@pytest.mark.parametrize("filter_level", [0, 1, 2, 3])
def test_unreachable_symbols_are_impossible_at_every_step(filter_level):
    tensors, grammar = sparse_case()
    reach = np.ones(4) / 4 @ np.stack(oracles.root_to_level(tensors, 3))
    possible = reach > 0
    assert not possible.all()
    x_t = noisy_at_every_step(grammar, 1)
    denoiser = hm.exact_denoiser(grammar, SCHEDULE, filter_level=filter_level)
    assert_impossible_exactly(denoiser(x_t, EVERY_STEP[:, None]), possible)


def test_forbidden_pairs_are_impossible_at_every_step():
    """Leaf 0 known: its sibling cannot have a symbol that no parent produces beside it."""
    x_t = noisy_at_every_step(PAPER, 2)
    rho = np.asarray(PAPER.to_tensor())
    allowed = rho.sum(0) > 0
    assert (~allowed).sum() == 12
    for symbol in range(6):
        field = np.array(SCHEDULE.evidence(x_t, EVERY_STEP[:, None]))
        field[..., 0, np.arange(6) != symbol] = -np.inf
        beliefs = hm.run_bp(PAPER, field)
        assert np.all(np.isfinite(beliefs.log_evidence))
        assert_impossible_exactly(beliefs.log_marginals[-1][..., 1, :], allowed[symbol])
        is_parent = rho[:, symbol].sum(-1) > 0
        assert_impossible_exactly(beliefs.log_marginals[-2][..., 0, :], is_parent)


def test_posterior_trees_use_only_rules_at_every_step():
    x_t = noisy_at_every_step(PAPER, 3)
    field = SCHEDULE.evidence(x_t, EVERY_STEP[:, None])
    levels = hm.sample_posterior(jax.random.key(4), PAPER, field, 2)
    rho = np.asarray(PAPER.to_tensor())
    for above, below in itertools.pairwise(levels):
        assert np.all(rho[above, below[..., ::2], below[..., 1::2]] > 0)


def test_the_empirical_denoiser_rules_out_what_no_sequence_holds():
    sequences = hm.sample_leaves(jax.random.key(5), PAPER, 20)
    possible = (np.asarray(sequences)[:, :, None] == np.arange(6)).any(0)
    assert not possible.all()
    denoiser = hm.empirical_denoiser(SCHEDULE, sequences, 6)
    x_t = noisy_at_every_step(PAPER, 6)
    assert_impossible_exactly(denoiser(x_t, EVERY_STEP[:, None]), possible)


def test_a_prior_of_zero_stays_zero():
    case = strategies.build(strategies.TERNARY, np.random.default_rng(7))
    with np.errstate(divide="ignore"):
        log_probs = np.log(np.tile([0.0, 0.4, 0.6], (9, 1)))
    denoiser = hm.independent_denoiser(SCHEDULE, log_probs)
    x_t = np.random.default_rng(8).normal(size=(500, case.grammar.num_leaves, 3))
    possible = np.tile([False, True, True], (9, 1))
    assert_impossible_exactly(denoiser(x_t.astype(np.float32), EVERY_STEP), possible)
