"""Grammars refitted to sequences: counts, expectation maximisation, and how fast they converge."""

import jax
import jax.numpy as jnp
import numpy as np
import oracles
import pytest
import strategies

import hiermodel as hm
from hiermodel.grammar.statistics import tree_divergence

KEY = jax.random.key(0)


def random_case(structure, seed=0, root="random"):
    return strategies.build(structure, np.random.default_rng(seed), root=root)


def draw(case, num_samples, seed=0):
    return np.asarray(hm.sample_leaves(jax.random.key(seed), case.grammar, num_samples))


def total_log_prob(grammar, leaves):
    return float(np.sum(np.asarray(hm.log_prob(grammar, leaves))))


def assert_same(found, expected, tolerance=1e-6):
    np.testing.assert_allclose(
        np.exp(found.log_weights), np.exp(expected.log_weights), atol=tolerance
    )
    np.testing.assert_allclose(
        np.exp(found.root_log_probs), np.exp(expected.root_log_probs), atol=tolerance
    )


@pytest.mark.parametrize("structure", [strategies.TERNARY, strategies.HIERARCHY])
def test_counts_are_shares_of_the_drawn_trees(structure):
    """Shared and per-level rules, two and three children: the sampled trees say what was used."""
    case = random_case(structure)
    tree = [np.asarray(level) for level in hm.sample_tree(KEY, case.grammar, 40)]
    fitted = hm.fit_grammar(case.grammar, tree[-1])
    q, s = structure.vocab_size, structure.branching
    counts = np.zeros((len(case.tensors), *(q,) * (s + 1)))
    for level in range(case.depth):
        children = tree[level + 1].reshape(40, -1, s)
        index = (tree[level], *np.moveaxis(children, -1, 0))
        np.add.at(counts[level], index, 1)
    if structure.shared:
        counts = counts.sum(0, keepdims=True)
    total = counts.sum(tuple(range(2, s + 2)), keepdims=True)
    expected = (counts / total)[0] if structure.shared else counts / total
    assert (total > 0).all()
    np.testing.assert_allclose(fitted.to_tensor(), expected, atol=1e-6)
    root = np.bincount(tree[0][:, 0], minlength=q) / 40
    np.testing.assert_allclose(np.exp(fitted.root_log_probs), root, atol=1e-6)


@pytest.mark.parametrize("structure", [strategies.TERNARY, strategies.HIERARCHY])
def test_counts_are_where_em_ends_on_unambiguous_grammars(structure):
    case = random_case(structure)
    leaves = draw(case, 30)
    counted = hm.fit_grammar(case.grammar, leaves)
    by_em, trace = hm.fit_grammar_by_em(case.grammar, leaves)
    assert_same(by_em, counted)
    assert len(trace) == 3  # one update gets there, one more finds that it gains nothing
    assert trace[-1] == pytest.approx(total_log_prob(counted, leaves), rel=1e-5)


@pytest.mark.parametrize("structure", [strategies.AMBIGUOUS, strategies.DEEP, strategies.WIDE])
def test_em_climbs_and_keeps_the_support(structure):
    case = random_case(structure, root="some impossible")
    leaves = draw(case, 60)
    fitted, trace = hm.fit_grammar_by_em(case.grammar, leaves, num_iterations=40)
    assert trace[0] == pytest.approx(total_log_prob(case.grammar, leaves), rel=1e-5)
    assert trace[-1] == pytest.approx(total_log_prob(fitted, leaves), rel=1e-5)
    assert trace[-1] > trace[0] + 0.5
    assert np.diff(trace).min() > -1e-9  # rounding in float64
    for name in ("log_weights", "root_log_probs"):
        before, after = getattr(case.grammar, name), getattr(fitted, name)
        assert after.dtype == before.dtype
        assert np.all(after[before == -np.inf] == -np.inf)
        np.testing.assert_allclose(np.exp(after).sum(-1), 1, atol=1e-5)


def test_one_update_of_em_agrees_with_enumeration():
    case = random_case(strategies.AMBIGUOUS)
    leaves = draw(case, 25)
    q, trees = 3, case.trees()
    rules, root = [np.zeros((q, q, q)) for _ in range(2)], np.zeros(q)
    for row in leaves:
        posterior = oracles.posterior(trees, np.where(np.eye(q)[row] > 0, 0.0, -np.inf))
        for level in range(2):
            rules[level] += oracles.family_joint(trees, posterior, level).sum(0)
        root += np.bincount(trees.levels[0][:, 0], posterior, minlength=q)
    fitted, _ = hm.fit_grammar_by_em(case.grammar, leaves, num_iterations=1)
    for level in range(2):
        expected = rules[level] / rules[level].sum((1, 2), keepdims=True)
        np.testing.assert_allclose(fitted.to_tensor()[level], expected, atol=1e-6)
    np.testing.assert_allclose(np.exp(fitted.root_log_probs), root / root.sum(), atol=1e-6)


def test_more_starts_never_end_lower_and_depend_on_the_key_alone():
    case = random_case(strategies.DEEP)
    leaves = draw(case, 20)
    _, one = hm.fit_grammar_by_em(case.grammar, leaves, num_iterations=30)
    several, trace = hm.fit_grammar_by_em(
        case.grammar, leaves, num_iterations=30, num_starts=4, key=KEY
    )
    again, _ = hm.fit_grammar_by_em(case.grammar, leaves, num_iterations=30, num_starts=4, key=KEY)
    assert trace[-1] >= one[-1]
    np.testing.assert_array_equal(several.log_weights, again.log_weights)


def test_what_was_never_seen():
    """Rules never used are impossible; a parent never seen keeps its weights; all stays usable."""
    grammar = hm.Grammar.random(KEY, vocab_size=6, depth=2, rules_per_symbol=3)
    leaves = np.asarray(hm.sample_leaves(KEY, grammar, 1))
    fitted = hm.fit_grammar(grammar, leaves)
    weights, start = np.asarray(fitted.log_weights[0]), np.asarray(grammar.log_weights[0])
    kept = (weights == start).all(-1)
    assert 3 <= kept.sum() < 6  # one sequence has 3 inner nodes
    assert (weights[~kept] == -np.inf).any()
    assert np.isfinite(hm.log_prob(fitted, leaves)).all()
    schedule = hm.Schedule.linear(20)
    x_t = hm.add_noise(KEY, schedule, hm.one_hot(leaves, 6), 5)
    assert np.isfinite(hm.exact_denoiser(fitted, schedule)(x_t, 5)).any()
    assert np.isfinite(hm.log_prob(grammar, hm.sample_leaves(KEY, fitted, 50))).all()


def test_order_and_repetition_of_sequences():
    """Twice the same data give the same fit; and blocks do not matter."""
    case = random_case(strategies.HIERARCHY)
    leaves = draw(case, 1500)
    once = hm.fit_grammar_by_em(case.grammar, leaves, num_iterations=1)[0]
    twice = hm.fit_grammar_by_em(
        case.grammar, np.concatenate([leaves[::-1], leaves]), num_iterations=1
    )[0]
    assert_same(once, twice)
    assert_same(once, hm.fit_grammar(case.grammar, leaves))


@pytest.mark.parametrize("structure", [strategies.HIERARCHY, strategies.DEEP])
def test_sequences_that_cannot_be_are_refused_with_their_row(structure):
    case = random_case(structure)
    forbidden = hm.Grammar(
        case.grammar.log_weights,
        jnp.where(jnp.arange(structure.vocab_size) == 0, 0.0, -jnp.inf),
        case.grammar.rules,
        case.grammar.depth,
    )
    leaves = draw(case, 40)
    possible = np.isfinite(hm.log_prob(forbidden, leaves))
    if structure is strategies.DEEP and possible.all():
        leaves = np.array(np.meshgrid(*[[0, 1]] * 8)).reshape(8, -1).T
        possible = np.isfinite(hm.log_prob(forbidden, leaves))
    assert not possible.all()
    row = int(np.argmin(possible))
    with pytest.raises(ValueError, match=r"sequences\[\d+\]=.*produce") as refusal:
        hm.fit_grammar(forbidden, leaves)
    named = int(str(refusal.value).split("[")[1].split("]")[0])
    assert not possible[named]
    assert named == row


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"sequences": np.zeros((0, 16), int)}, "shape"),
        ({"sequences": np.zeros((2, 8), int)}, "shape"),
        ({"sequences": np.zeros(16, int)}, "shape"),
        ({"sequences": np.full((2, 16), 6)}, "symbol 6"),
        ({"sequences": np.zeros((2, 16))}, "dtype"),
        ({"num_iterations": 0}, "num_iterations"),
        ({"tolerance": -1.0}, "tolerance"),
        ({"num_starts": 2}, "key"),
    ],
)
def test_wrong_input_is_refused(change, complaint, unchecked_types):
    grammar = hm.paper_grammar()
    leaves = np.asarray(hm.sample_leaves(KEY, grammar, 2))
    arguments = {"sequences": leaves} | change
    with pytest.raises(ValueError, match=complaint):
        hm.fit_grammar_by_em(grammar, **arguments)


def slope(sizes, divergences):
    """Of log divergence against log n."""
    return np.polyfit(np.log(sizes), np.log(np.mean(divergences, 0)), 1)[0]


def test_the_divergence_of_counts_falls_as_one_over_n():
    """KL ≈ (degrees of freedom) / 2n, its mean over 10 sets of data having an error of 10 %.

    So the slope over two and a half decades has one of 0.02; the test allows five.
    """
    grammar, sizes = hm.paper_grammar(), [100, 1000, 10_000, 30_000]
    divergences = [
        [tree_divergence(hm.fit_grammar(grammar, leaves[:size]), grammar) for size in sizes]
        for leaves in (
            np.asarray(hm.sample_leaves(jax.random.key(seed), grammar, sizes[-1]))
            for seed in range(10)
        )
    ]
    assert slope(sizes, divergences) == pytest.approx(-1, abs=0.1)


@pytest.mark.long
def test_the_divergence_of_em_from_the_truth_falls_as_one_over_n():
    """Of the law of sequences, all listed; the slope errs as above, over three decades."""
    case = random_case(strategies.WIDE, seed=3)
    law = oracles.leaf_law(case.trees())
    sizes = [300, 3000, 30_000, 300_000]
    codes = np.flatnonzero(law)
    sequences, truth = np.stack(np.unravel_index(codes, (4, 4, 4)), -1), law[codes]
    divergences = []
    for seed in range(10):
        drawn = np.random.default_rng(seed).choice(len(truth), sizes[-1], p=truth / truth.sum())
        row = []
        for size in sizes:
            fitted = hm.fit_grammar(case.grammar, sequences[drawn[:size]])
            log_probs = np.asarray(hm.log_prob(fitted, sequences))
            seen = log_probs > -np.inf
            probs = np.exp(log_probs[seen])
            row.append(np.sum(probs * (log_probs[seen] - np.log(truth[seen]))))
        divergences.append(row)
    assert slope(sizes, divergences) == pytest.approx(-1, abs=0.1)


def test_many_sequences_recover_the_weights_from_elsewhere():
    """From equal weights, 10^5 sequences: each share errs by about 1/sqrt(n · visits)."""
    grammar = hm.paper_grammar()
    leaves = np.asarray(hm.sample_leaves(KEY, grammar, 100_000))
    flat = np.where(np.asarray(grammar.log_weights) > -np.inf, -np.log(4), -np.inf)
    start = hm.Grammar(jnp.asarray(flat), grammar.root_log_probs, grammar.rules, 4)
    fitted = hm.fit_grammar(start, leaves)
    assert_same(fitted, grammar, tolerance=5e-3)
