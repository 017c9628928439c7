"""An independent exact engine on the same tree: pyAgrum's LazyPropagation.

pyAgrum knows nothing of grammars. Each inner node becomes two variables of a Bayesian network, its
symbol and the rule it uses; given the rule, the children are known. It is needed for tests and for
this row alone, never by the library.
"""

import importlib.util
from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

import jax
import numpy as np

import hiermodel as hm
from experiments.benchmarks.timing import Row, measure

if TYPE_CHECKING:
    import pyagrum

NUM_SEQUENCES = 64
DEPTH = 3
STEP = 150


class EngineBeliefs(NamedTuple):
    """What the engine says: the natural log-evidence, and per level (nodes, vocab) marginals."""

    log_evidence: float
    marginals: list[np.ndarray]


def bayes_net(grammar: hm.Grammar) -> "pyagrum.BayesNet":
    """The full model as a Bayesian network of variables ``s_level_node`` and ``r_level_node``.

    A rule's state is its place in its parent's list, so P(rule | symbol) is a row of the grammar's
    weights, and P(child | symbol, rule) is 0 or 1.
    """
    import pyagrum

    vocab_size, branching = grammar.vocab_size, grammar.branching
    max_rules = grammar.log_weights.shape[-1]
    net = pyagrum.BayesNet()
    net.add(pyagrum.RangeVariable("s_0_0", "", 0, vocab_size - 1))
    net.cpt("s_0_0").fillWith(_exp(grammar.root_log_probs).tolist())
    for level in range(grammar.depth):
        table = grammar.table_index(level)
        weights, children = _exp(grammar.log_weights[table]), grammar.rules.children[table]
        for node in range(branching**level):
            parent, rule = f"s_{level}_{node}", f"r_{level}_{node}"
            net.add(pyagrum.RangeVariable(rule, "", 0, max_rules - 1))
            net.addArc(parent, rule)
            for symbol in range(vocab_size):
                net.cpt(rule)[{parent: symbol}] = weights[symbol].tolist()
            for position in range(branching):
                child = f"s_{level + 1}_{node * branching + position}"
                net.add(pyagrum.RangeVariable(child, "", 0, vocab_size - 1))
                net.addArc(parent, child)
                net.addArc(rule, child)
                certain = np.eye(vocab_size)[children[..., position]]
                for symbol in range(vocab_size):
                    for choice in range(max_rules):
                        given = {parent: symbol, rule: choice}
                        net.cpt(child)[given] = certain[symbol, choice].tolist()
    return net


class Engine:
    """LazyPropagation on one grammar, asked about one sequence's evidence after another."""

    def __init__(self, grammar: hm.Grammar):
        import pyagrum

        self.grammar = grammar
        self.net = bayes_net(grammar)
        self.inference = pyagrum.LazyPropagation(self.net)
        for leaf in range(grammar.num_leaves):
            self.inference.addEvidence(self._leaf(leaf), [1.0] * grammar.vocab_size)

    def run(self, field: np.ndarray, *, first_level: int = 0) -> EngineBeliefs:
        """Beliefs given a leaf log-field (num_leaves, vocab_size), from the first level wanted."""
        peaks = field.max(-1)
        for leaf, likelihood in enumerate(np.exp(field - peaks[:, None])):
            self.inference.chgEvidence(self._leaf(leaf), likelihood.tolist())
        self.inference.makeInference()
        log_evidence = np.log(self.inference.evidenceProbability()) + peaks.sum()
        levels = range(first_level, self.grammar.depth + 1)
        return EngineBeliefs(log_evidence, [self._marginals(level) for level in levels])

    def _leaf(self, leaf: int) -> str:
        return f"s_{self.grammar.depth}_{leaf}"

    def _marginals(self, level: int) -> np.ndarray:
        nodes = range(self.grammar.branching**level)
        posteriors = [self.inference.posterior(f"s_{level}_{node}") for node in nodes]
        return np.stack([posterior.toarray() for posterior in posteriors])


def _exp(log_probs: jax.Array) -> np.ndarray:
    return np.exp(np.asarray(log_probs, np.float64))


def comparison_grammar(depth: int) -> hm.Grammar:
    """Ternary, rules of its own per level, uneven weights and root: nothing of the paper's case."""
    grammar = hm.Grammar.random(
        jax.random.key(0),
        vocab_size=4,
        depth=depth,
        branching=3,
        rules_per_symbol=5,
        sigma=2.0,
        shared=False,
    )
    root_probs = np.array([0.1, 0.2, 0.3, 0.4])
    return hm.Grammar.from_tensor(grammar.to_tensor(), depth=depth, root_probs=root_probs)


def noisy_fields(grammar: hm.Grammar, num_sequences: int, t: int) -> jax.Array:
    """Leaf log-fields (num_sequences, num_leaves, vocab_size) of noised sequences."""
    schedule = hm.Schedule.linear(500)
    clean = hm.sample_leaves(jax.random.key(1), grammar, num_sequences)
    x_0 = hm.one_hot(clean, grammar.vocab_size)
    return schedule.evidence(hm.add_noise(jax.random.key(2), schedule, x_0, t), t)


def rows() -> Iterator[Row]:
    """Log-evidence and leaf marginals of noised sequences, by both on the same grammar."""
    grammar = comparison_grammar(DEPTH)
    fields = noisy_fields(grammar, NUM_SEQUENCES, STEP)
    task = f"log-evidence and leaf marginals, {grammar.num_leaves} leaves, s = 3"
    if importlib.util.find_spec("pyagrum") is None:
        print("no row of the independent engine: pyAgrum is not installed")
    else:
        engine, singly = Engine(grammar), np.asarray(fields, np.float64)

        def ask_engine() -> list[EngineBeliefs]:
            return [engine.run(field, first_level=grammar.depth) for field in singly]

        yield measure(
            f"{task}, pyAgrum",
            ask_engine,
            count=NUM_SEQUENCES,
            unit="sequences",
            note="LazyPropagation in double precision, one sequence at a time",
        )
    yield measure(
        f"{task}, batch {NUM_SEQUENCES}",
        jax.jit(_beliefs_of_leaves),
        grammar,
        fields,
        count=NUM_SEQUENCES,
        unit="sequences",
    )


def _beliefs_of_leaves(
    grammar: hm.Grammar, fields: jax.Array
) -> tuple[jax.Array, jax.Array | None]:
    """What the engine is asked for; the compiler drops the rest."""
    beliefs = hm.run_bp(grammar, fields)
    return beliefs.log_evidence, beliefs.log_marginals[-1]
