"""Programs for machines that are not here: lowered for CPU, CUDA and TPU, and looked through."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import hiermodel as hm

PLATFORMS = ("cpu", "cuda", "tpu")


def single(tree):
    """The same in float32."""
    return jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float32), tree)


GRAMMAR = single(hm.Grammar.random(jax.random.key(0), vocab_size=4, depth=2, rules_per_symbol=3))
SCHEDULE = single(hm.Schedule.linear(20))
EVIDENCE = jnp.zeros((3, 4, 4), jnp.float32)
KEY = jax.random.key(1)

PROGRAMS = {
    "beliefs": lambda grammar: hm.run_bp(grammar, EVIDENCE),
    "filtered beliefs": lambda grammar: hm.run_bp(grammar, EVIDENCE, filter_level=1),
    "messages": lambda grammar: hm.run_messages(grammar, EVIDENCE),
    "posterior trees": lambda grammar: hm.sample_posterior(KEY, grammar, EVIDENCE, 2),
    "best tree": lambda grammar: hm.most_probable_tree(grammar, EVIDENCE),
    "gradient": jax.grad(lambda grammar: hm.run_bp(grammar, EVIDENCE).log_evidence.sum()),
    "trees": lambda grammar: hm.sample_tree(KEY, grammar, 3),
    "denoising": lambda grammar: hm.sample_ancestral(
        KEY, hm.exact_denoiser(grammar, SCHEDULE), SCHEDULE, 3
    ),
}


@pytest.mark.parametrize("name", PROGRAMS)
@pytest.mark.usefixtures("unchecked_types")  # JAX puts descriptions in the place of arrays
def test_programs_lower_for_every_platform_in_single_precision(name):
    with jax.enable_x64(False):
        exported = jax.export.export(jax.jit(PROGRAMS[name]), platforms=PLATFORMS)(GRAMMAR)
    module = exported.mlir_module()
    assert "f64" not in module
    assert "callback" not in module
    for product in re.findall(r"stablehlo.dot_general.*", module):
        assert "precision = [HIGHEST, HIGHEST]" in product
    assert np.all([platform in exported.platforms for platform in PLATFORMS])
