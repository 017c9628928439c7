"""Belief propagation against an exact engine that others wrote, on a tree of its own kind."""

import numpy as np
import oracles
import pytest

import hiermodel as hm
from experiments.benchmarks.independent_engine import Engine, comparison_grammar, noisy_fields

pytest.importorskip("pyagrum")

GRAMMAR = comparison_grammar(2)


@pytest.fixture(scope="module")
def engine():
    return Engine(GRAMMAR)


@pytest.fixture(scope="module")
def fields():
    """Nine leaves seen through weak noise and strong, half hidden, and one observed symbol."""
    rng = np.random.default_rng(0)
    clear, faint = (np.asarray(noisy_fields(GRAMMAR, 2, t), np.float64) for t in (100, 300))
    hidden = np.where(rng.random((2, 9, 1)) < 0.5, 0.0, clear)
    observed = np.zeros((1, 9, 4))
    observed[0, 4, [0, 1, 3]] = -np.inf
    return np.concatenate([clear, faint, hidden, observed])


def test_log_evidence_and_every_marginal_are_those_of_the_engine(engine, fields, precision):
    beliefs = hm.run_bp(GRAMMAR, fields.astype(precision.dtype))
    for row, field in enumerate(fields):
        expected = engine.run(field)
        # A sum over nine leaves, of terms as large as their fields.
        size = 1 + np.abs(np.where(np.isfinite(field), field, 0)).max(-1).sum()
        tolerance = precision.tolerance * size
        assert beliefs.log_evidence[row] == pytest.approx(expected.log_evidence, abs=tolerance)
        for found, marginals in zip(beliefs.log_marginals, expected.marginals, strict=True):
            np.testing.assert_allclose(np.exp(found[row]), marginals, atol=precision.tolerance)


def test_the_engine_agrees_with_enumeration():
    """The translation into a Bayesian network is right, whatever the library says."""
    grammar = comparison_grammar(1)
    tensors = [np.asarray(grammar.to_tensor())]  # of one level, so shared
    trees = oracles.list_trees(tensors, np.exp(grammar.root_log_probs))
    field = np.random.default_rng(1).normal(size=(3, 4))
    beliefs = Engine(grammar).run(field)
    assert beliefs.log_evidence == pytest.approx(oracles.log_evidence(trees, field), abs=1e-12)
    expected = oracles.marginals(trees, oracles.posterior(trees, field))
    for found, marginals in zip(beliefs.marginals, expected, strict=True):
        np.testing.assert_allclose(found, marginals, atol=1e-12)
