"""What the data are: tree grammars, their samples, splits and exact statistics."""

from hiermodel.grammar.law import Law, enumerate_law
from hiermodel.grammar.rules import Grammar, paper_grammar
from hiermodel.grammar.sampling import sample_leaves, sample_tree
from hiermodel.grammar.splits import Splits, make_splits
from hiermodel.grammar.statistics import (
    EntropyBounds,
    PairStatistics,
    leaf_entropy,
    leaf_entropy_bounds,
    leaf_pairs,
    rule_entropy,
    symbol_log_marginals,
    tree_divergence,
    tree_entropy,
)
from hiermodel.grammar.support import is_unambiguous, support_size, tree_count

__all__ = [
    "EntropyBounds",
    "Grammar",
    "Law",
    "PairStatistics",
    "Splits",
    "enumerate_law",
    "is_unambiguous",
    "leaf_entropy",
    "leaf_entropy_bounds",
    "leaf_pairs",
    "make_splits",
    "paper_grammar",
    "rule_entropy",
    "sample_leaves",
    "sample_tree",
    "support_size",
    "symbol_log_marginals",
    "tree_count",
    "tree_divergence",
    "tree_entropy",
]
