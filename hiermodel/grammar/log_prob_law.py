"""The law of the log-probability of a tree, exactly: by recursion from the leaves up."""

import numpy as np

from hiermodel.grammar.paths_on_host import host_probs
from hiermodel.grammar.rules import Grammar


def log_prob_moments(grammar: Grammar) -> tuple[float, float]:
    """Exact mean and variance, in nats, of the log-probability of a tree, by recursion upwards."""
    mean = variance = np.zeros(grammar.vocab_size)
    for level in reversed(range(grammar.depth)):
        table = grammar.table_index(level)
        children, weights = grammar.rules.children[table], host_probs(grammar.log_weights[table])
        by_rule = _log(weights) + mean[children].sum(-1)
        spread = variance[children].sum(-1)
        mean = (weights * by_rule).sum(-1)
        variance = (weights * (spread + np.square(by_rule - mean[:, None]))).sum(-1)
    prior = host_probs(grammar.root_log_probs)
    by_root = _log(prior) + mean
    total = float((prior * by_root).sum())
    return total, float((prior * (variance + np.square(by_root - total))).sum())


def log_prob_characteristic(grammar: Grammar, frequency: float) -> complex:
    """Exact E e^(i u X), X the log-probability of a tree: a product over the children of a rule."""
    below = np.ones(grammar.vocab_size, complex)
    for level in reversed(range(grammar.depth)):
        table = grammar.table_index(level)
        weights = host_probs(grammar.log_weights[table])
        turned = weights * np.exp(1j * frequency * _log(weights))
        below = (turned * below[grammar.rules.children[table]].prod(-1)).sum(-1)
    prior = host_probs(grammar.root_log_probs)
    return complex((prior * np.exp(1j * frequency * _log(prior)) * below).sum())


def _log(probs: np.ndarray) -> np.ndarray:
    """Log of what is possible; 0, which nothing weighs, of what is not."""
    return np.log(np.where(probs > 0, probs, 1))
