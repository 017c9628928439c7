"""All grammars of a shape share their programs, and a stack of them is one call."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import hiermodel as hm
from hiermodel.networks.mlp import MLPConfig

KEY = jax.random.key(0)
FIELD = np.random.default_rng(0).normal(size=(2, 4, 4)).astype(np.float32)
LEAVES = np.random.default_rng(1).integers(4, size=(3, 4))
GAUSSIAN = hm.Schedule.linear(20)
MASKED = hm.DiscreteProcess.masked(4, 5)
UNIFORM = hm.DiscreteProcess.uniform(4, 5)


def realisation(seed):
    return hm.Grammar.random(jax.random.key(seed), vocab_size=4, depth=2, rules_per_symbol=3)


def sampled(process, **options):
    """Draws of reverse steps by the exact denoiser."""
    return lambda grammar: hm.sample_ancestral(
        KEY, hm.exact_denoiser(grammar, process), process, 3, **options
    )


def trained(grammar):
    """A network that sees fresh data of the grammar at every step."""
    return hm.fit(
        KEY,
        MLPConfig(4, 4, width=8, num_blocks=1),
        hm.training.fresh(grammar, 8),
        MASKED,
        num_steps=3,
        batch_size=4,
        learning_rate=1e-3,
        progress=False,
    )


INFERENCE = {
    "leaves": lambda grammar: hm.sample_leaves(KEY, grammar, 3),
    "evidence": lambda grammar: hm.run_bp(grammar, FIELD).log_evidence,
    "filtered evidence": lambda grammar: hm.run_bp(grammar, FIELD, filter_level=1).log_evidence,
    "log_prob": lambda grammar: hm.log_prob(grammar, LEAVES),
    "posterior trees": lambda grammar: hm.sample_posterior(KEY, grammar, FIELD, 2),
}
SAMPLING = {
    "Gaussian steps": sampled(GAUSSIAN),
    "Gaussian steps, joint": sampled(GAUSSIAN, joint=True),
    "masked steps": sampled(MASKED),
    "masked steps, joint": sampled(MASKED, joint=True),
    "uniform steps": sampled(UNIFORM),
    "any order": lambda grammar: hm.sample_any_order(
        KEY, hm.exact_denoiser(grammar, MASKED), MASKED, 3
    ),
    "DDIM": lambda grammar: hm.sample_ddim(
        KEY, hm.exact_denoiser(grammar, GAUSSIAN), GAUSSIAN, 3, num_steps=5
    ),
    "U-turn": lambda grammar: hm.u_turn(
        KEY, hm.exact_denoiser(grammar, GAUSSIAN), GAUSSIAN, LEAVES, 5
    ),
}


@pytest.mark.parametrize(
    "uses",
    [
        pytest.param(INFERENCE, id="inference"),
        pytest.param({"masked steps": SAMPLING["masked steps"]}, id="sampling"),
        pytest.param(SAMPLING, id="all samplers", marks=pytest.mark.long),
        pytest.param({"training": trained}, id="training", marks=pytest.mark.long),
    ],
)
def test_twenty_realisations_compile_as_often_as_one(count_compilations, uses):
    grammars = [realisation(seed) for seed in range(20)]
    jax.clear_caches()
    for name, use in uses.items():
        assert count_compilations(lambda use=use: use(grammars[0])) > 0, name
        again = count_compilations(lambda use=use: [use(grammar) for grammar in grammars[1:]])
        assert again == 0, name


STACKED = {
    "beliefs": lambda grammar: hm.run_bp(grammar, FIELD),
    "leaves": INFERENCE["leaves"],
    "log_prob": INFERENCE["log_prob"],
    "posterior trees": INFERENCE["posterior trees"],
    "exact denoiser": lambda grammar: hm.exact_denoiser(grammar, GAUSSIAN)(FIELD, 5),
    "masked steps": SAMPLING["masked steps"],
}


@pytest.mark.parametrize(
    "name",
    [
        "beliefs",
        "leaves",
        "log_prob",
        "posterior trees",
        "exact denoiser",
        pytest.param("masked steps", marks=pytest.mark.long),
    ],
)
@pytest.mark.usefixtures("unchecked_types")  # a stack of grammars has a further axis
def test_an_average_over_realisations_is_one_call(name):
    grammars = [realisation(seed) for seed in range(5)]
    stack = jax.tree.map(lambda *leaves: jnp.stack(leaves), *grammars)
    together = jax.jit(jax.vmap(STACKED[name]))(stack)
    for index, grammar in enumerate(grammars):
        alone = jax.tree.leaves(STACKED[name](grammar))
        for many, one in zip(jax.tree.leaves(together), alone, strict=True):
            np.testing.assert_allclose(many[index], one, rtol=1e-5, atol=1e-6)


def test_gradients_of_a_whole_grammar_are_those_of_its_weights():
    grammar = realisation(0)
    gradient = jax.grad(lambda grammar: hm.run_bp(grammar, np.ones((4, 4))).log_evidence)(grammar)
    assert not np.any(gradient.rules.children)
    assert np.any(gradient.log_weights)
