"""Averages of denoisers."""

import jax
import numpy as np
import pytest

import hiermodel as hm
from hiermodel.diffusion.averaged import averaged_denoiser

GRAMMAR, SCHEDULE = hm.paper_grammar(), hm.Schedule.linear(20)


def test_probabilities_are_averaged():
    leaves = hm.sample_leaves(jax.random.key(0), GRAMMAR, 5)
    x_t = hm.add_noise(jax.random.key(1), SCHEDULE, hm.one_hot(leaves, 6), 8)
    parts = [hm.exact_denoiser(GRAMMAR, SCHEDULE, filter_level=level) for level in (0, 2, 4)]
    found = averaged_denoiser(parts)(x_t, 8)
    expected = np.mean([np.exp(part(x_t, 8)) for part in parts], 0)
    np.testing.assert_allclose(np.exp(found), expected, rtol=1e-6)
    alone = averaged_denoiser(parts[:1])(x_t, 8)
    np.testing.assert_allclose(alone, parts[0](x_t, 8), rtol=1e-12)
    assert (averaged_denoiser(parts).num_leaves, averaged_denoiser(parts).vocab_size) == (16, 6)


def test_impossible_for_all_stays_impossible():
    parts = [hm.empirical_denoiser(SCHEDULE, np.zeros((1, 3), int), 2)] * 2
    output = np.asarray(averaged_denoiser(parts)(np.zeros((3, 2)), 5))
    np.testing.assert_array_equal(output, [[0, -np.inf]] * 3)


def test_bad_input_is_refused(unchecked_types):
    with pytest.raises(ValueError, match="at least one denoiser"):
        averaged_denoiser([])
    others = [hm.exact_denoiser(GRAMMAR, SCHEDULE), hm.independent_denoiser(SCHEDULE)]
    with pytest.raises(ValueError, match="of one length"):
        averaged_denoiser(others)
