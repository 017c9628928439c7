"""Inference and sampling for machines that are not here: exported for all, and looked through.

One export serves CPU, CUDA and TPU, so what depends on the platform stands in it more than once.
Budgets are counts of operations in StableHLO, a fifth above what they were when written down. They
grow with the grammar's levels and branching alone, never with sequences or steps.
"""

import jax
import jax.numpy as jnp
import pytest
from programs import PLATFORMS, operations, precisions

import hiermodel as hm


def single(tree):
    """The same in float32."""
    return jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float32), tree)


GRAMMAR = single(hm.Grammar.random(jax.random.key(0), vocab_size=4, depth=2, rules_per_symbol=3))
GAUSSIAN = single(hm.Schedule.linear(20))
MASKED = single(hm.DiscreteProcess.masked(4, 5))
UNIFORM = single(hm.DiscreteProcess.uniform(4, 5))
EVIDENCE = jnp.zeros((3, 4, 4), jnp.float32)
LEAVES = jnp.zeros((3, 4), jnp.int32)
KEY = jax.random.key(1)


def with_exact_denoiser(sample, process, *arguments, **options):
    """A sampler's program, as a function of the grammar."""
    return lambda grammar: sample(
        KEY, hm.exact_denoiser(grammar, process), process, *arguments, **options
    )


PROGRAMS = {
    "beliefs": lambda grammar: hm.run_bp(grammar, EVIDENCE),
    "filtered beliefs": lambda grammar: hm.run_bp(grammar, EVIDENCE, filter_level=1),
    "messages": lambda grammar: hm.run_messages(grammar, EVIDENCE),
    "gradient": jax.grad(lambda grammar: hm.run_bp(grammar, EVIDENCE).log_evidence.sum()),
    "probabilities": lambda grammar: hm.log_prob(grammar, LEAVES),
    "next symbols": lambda grammar: hm.inference.next_symbol_log_probs(grammar, LEAVES),
    "families": lambda grammar: hm.family_log_marginals(grammar, EVIDENCE),
    "posterior entropy": lambda grammar: hm.posterior_entropy(grammar, EVIDENCE),
    "posterior trees": lambda grammar: hm.sample_posterior(KEY, grammar, EVIDENCE, 2),
    "best tree": lambda grammar: hm.most_probable_tree(grammar, EVIDENCE),
    "trees": lambda grammar: hm.sample_tree(KEY, grammar, 3),
    "Gaussian steps": with_exact_denoiser(hm.sample_ancestral, GAUSSIAN, 3),
    "Gaussian steps, joint": with_exact_denoiser(hm.sample_ancestral, GAUSSIAN, 3, joint=True),
    "masked steps": with_exact_denoiser(hm.sample_ancestral, MASKED, 3),
    "masked steps, joint": with_exact_denoiser(hm.sample_ancestral, MASKED, 3, joint=True),
    "uniform steps": with_exact_denoiser(hm.sample_ancestral, UNIFORM, 3),
    "any order": with_exact_denoiser(hm.sample_any_order, MASKED, 3),
    "DDIM": with_exact_denoiser(hm.sample_ddim, GAUSSIAN, 3, num_steps=5),
    "ODE": with_exact_denoiser(hm.sample_ode, GAUSSIAN, 3, start=15, num_steps=5),
    "U-turn": with_exact_denoiser(hm.u_turn, GAUSSIAN, LEAVES, 5),
}
MOST_OPERATIONS = {
    "beliefs": 2000,
    "filtered beliefs": 1800,
    "messages": 900,
    "gradient": 300,
    "probabilities": 700,
    "next symbols": 660,
    "families": 560,
    "posterior entropy": 600,
    "posterior trees": 3200,
    "best tree": 360,
    "trees": 1400,
    "Gaussian steps": 4700,
    "Gaussian steps, joint": 5400,
    "masked steps": 5600,
    "masked steps, joint": 5900,
    "uniform steps": 5000,
    "any order": 5600,
    "DDIM": 4700,
    "ODE": 3900,
    "U-turn": 4700,
}
LIKE_OTHERS = ("Gaussian steps, joint", "masked steps, joint", "uniform steps", "any order", "ODE")


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=pytest.mark.long) if name in LIKE_OTHERS else name
        for name in PROGRAMS
    ],
)
@pytest.mark.usefixtures("unchecked_types")  # JAX puts descriptions in the place of arrays
def test_programs_lower_for_every_platform_in_single_precision(name):
    with jax.enable_x64(False):
        exported = jax.export.export(jax.jit(PROGRAMS[name]), platforms=PLATFORMS)(GRAMMAR)
    assert exported.platforms == PLATFORMS
    text = exported.mlir_module()
    assert "f64" not in text
    assert "callback" not in text
    assert set(precisions(text)) <= {"HIGHEST"}
    assert operations(text).total() < MOST_OPERATIONS[name]
