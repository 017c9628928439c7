"""What is knowable about a tree from its leaves, and about the rules from many trees' leaves."""

from hiermodel.inference.belief_propagation import Beliefs, leaf_log_marginals, log_prob, run_bp
from hiermodel.inference.both_directions import NodeMessages, run_messages
from hiermodel.inference.families import family_log_marginals, posterior_entropy
from hiermodel.inference.learning import fit_grammar, fit_grammar_by_em
from hiermodel.inference.left_to_right import next_symbol_log_probs
from hiermodel.inference.posterior import most_probable_tree, sample_posterior

__all__ = [
    "Beliefs",
    "NodeMessages",
    "family_log_marginals",
    "fit_grammar",
    "fit_grammar_by_em",
    "leaf_log_marginals",
    "log_prob",
    "most_probable_tree",
    "next_symbol_log_probs",
    "posterior_entropy",
    "run_bp",
    "run_messages",
    "sample_posterior",
]
