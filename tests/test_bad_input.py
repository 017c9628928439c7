"""Bad input is refused by a ValueError that names the argument, its value and what is allowed."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from bad_diffusion_input import CASES as DIFFUSION
from bad_diffusion_input import EXACT
from bad_grammar_input import CASES as GRAMMAR
from bad_grammar_input import FIELD, PAPER, put

import hiermodel as hm

CASES = {**GRAMMAR, **DIFFUSION}


@pytest.mark.usefixtures("unchecked_types")
@pytest.mark.parametrize("case", CASES)
def test_the_message_names_the_argument_its_value_and_what_is_allowed(case):
    call, argument, value, allowed = CASES[case]
    with pytest.raises(ValueError) as refusal:  # noqa: PT011  the message is checked below
        call()
    message = str(refusal.value)
    assert re.search(rf"\b{argument}\b", message)
    assert value in message
    assert allowed in message


@pytest.mark.usefixtures("unchecked_types")
def test_shapes_are_checked_inside_a_trace_too():
    with pytest.raises(ValueError, match=r"leaf_evidence has shape \(15, 6\)"):
        jax.jit(lambda h: hm.run_bp(PAPER, h).log_evidence)(jnp.zeros((15, 6)))
    with pytest.raises(ValueError, match=r"x_t has shape \(15, 6\)"):
        jax.jit(lambda x: EXACT(x, 3))(jnp.zeros((15, 6)))


def test_infinitely_negative_evidence_is_welcome():
    assert np.isfinite(hm.run_bp(PAPER, put(FIELD, -np.inf)).log_evidence)
