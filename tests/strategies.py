"""Hypothesis strategies: small random grammars that can be listed, and evidence about them.

A grammar's rules are compiled in, its weights are not. So rules come from a short list, each
compiled once, while weights, priors and evidence vary freely.
"""

import functools
from typing import NamedTuple

import numpy as np
import oracles
from hypothesis import strategies as st

import hiermodel as hm


class Case(NamedTuple):
    """A small grammar, dense and as the library's object."""

    tensors: list  # one (q,)*(s+1) tensor per level
    root_probs: np.ndarray
    grammar: hm.Grammar

    @property
    def depth(self):
        return self.grammar.depth

    def trees(self, filter_level=0):
        return oracles.list_trees(self.tensors, self.root_probs, filter_level)


class Structure(NamedTuple):
    vocab_size: int
    branching: int
    depth: int
    rules_per_symbol: int
    ambiguous: bool  # a tuple may have several parents, and parents differ in their number of rules
    shared: bool


# At most some 30 000 trees each, at every filter level. Few, as each is compiled for every level.
WIDE = Structure(4, 3, 1, 5, ambiguous=True, shared=True)
AMBIGUOUS = Structure(3, 2, 2, 9, ambiguous=True, shared=False)
TERNARY = Structure(2, 3, 2, 2, ambiguous=False, shared=True)
HIERARCHY = Structure(4, 2, 2, 3, ambiguous=False, shared=False)
DEEP = Structure(2, 2, 3, 3, ambiguous=True, shared=False)
STRUCTURES = [WIDE, AMBIGUOUS, TERNARY, HIERARCHY, DEEP]


@functools.cache
def allowed_rules(structure: Structure) -> np.ndarray:
    """Which productions exist: booleans (levels, q, q**s)."""
    vocab_size, branching, depth, num_rules, ambiguous, shared = structure
    rng = np.random.default_rng(structure[:4])
    allowed = np.zeros((1 if shared else depth, vocab_size, vocab_size**branching), bool)
    for level in allowed:
        deal = rng.permutation(vocab_size**branching)
        for parent, row in enumerate(level):
            if ambiguous:
                row[rng.permutation(vocab_size**branching)[: max(1, num_rules - parent)]] = True
            else:
                row[deal[parent * num_rules : (parent + 1) * num_rules]] = True
    return allowed


def build(structure: Structure, rng, *, spread=1.0, root="random") -> Case:
    """A grammar with the structure's rules and softmax-normal weights."""
    vocab_size, branching, depth, _, _, shared = structure
    allowed = allowed_rules(structure)
    weights = np.where(allowed, np.exp(spread * rng.normal(size=allowed.shape)), 0)
    tensors = weights / weights.sum(-1, keepdims=True)
    tensors = tensors.reshape((-1,) + (vocab_size,) * (branching + 1))
    root_probs = {
        "random": rng.dirichlet(np.ones(vocab_size)),
        "uniform": np.full(vocab_size, 1 / vocab_size),
        "some impossible": np.append(rng.dirichlet(np.ones(vocab_size - 1)), 0.0),
    }[root]
    grammar = hm.Grammar.from_tensor(
        tensors[0] if shared else tensors, depth=depth, root_probs=root_probs
    )
    return Case([tensors[0 if shared else level] for level in range(depth)], root_probs, grammar)


@st.composite
def cases(draw, structures=STRUCTURES):
    """A small grammar: sharp or flat weights; root prior uniform, random, or with a zero."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    spread = draw(st.sampled_from([0.0, 1.0, 8.0]))
    root = draw(st.sampled_from(["random", "uniform", "some impossible"]))
    return build(draw(st.sampled_from(structures)), rng, spread=spread, root=root)


FIELDS = ["noisy", "observed", "partly masked", "all masked", "strong", "holes"]


@st.composite
def fields(draw, case: Case):
    """Leaf log-fields (leaves, q), some of which rule out every tree."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    return make_field(draw(st.sampled_from(FIELDS)), case, rng)


def make_field(kind: str, case: Case, rng) -> np.ndarray:
    """One leaf log-field of the given kind."""
    shape = (case.grammar.num_leaves, case.grammar.vocab_size)
    normal = rng.normal(size=shape)
    trees = case.trees()
    derivable = trees.levels[-1][rng.integers(len(trees.prior))]
    observed = np.where(derivable[:, None] == np.arange(shape[1]), 0.0, -np.inf)
    hidden = rng.random((shape[0], 1)) < 0.5
    return {
        "noisy": normal,
        "observed": observed,
        "partly masked": np.where(hidden, 0.0, observed),
        "all masked": np.zeros(shape),
        "strong": 1e3 * normal,
        "holes": np.where(rng.random(shape) < 0.3, -np.inf, normal),  # often impossible
    }[kind]


@st.composite
def filter_levels(draw, case: Case):
    return draw(st.integers(0, case.depth))
