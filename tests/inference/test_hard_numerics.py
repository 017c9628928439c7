"""Single precision where it is hardest: against double precision, and without a NaN."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import strategies

import hiermodel as hm

PAPER = hm.paper_grammar()
SCHEDULE = hm.Schedule.linear(500)


def single_rule_grammar():
    """One rule per symbol: the root decides everything."""
    return hm.Grammar.random(jax.random.key(1), vocab_size=6, depth=3, rules_per_symbol=1)


def single_symbol_grammar():
    """Every sequence is 0000…: one symbol is reachable, and its marginal is 1 exactly."""
    rho = np.zeros((6, 6, 6))
    rho[:, 0, 0] = 1
    return hm.Grammar.from_tensor(rho, depth=3)


def extreme_grammar():
    """Rule weights from 1e-30 to 1, shared over the paper's rules."""
    rho = np.asarray(PAPER.to_tensor())
    weights = np.where(rho > 0, 10 ** np.random.default_rng(0).uniform(-30, 0, rho.shape), 0)
    return hm.Grammar.from_tensor(weights / weights.sum((1, 2), keepdims=True), depth=3)


def many_rules_grammar():
    """768 rule applications, more than the fast method writes out: log space does it all."""
    return hm.Grammar.random(
        jax.random.key(2), vocab_size=16, depth=3, rules_per_symbol=16, sigma=4.0
    )


GRAMMARS = {
    "paper": PAPER,
    "single rule": single_rule_grammar(),
    "single symbol": single_symbol_grammar(),
    "extreme weights": extreme_grammar(),
    "many rules": many_rules_grammar(),
}
STEPS = np.repeat([1, 2, 10, 75, 250, 500], 8)
OWN, OTHER, OBSERVED = slice(0, 48), slice(48, 96), slice(96, 104)
"""Rows of :func:`hard_fields`: noised at STEPS, from the grammar and of random symbols; not noised,
first four from the grammar and then four of random symbols."""


def hard_sequences(grammar):
    """Clean sequences: from the grammar (48), of random symbols (48), and four more of each."""
    own = np.asarray(hm.sample_leaves(jax.random.key(3), grammar, 52))
    other = np.random.default_rng(4).integers(grammar.vocab_size, size=own.shape)
    return np.concatenate([own[:48], other[:48], own[48:], other[48:]])


def hard_fields(grammar):
    """Leaf log-fields (104, num_leaves, vocab_size) in float32, one batch for all tests.

    Random strings contradict the grammar, so the answer hinges on which rules are exactly
    forbidden, and at t = 1 fields reach 5000.
    """
    is_symbol = np.eye(grammar.vocab_size)[hard_sequences(grammar)]
    t = np.tile(STEPS, 2)
    alpha_bar = np.asarray(SCHEDULE.alpha_bar, float)[t][:, None, None]
    noise = np.random.default_rng(5).normal(size=is_symbol[:96].shape)
    x_t = np.sqrt(alpha_bar) * is_symbol[:96] + np.sqrt(1 - alpha_bar) * noise
    noisy = np.asarray(SCHEDULE.evidence(jnp.asarray(x_t, jnp.float32), t))
    return np.concatenate([noisy, np.where(is_symbol[96:] > 0, 0, -np.inf).astype(np.float32)])


def sizes(fields):
    """Per sequence, the sum of its leaves' largest fields: rounding errors are in proportion."""
    return 1 + np.abs(np.where(np.isfinite(fields), fields, 0)).max(-1).sum(-1)


def errors(single, double):
    """Largest error of any marginal of any node, per sequence."""
    pairs = [(a, b) for a, b in zip(single, double, strict=True) if a is not None]
    return np.max([np.abs(np.exp(a) - np.exp(b)).max((-2, -1)) for a, b in pairs], axis=0)


@pytest.mark.parametrize("filter_level", [0, 2])
@pytest.mark.parametrize("name", GRAMMARS)
def test_float32_agrees_with_float64_from_the_first_step_to_the_last(name, filter_level):
    grammar = GRAMMARS[name]
    fields = hard_fields(grammar)
    single = hm.run_bp(grammar, fields, filter_level=filter_level)
    double = hm.run_bp(grammar, fields.astype(np.float64), filter_level=filter_level)
    assert not any(np.isnan(part).any() for part in jax.tree.leaves(single))
    assert all(part.dtype == np.float32 for part in jax.tree.leaves(single))
    error = errors(single.log_marginals, double.log_marginals)
    assert error[OWN].max() < 1e-5
    assert error[OBSERVED].max() < 1e-5
    # Trees that fit a random string at t = 1 or 2 have fields of up to 5000 against them, known to
    # 2e-4 each in float32; where two such trees tie, the marginals know no better.
    assert np.all(error[OTHER] < np.where(STEPS <= 2, 1e-3, 1e-4))
    possible = np.isfinite(double.log_evidence)
    np.testing.assert_array_equal(np.isfinite(single.log_evidence), possible)
    difference = np.abs(single.log_evidence - double.log_evidence)[possible]
    terms = sizes(fields) + np.abs(double.log_evidence)  # log-weights add up to hundreds too
    assert np.all(difference < 1e-5 * terms[possible])


@pytest.mark.parametrize("name", GRAMMARS)
def test_observed_strings_outside_the_grammar_leave_the_prior(name):
    grammar, fields = GRAMMARS[name], hard_fields(GRAMMARS[name])
    beliefs = hm.run_bp(grammar, fields)
    assert np.all(np.isfinite(beliefs.log_evidence[:100]))
    impossible = np.isneginf(beliefs.log_evidence)
    if name != "many rules":  # there every pair of symbols has a parent
        assert impossible[100:].all()
    prior = [np.exp(level) for level in hm.run_bp(grammar, np.zeros_like(fields)).log_marginals]
    for found, expected in zip(beliefs.log_marginals, prior, strict=True):
        np.testing.assert_allclose(
            np.exp(found[impossible]), expected[impossible], rtol=1e-4, atol=1e-7
        )


def test_one_reachable_symbol_is_certain_whatever_the_field():
    grammar = GRAMMARS["single symbol"]
    leaves = hm.run_bp(grammar, hard_fields(grammar)).log_marginals[-1]
    np.testing.assert_allclose(leaves[..., 0], 0, atol=1e-6)
    assert np.all(np.isneginf(leaves[..., 1:]))


@pytest.mark.parametrize("filter_level", [0, 2])
@pytest.mark.parametrize("name", GRAMMARS)
def test_gradients_in_single_precision_are_finite_and_the_marginals(name, filter_level):
    grammar, fields = GRAMMARS[name], hard_fields(GRAMMARS[name])

    def total(grammar, field):
        beliefs = hm.run_bp(grammar, field, filter_level=filter_level)
        return jnp.where(jnp.isfinite(beliefs.log_evidence), beliefs.log_evidence, 0).sum()

    of_grammar, of_fields = jax.grad(total, argnums=(0, 1), allow_int=True)(grammar, fields)
    for gradient in jax.tree.leaves(of_grammar):
        assert np.all(np.isfinite(gradient))
    assert np.all(np.isfinite(of_fields))
    beliefs = hm.run_bp(grammar, fields, filter_level=filter_level)
    possible = np.isfinite(beliefs.log_evidence)
    marginals = np.exp(beliefs.log_marginals[-1])
    tolerance = np.where(np.append(np.tile(STEPS, 2), np.full(8, 500)) <= 2, 1e-3, 1e-4)
    error = np.abs(of_fields - marginals).max((-2, -1))
    assert np.all(error[possible] < tolerance[possible])
    np.testing.assert_array_equal(of_fields[~possible], 0)


LARGE = {
    "512 leaves": {"vocab_size": 32, "rules_per_symbol": 8, "depth": 9},
    "256 symbols": {"vocab_size": 256, "rules_per_symbol": 16, "depth": 6},
}


@pytest.mark.long
@pytest.mark.parametrize("shared", [True, False])
@pytest.mark.parametrize("name", LARGE)
def test_float32_agrees_with_float64_on_large_grammars(name, shared):
    """As the small ones do, where errors could add up over nodes and over rules."""
    grammar = hm.Grammar.random(jax.random.key(0), shared=shared, **LARGE[name])
    leaves = hm.sample_leaves(jax.random.key(3), grammar, 8)
    t = jnp.array([1, 10, 75, 100, 150, 250, 400, 500])
    x_t = hm.add_noise(jax.random.key(4), SCHEDULE, hm.one_hot(leaves, grammar.vocab_size), t)
    fields = np.asarray(SCHEDULE.evidence(x_t, t), np.float32)
    single, double = (hm.run_bp(grammar, fields.astype(kind)) for kind in (np.float32, np.float64))
    assert all(part.dtype == np.float32 for part in jax.tree.leaves(single))
    assert errors(single.log_marginals, double.log_marginals).max() < 1e-5
    difference = np.abs(single.log_evidence - double.log_evidence)
    assert np.all(difference < 1e-5 * (sizes(fields) + np.abs(double.log_evidence)))
    rounded = jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float32), grammar)
    found, expected = hm.log_prob(rounded, leaves), hm.log_prob(grammar, leaves)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def tree_score(grammar, levels, fields):
    """Log of P(tree) · exp(field at its leaves) in double precision; −inf for an impossible one."""
    with np.errstate(divide="ignore"):
        log_rho = np.log(np.asarray(grammar.to_tensor(), float))
    levels = [np.asarray(level) for level in levels]
    score = np.asarray(grammar.root_log_probs, float)[levels[0][..., 0]]
    for above, below in itertools.pairwise(levels):
        score = score + log_rho[above, below[..., ::2], below[..., 1::2]].sum(-1)
    at_leaves = np.take_along_axis(fields.astype(float), levels[-1][..., None], -1)
    return score + at_leaves[..., 0].sum(-1)


@pytest.mark.parametrize("name", GRAMMARS)
def test_the_best_tree_in_single_precision_is_as_good_as_in_double(name):
    grammar, fields = GRAMMARS[name], hard_fields(GRAMMARS[name])
    levels, log_probability = hm.most_probable_tree(grammar, fields)
    _, best = hm.most_probable_tree(grammar, fields.astype(np.float64))
    possible = np.isfinite(best)
    np.testing.assert_array_equal(np.isfinite(log_probability), possible)
    assert all(np.all(level[~possible] == -1) for level in levels)
    rows = [np.asarray(level)[possible] for level in levels]
    tolerance = 1e-6 * sizes(fields)[possible] + 1e-4  # log-weights down to −69 per node
    assert np.all(np.abs(log_probability - best)[possible] < tolerance)
    assert np.all(best[possible] - tree_score(grammar, rows, fields[possible]) < tolerance)


@pytest.mark.parametrize("name", GRAMMARS)
def test_posterior_trees_are_possible_and_clear_evidence_is_followed(name):
    grammar, fields = GRAMMARS[name], hard_fields(GRAMMARS[name])
    levels = hm.sample_posterior(jax.random.key(6), grammar, fields, 4)
    possible = np.isfinite(hm.run_bp(grammar, fields).log_evidence)
    assert all(np.all(level[:, ~possible] == -1) for level in levels)
    rows = [np.asarray(level)[:, possible] for level in levels]
    repeated = np.broadcast_to(fields[possible], (4, *fields[possible].shape))
    assert np.all(tree_score(grammar, rows, repeated) > -np.inf)
    # At t = 1 a wrong leaf costs a field of 5000 ± 100: no sample ever has one.
    clean = np.tile(hard_sequences(grammar)[:8], (4, 1, 1))
    np.testing.assert_array_equal(levels[-1][:, :8], clean)


def test_the_gradient_with_respect_to_the_rules_counts_how_often_they_are_used():
    """d log p(x) / d log-weight is the expected number of uses: one rule per inner node."""
    leaves = hm.sample_leaves(jax.random.key(2), PAPER, 1)[0]
    gradient = jax.grad(lambda grammar: hm.log_prob(grammar, leaves))(PAPER)
    assert np.all(np.isfinite(gradient.log_weights))
    np.testing.assert_allclose(gradient.log_weights.sum(), 15, rtol=1e-12)
    np.testing.assert_allclose(gradient.root_log_probs.sum(), 1, rtol=1e-12)


def test_strong_fields_neither_overflow_nor_lose_the_log_evidence():
    case = strategies.build(strategies.DEEP, np.random.default_rng(3))
    field = 1e30 * np.random.default_rng(4).normal(size=(8, 2)).astype(np.float32)
    beliefs = hm.run_bp(case.grammar, field)
    levels, best = hm.most_probable_tree(case.grammar, field.astype(np.float64))
    np.testing.assert_allclose(beliefs.log_evidence, best, rtol=1e-6)
    np.testing.assert_array_equal(np.argmax(beliefs.log_marginals[-1], -1), levels[-1])
    assert not any(np.isnan(level).any() for level in beliefs.log_marginals)


@pytest.mark.parametrize("filter_level", range(5))
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_no_evidence_costs_the_log_evidence_no_digits(filter_level, dtype):
    found = hm.run_bp(hm.paper_grammar(), np.zeros((16, 6), dtype), filter_level=filter_level)
    assert abs(float(found.log_evidence)) < 8 * np.finfo(found.log_evidence.dtype).eps
