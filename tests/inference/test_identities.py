"""Trees too large to enumerate: identities that exact beliefs satisfy, whatever the method."""

import jax
import numpy as np
import oracles
import pytest
import strategies

import hiermodel as hm

PAPER = hm.paper_grammar()
HIERARCHY = hm.Grammar.random_hierarchy(
    jax.random.key(0), vocab_size=8, depth=3, branching=3, rules_per_symbol=4
)


@pytest.mark.parametrize(("name", "filter_level"), [("paper", 0), ("paper", 2), ("hierarchy", 0)])
def test_learning_a_leaf_changes_no_belief_on_average(name, filter_level, precision):
    """Tower rule: Σ_b P(leaf = b | e) P(node = a | e, leaf = b) = P(node = a | e)."""
    grammar = {"paper": PAPER, "hierarchy": HIERARCHY}[name]
    num_leaves, vocab_size = grammar.num_leaves, grammar.vocab_size
    field = np.random.default_rng(1).normal(size=(num_leaves, vocab_size))
    leaf = num_leaves // 3
    told = np.tile(field, (vocab_size + 1, 1, 1))  # the last row is not told
    told[:-1, leaf] = np.where(np.eye(vocab_size), field[leaf], -np.inf)
    beliefs = hm.run_bp(grammar, told.astype(precision.dtype), filter_level=filter_level)
    weights = np.exp(beliefs.log_marginals[-1])[-1, leaf]
    shares = np.exp(beliefs.log_evidence[:-1] - beliefs.log_evidence[-1])
    np.testing.assert_allclose(shares, weights, atol=3 * precision.tolerance)
    for level in beliefs.log_marginals:
        if level is not None:
            probs = np.exp(level)
            averaged = np.einsum("b,bia->ia", weights, probs[:-1])
            np.testing.assert_allclose(averaged, probs[-1], atol=precision.tolerance)


@pytest.mark.long
@pytest.mark.parametrize("filter_level", [0, 2])
def test_symbols_are_as_frequent_as_believed(filter_level):
    """Trees are drawn and their leaves blurred; each node's beliefs must be calibrated.

    Given the evidence, occurrence less belief has mean 0 and two values 1 apart, so Hoeffding's
    bound holds for its sum over independent trees; the false-alarm rate is shared out.
    """
    num_trees = 4000
    trees = hm.sample_tree(jax.random.key(2), PAPER, num_trees, filter_level=filter_level)
    schedule = hm.Schedule.linear(500)
    x_t = hm.add_noise(jax.random.key(3), schedule, hm.one_hot(trees[-1], 6), 150)
    scale = float(np.sqrt(schedule.alpha_bar[150]) / schedule.noise_variance[150])
    beliefs = hm.run_bp(PAPER, scale * x_t, filter_level=filter_level)
    kept = [
        (tree, log)
        for tree, log in zip(trees, beliefs.log_marginals, strict=True)
        if tree is not None
    ]
    num_tests = 2 * 6 * sum(tree.shape[1] for tree, _ in kept) * 2  # two-sided; two weightings
    bound = np.sqrt(num_trees / 2 * np.log(num_tests / oracles.FALSE_ALARM))
    for tree, log_marginals in kept:
        probs = np.asarray(np.exp(log_marginals), float)
        excess = (np.asarray(tree)[..., None] == np.arange(6)) - probs
        assert np.all(np.abs(excess.sum(0)) < bound)
        assert np.all(np.abs((probs * excess).sum(0)) < bound)  # where believed most, not only all


def test_ties_go_to_the_first_symbol_and_the_first_rule():
    case = strategies.build(
        strategies.TERNARY, np.random.default_rng(4), spread=0.0, root="uniform"
    )
    levels, _ = hm.most_probable_tree(case.grammar, np.zeros((9, 2)))
    first = case.grammar.rules.children[0][:, 0]  # per symbol, the children of its first rule
    np.testing.assert_array_equal(levels[0], [0])
    np.testing.assert_array_equal(levels[1], first[0])
    np.testing.assert_array_equal(levels[2], first[first[0]].ravel())


@pytest.mark.parametrize("filter_level", [0, 2])
def test_beliefs_about_the_leaves_alone_are_those_about_everything(filter_level, precision):
    from hiermodel.inference.belief_propagation import leaf_log_marginals

    field = np.random.default_rng(5).normal(size=(7, 16, 6)).astype(precision.dtype)
    alone = leaf_log_marginals(PAPER, field, filter_level=filter_level)
    every = hm.run_bp(PAPER, field, filter_level=filter_level).log_marginals[-1]
    assert alone.dtype == precision.dtype
    np.testing.assert_allclose(np.exp(alone), np.exp(every), atol=precision.tolerance)


def test_rule_entropies_of_the_levels_add_up_by_enumeration():
    """H(level l + 1 | levels to l), from the joint law of the trees cut at each level."""
    from hiermodel.grammar.statistics import rule_entropy

    case = strategies.build(strategies.HIERARCHY, np.random.default_rng(6))
    trees = case.trees()
    entropies = []
    for level in range(case.depth + 1):
        codes = oracles.encode(oracles.all_nodes(trees.levels[: level + 1]), trees.vocab_size)
        law = np.bincount(np.unique(codes, return_inverse=True)[1], trees.prior)
        entropies.append(-np.sum(law * np.log(law)))
    np.testing.assert_allclose(rule_entropy(case.grammar), np.diff(entropies), atol=1e-10)
