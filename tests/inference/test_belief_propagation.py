"""Belief propagation against brute force, against itself, and against the authors' values."""

import jax
import jax.numpy as jnp
import numpy as np
import oracles
import pytest
import strategies
from hypothesis import given, settings
from hypothesis import strategies as st

import hiermodel as hm

SOME = [strategies.AMBIGUOUS, strategies.TERNARY]  # where all of them would take long to compile


def tolerance_of(dtype, field):
    """Absolute tolerance for sums of fields of this size, in rounding errors of the dtype."""
    size = 1 + np.abs(np.where(np.isfinite(field), field, 0)).sum()
    return {np.float64: 1e-12, np.float32: 3e-6}[dtype] * size


def assert_beliefs_match(beliefs, trees, field, tolerance):
    probs = oracles.posterior(trees, field)
    expected = oracles.log_evidence(trees, field)
    np.testing.assert_allclose(beliefs.log_evidence, expected, rtol=0, atol=tolerance)
    for log_marginals, exact in zip(
        beliefs.log_marginals, oracles.marginals(trees, probs), strict=True
    ):
        if exact is None:
            assert log_marginals is None
        else:
            np.testing.assert_allclose(np.exp(log_marginals), exact, rtol=0, atol=tolerance)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@settings(max_examples=100)  # some six for each structure and filter level
@given(data=st.data())
def test_evidence_and_all_marginals_equal_enumeration(data, dtype):
    structures = strategies.STRUCTURES if dtype == np.float64 else SOME
    case = data.draw(strategies.cases(structures))
    filter_level = data.draw(strategies.filter_levels(case))
    field = data.draw(strategies.fields(case)).astype(dtype)
    beliefs = hm.run_bp(case.grammar, field, filter_level=filter_level)
    assert all(array.dtype == dtype for array in jax.tree.leaves(beliefs))
    assert_beliefs_match(beliefs, case.trees(filter_level), field, tolerance_of(dtype, field))


@given(data=st.data())
def test_impossible_symbols_have_minus_infinity_and_likely_ones_do_not(data):
    case = data.draw(strategies.cases(SOME))
    filter_level = data.draw(strategies.filter_levels(case))
    field = data.draw(strategies.fields(case)).astype(np.float32)
    trees = case.trees(filter_level)
    beliefs = hm.run_bp(case.grammar, field, filter_level=filter_level)
    exact = oracles.marginals(trees, oracles.posterior(trees, field))
    possible = oracles.log_weights(trees, field) > -np.inf
    if not possible.any():
        possible[:] = True  # impossible evidence counts for nothing
    counts = oracles.marginals(trees, possible.astype(float))
    for log_marginals, probs, count in zip(beliefs.log_marginals, exact, counts, strict=True):
        if log_marginals is not None:
            found = np.asarray(log_marginals)
            assert np.all(np.isneginf(found[count == 0]))
            assert np.all(np.isfinite(found[probs > 1e-30]))


@given(data=st.data())
def test_log_prob_equals_the_law_of_the_leaves(data):
    case = data.draw(strategies.cases(SOME))
    q, n = case.grammar.vocab_size, case.grammar.num_leaves
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    filter_level = data.draw(strategies.filter_levels(case))
    trees = case.trees(filter_level)
    leaves = rng.integers(q, size=(50, n))
    leaves[:25] = trees.levels[-1][rng.integers(len(trees.prior), size=25)]  # possible ones
    expected = oracles.leaf_law(trees)[oracles.encode(leaves, q)]
    result = np.exp(hm.log_prob(case.grammar, leaves, filter_level=filter_level))
    np.testing.assert_allclose(result, expected, rtol=1e-10)


def test_leaf_probabilities_sum_to_one():
    case = strategies.build(strategies.AMBIGUOUS, np.random.default_rng(0))
    every = np.stack(np.unravel_index(np.arange(3**4), (3,) * 4), -1)
    for filter_level in range(3):
        total = np.exp(hm.log_prob(case.grammar, every, filter_level=filter_level)).sum()
        assert total == pytest.approx(1, abs=1e-13)


@pytest.mark.parametrize("filter_level", [0, 1, 2, 3])
def test_impossible_evidence_leaves_the_prior_and_no_nan(filter_level, precision):
    grammar = strategies.build(strategies.DEEP, np.random.default_rng(1)).grammar
    silent = np.zeros((2, 8, 2), precision.dtype)
    silent[1, 3] = -np.inf  # no symbol at all fits leaf 3
    beliefs = hm.run_bp(grammar, silent, filter_level=filter_level)
    np.testing.assert_allclose(beliefs.log_evidence[0], 0, atol=precision.tolerance)
    assert beliefs.log_evidence[1] == -np.inf
    for log_marginals in beliefs.log_marginals:
        if log_marginals is not None:
            np.testing.assert_allclose(log_marginals[0], log_marginals[1], atol=precision.tolerance)


@pytest.mark.long
@given(data=st.data())
def test_filtering_keeps_the_prior_marginals_of_the_levels_that_remain(data):
    case = data.draw(strategies.cases())
    filter_level = data.draw(strategies.filter_levels(case))
    silent = np.zeros((case.grammar.num_leaves, case.grammar.vocab_size))
    full = hm.run_bp(case.grammar, silent).log_marginals
    kept = hm.run_bp(case.grammar, silent, filter_level=filter_level).log_marginals
    for level, (of_filtered, of_full) in enumerate(zip(kept, full, strict=True)):
        if 0 < level < filter_level:
            assert of_filtered is None
        else:
            np.testing.assert_allclose(np.exp(of_filtered), np.exp(of_full), atol=1e-12)


@given(data=st.data())
def test_level_one_filtering_with_independent_children_changes_nothing(data):
    """If the root draws its children independently, level 1 is independent given it already."""
    case = data.draw(strategies.cases([strategies.AMBIGUOUS]))
    left, right = oracles.root_to_level(case.tensors, 1)
    tensors = np.stack([np.einsum("ab,ac->abc", left, right), case.tensors[1]])
    grammar = hm.Grammar.from_tensor(tensors, depth=2, root_probs=case.root_probs)
    field = data.draw(strategies.fields(case))
    full, filtered = (hm.run_bp(grammar, field, filter_level=k) for k in (0, 1))
    tolerance = tolerance_of(np.float64, field)
    np.testing.assert_allclose(full.log_evidence, filtered.log_evidence, atol=tolerance)
    for a, b in zip(full.log_marginals, filtered.log_marginals, strict=True):
        np.testing.assert_allclose(np.exp(a), np.exp(b), rtol=0, atol=tolerance)


@given(data=st.data())
def test_the_deepest_filter_makes_leaves_independent_given_the_root(data):
    case = data.draw(strategies.cases())
    field = data.draw(strategies.fields(case))
    with np.errstate(divide="ignore"):
        log_paths = np.log(oracles.root_to_level(case.tensors, case.depth))  # (leaf, root, symbol)
        log_root = np.log(case.root_probs)
    per_leaf = np.logaddexp.reduce(log_paths + field[:, None, :], axis=-1)
    expected = np.logaddexp.reduce(per_leaf.sum(0) + log_root)
    result = hm.run_bp(case.grammar, field, filter_level=case.depth).log_evidence
    np.testing.assert_allclose(result, expected, atol=tolerance_of(np.float64, field))


@given(data=st.data())
def test_leaf_marginals_are_the_gradient_of_the_log_evidence(data):
    case = data.draw(strategies.cases([strategies.AMBIGUOUS, strategies.DEEP]))
    filter_level = data.draw(strategies.filter_levels(case))
    field = data.draw(strategies.fields(case))

    def log_evidence(h):
        return hm.run_bp(case.grammar, h, filter_level=filter_level).log_evidence

    value, gradient = jax.value_and_grad(log_evidence)(jnp.asarray(field))
    if value > -np.inf:
        beliefs = hm.run_bp(case.grammar, field, filter_level=filter_level)
        tolerance = tolerance_of(np.float64, field)
        np.testing.assert_allclose(gradient, np.exp(beliefs.log_marginals[-1]), atol=tolerance)
    else:
        assert np.all(np.isfinite(gradient))


@pytest.mark.long
@given(data=st.data())
def test_log_evidence_is_the_same_whichever_level_the_tree_is_cut_at(data):
    """What the lower trees say of their own roots is leaf evidence for the upper tree."""
    case = data.draw(strategies.cases([strategies.AMBIGUOUS, strategies.DEEP]))  # depth at least 2
    q, s, depth = case.grammar.vocab_size, case.grammar.branching, case.depth
    field = data.draw(strategies.fields(case))
    whole = hm.run_bp(case.grammar, field).log_evidence
    for cut in range(1, depth):
        blocks = field.reshape(s**cut, -1, q)
        lower = [
            hm.Grammar.from_tensor(np.stack(case.tensors[cut:]), depth=depth - cut, root_probs=root)
            for root in np.eye(q)
        ]
        messages = np.stack([hm.run_bp(grammar, blocks).log_evidence for grammar in lower], -1)
        upper = hm.Grammar.from_tensor(
            np.stack(case.tensors[:cut]), depth=cut, root_probs=case.root_probs
        )
        joined = hm.run_bp(upper, messages).log_evidence
        np.testing.assert_allclose(joined, whole, atol=tolerance_of(np.float64, field))


@given(data=st.data())
def test_relabelling_the_symbols_relabels_the_beliefs(data):
    case = data.draw(strategies.cases([strategies.AMBIGUOUS]))
    field = data.draw(strategies.fields(case))
    filter_level = data.draw(strategies.filter_levels(case))
    q, s = case.grammar.vocab_size, case.grammar.branching
    new = np.random.default_rng(q).permutation(q)  # one new name per symbol, so rules compile once
    tensors = [tensor[np.ix_(*[new] * (s + 1))] for tensor in case.tensors]
    relabelled = hm.Grammar.from_tensor(
        np.stack(tensors), depth=case.depth, root_probs=case.root_probs[new]
    )
    old = hm.run_bp(case.grammar, field, filter_level=filter_level)
    renamed = hm.run_bp(relabelled, field[:, new], filter_level=filter_level)
    tolerance = tolerance_of(np.float64, field)
    np.testing.assert_allclose(renamed.log_evidence, old.log_evidence, atol=tolerance)
    for a, b in zip(renamed.log_marginals, old.log_marginals, strict=True):
        if a is not None:
            np.testing.assert_allclose(np.exp(a), np.exp(b[:, new]), atol=tolerance)


def test_shared_rules_equal_the_same_rules_given_per_level():
    tensor = hm.paper_grammar().to_tensor()
    per_level = hm.Grammar.from_tensor(np.stack([tensor] * 4), depth=4)
    field = np.random.default_rng(2).normal(size=(16, 6))
    shared, same = (hm.run_bp(grammar, field) for grammar in (hm.paper_grammar(), per_level))
    for a, b in zip(jax.tree.leaves(shared), jax.tree.leaves(same), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12)


def test_a_field_that_is_constant_per_leaf_only_moves_the_log_evidence(precision):
    grammar = hm.paper_grammar()
    rng = np.random.default_rng(3)
    field = rng.normal(size=(16, 6)).astype(precision.dtype)
    shift = rng.normal(size=(16, 1)).astype(precision.dtype)
    plain, moved = hm.run_bp(grammar, field), hm.run_bp(grammar, field + shift)
    tolerance = 3 * precision.tolerance  # log-probabilities of size 10 or so
    expected = plain.log_evidence + shift.sum()
    np.testing.assert_allclose(moved.log_evidence, expected, atol=tolerance)
    for a, b in zip(moved.log_marginals, plain.log_marginals, strict=True):
        np.testing.assert_allclose(a, b, atol=tolerance)


def test_leading_axes_jit_and_vmap_change_nothing(precision):
    filter_level = {np.float32: 0, np.float64: 2}[precision.dtype]  # two of four combinations
    grammar = strategies.build(strategies.DEEP, np.random.default_rng(4)).grammar
    field = np.random.default_rng(5).normal(size=(2, 3, 8, 2)).astype(precision.dtype)

    def beliefs(h):
        return hm.run_bp(grammar, h, filter_level=filter_level)

    batched = jax.tree.leaves(beliefs(field))
    jitted = jax.tree.leaves(jax.jit(beliefs)(field))
    mapped = jax.tree.leaves(jax.vmap(jax.vmap(beliefs))(field))
    single = jax.tree.leaves(beliefs(field[1, 2]))
    for a, b, c, d in zip(batched, jitted, mapped, single, strict=True):
        assert a.dtype == b.dtype == c.dtype == d.dtype == precision.dtype
        np.testing.assert_allclose(a, b, atol=precision.tolerance)
        np.testing.assert_allclose(a, c, atol=precision.tolerance)
        np.testing.assert_allclose(a[1, 2], d, atol=precision.tolerance)


@pytest.mark.usefixtures("unchecked_types")  # a stack of grammars has a further axis
def test_vmap_over_grammars_equals_one_at_a_time():
    rng = np.random.default_rng(6)
    grammars = [strategies.build(strategies.AMBIGUOUS, rng).grammar for _ in range(3)]
    field = rng.normal(size=(4, 3))
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *grammars)
    together = jax.vmap(lambda grammar: hm.run_bp(grammar, field).log_evidence)(stacked)
    apart = [hm.run_bp(grammar, field).log_evidence for grammar in grammars]
    np.testing.assert_allclose(together, apart, rtol=1e-12)


@pytest.mark.parametrize("name", ["paper", "g4"])
def test_observed_and_masked_symbols_give_the_authors_marginals(name, reference, precision):
    data = reference("bp_discrete")
    x, q = data[f"{name}/x"], len(data[f"{name}/M"])
    grammar = hm.Grammar.from_tensor(data[f"{name}/M"], depth=int(data[f"{name}/l"]))
    masked = x[..., None] == q + 1
    field = np.where(masked | (x[..., None] == np.arange(q)), 0, -np.inf).astype(precision.dtype)
    beliefs = hm.run_bp(grammar, field)
    marginals = np.exp(np.concatenate(beliefs.log_marginals, axis=-2))
    np.testing.assert_allclose(marginals, data[f"{name}/marginals"], atol=precision.tolerance)
    log_evidence = data[f"{name}/log_evidence"]
    free_energy = (data[f"{name}/n_masked"] - data[f"{name}/free_energy"]) * np.log(q)
    np.testing.assert_allclose(free_energy, log_evidence, atol=1e-10)  # as the README says
    # A sum of some fifty terms of size 1 or so; 1e-5 of its size in float32.
    scale = 1 + np.abs(log_evidence).max()
    np.testing.assert_allclose(beliefs.log_evidence, log_evidence, atol=precision.tolerance * scale)


@pytest.mark.parametrize("name", ["paper", "g4"])
def test_log_prob_of_whole_sequences_is_the_authors(name, reference):
    data = reference("bp_discrete")
    whole = data[f"{name}/n_masked"] == 0
    assert whole.sum() == 22
    grammar = hm.Grammar.from_tensor(data[f"{name}/M"], depth=int(data[f"{name}/l"]))
    result = hm.log_prob(grammar, data[f"{name}/x"][whole])
    np.testing.assert_allclose(result, data[f"{name}/log_evidence"][whole], atol=1e-10)
