"""All grammars of a shape share their programs, and a stack of them is one call."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import hiermodel as hm


def realisation(seed):
    return hm.Grammar.random(jax.random.key(seed), vocab_size=4, depth=2, rules_per_symbol=3)


def use(grammar):
    """Sampling, inference and posterior sampling."""
    leaves = hm.sample_leaves(jax.random.key(0), grammar, 3)
    evidence = jnp.zeros((3, 4, 4), jnp.float32)
    return (
        hm.run_bp(grammar, evidence).log_evidence,
        hm.run_bp(grammar, evidence, filter_level=1).log_evidence,
        hm.log_prob(grammar, leaves),
        hm.sample_posterior(jax.random.key(1), grammar, evidence, 2),
    )


def test_twenty_realisations_compile_as_often_as_one(count_compilations):
    grammars = [realisation(seed) for seed in range(20)]
    jax.clear_caches()
    assert count_compilations(lambda: use(grammars[0])) > 0
    assert count_compilations(lambda: [use(grammar) for grammar in grammars[1:]]) == 0


@pytest.mark.usefixtures("unchecked_types")  # a stack of grammars has a further axis
def test_an_average_over_realisations_is_one_call():
    grammars = [realisation(seed) for seed in range(5)]
    field = np.random.default_rng(0).normal(size=(2, 4, 4)).astype(np.float32)
    stack = jax.tree.map(lambda *leaves: jnp.stack(leaves), *grammars)
    run = jax.jit(jax.vmap(lambda grammar: hm.run_bp(grammar, field)))
    together = run(stack)
    for index, grammar in enumerate(grammars):
        alone = jax.tree.leaves(hm.run_bp(grammar, field))
        for many, one in zip(jax.tree.leaves(together), alone, strict=True):
            np.testing.assert_allclose(many[index], one, rtol=1e-5, atol=1e-6)


def test_gradients_of_a_whole_grammar_are_those_of_its_weights():
    grammar = realisation(0)
    gradient = jax.grad(lambda grammar: hm.run_bp(grammar, np.ones((4, 4))).log_evidence)(grammar)
    assert not np.any(gradient.rules.children)
    assert np.any(gradient.log_weights)
