"""Evidence against the grammar: the fast method against log space in float64, and enumeration."""

import functools

import hypothesis
import jax
import jax.numpy as jnp
import numpy as np
import oracles
import pytest
from hypothesis import strategies as st

import hiermodel as hm
from hiermodel.inference import belief_propagation

SCHEDULE = hm.Schedule.linear(500)
ROUNDINGS = 8
"""Largest error of a marginal, in roundings of 1 + its sequence's largest finite field."""


def tied_leaves():
    """Depth 1, three children that all repeat their parent."""
    rho = np.zeros((2, 2, 2, 2))
    rho[0, 0, 0, 0] = rho[1, 1, 1, 1] = 1
    return hm.Grammar.from_tensor(rho, depth=1)


def with_prior():
    """The paper's rules, with roots that are impossible, rare and hardly possible."""
    rho = np.asarray(hm.paper_grammar().to_tensor())
    return hm.Grammar.from_tensor(rho, depth=4, root_probs=np.array([0.9999, 0, 1e-30, 1e-4, 0, 0]))


def small():
    """All trees of it fit in a table."""
    return hm.Grammar.random(jax.random.key(6), vocab_size=3, depth=2, rules_per_symbol=2)


random = hm.Grammar.random
GRAMMARS = {
    "tied": tied_leaves,
    "hierarchy": lambda: hm.Grammar.random_hierarchy(
        jax.random.key(1), vocab_size=8, depth=4, branching=2, rules_per_symbol=2
    ),
    "per level": lambda: random(
        jax.random.key(5), vocab_size=5, depth=3, rules_per_symbol=3, shared=False, sigma=4.0
    ),
    "ternary": lambda: random(
        jax.random.key(2), vocab_size=4, depth=3, branching=3, rules_per_symbol=3
    ),
    "four children": lambda: random(
        jax.random.key(4), vocab_size=3, depth=2, branching=4, rules_per_symbol=2, sigma=3.0
    ),
    "deterministic": lambda: random(jax.random.key(3), vocab_size=6, depth=4, rules_per_symbol=1),
    "root prior": with_prior,
}
DEPTHS = dict(zip(GRAMMARS, (1, 4, 3, 3, 2, 4, 4), strict=True))
LEVELS = [(name, k) for name, depth in DEPTHS.items() for k in range(depth + 1)]
FAST = [("tied", 0, 1), ("tied", 1, 1), ("four children", 1, 212)]  # the last: lost before scaling


def fields(grammar, seed):
    """540 leaf log-fields: random strings at every t in 1…60, and others of scales up to 1e4."""
    rng = np.random.default_rng(seed)
    q, shape = grammar.vocab_size, (60, grammar.num_leaves, grammar.vocab_size)
    own = np.asarray(hm.sample_leaves(jax.random.key(seed), grammar, 60))
    other = rng.integers(q, size=own.shape)
    mixed = np.where(rng.random(own.shape) < 0.15, other, own)
    scale = 10 ** rng.uniform(0, 4, (60, 1, 1))
    alpha_bar = np.asarray(SCHEDULE.alpha_bar, float)[1:61, None, None]
    noise = [np.sqrt(1 - alpha_bar) * rng.normal(size=shape) for _ in range(2)]
    strings = [np.sqrt(alpha_bar) * np.eye(q)[z] for z in (other, mixed)]
    noisy = [
        (a + b) * np.sqrt(alpha_bar) / (1 - alpha_bar) for a, b in zip(strings, noise, strict=True)
    ]
    sparse = (
        -scale * (rng.random(shape) < 0.6 * rng.random((60, 1, 1))) * rng.uniform(0.5, 1, shape)
    )
    near_underflow = [
        -rng.uniform(*edge, shape) * (rng.random(shape) < 0.4) for edge in ((80, 110), (700, 760))
    ]
    return np.concatenate([
        *noisy,
        *near_underflow,
        scale * rng.normal(size=shape),
        sparse,
        np.where(rng.random(shape) < 0.1, -np.inf, sparse),
        -scale * (1 - np.eye(q)[mixed]) * rng.uniform(0.2, 1, shape),
        -scale * (1 - np.eye(q)[other]),
    ])  # fmt: skip


def assert_right(found, right, field):
    """Marginals to ROUNDINGS, log-evidence to that times the number of terms it sums."""
    rounding = ROUNDINGS * np.finfo(field.dtype).eps
    finite = np.where(np.isfinite(field), np.abs(field), 0)
    for some, exact in zip(found.log_marginals, right.log_marginals, strict=True):
        if some is not None:
            error = np.abs(np.exp(np.asarray(some, float)) - np.exp(exact)).max((-2, -1))
            assert np.all(error <= rounding * (1 + finite.max((-2, -1))))
    possible = np.isfinite(right.log_evidence)
    np.testing.assert_array_equal(np.isfinite(found.log_evidence), possible)
    exact = np.asarray(right.log_evidence)[possible]
    error = np.abs(np.asarray(found.log_evidence, float)[possible] - exact)
    assert np.all(error <= 2 * rounding * (1 + finite.max(-1).sum(-1)[possible] + np.abs(exact)))


@functools.cache
def log_space(name, filter_level):
    grammar = GRAMMARS[name]()
    run = functools.partial(belief_propagation._run_log_space, filter_level, 0, grammar)
    return jax.jit(run)


def search(name, filter_level, seed):
    grammar = GRAMMARS[name]()
    for dtype in (np.float32, np.float64):
        field = fields(grammar, seed).astype(dtype)
        right = log_space(name, filter_level)(jnp.asarray(field, np.float64))
        assert_right(hm.run_bp(grammar, field, filter_level=filter_level), right, field)


@pytest.mark.skipif(not jax.config.jax_enable_x64, reason="the reference is in float64")
@pytest.mark.parametrize(("name", "filter_level", "seed"), FAST)
def test_contradicted_evidence_agrees_with_log_space(name, filter_level, seed):
    search(name, filter_level, seed)


@pytest.mark.long
@pytest.mark.skipif(not jax.config.jax_enable_x64, reason="the reference is in float64")
@pytest.mark.parametrize(("name", "filter_level"), LEVELS)
@hypothesis.settings(max_examples=10)
@hypothesis.given(seed=st.integers(0, 2**31 - 1))
def test_contradicted_evidence_agrees_with_log_space_everywhere(name, filter_level, seed):
    search(name, filter_level, seed)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(
    ("name", "filter_level"), [("tied", 0), ("tied", 1), ("small", 0), ("small", 2)]
)
def test_contradicted_evidence_agrees_with_enumeration(name, filter_level, dtype):
    """All kinds of fields, every tree listed: neither of the two methods is the reference here."""
    grammar = tied_leaves() if name == "tied" else small()
    dense = np.asarray(grammar.to_tensor(), float)
    tensors = [dense] * grammar.depth
    trees = oracles.list_trees(tensors, np.exp(grammar.root_log_probs), filter_level)
    field = fields(grammar, seed=2)[::4].astype(dtype)
    beliefs = hm.run_bp(grammar, field, filter_level=filter_level)
    exact = np.array([oracles.log_evidence(trees, row.astype(float)) for row in field])
    possible = np.isfinite(exact)
    found = np.asarray(beliefs.log_evidence, float)
    np.testing.assert_array_equal(np.isfinite(found), possible)
    finite = np.where(np.isfinite(field), np.abs(field), 0).astype(float)
    rounding = ROUNDINGS * np.finfo(dtype).eps
    allowed = 2 * rounding * (1 + finite.max(-1).sum(-1) + np.abs(exact))
    assert (np.abs(found[possible] - exact[possible]) <= allowed[possible]).all()
    for row in np.flatnonzero(possible):
        posterior = oracles.posterior(trees, field[row].astype(float))
        for level, right in enumerate(oracles.marginals(trees, posterior)):
            if right is not None:
                error = np.abs(np.exp(np.asarray(beliefs.log_marginals[level][row], float)) - right)
                assert error.max() <= rounding * (1 + finite[row].max())


@pytest.mark.parametrize(("dtype", "strong", "weak"), [("f4", 110, 60), ("f8", 800, 500)])
def test_a_root_whose_likelihood_underflows_in_one_leaf_can_be_the_true_one(dtype, strong, weak):
    """Root 0 pays once, root 1 twice: 0 is likelier by far, though one factor of it vanishes."""
    field = np.array([[-strong, 0], [0, -weak], [0, -weak]], dtype)
    grammar = tied_leaves()
    rho = np.asarray(grammar.to_tensor(), float)
    for filter_level in (0, 1):
        trees = oracles.list_trees([rho], [0.5, 0.5], filter_level)
        beliefs = hm.run_bp(grammar, field, filter_level=filter_level)
        exact = oracles.log_evidence(trees, field)
        np.testing.assert_allclose(beliefs.log_evidence, exact, rtol=1e-6)
        right = oracles.marginals(trees, oracles.posterior(trees, field))
        np.testing.assert_allclose(np.exp(beliefs.log_marginals[0]), right[0], atol=1e-5)
        np.testing.assert_allclose(np.exp(beliefs.log_marginals[-1]), right[-1], atol=1e-5)


def test_a_row_is_the_same_whether_few_or_many_are_done_again():
    """200 rows: all of them wrong, five wrong, and each of the five alone."""
    grammar = tied_leaves()
    wrong = np.tile(np.array([[-110, 0], [0, -60], [0, -60]], np.float32), (200, 1, 1))
    wrong -= np.arange(200, dtype=np.float32)[:, None, None] / 16
    few = np.where(np.arange(200)[:, None, None] % 40 == 0, wrong, 0)
    at = np.arange(0, 200, 40)
    all_wrong = hm.run_bp(grammar, wrong, filter_level=1)
    few_wrong = hm.run_bp(grammar, few, filter_level=1)
    for left, right in zip(jax.tree.leaves(all_wrong), jax.tree.leaves(few_wrong), strict=True):
        np.testing.assert_array_equal(left[at], right[at])
    alone = hm.run_bp(grammar, wrong[at], filter_level=1)
    for left, right in zip(jax.tree.leaves(all_wrong), jax.tree.leaves(alone), strict=True):
        np.testing.assert_array_equal(left[at], right)
