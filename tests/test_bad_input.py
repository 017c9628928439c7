"""Bad input is refused by a ValueError that names the argument, its value and what is allowed."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import hiermodel as hm

KEY = jax.random.key(0)
PAPER = hm.paper_grammar()
SCHEDULE = hm.Schedule.linear(500)
EXACT = hm.exact_denoiser(PAPER, SCHEDULE)
MASKED = hm.DiscreteProcess.masked(6, 10)
FILL_IN = hm.exact_denoiser(PAPER, MASKED)
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
    "filter level not whole": (
        lambda: hm.exact_denoiser(PAPER, SCHEDULE, filter_level=1.5),
        "filter_level",
        "1.5",
        "0…4",
    ),
    "filter level of samples": (
        lambda: hm.sample_leaves(KEY, PAPER, 3, filter_level=5),
        "filter_level",
        "5",
        "0…4",
    ),
    "filter level of density": (
        lambda: hm.log_density(PAPER, SCHEDULE, FIELD, 3, filter_level=5),
        "filter_level",
        "5",
        "0…4",
    ),
    "t of zero": (lambda: EXACT(FIELD, 0), "t", "0", "1…500"),
    "t beyond T": (lambda: EXACT(FIELD, 501), "t", "501", "1…500"),
    "t beyond T in an array": (
        lambda: EXACT(np.zeros((2, 16, 6)), np.array([3, 501])),
        "t",
        "501",
        "1…500",
    ),
    "t not whole": (lambda: EXACT(FIELD, 0.5), "t", "0.5", "1…500"),
    "t of noise": (lambda: hm.add_noise(KEY, SCHEDULE, FIELD, 501), "t", "501", "1…500"),
    "t of score": (lambda: hm.score(EXACT, SCHEDULE, FIELD, 0), "t", "0", "1…500"),
    "t of density": (lambda: hm.log_density(PAPER, SCHEDULE, FIELD, 0), "t", "0", "1…500"),
    "t of U-turn": (lambda: hm.u_turn(KEY, EXACT, SCHEDULE, LEAVES, 501), "t", "501", "1…500"),
    "t does not broadcast": (
        lambda: EXACT(np.zeros((3, 16, 6)), np.array([1, 2])),
        "t",
        "[1, 2]",
        "broadcast",
    ),
    "t with more axes than x_t": (
        lambda: EXACT(FIELD, np.array([7, 8])),
        "t",
        "[7, 8]",
        "broadcast",
    ),
    "noisy data of wrong length": (lambda: EXACT(np.zeros((8, 6)), 3), "x_t", "(8, 6)", "(16, 6)"),
    "noisy data not finite": (lambda: EXACT(put(FIELD, np.nan), 3), "x_t", "nan", "finite"),
    "noisy data of integers": (lambda: EXACT(FIELD.astype(int), 3), "x_t", "int", "floating"),
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
    "several keys": (
        lambda: hm.add_noise(jax.random.split(KEY, 2), SCHEDULE, FIELD, 3),
        "key",
        "(2,)",
        "single",
    ),
    "raw key of a grammar": (
        lambda: hm.Grammar.random(
            np.zeros(2, np.uint32), vocab_size=3, depth=1, rules_per_symbol=2
        ),
        "key",
        "uint32",
        "jax.random.key",
    ),
    "raw key of a sampler": (
        lambda: hm.sample_ancestral(7, EXACT, SCHEDULE, 3),
        "key",
        "7",
        "jax.random.key",
    ),
    "raw key of posterior": (
        lambda: hm.sample_posterior(7, PAPER, FIELD, 3),
        "key",
        "7",
        "jax.random.key",
    ),
    "start beyond T": (
        lambda: hm.sample_ancestral(KEY, EXACT, SCHEDULE, 3, start=501),
        "start",
        "501",
        "1…500",
    ),
    "neither number nor start": (
        lambda: hm.sample_ancestral(KEY, EXACT, SCHEDULE),
        "num_samples",
        "None",
        "x_T",
    ),
    "both number and start": (
        lambda: hm.sample_ancestral(KEY, EXACT, SCHEDULE, 3, x_T=FIELD),
        "num_samples",
        "3",
        "x_T",
    ),
    "no shape to sample": (
        lambda: hm.sample_ancestral(KEY, hm.independent_denoiser(SCHEDULE), SCHEDULE, 3),
        "x_T",
        "None",
        "array",
    ),
    "x_T of wrong shape": (
        lambda: hm.sample_ancestral(KEY, EXACT, SCHEDULE, x_T=np.zeros((16, 5))),
        "x_T",
        "(16, 5)",
        "(16, 6)",
    ),
    "symbol of a U-turn": (
        lambda: hm.u_turn(KEY, EXACT, SCHEDULE, put(LEAVES, 6), 3),
        "x_0",
        "6",
        "0…5",
    ),
    "length of a U-turn": (
        lambda: hm.u_turn(KEY, EXACT, SCHEDULE, LEAVES[:8], 3),
        "x_0",
        "(8,",
        "16",
    ),
    "integers to be noised": (
        lambda: hm.add_noise(KEY, SCHEDULE, FIELD.astype(int), 3),
        "x_0",
        "int",
        "floating",
    ),
    "one-hot of a symbol too large": (lambda: hm.one_hot(put(LEAVES, 6), 6), "symbols", "6", "0…5"),
    "schedule too short": (lambda: hm.Schedule.linear(19), "num_steps", "19", "at least 20"),
    "betas above one": (
        lambda: hm.Schedule.from_betas(np.array([0.1, 1.2])),
        "betas",
        "1.2",
        "at most 1",
    ),
    "betas of zero": (
        lambda: hm.Schedule.from_betas(np.array([0.0, 0.5])),
        "betas",
        "0.",
        "above 0",
    ),
    "training symbol too large": (
        lambda: hm.empirical_denoiser(SCHEDULE, put(LEAVES, 6)[None], 6),
        "sequences",
        "6",
        "0…5",
    ),
    "no training sequence": (
        lambda: hm.empirical_denoiser(SCHEDULE, np.zeros((0, 16), int), 6),
        "sequences",
        "(0, 16)",
        "n > 0",
    ),
    "marginals that do not sum to one": (
        lambda: hm.independent_denoiser(SCHEDULE, np.log(np.full((16, 6), 0.25))),
        "log_probs",
        "1.38",
        "sum to 1",
    ),
    "masked data without a vocabulary": (
        lambda: hm.DiscreteProcess.masked(1),
        "vocab_size",
        "1",
        "at least 2",
    ),
    "no discrete step": (lambda: hm.DiscreteProcess.uniform(6, 0), "num_steps", "0", "at least 1"),
    "unknown decay": (
        lambda: hm.DiscreteProcess.masked(6, decay="slow"),
        "decay",
        "slow",
        "cosine",
    ),
    "discrete betas of zero": (
        lambda: hm.DiscreteProcess.from_betas([0.0, 0.5], np.full(6, 1 / 6), 6),
        "betas",
        "0.",
        "above 0",
    ),
    "noise law of another length": (
        lambda: hm.DiscreteProcess.from_betas([0.5], np.full(8, 1 / 8), 6),
        "noise_law",
        "0.125",
        "7 with a mask",
    ),
    "noise law that is none": (
        lambda: hm.DiscreteProcess.from_betas([0.5], np.full(6, 0.25), 6),
        "noise_law",
        "0.25",
        "sum to 1",
    ),
    "a mask to be masked": (
        lambda: hm.add_noise(KEY, MASKED, put(LEAVES, 6), 3),
        "x_0",
        "6",
        "0…5",
    ),
    "t of corruption": (lambda: hm.add_noise(KEY, MASKED, LEAVES, 11), "t", "11", "1…10"),
    "state beyond the mask": (lambda: FILL_IN(put(LEAVES, 7), 3), "x_t", "7", "0…6"),
    "states that are not integers": (lambda: FILL_IN(FIELD[:, 0], 3), "x_t", "float", "integers"),
    "states of wrong length": (lambda: FILL_IN(LEAVES[:8], 3), "x_t", "(8,)", "(16,)"),
    "t of states": (lambda: FILL_IN(LEAVES, 11), "t", "11", "1…10"),
    "t that does not broadcast with states": (
        lambda: FILL_IN(LEAVES, np.array([7, 8])),
        "t",
        "[7, 8]",
        "broadcast",
    ),
    "clean symbol of a posterior": (
        lambda: MASKED.log_posterior(LEAVES, put(LEAVES, 6), 3),
        "x_0",
        "6",
        "0…5",
    ),
    "process on other symbols": (
        lambda: hm.exact_denoiser(PAPER, hm.DiscreteProcess.uniform(5, 10)),
        "schedule",
        "5",
        "6",
    ),
    "joint draws from single positions": (
        lambda: hm.sample_ancestral(KEY, hm.independent_denoiser(MASKED), MASKED, 3, joint=True),
        "joint",
        "True",
        "False",
    ),
    "unmasking without masks": (
        lambda: hm.sample_any_order(KEY, FILL_IN, hm.DiscreteProcess.uniform(6, 10), 3),
        "noise_law",
        "0.16",
        "mask",
    ),
    "states to start from": (
        lambda: hm.sample_ancestral(KEY, FILL_IN, MASKED, x_T=put(LEAVES, 7)),
        "x_T",
        "7",
        "0…6",
    ),
    "start beyond a discrete T": (
        lambda: hm.sample_ancestral(KEY, FILL_IN, MASKED, 3, start=11),
        "start",
        "11",
        "1…10",
    ),
    "symbol of a discrete U-turn": (
        lambda: hm.u_turn(KEY, FILL_IN, MASKED, put(LEAVES, 6), 3),
        "x_0",
        "6",
        "0…5",
    ),
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
