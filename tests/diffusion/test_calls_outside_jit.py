"""Outside a trace, a denoiser's checks cost next to nothing and miss nothing."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import hiermodel as hm
from hiermodel.diffusion import inputs

GRAMMAR = hm.Grammar.random(jax.random.key(0), vocab_size=3, depth=2, rules_per_symbol=2)
SCHEDULE = hm.Schedule.linear(20)
MASKED = hm.DiscreteProcess.masked(3, num_steps=20)
SEQUENCES = np.indices((3,) * 4).reshape(4, -1).T[::5]
REALS = np.random.default_rng(0).normal(size=(5, 4, 3)).astype(np.float32)
SYMBOLS = np.array([[0, 1, 2, 3], [3, 3, 3, 3], [0, 0, 0, 0]], np.int32)

CASES = {
    "exact": (lambda: hm.exact_denoiser(GRAMMAR, SCHEDULE), REALS),
    "filtered": (lambda: hm.exact_denoiser(GRAMMAR, SCHEDULE, filter_level=1), REALS),
    "empirical": (lambda: hm.empirical_denoiser(SCHEDULE, SEQUENCES, 3), REALS),
    "exact, of symbols": (lambda: hm.exact_denoiser(GRAMMAR, MASKED), SYMBOLS),
    "empirical, of symbols": (lambda: hm.empirical_denoiser(MASKED, SEQUENCES, 3), SYMBOLS),
}


@pytest.fixture
def calls(monkeypatch):
    """Names of the functions that look at arguments, and of the one program, as they are called."""
    called = []

    def watch(name):
        function = getattr(inputs, name)

        def watched(*arguments):
            called.append(name)
            return function(*arguments)

        monkeypatch.setattr(inputs, name, watched)

    for name in ("check_input", "check_noisy", "check_symbols", "_compute_and_check"):
        watch(name)
    return called


@pytest.mark.parametrize("name", CASES)
def test_a_call_of_a_known_form_is_one_program_and_no_look_at_the_values(name, calls):
    make, values = CASES[name]
    denoiser, x_t = make(), jnp.asarray(values)
    first = denoiser(x_t, 3)
    assert set(calls) > {"_compute_and_check", "check_input"}  # forms, in the program's trace
    calls.clear()
    for t in (3, jnp.asarray(3), np.full(len(x_t), 3), 4):
        denoiser(x_t, t)
    calls.clear()  # the forms of t are known now, too
    for t in (3, jnp.asarray(3), np.full(len(x_t), 3)):
        np.testing.assert_array_equal(denoiser(x_t, t), first)
    assert calls == ["_compute_and_check"] * 3


@pytest.mark.parametrize("name", CASES)
def test_wrong_values_of_a_known_form_are_found(name, calls):
    make, values = CASES[name]
    denoiser = make()
    denoiser(jnp.asarray(values), 3)
    is_real = np.issubdtype(values.dtype, np.floating)
    for wrong in (np.nan, np.inf, -np.inf) if is_real else (-1, 4, 2**31 - 1):
        spoilt = values.copy()
        spoilt[-1, -1] = wrong
        for x_t in (spoilt, jnp.asarray(spoilt)):
            with pytest.raises(ValueError, match=rf"x_t holds (the symbol )?{wrong}\b"):
                denoiser(x_t, 3)
    with pytest.raises(ValueError, match="t=21"):
        denoiser(values, 21)
    with pytest.raises(ValueError, match="t=0"):
        denoiser(values, jnp.array([1, 0, 2, 1, 1])[: len(values)])


def test_symbols_too_large_for_32_bits_are_not_cut_to_fit():
    denoiser = hm.exact_denoiser(GRAMMAR, MASKED)
    wrong = 2**32 + 1  # of which 32 bits say 1
    symbols = SYMBOLS.astype(np.int64)
    symbols[0, 0] = wrong
    for x_t in (symbols, jnp.asarray(symbols))[: 2 if jax.config.jax_enable_x64 else 1]:
        with pytest.raises(ValueError, match=f"symbol {wrong}"):
            denoiser(x_t, 3)


def test_what_is_called_while_something_else_is_traced_needs_no_values():
    denoiser, x_t = CASES["exact"][0](), jnp.asarray(REALS)
    inside = jax.jit(lambda scale: scale * denoiser(x_t, 3))(1.0)
    np.testing.assert_allclose(inside, denoiser(x_t, 3), rtol=1e-5, atol=1e-6)
