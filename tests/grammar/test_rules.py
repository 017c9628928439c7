"""Grammars: the paper's own tensor, the random ensembles, and dense tensors in and out."""

import jax
import numpy as np
import pytest
import strategies
from hypothesis import given
from hypothesis import strategies as st

import hiermodel as hm
from hiermodel.grammar.rule_table import RuleTable
from hiermodel.grammar.rules import legacy_tensor


def tuples_per_level(grammar):
    """Per level, the children of all real rules, as rows."""
    real = np.isfinite(grammar.log_weights)
    return [children[mask] for children, mask in zip(grammar.rules.children, real, strict=True)]


@pytest.mark.parametrize("name", ["paper", "g4"])
def test_legacy_seeding_gives_the_authors_tensor_to_the_last_bit(name, reference):
    data = reference("paper_grammar")
    settings = (data[f"{name}/{key}"].item() for key in ("seed", "q", "q_eff", "sigma"))
    np.testing.assert_array_equal(legacy_tensor(*settings), data[f"{name}/M"])


def test_the_paper_grammar_holds_the_papers_tensor(reference):
    grammar = hm.paper_grammar()
    rho, forbidden = (reference("paper_grammar")[f"paper/{key}"] for key in ("M", "forbidden"))
    assert (grammar.vocab_size, grammar.depth, grammar.branching) == (6, 4, 2)
    assert grammar.num_leaves == 16
    assert grammar.shared
    tensor = np.asarray(grammar.to_tensor())
    np.testing.assert_allclose(tensor, rho, rtol=1e-15, atol=0)
    np.testing.assert_array_equal(tensor == 0, rho == 0)
    assert np.all(tensor[:, *forbidden.T] == 0)
    np.testing.assert_allclose(np.exp(grammar.root_log_probs), 1 / 6, rtol=1e-15)


def test_other_seeds_give_other_grammars():
    assert hm.paper_grammar(1).rules != hm.paper_grammar(0).rules


@given(data=st.data())
def test_a_dense_tensor_comes_back_as_it_went_in(data):
    case = data.draw(strategies.cases())
    given_tensor = np.stack(case.tensors)
    if case.grammar.shared:
        given_tensor = given_tensor[0]
    np.testing.assert_allclose(case.grammar.to_tensor(), given_tensor, rtol=1e-14, atol=0)
    np.testing.assert_allclose(np.exp(case.grammar.root_log_probs), case.root_probs, rtol=1e-14)


@pytest.mark.parametrize("vocab_size", [2, 3, 4])
def test_rules_per_level_are_recognised_even_when_depth_equals_the_vocabulary(vocab_size):
    grammar = hm.Grammar.random(
        jax.random.key(0), vocab_size=vocab_size, depth=vocab_size, rules_per_symbol=2, shared=False
    )
    again = hm.Grammar.from_tensor(grammar.to_tensor(), depth=vocab_size)
    assert (again.branching, again.shared) == (2, False)


def test_rows_a_little_off_one_are_normalised():
    rho = np.full((2, 2, 2), 0.25) * (1 + 1e-7)
    grammar = hm.Grammar.from_tensor(rho, depth=1)
    np.testing.assert_allclose(grammar.to_tensor().sum((1, 2)), 1, rtol=1e-15)


@pytest.mark.parametrize("branching", [2, 3])
@pytest.mark.parametrize("shared", [True, False])
def test_random_grammars_give_every_tuple_at_most_one_parent(branching, shared):
    grammar = hm.Grammar.random(
        jax.random.key(3),
        vocab_size=4,
        depth=3,
        branching=branching,
        rules_per_symbol=3,
        shared=shared,
    )
    assert grammar.log_weights.shape == (1 if shared else 3, 4, 3)
    assert grammar.num_leaves == branching**3
    for tuples in tuples_per_level(grammar):
        assert len(np.unique(tuples, axis=0)) == len(tuples) == 4 * 3
    np.testing.assert_allclose(np.exp(grammar.log_weights).sum(-1), 1, rtol=1e-12)


def test_as_many_rules_as_possible_use_every_tuple():
    grammar = hm.Grammar.random(jax.random.key(4), vocab_size=3, depth=2, rules_per_symbol=3)
    assert len(np.unique(tuples_per_level(grammar)[0], axis=0)) == 9


def test_the_random_hierarchy_has_equal_rules_of_its_own_per_level():
    grammar = hm.Grammar.random_hierarchy(
        jax.random.key(5), vocab_size=8, depth=3, branching=2, rules_per_symbol=4
    )
    np.testing.assert_allclose(np.exp(grammar.log_weights), 1 / 4, rtol=1e-12)
    first, second, third = grammar.rules.children
    assert not np.array_equal(first, second)
    assert not np.array_equal(second, third)


def test_sigma_is_the_spread_of_the_logits():
    grammar = hm.Grammar.random(
        jax.random.key(6), vocab_size=32, depth=1, rules_per_symbol=32, sigma=2.0
    )
    logits = np.asarray(grammar.log_weights)
    variance = (logits - logits.mean(-1, keepdims=True)).var(ddof=32)  # one mean per parent
    # 992 degrees of freedom: a standard error of 4.5 %, so five of them, a 6e-7 false alarm.
    assert variance == pytest.approx(4, rel=5 * np.sqrt(2 / 992))


def test_a_key_fixes_the_grammar():
    settings = {"vocab_size": 5, "depth": 2, "rules_per_symbol": 3}
    one, same = (hm.Grammar.random(jax.random.key(7), **settings) for _ in range(2))
    other = hm.Grammar.random(jax.random.key(8), **settings)
    assert one.rules == same.rules != other.rules
    np.testing.assert_array_equal(one.log_weights, same.log_weights)


def test_a_grammar_is_a_pytree_of_its_weights_and_rules():
    grammar = hm.paper_grammar()
    leaves, structure = jax.tree.flatten(grammar)
    assert [leaf.shape for leaf in leaves] == [(1, 6, 4), (6,), (1, 6, 4, 2)]
    assert structure == jax.tree.structure(hm.paper_grammar(1))
    assert jax.tree.unflatten(structure, leaves).rules == grammar.rules


@pytest.mark.usefixtures("unchecked_types")  # a stack of grammars has a further axis
def test_a_stack_of_grammars_has_the_sizes_of_each():
    grammars = [hm.paper_grammar(seed) for seed in range(3)]
    stack = jax.tree.map(lambda *leaves: jax.numpy.stack(leaves), *grammars)
    assert (stack.vocab_size, stack.branching, stack.num_leaves, stack.shared) == (6, 2, 16, True)
    for seed, grammar in enumerate(grammars):
        np.testing.assert_array_equal(stack.rules.children[seed], grammar.rules.children)


def test_equal_rule_tables_hash_equal_and_cannot_be_changed():
    one, same = (RuleTable(hm.paper_grammar().rules.children) for _ in range(2))
    assert one == same
    assert hash(one) == hash(same)
    with pytest.raises(ValueError, match="read-only"):
        one.children[0, 0, 0, 0] = 1


@given(data=st.data())
def test_rule_lists_say_what_the_dense_tensor_says(data):
    wanted = data.draw(strategies.cases()).grammar
    children, probs = wanted.rules.children, np.exp(wanted.log_weights)
    if wanted.shared:
        children, probs = children[0], probs[0]
    root_probs = np.exp(wanted.root_log_probs)
    got = hm.Grammar.from_rules(children, probs, depth=wanted.depth, root_probs=root_probs)
    assert got.rules == wanted.rules
    np.testing.assert_allclose(got.log_weights, wanted.log_weights, rtol=1e-6, atol=1e-14)
    np.testing.assert_allclose(got.root_log_probs, wanted.root_log_probs, rtol=1e-6, atol=1e-14)


def test_rules_of_probability_zero_do_not_exist_and_may_hold_anything():
    children = np.array([[[-1, -1], [0, 1], [1, 1]], [[1, 0], [7, 7], [7, 7]]])
    probs = np.array([[0, 0.25, 0.75], [1, 0, 0]])
    grammar = hm.Grammar.from_rules(children, probs, depth=3)
    np.testing.assert_array_equal(grammar.rules.children[0], [[[0, 1], [1, 1]], [[1, 0], [0, 0]]])
    np.testing.assert_allclose(np.exp(grammar.log_weights[0]), [[0.25, 0.75], [1, 0]], rtol=1e-6)


def test_rules_without_probabilities_are_equally_likely():
    rules = hm.Grammar.random_hierarchy(
        jax.random.key(1), vocab_size=5, depth=2, branching=3, rules_per_symbol=4
    )
    again = hm.Grammar.from_rules(rules.rules.children, depth=2)
    assert again.rules == rules.rules
    np.testing.assert_allclose(again.log_weights, rules.log_weights, rtol=1e-6)


@pytest.mark.parametrize("shared", [True, False])
def test_zipf_grammars_have_their_numbers_of_rules_and_their_law(shared):
    counts = [1, 2, 4, 5]
    grammar = hm.Grammar.random_zipf(
        jax.random.key(2),
        vocab_size=4,
        depth=3,
        rules_per_symbol=counts,
        exponent=1.5,
        shared=shared,
    )
    assert grammar.log_weights.shape == (1 if shared else 3, 4, 5)
    for children, log_weights in zip(grammar.rules.children, grammar.log_weights, strict=True):
        probs = np.exp(log_weights)
        real = probs > 0
        np.testing.assert_array_equal(real.sum(-1), counts)
        assert len(np.unique(children[real], axis=0)) == sum(counts)
        for row, count in zip(probs, counts, strict=True):
            law = np.arange(1, count + 1) ** -1.5
            np.testing.assert_allclose(row[:count], law / law.sum(), rtol=1e-6)


def test_a_zipf_grammar_of_exponent_zero_is_the_random_hierarchy_model():
    sizes = {"vocab_size": 5, "depth": 2, "branching": 3, "rules_per_symbol": 4}
    key = jax.random.key(3)
    zipf = hm.Grammar.random_zipf(key, exponent=0.0, **sizes)
    uniform = hm.Grammar.random_hierarchy(key, **sizes)
    assert zipf.rules == uniform.rules
    np.testing.assert_allclose(zipf.log_weights, uniform.log_weights, rtol=1e-6)


@pytest.mark.parametrize("counts", [0, [1, 2], [4, 5, 4, 4], 4.5])
@pytest.mark.usefixtures("unchecked_types")
def test_numbers_of_rules_that_cannot_be_dealt_are_refused(counts):
    with pytest.raises(ValueError, match="rules_per_symbol"):
        hm.Grammar.random_zipf(jax.random.key(0), vocab_size=4, depth=1, rules_per_symbol=counts)
