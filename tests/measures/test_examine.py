"""The examination of samplers: its false alarms, its power, and each of its exact laws."""

import re

import jax
import numpy as np
import pytest
import strategies

import hiermodel as hm
from hiermodel.grammar.log_prob_law import log_prob_characteristic, log_prob_moments
from hiermodel.grammar.pair_laws import leaf_pairs_at, pair_law
from hiermodel.grammar.paths_on_host import HostPaths
from hiermodel.measures import examine_sampler
from hiermodel.measures.parsing import parse

PAPER = hm.paper_grammar()
HIERARCHY = hm.Grammar.random_hierarchy(
    jax.random.key(3), vocab_size=8, depth=3, branching=2, rules_per_symbol=3
)
FULL = hm.Grammar.random(jax.random.key(3), vocab_size=3, depth=3, rules_per_symbol=3, sigma=2.0)


def draw(grammar, seed, number, **options):
    return np.array(hm.sample_leaves(jax.random.key(seed), grammar, number, **options))


def ambiguous_grammar():
    rho = np.random.default_rng(0).dirichlet(np.ones(9), size=3).reshape(3, 3, 3)
    return hm.Grammar.from_tensor(rho, depth=2)


def change_symbols(rng, rows, vocab_size, number):
    """One symbol of each of the first rows becomes another one."""
    rows, which = rows.copy(), np.arange(number)
    place = rng.integers(rows.shape[1], size=number)
    rows[which, place] += rng.integers(1, vocab_size, size=number).astype(rows.dtype)
    return rows % vocab_size


def replace_subtrees(rng, rows, others, branching, depth, number):
    """One subtree of each of the first rows becomes that of another sequence at the same place."""
    rows = rows.copy()
    for row in range(number):
        level = rng.integers(1, depth)
        size = branching ** (depth - level)
        start = rng.integers(branching**level) * size
        rows[row, start : start + size] = others[row, start : start + size]
    return rows


def failures(examinations):
    return sum(not examination.passes for examination in examinations)


def by_name(examination):
    return {row.name: row for row in examination.rows}


@pytest.mark.long
def test_samples_of_the_grammar_give_few_false_alarms():
    """60 sets at 5 %: more than 10 alarms have a chance below 1e-3."""
    train = draw(PAPER, 10**6, 300)
    own = (examine_sampler(draw(PAPER, seed, 1000), PAPER, train=train) for seed in range(60))
    assert failures(own) <= 10


@pytest.mark.long
def test_so_do_those_of_an_ambiguous_one():
    """40 sets at 5 %: more than 8 alarms have a chance below 1e-3."""
    grammar, key = ambiguous_grammar(), jax.random.key(7)
    keys = [jax.random.fold_in(key, seed) for seed in range(40)]
    rows = [draw(grammar, seed, 500) for seed in range(40)]
    train = rows[0][:3]
    found = [
        examine_sampler(part, grammar, key=one, train=train)
        for part, one in zip(rows[1:], keys[1:], strict=True)
    ]
    assert failures(found) <= 8


@pytest.mark.long
@pytest.mark.parametrize("grammar", [PAPER, HIERARCHY, FULL], ids=["paper", "hierarchy", "full"])
def test_at_most_five_percent_of_a_thousand_sets_are_false_alarms(grammar):
    """More than 75 of 1000 at 5 % have a chance of 3e-4."""
    own = (examine_sampler(draw(grammar, seed, 1000), grammar) for seed in range(1000))
    assert failures(own) <= 75


@pytest.mark.parametrize("number", [3, pytest.param(100, marks=pytest.mark.long)])
@pytest.mark.parametrize("grammar", [PAPER, HIERARCHY], ids=["paper", "hierarchy"])
def test_one_percent_of_changed_samples_among_ten_thousand_are_found(grammar, number):
    """Each is underivable with a chance of a half or so: 100 of them are never all derivable."""
    rng, size = np.random.default_rng(0), grammar.vocab_size
    for seed in range(number):
        rows, others = draw(grammar, seed, 10_000), draw(grammar, 10**5 + seed, 100)
        for changed in (
            change_symbols(rng, rows, size, 100),
            replace_subtrees(rng, rows, others, grammar.branching, grammar.depth, 100),
        ):
            assert not examine_sampler(changed, grammar).passes


def test_a_level_whose_rules_have_other_weights_is_named():
    other = np.asarray(HIERARCHY.log_weights).copy()
    other[1] = np.log([0.36, 0.32, 0.32])
    skewed = hm.Grammar(jax.numpy.asarray(other), HIERARCHY.root_log_probs, HIERARCHY.rules, 3)
    found = by_name(examine_sampler(draw(skewed, 0, 10_000), HIERARCHY))
    assert found["rules, level 1"].corrected_p_value < 0.01
    for name in ("rules, level 0", "rules, level 2", "root symbols", "derivable, level 0"):
        assert found[name].p_value > 0.001


def test_a_filtered_sampler_is_right_in_its_blocks_and_wrong_above():
    found = by_name(examine_sampler(draw(PAPER, 1, 10_000, filter_level=2), PAPER))
    assert found["derivable, level 0"].statistic > 1000
    assert found["derivable, level 1"].statistic > 1000
    assert found["derivable, level 2"].p_value == found["derivable, level 3"].p_value == 1


def test_dependence_that_is_lost_is_found_at_its_distance():
    """Two halves of different sequences: all below level 1 is right, pairs across are not."""
    rows = draw(FULL, 0, 4000)
    mixed = np.concatenate([rows[:2000, :4], rows[2000:, 4:]], axis=1)
    found = by_name(examine_sampler(mixed, FULL))
    assert found["dependence, distance 3"].corrected_p_value < 0.01
    assert found["dependence, distance 2"].p_value > 0.001
    assert found["rules, level 0"].corrected_p_value < 0.01


def test_copies_of_training_sequences_are_found():
    rows, train = draw(PAPER, 0, 5000), draw(PAPER, 1, 200)
    rows[:20] = train[:20]
    found = examine_sampler(rows, PAPER, train=train)
    assert by_name(found)["copies"].corrected_p_value < 0.01
    assert not found.passes
    assert "copies" not in by_name(examine_sampler(rows, PAPER))


def test_repeated_samples_are_no_independent_draws():
    rows = draw(PAPER, 0, 1000)
    assert not examine_sampler(np.concatenate([rows] * 5), PAPER).passes


def test_the_table_shows_every_row_and_the_verdict():
    rows = draw(PAPER, 0, 100)
    text = str(examine_sampler(rows, PAPER))
    assert "derivable, level 0" in text
    assert "100 samples: passes at level 0.05" in text
    rows[0] = np.arange(16) % 6
    assert "fails" in str(examine_sampler(rows, PAPER))


def test_all_may_be_underivable():
    rows = np.tile(np.arange(16) % 6, (10, 1))
    assert np.isneginf(hm.log_prob(PAPER, rows[0]))
    assert not examine_sampler(rows, PAPER).passes


@pytest.mark.parametrize("structure", strategies.STRUCTURES, ids=str)
def test_laws_of_pairs_and_log_probabilities_agree_with_enumeration(structure):
    case = strategies.build(structure, np.random.default_rng(0))
    grammar, trees = case.grammar, case.trees()
    one_hot = np.eye(grammar.vocab_size)[trees.levels[-1]]
    paths = HostPaths.of(grammar)
    for distance in range(1, grammar.depth + 1):
        for i, j in leaf_pairs_at(grammar, distance):
            joint = np.einsum("n,na,nb->ab", trees.prior, one_hot[:, i], one_hot[:, j])
            np.testing.assert_allclose(pair_law(grammar, paths, i, j), joint, atol=1e-6)
    prior = trees.prior[trees.prior > 0]
    mean, variance = log_prob_moments(grammar)
    expected = prior @ np.log(prior)
    np.testing.assert_allclose(mean, expected, rtol=1e-6)
    np.testing.assert_allclose(variance, prior @ (np.log(prior) - expected) ** 2, rtol=1e-5)
    turned = prior @ np.exp(0.7j * np.log(prior))
    np.testing.assert_allclose(log_prob_characteristic(grammar, 0.7), turned, atol=1e-6)


def test_pairs_at_a_distance_have_that_distance():
    grammar = hm.Grammar.random_hierarchy(
        jax.random.key(0), vocab_size=4, depth=3, branching=3, rules_per_symbol=2
    )
    for distance in (1, 2, 3):
        for i, j in leaf_pairs_at(grammar, distance):
            assert i < j
            assert i // 3**distance == j // 3**distance
            assert i // 3 ** (distance - 1) != j // 3 ** (distance - 1)


def test_trees_that_are_looked_up_are_the_ones_that_were_drawn():
    tree = [np.asarray(nodes) for nodes in hm.sample_tree(jax.random.key(0), PAPER, 50)]
    rows = tree[-1].copy()
    rows[0] = np.arange(16) % 6
    parsed = parse(None, PAPER, rows)
    for found, expected in zip(parsed.symbols, tree[:-1], strict=True):
        np.testing.assert_array_equal(found, expected[1:])
    for level, (symbols, rules) in enumerate(zip(parsed.symbols, parsed.rules, strict=True)):
        children = PAPER.rules.children[0][symbols, rules].reshape(49, -1)
        np.testing.assert_array_equal(children, tree[level + 1][1:])
    valid = hm.measures.level_validity(PAPER, rows[:1]).by_level[0, :-1]
    np.testing.assert_array_equal(parsed.underivable, np.rint((1 - valid) * 2 ** np.arange(4)))


@pytest.mark.usefixtures("unchecked_types")
@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: examine_sampler(np.zeros((5, 15), int), PAPER), ["samples", "(5, 15)", "16"]),
        (lambda: examine_sampler(np.zeros((1, 16), int), PAPER), ["samples", "at least two"]),
        (lambda: examine_sampler(np.full((5, 16), 6), PAPER), ["samples", "6", "0…5"]),
        (lambda: examine_sampler(draw(PAPER, 0, 5), PAPER, level=1.0), ["level", "1.0"]),
        (
            lambda: examine_sampler(draw(PAPER, 0, 5), PAPER, train=np.zeros((0, 16), int)),
            ["train", "(0, 16)"],
        ),
        (
            lambda: examine_sampler(draw(ambiguous_grammar(), 0, 5), ambiguous_grammar()),
            ["key", "None", "ambiguous"],
        ),
    ],
)
def test_bad_input_is_refused(call, words):
    with pytest.raises(ValueError, match="|".join(map(re.escape, words))) as error:
        call()
    assert all(word in str(error.value) for word in words)
