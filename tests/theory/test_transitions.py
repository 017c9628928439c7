"""Speciation and collapse against exact and empirical posteriors."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import hiermodel as hm
from hiermodel import theory
from hiermodel.grammar.log_prob_law import log_prob_moments
from hiermodel.grammar.statistics import leaf_pairs

SCHEDULE = hm.Schedule.linear(100)
PAPER = hm.paper_grammar()


def copying_grammar(depth, error):
    """Two symbols; each child, by itself, is its parent's symbol but for an error."""
    step = np.array([[1 - error, error], [error, 1 - error]])
    return hm.Grammar.from_tensor(np.einsum("ab,ac->abc", step, step), depth=depth)


def test_the_signal_of_the_root_is_the_variance_of_the_mean_between_its_symbols():
    """By hand: two symbols, leaves keep (1 − 2 η)^L of the root's sign."""
    signal = theory.class_signal(copying_grammar(3, 0.1))
    np.testing.assert_allclose(signal, [2 ** (3 - at) / 2 * 0.8 ** (6 - 2 * at) for at in range(3)])


def test_the_signal_is_at_most_the_largest_eigenvalue_of_the_data():
    covariance = np.asarray(leaf_pairs(PAPER).covariance).transpose(0, 2, 1, 3).reshape(96, 96)
    assert theory.class_signal(PAPER)[0] < np.linalg.eigvalsh(covariance)[-1]


def root_overlap(grammar, step):
    """How much of the root is known from noisy leaves: 0 nothing, 1 all; exact."""
    tree = hm.sample_tree(jax.random.key(1), grammar, 400)
    clean = hm.one_hot(tree[-1], grammar.vocab_size)
    noisy = hm.add_noise(jax.random.key(2), SCHEDULE, clean, step)
    root = hm.run_bp(grammar, SCHEDULE.evidence(noisy, step)).log_marginals[0]
    known = np.exp(np.take_along_axis(np.asarray(root), np.asarray(tree[0])[..., None], -1)).mean()
    return (known * grammar.vocab_size - 1) / (grammar.vocab_size - 1)


def test_the_root_is_decided_near_its_predicted_step_where_single_leaves_tell_it():
    """s (1 − 2 η)² > 1. At the step, two thirds of what clean leaves tell are left (measured)."""
    grammar = copying_grammar(6, 0.1)
    step = round(theory.speciation_steps(grammar, SCHEDULE)[0])
    clean, there, later = (root_overlap(grammar, at) for at in (1, step, 2 * step))
    assert 0.4 < there / clean < 0.8
    assert later / clean < 0.2


@pytest.mark.long
def test_where_only_tuples_tell_it_the_prediction_is_contradicted():
    """The random hierarchy model with m > s: the root is known at steps far beyond the predicted.

    A result, not a fault: first-order speciation sees the mean of the leaves only.
    """
    grammar = hm.Grammar.random_hierarchy(
        jax.random.key(0), vocab_size=16, depth=4, branching=2, rules_per_symbol=4
    )
    steps = theory.speciation_steps(grammar, SCHEDULE)
    assert np.all(np.diff(steps) > 0)  # the root last
    assert steps[0] < 15
    assert root_overlap(grammar, round(2 * steps[0])) > 0.5


@pytest.mark.parametrize("number", [100, 2000])
def test_collapse_is_where_the_own_training_sequence_outweighs_the_others(number):
    """Of 300 noised training sequences: about half at the step, few and most of them around it.

    Standard error 0.03; measured 0.58 and 0.64 at the step, 0.1 and 0.99 a quarter away.
    """
    step = theory.collapse_step(jax.random.key(0), PAPER, SCHEDULE, number)
    rows = hm.sample_leaves(jax.random.key(5), PAPER, number)
    clean = hm.one_hot(rows, 6)

    def share(at):
        some = min(number, 300)
        noisy = hm.add_noise(jax.random.key(6), SCHEDULE, clean[:some], at)
        field = SCHEDULE.evidence(noisy, at)
        weights = jax.nn.softmax(jnp.einsum("iac,jac->ij", field, clean), axis=-1)
        return float((jnp.diagonal(weights) > 0.5).mean())

    found = [share(round(factor * step)) for factor in (0.7, 1.0, 1.35)]
    assert found[0] > 0.9
    assert 0.4 < found[1] < 0.78
    assert found[2] < 0.2


def test_collapse_of_masked_sequences():
    """All of a sequence is known at step 1, nothing at the last: between them ln n is."""
    process = hm.DiscreteProcess.masked(6, 20)
    key = jax.random.key(0)
    steps = [theory.collapse_step(key, PAPER, process, number) for number in (10, 1000, 10**6)]
    assert 20 > steps[0] > steps[1] > steps[2] > 0
    known = theory.information(key, PAPER, process, round(steps[1]), 256).mean()
    np.testing.assert_allclose(known, np.log(1000), rtol=0.15)
    support_is_too_small = 10**12
    assert theory.collapse_step(key, PAPER, process, support_is_too_small) == 0
    assert theory.collapse_step(key, PAPER, process, 1) == 20


def test_information_is_the_entropy_where_nothing_is_corrupted():
    """Standard error of 256 sequences: 0.15 nats; within five."""
    process = hm.DiscreteProcess.masked(6, 10_000)
    known = theory.information(jax.random.key(0), PAPER, process, 1, 256)
    expected = -log_prob_moments(PAPER)[0]
    np.testing.assert_allclose(known.mean(), expected, atol=0.75)


def test_the_threshold_of_a_process_is_at_the_noise_of_its_kind():
    sizes = {"vocab_size": 16, "rules_per_symbol": 4}
    kinds = {
        "gaussian": (hm.Schedule.linear(200), "noise_variance"),
        "erased": (hm.DiscreteProcess.masked(16, 200), "noise_prob"),
        "redrawn": (hm.DiscreteProcess.uniform(16, 200), "noise_prob"),
    }
    for kind, (process, name) in kinds.items():
        step = theory.threshold_step(process, **sizes)
        noise = np.interp(step, np.arange(201), getattr(process, name))
        expected = theory.recovery_threshold(corruption=kind, **sizes)
        np.testing.assert_allclose(noise, expected, atol=1e-6)
    none = theory.threshold_step(hm.Schedule.linear(), vocab_size=6, rules_per_symbol=4)
    assert none is None


def test_other_processes_are_refused():
    mixed = hm.DiscreteProcess.from_betas([0.5, 0.5], [0.25, 0.25, 0.5], 2)
    with pytest.raises(ValueError, match="process="):
        theory.threshold_step(mixed, vocab_size=2, rules_per_symbol=1)
    with pytest.raises(ValueError, match="vocab_size=4"):
        theory.threshold_step(mixed, vocab_size=4, rules_per_symbol=1)
    with pytest.raises(ValueError, match="process="):
        theory.speciation_steps(PAPER, hm.DiscreteProcess.masked(6, 10))
    with pytest.raises(ValueError, match="num_sequences=0"):
        theory.collapse_step(jax.random.key(0), PAPER, SCHEDULE, 0)
