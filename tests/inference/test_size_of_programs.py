"""What is compiled, and how often: counted in the programs themselves."""

import jax
import jax.numpy as jnp
import pytest

import hiermodel as hm

GRAMMAR = hm.Grammar.random(jax.random.key(0), vocab_size=4, depth=2, rules_per_symbol=3)


def count(operation, rows, function):
    """Occurrences in the program that a CPU gets."""
    evidence = jnp.zeros((rows, 4, 4), jnp.float32)
    traced = jax.jit(function).trace(GRAMMAR, evidence)
    return traced.lower(lowering_platforms=("cpu",)).as_text().count(f"stablehlo.{operation}")


@pytest.mark.usefixtures("unchecked_types")  # JAX puts descriptions in the place of arrays
def test_what_underflows_is_repaired_by_one_copy_of_log_space():
    """However many rows: exponentials are in log space, and at the leaves."""
    few, many = (count("exponential", rows, hm.run_bp) for rows in (64, 200))
    assert few == many > 2


@pytest.mark.usefixtures("unchecked_types")  # JAX puts descriptions in the place of arrays
def test_probabilities_of_known_leaves_take_no_exponentials_but_of_weights():
    def of_leaves(grammar, evidence):
        return hm.log_prob(grammar, evidence.argmax(-1))

    def of_evidence(grammar, evidence):
        return hm.run_bp(grammar, evidence).log_evidence

    leaves, evidence = (count("exponential", 8, each) for each in (of_leaves, of_evidence))
    assert leaves < evidence
