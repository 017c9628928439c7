"""Variants of sequences: the kernel, enumerated, keeps the law; the sampler draws from it."""

import jax
import numpy as np
import oracles
import pytest
import strategies

import hiermodel as hm
from hiermodel.inference.resampling import redraw_leaves

STRUCTURES = [strategies.AMBIGUOUS, strategies.TERNARY, strategies.HIERARCHY, strategies.DEEP]


def kernel(case, filter_level):
    """Law of the leaves (x,), and probability (x, x') of a variant, by listing all trees."""
    trees = case.trees(filter_level)
    above = trees.levels[0 if filter_level == case.depth else case.depth - 1]
    above = oracles.encode(above, trees.vocab_size)
    leaves = oracles.encode(trees.levels[-1], trees.vocab_size)
    joint = np.zeros((above.max() + 1, trees.vocab_size ** trees.levels[-1].shape[1]))
    np.add.at(joint, (above, leaves), trees.prior)
    law = joint.sum(0)
    used = joint[joint.sum(1) > 0]
    given_leaves = used / np.where(law > 0, law, 1)
    return law, given_leaves.T @ (used / used.sum(1, keepdims=True))


@pytest.mark.parametrize("structure", STRUCTURES)
def test_the_kernel_keeps_the_law(structure):
    case = strategies.build(structure, np.random.default_rng(0))
    for filter_level in range(case.depth + 1):
        law, transition = kernel(case, filter_level)
        possible = law > 0
        np.testing.assert_allclose(transition[possible].sum(1), 1, atol=1e-12)
        np.testing.assert_allclose(law @ transition, law, atol=1e-12)


def test_equally_likely_rules_make_it_a_symmetry():
    """Then a variant is as likely to be turned back as it was to arise."""
    rng = np.random.default_rng(1)
    case = strategies.build(strategies.HIERARCHY, rng, spread=0.0, root="uniform")
    _, transition = kernel(case, 0)
    np.testing.assert_allclose(transition, transition.T, atol=1e-12)
    uneven = strategies.build(strategies.HIERARCHY, rng, spread=1.0, root="uniform")
    _, transition = kernel(uneven, 0)
    assert np.abs(transition - transition.T).max() > 0.01


@pytest.mark.parametrize(
    ("structure", "filter_level"),
    [(strategies.AMBIGUOUS, 0), (strategies.HIERARCHY, 1), (strategies.AMBIGUOUS, 2)],
)
def test_variants_follow_the_kernel(structure, filter_level):
    """Chi-square at false-alarm rate ``oracles.FALSE_ALARM``, for each of three sequences."""
    case = strategies.build(structure, np.random.default_rng(2))
    _, transition = kernel(case, filter_level)
    starts = hm.sample_leaves(jax.random.key(0), case.grammar, 3, filter_level=filter_level)
    for index, start in enumerate(np.asarray(starts)):
        many = np.tile(start, (20_000, 1))
        key = jax.random.key(index)
        variants = redraw_leaves(key, case.grammar, many, filter_level=filter_level)
        codes = oracles.encode(variants, case.grammar.vocab_size)
        code = oracles.encode(start, case.grammar.vocab_size)
        assert oracles.agrees_with_law(codes, transition[code])


@pytest.mark.long
def test_more_sequences_leave_the_first_variants_as_they_were():
    grammar = hm.paper_grammar()
    leaves = hm.sample_leaves(jax.random.key(0), grammar, 7)
    variants = redraw_leaves(jax.random.key(1), grammar, leaves)
    np.testing.assert_array_equal(
        redraw_leaves(jax.random.key(1), grammar, leaves[:3]), variants[:3]
    )
    assert np.any(variants != leaves)
    assert np.all(hm.log_prob(grammar, variants) > -np.inf)


def test_impossible_sequences_are_refused():
    grammar = hm.paper_grammar()
    leaves = np.asarray(hm.sample_leaves(jax.random.key(0), grammar, 3)).copy()
    pairs = {tuple(pair) for pair in np.asarray(grammar.rules.children[0]).reshape(-1, 2)}
    leaves[1, :2] = next((a, b) for a in range(6) for b in range(6) if (a, b) not in pairs)
    with pytest.raises(ValueError, match="leaves"):
        redraw_leaves(jax.random.key(0), grammar, leaves)
    with pytest.raises(ValueError, match="filter_level"):
        redraw_leaves(jax.random.key(0), grammar, leaves, filter_level=5)
