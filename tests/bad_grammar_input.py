"""Calls of grammars and inference with bad input, and what their messages name."""

import jax
import numpy as np

import hiermodel as hm

KEY = jax.random.key(0)
PAPER = hm.paper_grammar()
FIELD = np.zeros((16, 6))
LEAVES = np.zeros(16, int)
EVEN = np.full((2, 2, 2), 0.25)
PAIRS = np.array([[[0, 0], [0, 1]], [[1, 0], [1, 1]]])


def put(array, value):
    """A copy with one entry replaced."""
    array = np.array(array, dtype=np.result_type(array, type(value)))
    array.flat[0] = value
    return array


def random_grammar(**changes):
    settings = {"vocab_size": 6, "depth": 2, "rules_per_symbol": 4} | changes
    return hm.Grammar.random(KEY, **settings)


# name: (call, the argument, its value, what is allowed)
CASES = {
    "symbol too large": (lambda: hm.log_prob(PAPER, put(LEAVES, 6)), "leaves", "6", "0…5"),
    "symbol negative": (lambda: hm.log_prob(PAPER, put(LEAVES, -1)), "leaves", "-1", "0…5"),
    "symbols not integers": (
        lambda: hm.log_prob(PAPER, np.zeros(16)),
        "leaves",
        "float64",
        "integers",
    ),
    "too few leaves": (lambda: hm.log_prob(PAPER, LEAVES[:15]), "leaves", "(15,)", "(16,)"),
    "too many leaves": (
        lambda: hm.run_bp(PAPER, np.zeros((17, 6))),
        "leaf_evidence",
        "(17, 6)",
        "(16, 6)",
    ),
    "wrong vocabulary": (
        lambda: hm.run_bp(PAPER, np.zeros((16, 5))),
        "leaf_evidence",
        "(16, 5)",
        "(16, 6)",
    ),
    "evidence without leaves": (
        lambda: hm.run_bp(PAPER, np.zeros(6)),
        "leaf_evidence",
        "(6,)",
        "(16, 6)",
    ),
    "NaN evidence": (
        lambda: hm.run_bp(PAPER, put(FIELD, np.nan)),
        "leaf_evidence",
        "nan",
        "finite",
    ),
    "infinite evidence": (
        lambda: hm.run_bp(PAPER, put(FIELD, np.inf)),
        "leaf_evidence",
        "inf",
        "finite",
    ),
    "integer evidence": (
        lambda: hm.run_bp(PAPER, FIELD.astype(int)),
        "leaf_evidence",
        "int",
        "float",
    ),
    "NaN evidence to posterior": (
        lambda: hm.sample_posterior(KEY, PAPER, put(FIELD, np.nan), 2),
        "leaf_evidence",
        "nan",
        "finite",
    ),
    "NaN evidence to best tree": (
        lambda: hm.most_probable_tree(PAPER, put(FIELD, np.nan)),
        "leaf_evidence",
        "nan",
        "finite",
    ),
    "filter level too deep": (
        lambda: hm.run_bp(PAPER, FIELD, filter_level=5),
        "filter_level",
        "5",
        "0…4",
    ),
    "filter level negative": (
        lambda: hm.log_prob(PAPER, LEAVES, filter_level=-1),
        "filter_level",
        "-1",
        "0…4",
    ),
    "filter level of samples": (
        lambda: hm.sample_leaves(KEY, PAPER, 3, filter_level=5),
        "filter_level",
        "5",
        "0…4",
    ),
    "rows that do not sum to one": (
        lambda: hm.Grammar.from_tensor(1.5 * EVEN, depth=2),
        "rho",
        "1.5",
        "sum to 1",
    ),
    "negative rows": (
        lambda: hm.Grammar.from_tensor(put(EVEN, -0.25), depth=2),
        "rho",
        "-0.25",
        "at least 0",
    ),
    "NaN rows": (
        lambda: hm.Grammar.from_tensor(put(EVEN, np.nan), depth=2),
        "rho",
        "nan",
        "finite",
    ),
    "misshaped tensor": (
        lambda: hm.Grammar.from_tensor(np.ones((2, 2, 3)) / 6, depth=2),
        "rho",
        "(2, 2, 3)",
        "(q,)*(s+1)",
    ),
    "tensors for another depth": (
        lambda: hm.Grammar.from_tensor(np.stack([EVEN] * 3), depth=4),
        "rho",
        "(3, 2, 2, 2)",
        "(4,)",
    ),
    "rules of another depth": (
        lambda: hm.Grammar.from_rules(np.stack([PAIRS] * 3), depth=4),
        "children",
        "(3, 2, 2, 2)",
        "(4, q, m, s)",
    ),
    "rules with one child": (
        lambda: hm.Grammar.from_rules(PAIRS[..., :1], depth=2),
        "children",
        "(2, 2, 1)",
        "s at least 2",
    ),
    "no rules at all": (
        lambda: hm.Grammar.from_rules(PAIRS[:, :0], depth=2),
        "children",
        "(2, 0, 2)",
        "m at least 1",
    ),
    "rules that are not integers": (
        lambda: hm.Grammar.from_rules(PAIRS / 1, depth=2),
        "children",
        "float64",
        "integers",
    ),
    "children that are no symbols": (
        lambda: hm.Grammar.from_rules(put(PAIRS, 2), depth=2),
        "children",
        "2",
        "0…1",
    ),
    "negative children": (
        lambda: hm.Grammar.from_rules(put(PAIRS, -1), depth=2),
        "children",
        "-1",
        "0…1",
    ),
    "a rule given twice": (
        lambda: hm.Grammar.from_rules(np.zeros_like(PAIRS), depth=2),
        "children",
        "[0, 0]",
        "must differ",
    ),
    "weights of other rules": (
        lambda: hm.Grammar.from_rules(PAIRS, np.full((2, 3), 1 / 3), depth=2),
        "probs",
        "(2, 3)",
        "(2, 2)",
    ),
    "weights of rules that do not sum to one": (
        lambda: hm.Grammar.from_rules(PAIRS, np.full((2, 2), 0.4), depth=2),
        "probs",
        "0.8",
        "sum to 1",
    ),
    "negative weights of rules": (
        lambda: hm.Grammar.from_rules(PAIRS, np.array([[1.5, -0.5]] * 2), depth=2),
        "probs",
        "-0.5",
        "at least 0",
    ),
    "root probabilities of rules": (
        lambda: hm.Grammar.from_rules(PAIRS, depth=2, root_probs=np.array([0.5, 0.4])),
        "root_probs",
        "0.9",
        "sum to 1",
    ),
    "depth of rules": (lambda: hm.Grammar.from_rules(PAIRS, depth=0), "depth", "0", "at least 1"),
    "root probabilities of wrong length": (
        lambda: hm.Grammar.from_tensor(EVEN, depth=2, root_probs=np.ones(3) / 3),
        "root_probs",
        "0.333",
        "(2,)",
    ),
    "root probabilities that do not sum to one": (
        lambda: hm.Grammar.from_tensor(EVEN, depth=2, root_probs=np.array([0.5, 0.4])),
        "root_probs",
        "0.9",
        "sum to 1",
    ),
    "negative root probabilities": (
        lambda: hm.Grammar.from_tensor(EVEN, depth=2, root_probs=np.array([1.5, -0.5])),
        "root_probs",
        "-0.5",
        "at least 0",
    ),
    "too many rules": (lambda: random_grammar(rules_per_symbol=7), "rules_per_symbol", "7", "1…6"),
    "no rules": (lambda: random_grammar(rules_per_symbol=0), "rules_per_symbol", "0", "1…6"),
    "too many rules of the hierarchy": (
        lambda: hm.Grammar.random_hierarchy(
            KEY, vocab_size=3, depth=2, branching=3, rules_per_symbol=10
        ),
        "rules_per_symbol",
        "10",
        "1…9",
    ),
    "depth of zero": (lambda: random_grammar(depth=0), "depth", "0", "at least 1"),
    "branching of one": (lambda: random_grammar(branching=1), "branching", "1", "at least 2"),
    "one symbol": (lambda: random_grammar(vocab_size=1), "vocab_size", "1", "at least 2"),
    "negative spread": (lambda: random_grammar(sigma=-1.0), "sigma", "-1.0", "at least 0"),
    "spread of NaN": (lambda: random_grammar(sigma=np.nan), "sigma", "nan", "finite"),
    "negative seed": (lambda: hm.paper_grammar(-1), "seed", "-1", "0…"),
    "negative number of samples": (
        lambda: hm.sample_tree(KEY, PAPER, -1),
        "num_samples",
        "-1",
        "at least 0",
    ),
    "raw key": (
        lambda: hm.sample_leaves(jax.random.PRNGKey(0), PAPER, 3),
        "key",
        "uint32",
        "jax.random.key",
    ),
    "integer for a key": (lambda: hm.sample_leaves(7, PAPER, 3), "key", "7", "jax.random.key"),
    "raw key of a grammar": (
        lambda: hm.Grammar.random(
            np.zeros(2, np.uint32), vocab_size=3, depth=1, rules_per_symbol=2
        ),
        "key",
        "uint32",
        "jax.random.key",
    ),
    "raw key of posterior": (
        lambda: hm.sample_posterior(7, PAPER, FIELD, 3),
        "key",
        "7",
        "jax.random.key",
    ),
    "one-hot of a symbol too large": (lambda: hm.one_hot(put(LEAVES, 6), 6), "symbols", "6", "0…5"),
    "filter level of posterior": (
        lambda: hm.sample_posterior(KEY, PAPER, FIELD, 3, filter_level=5),
        "filter_level",
        "5",
        "0…4",
    ),
    "an empty split": (
        lambda: hm.make_splits(KEY, PAPER, num_splits=1, split_size=0, test_size=5),
        "split_size",
        "0",
        "at least 1",
    ),
    "an empty test set": (
        lambda: hm.make_splits(KEY, PAPER, num_splits=1, split_size=5, test_size=0),
        "test_size",
        "0",
        "at least 1",
    ),
    "no split": (
        lambda: hm.make_splits(KEY, PAPER, num_splits=0, split_size=5, test_size=5),
        "num_splits",
        "0",
        "at least 1",
    ),
}
